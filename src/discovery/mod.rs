//! Discovered clusters: how they are named, and the text of the inventory file that they become.
//!
//! What a source finds is turned into the same text that `kubemint discover --write` writes, and is then read like any file
//! of an inventory: so a run with it does what a run with the written file would do. Pure: no I/O, no clock.

mod compare;

use std::collections::{BTreeMap, HashMap};

use toml::{Table, Value};

pub(crate) use self::compare::{Frozen, changes, check_lost};
use crate::inventory::{Discovery, DiscoveryId, DiscoveryKind, syntax};
use crate::selector;
use crate::template::{Part, Template};

/// A cluster that a source found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FoundCluster {
    /// What was found, as in `Secret fleet/prod-kubeconfig`.
    pub at: String,
    /// What the template of its name knows, besides labels.
    pub variables: Vec<(&'static str, String)>,
    /// All labels of what was found.
    pub labels: BTreeMap<String, String>,
    /// The keys of its `admin`.
    pub admin: Table,
    /// The keys of its `consumer`, if the source says any.
    pub consumer: Option<Table>,
    /// Where it leads, if that is known.
    pub server: Option<String>,
}

/// Something that a source found and that cannot be a cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unfit {
    /// What it is, and why.
    pub why: String,
    /// What a cluster in its place would be named by, if that is known.
    pub named_by: Option<NamedBy>,
}

/// What the name of a cluster is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NamedBy {
    /// What the template knows, besides labels.
    pub variables: Vec<(&'static str, String)>,
    /// All labels.
    pub labels: BTreeMap<String, String>,
}

impl From<String> for Unfit {
    fn from(why: String) -> Self {
        Self { why, named_by: None }
    }
}

/// What was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Omission {
    /// What it is, and why.
    pub why: String,
    /// The name that it came to, or would have, if that is known.
    pub name: Option<String>,
}

/// A cluster with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Discovered {
    /// The source.
    pub source: DiscoveryId,
    /// The name.
    pub name: String,
    /// What was found.
    pub at: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it leads, if that is known.
    pub server: Option<String>,
    /// The digest of that, and of how it is reached and trusted, if that is known.
    pub endpoint: Option<String>,
}

/// What a source came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Named {
    /// The clusters, by name.
    pub clusters: Vec<Discovered>,
    /// The tables of an inventory file that has them, in their order.
    tables: Vec<Table>,
    /// What was left out, and why.
    pub left_out: Vec<Omission>,
}

impl Named {
    /// Returns the text of an inventory file that has them.
    pub(crate) fn text(&self) -> String {
        self.tables.iter().map(|table| text(table.clone())).collect()
    }

    /// Returns the same text for a run that asks the source itself. Of files of this machine, it does not say where they led
    /// when they were found: nobody reviewed that, and the tool of a cloud may write them again before the source is asked again.
    pub(crate) fn live_text(&self, discovery: &Discovery) -> String {
        if matches!(discovery.kind, DiscoveryKind::Hub(_)) {
            return self.text();
        }
        let unpinned = |table: &Table| {
            let mut table = table.clone();
            if let Some(Value::Table(admin)) = table.get_mut("admin") {
                admin.remove("seen-server");
                admin.remove("seen-endpoint");
                // Alone, it would stand for what the source finds.
                if admin.keys().all(|key| key == "discovered") {
                    admin.clear();
                }
            }
            text(table)
        };
        self.tables.iter().map(unpinned).collect()
    }

    /// Notes where each leads, as `lead` says, or leaves it out. An access that says itself where it leads is told apart from
    /// what was seen of it.
    pub(crate) fn see(&mut self, mut lead: impl FnMut(&str) -> Option<Result<Led, String>>) {
        let found = std::mem::take(&mut self.clusters).into_iter().zip(std::mem::take(&mut self.tables));
        for (mut cluster, mut table) in found {
            match lead(&cluster.name) {
                Some(Err(why)) => {
                    let why = format!("{}: {why}", cluster.at);
                    self.left_out.push(Omission { why, name: Some(cluster.name) });
                    continue;
                }
                Some(Ok(led)) => {
                    if let (true, Some(Value::Table(admin))) = (led.is_elsewhere, table.get_mut("admin")) {
                        admin.insert("seen-server".to_owned(), led.server.as_str().into());
                        admin.insert("seen-endpoint".to_owned(), led.endpoint.as_str().into());
                        // A program that prints names only leaves the rest to the defaults, and these keys say of whom they are.
                        let source = || Value::from(cluster.source.as_str());
                        admin.entry("discovered").or_insert_with(source);
                    }
                    (cluster.server, cluster.endpoint) = (Some(led.server), Some(led.endpoint));
                }
                None => {}
            }
            self.clusters.push(cluster);
            self.tables.push(table);
        }
    }
}

