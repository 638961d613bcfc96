//! The documents that must agree with the code: schema, example, reference, examples/.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;

use super::{BASE, load, summarise};
use crate::inventory::{Color, SourceFile, render, schema, summary};
use crate::resolution::resolve;

const EXAMPLE: &str = include_str!("../../../clusters.toml.example");
const REFERENCE: &str = include_str!("../../../docs/inventory.md");
const INVENTORIES: [(&str, &str); 5] = [
    ("clusters.toml.example", EXAMPLE),
    ("minimal.toml", include_str!("../../../examples/inventories/minimal.toml")),
    ("calico-federation.toml", include_str!("../../../examples/inventories/calico-federation.toml")),
    ("capi-to-argocd.toml", include_str!("../../../examples/inventories/capi-to-argocd.toml")),
    ("team-per-namespace.toml", include_str!("../../../examples/inventories/team-per-namespace.toml")),
];

/// Returns the keys of each table of the schema, as `table.key`.
fn schema_keys() -> BTreeSet<String> {
    let schema = schema();
    let tables = schema["$defs"].as_object().unwrap().iter();
    let keys = tables.flat_map(|(table, definition)| {
        definition["properties"].as_object().unwrap().keys().map(move |key| format!("{table}.{key}"))
    });
    keys.collect()
}

fn as_json(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

#[test]
fn the_examples_resolve_without_problems_and_follow_the_schema() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    for (name, text) in INVENTORIES {
        let resolution = load(text);
        assert_eq!(summarise(&resolution), Vec::<String>::new(), "{name}");
        assert!(resolution.layout.is_some(), "{name}");
        let errors: Vec<String> = validator.iter_errors(&as_json(text)).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn schema_and_reader_agree() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let agree = |text: &str| {
        let is_valid = load(text).inventory.is_some();
        assert_eq!(validator.is_valid(&as_json(text)), is_valid, "{text}");
    };
    agree(BASE);
    let changes = [
        ("version = 1", "version = 2"),
        ("name = 'acme'", "name = 'Acme'"),
        ("name = 'acme'", "nmae = 'acme'"),
        ("name = 'acme'", ""),
        ("[defaults]", "[defaults]\nconcurrency = 0"),
        ("[defaults]", "[defaults]\nconcurrency = 4096"),
        ("[defaults]", "[defaults]\nrequest-timeout = 10"),
        ("[defaults]", "[defaults]\nrequest-timeout = '10'"),
        ("[defaults]", "[defaults]\nrequest-timeout = '10s'"),
        ("[defaults]", "[defaults]\ntoken.renew-after = 1"),
        ("[defaults]", "[defaults]\ntoken.renew-after = 0.9"),
        ("['edit']", "'edit'"),
        ("cluster-roles = ['edit']", "cluster-rules = [{ resources = ['pods'] }]"),
        ("labels = { env = 'dev' }", "labels = { env = 1 }"),
        ("labels = { env = 'dev' }", "labels = { env = 'dev' }\nconsumer.verify = 'admin'"),
        ("labels = { env = 'dev' }", "labels = { env = 'dev' }\nconsumer.verify = 'none'"),
        ("path = 'out", "kind = 'kubeconfig'\npath = 'out"),
        ("path = 'out", "kind = 'secret'\npath = 'out"),
        ("[defaults]", "[[rollout]]\nname = 'a'\nselector = ''\nmax-failures = 2\n[defaults]"),
        ("[defaults]", "[[rollout]]\nname = 'a'\nselector = ''\nmax-failures = '2%'\n[defaults]"),
        ("[defaults]", "[[rollout]]\nname = 'a'\nselector = ''\nmax-failures = '101%'\n[defaults]"),
        ("[defaults]", "[[rollout]]\nname = 'a'\nselector = ''\nmax-failures = -1\n[defaults]"),
        ("[defaults]", "[[rollout]]\nname = 'a'\n[defaults]"),
        ("[defaults]", "[[rollout]]\nname = 'A'\nselector = ''\n[defaults]"),
    ];
    for (from, to) in changes {
        agree(&BASE.replacen(from, to, 1));
    }
}

#[test]
fn every_key_of_the_schema_is_described() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for (table, definition) in schema["$defs"].as_object().unwrap() {
        for (key, property) in definition["properties"].as_object().unwrap() {
            for field in ["title", "description"] {
                assert!(property[field].as_str().is_some_and(|text| text.len() > 5), "{table}.{key}");
            }
        }
    }
}

#[test]
fn the_example_shows_every_key() {
    let mut shown = BTreeSet::new();
    collect_keys(&schema()["$defs"], "InventoryFile", &as_json(EXAMPLE), &mut shown);
    assert_eq!(shown, schema_keys());
}

