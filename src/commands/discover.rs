//! `kubemint discover`: shows what the sources of the inventory find, or writes it down for review.

use std::collections::HashSet;

use serde_json::json;

use super::load::{ask_again, load_offline, report_left_out};
use super::session::block_on;
use super::{CommandContext, json, printed};
use crate::cli::DiscoverArgs;
use crate::cluster::seen;
use crate::discovery::{Discovered, Frozen, HEADER, SOURCES, changes, check_lost};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::fleet::MAX_PRUNE;
use crate::fleet::discovery::Asked;
use crate::foreign::shown;
use crate::inventory::{Cluster, Discovery, DiscoveryKind, Inventory, Seen};
use crate::report::rows;
use crate::store;
use crate::wording::{count, kubemint};

/// Asks the sources, and shows or writes what they find.
pub(super) fn run(context: &CommandContext<'_>, args: &DiscoverArgs) -> Result<ExitCode, Error> {
    let loaded = load_offline(context, args.write.as_deref())?;
    let all = &loaded.inventory.discoveries;
    if all.is_empty() {
        return Err(Error::usage("the inventory has no `[[discover]]`").hint("docs/discovery.md says what it may have"));
    }
    if let Some(unknown) = args.source.iter().find(|id| !all.iter().any(|it| it.id.as_str() == id.as_str())) {
        let known: Vec<&str> = all.iter().map(|discovery| discovery.id.as_str()).collect();
        return Err(Error::usage(format!("no `[[discover]]` has the `id` `{unknown}`"))
            .hint(format!("there are {}", known.join(", "))));
    }
    if let Some(path) = &args.write
        && let Some(what) = loaded.use_of(&context.environment.directory.join(path))
        && what != "the inventory, or a part of it"
    {
        return Err(Error::usage(format!("`--write {}` is {what}", path.display())));
    }
    let is_wanted = |it: &&Discovery| args.source.is_empty() || args.source.iter().any(|id| id == it.id.as_str());
    let wanted: Vec<Discovery> = all.iter().filter(is_wanted).cloned().collect();
    let asked = block_on(ask_again(context, wanted))??;
    let sources: Vec<&str> = asked.iter().map(|asked| asked.discovery.id.as_str()).collect();
    let sources = format!("{SOURCES}{}\n", sources.join(", "));
    let (mut text, mut clusters, mut failed) = (format!("{HEADER}{sources}\n"), vec![], 0);
    for Asked { discovery, result } in &asked {
        match result {
            Ok(named) => {
                report_left_out(context, discovery, named);
                text.push_str(&named.text());
                clusters.extend(named.clusters.clone());
            }
            Err(why) => {
                failed += 1;
                context.printer.problem(&format!(
                    "error: discovery `{}` did not answer: {}\n",
                    discovery.id,
                    shown(why)
                ));
            }
        }
    }
    if args.output.is_some() {
        printed(context.printer.data(&document(&asked)?))?;
    } else if args.write.is_none() {
        printed(context.printer.data(&table(&clusters)))?;
    }
    if let Some(path) = &args.write {
        if failed > 0 {
            let shown = path.display();
            return Err(Error::new(ExitCode::Partial, format!("`{shown}` was not written: not every source answered"))
                .hint("leave that source out with `--source`, and give it a file of its own"));
        }
        let lost = |before: &str| check_lost(before, &clusters, args.max_gone.unwrap_or(MAX_PRUNE));
        write(context, path, &sources, text, lost)?;
        context.printer.remark(&format!(
            "wrote {} to `{}`; review it, and name it in `include`\n",
            count(clusters.len(), "cluster"),
            path.display()
        ));
    }
    Ok(match failed {
        0 => ExitCode::Done,
        failed if failed == asked.len() => ExitCode::AllFailed,
        _ => ExitCode::Partial,
    })
}