/// Where a cluster was seen to lead.
#[derive(Debug)]
pub(crate) struct Led {
    /// The address.
    pub server: String,
    /// The digest of that, and of how it is reached and trusted.
    pub endpoint: String,
    /// Whether a kubeconfig says so, which may say something else later.
    pub is_elsewhere: bool,
}

/// Names what a source found. `taken` are the names that other sources gave, and what they gave them to.
pub(crate) fn named(
    discovery: &Discovery,
    found: Vec<Result<FoundCluster, Unfit>>,
    taken: &mut HashMap<String, String>,
) -> Named {
    let mut named = Named::default();
    let mut tables: BTreeMap<String, (Table, Discovered)> = BTreeMap::new();
    // Of two that come to one name, neither is taken: which one was meant is not known.
    let mut doubled: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for found in found {
        let cluster = match found {
            Ok(found) => one(discovery, found),
            Err(Unfit { why, named_by }) => {
                let name = named_by.and_then(|by| name_of(discovery, &by.variables, &by.labels).ok());
                Err(Omission { why, name })
            }
        };
        let (name, table, discovered) = match cluster {
            Ok(cluster) => cluster,
            Err(omission) => {
                named.left_out.push(omission);
                continue;
            }
        };
        let at = discovered.at.clone();
        if let Some(other) = taken.get(&name) {
            let why = format!("{at} comes to the name `{name}`, as does {other} of another source");
            named.left_out.push(Omission { why, name: Some(name) });
        } else if let Some(all) = doubled.get_mut(&name) {
            all.push(at);
        } else if let Some((_, first)) = tables.remove(&name) {
            doubled.insert(name, vec![first.at, at]);
        } else {
            tables.insert(name, (table, discovered));
        }
    }
    for (name, all) in doubled {
        let all = crate::wording::list(all.iter().map(String::as_str), 3);
        let why = format!("{all} come to one name, `{name}`: set another `name` in that `[[discover]]`");
        named.left_out.push(Omission { why, name: Some(name) });
    }
    for (name, (table, discovered)) in tables {
        taken.insert(name, discovered.at.clone());
        named.tables.push(table);
        named.clusters.push(discovered);
    }
    named
}