/// Collects the keys of a table and of the tables in it, as `table.key`.
fn collect_keys(definitions: &Value, table: &str, value: &Value, shown: &mut BTreeSet<String>) {
    for (key, value) in value.as_object().unwrap() {
        shown.insert(format!("{table}.{key}"));
        let property = &definitions[table]["properties"][key];
        let inner = [&property["$ref"], &property["items"]["$ref"], &property["additionalProperties"]["$ref"]];
        let Some(inner) = inner.iter().find_map(|reference| reference.as_str()) else {
            continue;
        };
        let inner = inner.rsplit('/').next().unwrap();
        let values: Vec<&Value> = match value {
            Value::Array(elements) => elements.iter().collect(),
            Value::Object(entries) if property["additionalProperties"].is_object() => entries.values().collect(),
            table => vec![table],
        };
        for value in values {
            collect_keys(definitions, inner, value, shown);
        }
    }
}

#[test]
fn the_reference_has_the_keys_and_defaults_of_the_schema() {
    let sections = [
        ("InventoryFile", "## Top level"),
        ("DefaultsTable", "## `[defaults]`"),
        ("AdminTable", "## `admin`"),
        ("TokenTable", "## `token`"),
        ("PolicyTable", "## `[policy]`"),
        ("ExceptionTable", "## `[[policy.exceptions]]`"),
        ("ProfileTable", "## `[profiles.NAME]`"),
        ("NamespaceTable", "## `[[profiles.NAME.namespaces]]`"),
        ("RuleTable", "## Rules"),
        ("ClusterTable", "## `[[clusters]]`"),
        ("ConsumerTable", "## `consumer`"),
        ("DiscoverTable", "## `[[discover]]`"),
        ("GrantTable", "## `[[grants]]`"),
        ("OutputTable", "## `[[outputs]]`"),
        ("OptionsTable", "## `options`"),
        ("WaveTable", "## `[[rollout]]`"),
    ];
    let schema = schema();
    let mut tables: BTreeSet<&str> = schema["$defs"].as_object().unwrap().keys().map(String::as_str).collect();
    for (table, heading) in sections {
        assert!(tables.remove(table), "{table}");
        let definition = &schema["$defs"][table];
        let text = REFERENCE.split_once(&format!("{heading}\n")).unwrap_or_else(|| panic!("{heading}")).1;
        let rows = text.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| `"));
        let rows: Vec<Vec<&str>> =
            rows.map(|row| row.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect()).collect();
        let keys: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
        let known: Vec<&String> = definition["properties"].as_object().unwrap().keys().collect();
        assert_eq!(keys, known, "{heading}");
        for row in rows {
            let key = row[0].trim_matches('`');
            if definition["required"].as_array().is_some_and(|required| required.contains(&key.into())) {
                assert_eq!(row[2], "required", "{heading} {key}");
            } else if let Some(default) = definition["properties"][key].get("default") {
                assert_eq!(row[2], format!("`{default}`"), "{heading} {key}");
            }
        }
    }
    assert_eq!(tables, BTreeSet::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Pieces of a real inventory are cut out or replaced; most results are invalid TOML.
    #[test]
    fn resolving_never_panics(cuts in prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64, "\\PC{0,6}"), 1..5)) {
        let mut text = EXAMPLE.to_owned();
        for (from, length, put) in cuts {
            let mut start = position(from, text.len());
            let mut end = (start + position(length * length * 0.1, text.len())).min(text.len());
            while !text.is_char_boundary(start) { start -= 1; }
            while !text.is_char_boundary(end) { end += 1; }
            text.replace_range(start..end, &put);
        }
        let resolution = resolve(SourceFile::new("/inv/clusters.toml", text), vec![], super::environment());
        render(&resolution.problems, &resolution.sources, Color::Always);
        summary(&resolution.problems, &resolution.sources);
        prop_assert_eq!(resolution.inventory.is_some(), resolution.layout.is_some());
    }

    /// Lines are removed and words between quotes replaced. Most results are still valid TOML, so that the checks after
    /// the parser see odd values too.
    #[test]
    fn resolving_odd_values_never_panics(changes in prop::collection::vec((0..40_u8, "[^\"\\\\\\p{Cc}]{0,8}"), 120)) {
        let lines = EXAMPLE.lines().zip(&changes).filter(|(_, (change, _))| *change > 0);
        let lines = lines.map(|(line, (change, word))| match (change, line.split('"').collect::<Vec<_>>()) {
            (1..4, parts) if parts.len() > 2 => format!("{}\"{word}\"{}", parts[0], parts[2..].join("\"")),
            _ => line.to_owned(),
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let resolution = resolve(SourceFile::new("/inv/clusters.toml", text), vec![], super::environment());
        render(&resolution.problems, &resolution.sources, Color::Never);
        summary(&resolution.problems, &resolution.sources);
        prop_assert_eq!(resolution.inventory.is_some(), resolution.layout.is_some());
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a small text"
)]
fn position(share: f64, length: usize) -> usize {
    (share * length as f64) as usize
}
