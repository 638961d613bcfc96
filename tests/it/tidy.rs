//! The rules of the code base that a compiler cannot check.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Returns the source files with their path below `src` and their code before any tests.
fn sources() -> Vec<(String, String)> {
    let mut files = vec![];
    rust_files(&root().join("src"), &mut files);
    let name = |path: &PathBuf| path.strip_prefix(root().join("src")).unwrap().display().to_string();
    files
        .iter()
        .filter(|path| !path.ends_with("tests.rs") && !path.components().any(|part| part.as_os_str() == "tests"))
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap().to_owned();
            let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            (name(path), code.join("\n"))
        })
        .collect()
}

/// Returns the files and directories that `lib.rs` lists as core.
fn core() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let (_, list) = text.split_once("\n// Core: ").unwrap();
    let (list, _) = list.split_once("\n// Shell: ").unwrap();
    let code = list.lines().filter(|line| !line.trim_start().starts_with("//"));
    // However visible a module is, and wherever its code stands.
    let modules = code.filter_map(|line| line.split_once("mod ")?.1.split([';', ' ']).next());
    modules.flat_map(|module| [module.to_owned(), format!("{module}.rs")]).collect()
}

fn is_below(file: &str, places: &[&str]) -> bool {
    places.iter().any(|place| file == *place || file.starts_with(&format!("{place}/")))
}

#[track_caller]
fn only(allowed: &[&str], banned: &[&str], why: &str) {
    let mut offences = vec![];
    for (file, code) in sources() {
        if is_below(&file, allowed) {
            continue;
        }
        offences.extend(banned.iter().filter(|word| code.contains(**word)).map(|word| format!("{file}: `{word}`")));
    }
    assert!(offences.is_empty(), "{why}:\n{}", offences.join("\n"));
}

#[test]
fn core_is_pure() {
    let banned = [
        "tokio::",
        "kube::Client",
        "std::fs",
        "std::env::",
        "std::io::std",
        "println!",
        "indicatif",
        "clap::",
        "Timestamp::now",
        "async fn",
        "crate::cluster",
        "crate::executor",
        "crate::store",
        "crate::output",
        "crate::commands",
        "crate::fleet",
        "crate::cli",
    ];
    let core = core();
    let core: Vec<&str> = core.iter().map(String::as_str).collect();
    for known in ["plan", "kubeconfig", "step.rs"] {
        assert!(core.contains(&known), "`{known}` is not found among the core's modules");
    }
    let mut offences = vec![];
    for (file, code) in sources() {
        if !is_below(&file, &core) {
            continue;
        }
        offences.extend(banned.iter().filter(|word| code.contains(**word)).map(|word| format!("{file}: `{word}`")));
    }
    assert!(offences.is_empty(), "core is pure and synchronous:\n{}", offences.join("\n"));
}