/// Returns the name that a source's template gives.
///
/// # Errors
///
/// If it has no form, or a variable has no value.
fn name_of(
    discovery: &Discovery,
    variables: &[(&'static str, String)],
    labels: &BTreeMap<String, String>,
) -> Result<String, String> {
    let template = Template::parse_with(&discovery.name, |_| true).map_err(|_| "its name has no form".to_owned())?;
    let value = |variable: &str| match variable.strip_prefix("labels.") {
        Some(key) => labels.get(key).map(String::as_str),
        None => variables.iter().find(|(name, _)| *name == variable).map(|(_, value)| value.as_str()),
    };
    let mut name = String::new();
    for part in template.parts() {
        match part {
            Part::Text(text) => name.push_str(text),
            Part::Variable(variable) => match value(variable) {
                Some(value) => name.push_str(value),
                None => return Err(format!("it has no `{variable}`, which its name needs")),
            },
        }
    }
    Ok(name)
}

/// Names one cluster, and returns its table.
///
/// # Errors
///
/// If it cannot have that name, or lacks a label that its name needs; the error says what was found.
fn one(discovery: &Discovery, found: FoundCluster) -> Result<(String, Table, Discovered), Omission> {
    let FoundCluster { at, variables, labels: all, admin, consumer, server } = found;
    let name =
        name_of(discovery, &variables, &all).map_err(|why| Omission { why: format!("{at}: {why}"), name: None })?;
    if let Err(why) = syntax::cluster_name(&name) {
        let why = format!("{at}: `{name}` cannot be the name of a cluster: {why}");
        return Err(Omission { why, name: Some(name) });
    }
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for key in &discovery.labels {
        // Labels of other kinds of things may have values that labels cannot have.
        if let Some(value) = all.get(key).filter(|value| selector::validate_label_value(value).is_ok()) {
            labels.insert(key.clone(), value.clone());
        }
    }
    labels.extend(discovery.add_labels.clone());
    let mut table = Table::new();
    table.insert("name".to_owned(), name.clone().into());
    if !labels.is_empty() {
        let labels: Table = labels.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
        table.insert("labels".to_owned(), labels.into());
    }
    let endpoint = admin.get("seen-endpoint").and_then(Value::as_str).map(str::to_owned);
    table.insert("admin".to_owned(), admin.into());
    if let Some(consumer) = consumer {
        table.insert("consumer".to_owned(), consumer.into());
    }
    let discovered = Discovered { source: discovery.id.clone(), name: name.clone(), at, labels, server, endpoint };
    Ok((name, table, discovered))
}

/// Returns the text of one cluster's table.
fn text(cluster: Table) -> String {
    let tables = Table::from_iter([("clusters".to_owned(), Value::Array(vec![cluster.into()]))]);
    let mut text = toml::to_string(&tables).expect("tables of texts can be written");
    text.push('\n');
    text
}

/// What a file that `kubemint discover --write` writes begins with.
pub(crate) const HEADER: &str =
    "# Written by `kubemint discover --write`, which writes it again. Review it and include it.\n";
/// What the line begins with that names the sources of such a file.
pub(crate) const SOURCES: &str = "# Found by: ";

#[cfg(test)]
mod tests {
    use super::*;

    fn program(id: &str, name: &str) -> Discovery {
        Discovery {
            id: DiscoveryId::new(id),
            kind: DiscoveryKind::Command(vec!["./list".to_owned()]),
            name: name.to_owned(),
            labels: vec![],
            add_labels: BTreeMap::new(),
            is_frozen: false,
        }
    }

    fn cluster(name: &str, admin: Table) -> FoundCluster {
        FoundCluster {
            at: format!("`{name}`"),
            variables: vec![("name", name.to_owned())],
            labels: BTreeMap::new(),
            admin,
            consumer: None,
            server: None,
        }
    }

    /// The tool of a cloud writes kubeconfigs again whenever it likes, which only who reviewed them may mind.
    #[test]
    fn only_what_is_written_says_where_files_led() {
        let source = program("cloud", "{name}");
        let keys = [("discovered", "cloud"), ("context", "x")].map(|(key, value)| (key.to_owned(), value.into()));
        let found = vec![Ok(cluster("named", Table::new())), Ok(cluster("said", Table::from_iter(keys)))];
        let mut named = named(&source, found, &mut HashMap::new());
        let led = || Led { server: "https://x".to_owned(), endpoint: "digest".to_owned(), is_elsewhere: true };
        named.see(|_| Some(Ok(led())));
        let admins = |text: String| -> Vec<String> {
            let table: Table = text.parse().unwrap();
            let clusters = table["clusters"].as_array().unwrap().iter();
            let keys = |admin: &Value| admin.as_table().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
            clusters.map(|cluster| keys(&cluster["admin"])).collect()
        };
        let written = ["discovered seen-endpoint seen-server", "context discovered seen-endpoint seen-server"];
        assert_eq!(admins(named.text()), written);
        assert_eq!(admins(named.live_text(&source)), ["", "context discovered"]);
    }

    /// Whether a later source's cluster of one name is contested by what cannot be used depends on the name that it would have.
    #[test]
    fn what_is_left_out_keeps_its_name() {
        let source = program("a", "{name}-{labels.env}");
        let labels = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
        let unfit = |named_by| Err(Unfit { why: "broken".to_owned(), named_by });
        let of = |name: &str, labels: &BTreeMap<String, String>| {
            Some(NamedBy { variables: vec![("name", name.to_owned())], labels: labels.clone() })
        };
        let twin = || Ok(FoundCluster { labels: labels.clone(), ..cluster("twin", Table::new()) });
        let found = vec![
            unfit(of("eu", &labels)),
            // The label may have been on it before.
            unfit(of("us", &BTreeMap::new())),
            unfit(None),
            Ok(cluster("bare", Table::new())),
            Ok(FoundCluster { labels: labels.clone(), ..cluster("taken", Table::new()) }),
            twin(),
            twin(),
        ];
        let mut taken = HashMap::from([("taken-prod".to_owned(), "another".to_owned())]);
        let named = named(&source, found, &mut taken);
        let names: Vec<_> = named.left_out.iter().map(|it| it.name.as_deref().unwrap_or("?")).collect();
        assert_eq!(names, ["eu-prod", "?", "?", "?", "taken-prod", "twin-prod"]);
    }
}