/// Writes the file, unless somebody else's is there, or one with clusters that would be `lost`.
fn write(
    context: &CommandContext<'_>,
    path: &std::path::Path,
    sources: &str,
    text: String,
    lost: impl Fn(&str) -> Result<(), String>,
) -> Result<(), Error> {
    let target = context.environment.directory.join(path);
    let written = store::update(&target, context.manner(false), |before| match before {
        Some(before) if !before.starts_with(HEADER.trim_end().as_bytes()) => {
            Err("it exists, and `kubemint discover --write` did not write it".to_owned())
        }
        Some(before) => {
            let before = String::from_utf8_lossy(before);
            match before.lines().find(|line| line.starts_with(SOURCES)) {
                Some(line) if line != sources.trim_end() => Err(format!(
                    "it has the clusters that were found by `{}`, which would be lost: ask the same, or write another file",
                    line.trim_start_matches(SOURCES)
                )),
                _ => lost(&before).map(|()| text.into_bytes()),
            }
        }
        None => Ok(text.into_bytes()),
    });
    written.map(drop).map_err(|error| {
        let failure = crate::executor::publish::describe(&error);
        Error { hint: failure.hint, ..Error::new(ExitCode::Blocked, failure.cause) }
    })
}

fn table(clusters: &[Discovered]) -> String {
    let row = |cluster: &Discovered| {
        let labels: Vec<String> = cluster.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let server = cluster.server.clone().unwrap_or_default();
        [cluster.name.clone(), cluster.source.to_string(), cluster.at.clone(), server, labels.join(",")]
    };
    rows(["CLUSTER", "SOURCE", "FOUND", "LEADS TO", "LABELS"], clusters.iter().map(row))
}

fn document(asked: &[Asked]) -> Result<String, Error> {
    let source = |asked: &Asked| {
        let id = asked.discovery.id.as_str();
        match &asked.result {
            Ok(named) => {
                let cluster = |it: &Discovered| json!({ "name": it.name, "found": it.at, "labels": it.labels, "server": it.server });
                let clusters: Vec<_> = named.clusters.iter().map(cluster).collect();
                let left_out: Vec<&str> = named.left_out.iter().map(|it| it.why.as_str()).collect();
                json!({ "source": id, "clusters": clusters, "left_out": left_out })
            }
            Err(why) => json!({ "source": id, "error": why }),
        }
    };
    let sources: Vec<_> = asked.iter().map(source).collect();
    json(
        &json!({ "schema_version": 1, "kubemint": env!("CARGO_PKG_VERSION"), "command": "discover", "sources": sources }),
    )
}

/// Says what the frozen sources of an inventory find by now, and the inventory does not have.
///
/// # Errors
///
/// If the inventory cannot be read any more.
pub(super) async fn compare(context: &CommandContext<'_>, inventory: &Inventory) -> Result<(), Error> {
    let frozen: Vec<Discovery> = inventory.discoveries.iter().filter(|it| it.is_frozen).cloned().collect();
    if frozen.is_empty() {
        return Ok(());
    }
    for Asked { discovery, result } in ask_again(context, frozen).await? {
        let said = match result {
            Ok(named) => changes(&discovery.id, &written_down(&discovery, inventory, &named.clusters), &named.clusters),
            Err(why) => {
                vec![format!(
                    "discovery `{}` did not answer: whether it finds other clusters is not known: {why}",
                    discovery.id
                )]
            }
        };
        for line in &said {
            context.printer.problem(&format!("note: {}\n", shown(line)));
        }
        if said.iter().any(|line| !line.contains("did not answer")) {
            let again = kubemint("discover", &["--write FILE".to_owned()], &[]);
            context
                .printer
                .problem(&format!("hint: look with `kubemint discover`, and write it down with `{again}`\n"));
        }
    }
    Ok(())
}

/// Returns the clusters of the inventory that a source found before. Where none is said to be of it, as in a file of an earlier
/// kubemint or one that somebody typed, those in files and of programs are known by their names.
fn written_down(discovery: &Discovery, inventory: &Inventory, found: &[Discovered]) -> Vec<Frozen> {
    let is_of_hub = matches!(discovery.kind, DiscoveryKind::Hub(_));
    let names: HashSet<&str> = found.iter().map(|found| found.name.as_str()).collect();
    let is_of = |cluster: &&Cluster| match &cluster.found_by {
        Some(source) => *source == discovery.id,
        None => !is_of_hub && names.contains(cluster.name.as_str()),
    };
    let frozen = |cluster: &Cluster| {
        let Seen { server, endpoint } = seen(&cluster.admin);
        Frozen { source: discovery.id.clone(), name: cluster.name.to_string(), server, endpoint }
    };
    inventory.clusters.iter().map(AsRef::as_ref).filter(is_of).map(frozen).collect()
}