/// `main → commands → fleet → {executor, cluster, store, output} → core`: each part of the shell knows only those after
/// it.
#[test]
fn the_shell_points_one_way() {
    let after: &[(&str, &[&str])] = &[
        ("fleet", &["executor", "cluster", "store", "output", "error", "exit_code"]),
        ("executor", &["cluster", "store"]),
        ("cluster", &["store"]),
        ("store", &[]),
        ("output", &["error", "exit_code"]),
        ("monitor", &[]),
        ("cli", &["output"]),
    ];
    let shell = ["cli", "commands", "fleet", "executor", "cluster", "store", "output", "monitor", "error", "exit_code"];
    let mut offences = vec![];
    for (file, code) in sources() {
        let Some((part, known)) = after.iter().find(|(part, _)| is_below(&file, &[part])) else { continue };
        let own = part.trim_end_matches(".rs");
        for other in shell.iter().filter(|other| **other != own && !known.contains(other)) {
            let word = format!("crate::{other}");
            let names = code.match_indices(&word).any(|(at, _)| {
                !code[at + word.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
            });
            if names {
                offences.push(format!("{file}: `{word}`"));
            }
        }
    }
    assert!(offences.is_empty(), "the shell points one way:\n{}", offences.join("\n"));
}

/// *No name is derived twice.*
#[test]
fn names_are_derived_in_one_place() {
    only(&["names.rs"], &["\"system:serviceaccount:{"], "user names come from `names`");
    let anchors = ["ObjectRef::namespaced(Kind::Secret", "ObjectRef { kind: Kind::Secret"];
    // Tokens without an end are no anchors.
    only(&["object.rs", "cluster/observe.rs"], &anchors, "anchors are addressed with `ObjectRef::anchor_of`");
    only(&["object.rs"], &["role.kind == Kind::Role)"], "roles are addressed with `RoleRef::object`");
}

/// A second place that expands a profile, or evaluates a rule, would sooner or later allow something else.
#[test]
fn what_a_profile_allows_is_expanded_in_one_place() {
    only(
        &["inventory", "resolution"],
        &[".cluster_rules", ".cluster_roles"],
        "what a profile allows comes from `inventory::intended`",
    );
    // Objects are read and written whole.
    let allowed = ["rbac", "inventory", "resolution", "desired.rs", "observed.rs"];
    only(&allowed, &[".non_resource_urls", ".api_groups"], "what a rule allows is asked of `rbac::Rule`");
}

/// Only `resolution` combines the inventory with the layout.
#[test]
fn the_inventory_and_the_layout_know_nothing_of_each_other() {
    let mut offences = vec![];
    for (file, code) in sources() {
        let banned: &[&str] = match () {
            () if is_below(&file, &["inventory"]) => &["Layout", "Collision", "Held", "ReadPlace", "crate::resolution"],
            () if is_below(&file, &["delivery"]) => &["crate::inventory", "crate::resolution"],
            () => continue,
        };
        offences.extend(banned.iter().filter(|word| code.contains(**word)).map(|word| format!("{file}: `{word}`")));
    }
    assert!(offences.is_empty(), "`resolution` puts inventory and layout together:\n{}", offences.join("\n"));
}

/// One function decides what a missing, an unreadable and a newer index mean.
#[test]
fn only_one_function_reads_the_index_of_an_account() {
    let allowed = ["observed.rs", "credential/index.rs", "fuzz", "cluster/api/fuzz.rs"];
    only(&allowed, &["Index::parse("], "an index is read with `ObservedObject::index`");
}

#[test]
fn only_output_prints() {
    only(
        &["output"],
        &["println!", "eprintln!", "io::stdout()", "io::stderr().lock", "indicatif"],
        "only `output` prints",
    );
}

#[test]
fn only_store_writes() {
    let banned = ["fs::write", "File::create", "fs::rename", "fs::hard_link", "OpenOptions", "tempfile"];
    only(&["store"], &banned, "only `store` writes files");
}

#[test]
fn only_cluster_talks_to_kubernetes() {
    // `monitor` answers those who watch; it asks nobody.
    only(&["cluster", "monitor/server.rs"], &["hyper", "http::Request"], "only `cluster` talks to Kubernetes");
    only(&["cluster"], &["kube::"], "only `cluster` talks to Kubernetes");
}

#[test]
fn a_token_leaves_its_type_in_named_places_only() {
    // The writers of kubeconfigs and of Secrets, the exec plugin, the claims reader, and the HTTP client that uses a token.
    let allowed = [
        "secret.rs",
        "kubeconfig/entry.rs",
        "delivery/secret/content.rs",
        "kubeconfig/exec.rs",
        "credential/claims.rs",
        "cluster/connect.rs",
    ];
    only(&allowed, &[".expose()"], "tokens are exposed elsewhere");
    // What admin kubeconfigs hold is checked, sent, and left out of what comes back.
    only(
        &["secret.rs", "cluster/admin", "cluster/transport", "cluster/api/redaction.rs"],
        &["expose_secret"],
        "admin secrets are exposed elsewhere",
    );
}

#[test]
fn no_file_is_above_800_lines() {
    let mut files = vec![];
    for directory in ["src", "tests", "examples"] {
        rust_files(&root().join(directory), &mut files);
    }
    let long: Vec<_> =
        files.iter().filter(|path| std::fs::read_to_string(path).unwrap().lines().count() > 800).collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut files = vec![];
    for directory in ["src", "tests", "examples"] {
        rust_files(&root().join(directory), &mut files);
    }
    let silent: Vec<_> = files.iter().filter(|path| !std::fs::read_to_string(path).unwrap().contains("//! ")).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn exit_codes_are_documented() {
    let page = std::fs::read_to_string(root().join("docs/exit-codes.md")).unwrap();
    for (code, meaning) in kubemint::ExitCode::ALL {
        let row = format!("| {} | {meaning} |", code.code());
        assert!(page.contains(&row), "docs/exit-codes.md lacks: {row}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it writes a document of the repository when it is asked to")]
fn the_command_line_reference_is_current() {
    let mut text = String::from("# Command line\n\nMade of the program itself; a test keeps it so.\n");
    let mut command = kubemint::command().term_width(100);
    command.build();
    let mut all = vec![command.clone()];
    all.extend(command.get_subcommands().filter(|sub| sub.get_name() != "help").cloned());
    for mut command in all {
        let name = command.get_bin_name().unwrap_or("kubemint").to_owned();
        let help = command.render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        text.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", help.join("\n").trim_end()));
    }
    let page = root().join("docs/cli.md");
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    if written != text && std::env::var_os("KUBEMINT_UPDATE_DOCS").is_some() {
        std::fs::write(&page, &text).unwrap();
        return;
    }
    assert_eq!(written, text, "run the tests with KUBEMINT_UPDATE_DOCS=1 to write docs/cli.md");
}

/// What docs/ARCHITECTURE.md says holds is held by a test.
#[test]
fn every_invariant_names_a_test_that_exists() {
    let mut files = vec![];
    for directory in ["src", "tests"] {
        rust_files(&root().join(directory), &mut files);
    }
    let code: String = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let text = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let (_, invariants) = text.split_once("## Invariants").unwrap();
    let (invariants, _) = invariants.split_once("## Life of an apply").unwrap();
    let rows: Vec<&str> =
        invariants.lines().filter(|line| line.starts_with("| ") && !line.contains("| test |")).collect();
    assert!(rows.len() > 15, "{rows:?}");
    for row in rows {
        let named: Vec<&str> = row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{row}");
        for name in named {
            // A test, or a module of tests.
            let last = name.rsplit("::").next().unwrap();
            let path = name.replace("::", "/");
            let is_module = [format!("src/{path}.rs"), format!("src/{path}/mod.rs"), format!("tests/it/{path}.rs")];
            let is_module = is_module.iter().any(|path| root().join(path).exists());
            assert!(is_module || code.contains(&format!("fn {last}(")), "{name}, which {row} names");
        }
    }
}

/// Every test that docs/security.md names exists.
#[test]
fn every_test_that_the_threats_name_exists() {
    let mut files = vec![];
    for directory in ["src", "tests"] {
        rust_files(&root().join(directory), &mut files);
    }
    let code: String = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let text = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let (_, threats) = text.split_once("## Threats").unwrap();
    let is_test =
        |word: &&str| word.matches('_').count() >= 2 && word.bytes().all(|b| b == b'_' || b.is_ascii_lowercase());
    let named: Vec<&str> = threats.split('`').filter(is_test).collect();
    assert!(named.len() > 50, "{named:?}");
    let missing: Vec<&str> = named.into_iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "tests that do not exist: {missing:?}");
}
