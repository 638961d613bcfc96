//! Names and values of difficult characters: what is written is read back unchanged, by kubemint and by kubectl.

use std::collections::BTreeSet;

use kubemint::kubeconfig::edit::{Edit, List, Unranked, edit};
use kubemint::kubeconfig::{Document, EntryNames, UserForm};
use kubemint_testkit::control_plane;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// Texts that some reader or writer of YAML or JSON misunderstands: indicators, quotes, apparent numbers and booleans,
/// line breaks, byte order marks, invisible characters.
const ALPHABET: [&str; 62] = [
    "a", "0", "1", "e", ".", "_", "x", "-", "--", ":", ": ", " #", "#", "?", "!", "!!str", "&", "*", "|", ">", "%",
    "@", "`", "~", "=", "<<", "{", "}", "[", "]", ",", "'", "\"", "\\", "/", "$", "${x}", "<", " ", "  ", "\t", "\n",
    "\r", "\r\n", "\u{0}", "\u{1b}", "\u{7f}", "\u{85}", "\u{a0}", "\u{2028}", "\u{2029}", "\u{feff}", "\u{fffd}",
    "\u{fffe}", "\u{200b}", "\u{202e}", "\u{e000}", "ß", "名", "😀", "null", "yes",
];

/// How many entries are put into one file, because a call of kubectl costs 50 ms.
const IN_A_FILE: usize = 60;
const FILES: u32 = 25;

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(ALPHABET.to_vec()), 1..7).prop_map(|parts| parts.concat())
}

/// Returns the three entries under one name, with a value in fields of each kind.
fn entries(name: &str, value: &str) -> [(List, Value); 3] {
    [
        (List::Clusters, json!({"name": name, "cluster": {"server": "https://a:6443", "tls-server-name": value}})),
        (
            List::Users,
            json!({"name": name, "user": {"exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "args": [value, format!("--audience={value}")],
                "command": "/usr/bin/kubemint",
                "env": null,
                "interactiveMode": "Never",
                "provideClusterInfo": false,
            }}}),
        ),
        (List::Contexts, json!({"name": name, "context": {"cluster": name, "user": name, "namespace": value}})),
    ]
}

fn by_name<'a>(read: &'a Value, list: &str, name: &str) -> &'a Value {
    let entries = read[list].as_array().unwrap();
    entries.iter().find(|entry| entry["name"] == name).unwrap_or_else(|| panic!("{list} lacks {name:?}"))
}

#[test]
fn whatever_is_written_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let pairs = proptest::collection::vec((text(), text()), IN_A_FILE);
    let config = ProptestConfig { failure_persistence: None, cases: FILES, ..ProptestConfig::default() };
    let check = |pairs: Vec<(String, String)>| {
        let mut seen = BTreeSet::new();
        let pairs: Vec<_> = pairs.into_iter().filter(|(name, _)| seen.insert(name.clone())).collect();
        let mut bytes = b"# mine\nusers: []\n".to_vec();
        for half in pairs.chunks(IN_A_FILE / 2) {
            let edits: Vec<Edit> = half
                .iter()
                .flat_map(|(name, value)| entries(name, value))
                .map(|(list, entry)| Edit::Upsert { list, entry })
                .collect();
            bytes = edit(&bytes, &edits, &Unranked).unwrap();
        }
        let written = String::from_utf8(bytes.clone()).unwrap();
        let document = Document::parse(&written).unwrap_or_else(|error| panic!("{error}:\n{written}"));
        let file = directory.path().join("config");
        super::write(&file, &written);
        let output = control_plane::kubectl(&file, ["config", "view", "--raw", "-o", "json"]).unwrap();
        assert!(output.success(), "{}\n{written}", output.stderr);
        let kubectl: Value = serde_json::from_str(&output.stdout).unwrap();
        for (name, value) in &pairs {
            let names = EntryNames {
                context: name.clone(),
                cluster: name.clone(),
                user: name.clone(),
                namespace: None,
                form: UserForm::Token,
                shares_cluster: false,
            };
            assert_eq!(document.taken(&names).len(), 3, "{name:?}");
            assert_eq!(by_name(&kubectl, "clusters", name)["cluster"]["tls-server-name"], value.as_str());
            let exec = &by_name(&kubectl, "users", name)["user"]["exec"];
            assert_eq!(exec["args"], json!([value, format!("--audience={value}")]));
            assert_eq!(by_name(&kubectl, "contexts", name)["context"]["namespace"], value.as_str());
        }
        // The same again is nothing, and so is taking everything out again.
        let again: Vec<Edit> = pairs
            .iter()
            .flat_map(|(name, value)| entries(name, value))
            .map(|(list, entry)| Edit::Upsert { list, entry })
            .collect();
        assert_eq!(edit(&bytes, &again, &Unranked).unwrap(), bytes);
        Ok(())
    };
    TestRunner::new(config).run(&pairs, check).unwrap_or_else(|error| panic!("{error}"));
}
