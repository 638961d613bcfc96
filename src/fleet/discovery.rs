//! Asks the sources of an inventory for clusters.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::StreamExt;
use glob::Pattern;
use serde_json::Value as Json;
use tokio::process::Command;
use toml::{Table, Value};

use crate::cluster::discover::{Finds, discover};
use crate::cluster::process::{Finished, given_as_arguments, spawn, without};
use crate::cluster::{AdminEnvironment, AdminSources, Leads};
use crate::discovery::{FoundCluster, Led, Named, NamedBy, Unfit, named};
use crate::executor::Clock;
use crate::failure::clean;
use crate::inventory::{AdminAccess, Discovery, DiscoveryId, DiscoveryKind, KubeconfigSource};

/// What one source came to.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The source.
    pub discovery: Discovery,
    /// Its clusters, or why there are none.
    pub result: Result<Named, String>,
}

/// How long a hub or a program may take to name its clusters.
const LONGEST: Duration = Duration::from_secs(120);
/// A line for each of 100,000 clusters.
const LARGEST_OUTPUT: u64 = 64 * 1024 * 1024;
/// How many sources are asked at the same time.
const AT_A_TIME: usize = 16;

/// Asks some sources, all at the same time, and names what they found. One that fails changes nothing for the others.
///
/// `accesses` says what the inventory makes of the clusters that a program printed, by name.
pub(crate) async fn ask(
    discoveries: Vec<Discovery>,
    environment: &AdminEnvironment,
    accesses: impl Fn(&Discovery, String) -> HashMap<String, AdminAccess>,
    clock: Clock,
    limit: Duration,
) -> Vec<Asked> {
    let hubs = discoveries.iter().filter_map(|discovery| match &discovery.kind {
        DiscoveryKind::Hub(hub) => Some(&hub.access),
        DiscoveryKind::Kubeconfigs(_) | DiscoveryKind::Command(_) => None,
    });
    let admin = AdminSources::load(hubs, environment, limit);
    let asked = futures::stream::iter(discoveries).map(|discovery| {
        let admin = &admin;
        async move {
            let found = match &discovery.kind {
                DiscoveryKind::Hub(hub) => match admin.lease_hub(hub, || clock.now()).await {
                    Ok(lease) => {
                        let found = discover(&lease.api, &discovery.id, hub);
                        match tokio::time::timeout(LONGEST, found).await {
                            Ok(found) => lease.end(found).map_err(|error| error.to_string()),
                            Err(_) => Err(format!("it took longer than {} s", LONGEST.as_secs())),
                        }
                    }
                    Err(error) => Err(error.to_string()),
                },
                DiscoveryKind::Kubeconfigs(source) => kubeconfigs(&discovery.id, source, environment, limit),
                DiscoveryKind::Command(command) => run(&discovery.id, command).await,
            };
            (discovery, found)
        }
    });
    let asked: Vec<(Discovery, Result<Finds, String>)> = asked.buffered(AT_A_TIME).collect().await;
    // In the order of the inventory, so that names are given alike in each run.
    let mut taken = HashMap::new();
    let name = |(discovery, found): (Discovery, Result<Finds, String>)| {
        let result = found.map(|found| {
            let mut named = named(&discovery, found, &mut taken);
            if let DiscoveryKind::Command(_) = &discovery.kind {
                let accesses = accesses(&discovery, named.text());
                see(&mut named, &accesses, environment, limit);
            }
            named
        });
        Asked { discovery, result }
    };
    asked.into_iter().map(name).collect()
}

/// Notes where the clusters of a program lead. What the program says itself is in its access; what a kubeconfig says that it
/// names is read there.
fn see(named: &mut Named, accesses: &HashMap<String, AdminAccess>, environment: &AdminEnvironment, limit: Duration) {
    let sources = AdminSources::load(accesses.values(), environment, limit);
    named.see(|name| {
        // What is wrong with an access is reported with the inventory.
        let access = accesses.get(name)?;
        let led = sources.leads(access).map(|Leads { server, endpoint }| Led {
            server,
            endpoint,
            is_elsewhere: matches!(access, AdminAccess::Kubeconfig { .. }),
        });
        Some(led.map_err(|error| error.to_string()))
    });
}

/// Finds the contexts of kubeconfigs.
fn kubeconfigs(
    id: &DiscoveryId,
    source: &KubeconfigSource,
    environment: &AdminEnvironment,
    limit: Duration,
) -> Result<Finds, String> {
    let access = AdminAccess::context(source.clone(), "");
    let sources = AdminSources::load([&access], environment, limit);
    let contexts = sources.contexts().map_err(|error| error.to_string())?;
    let found = contexts.into_iter().map(|found| {
        let file = found.file.display().to_string();
        let at = clean(&format!("context `{}` of `{file}`", found.name));
        let stem = found.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let variables = vec![("context", found.name.clone()), ("file", stem)];
        let left_out = |why: &str| Unfit {
            why: format!("{at}: {why}"),
            named_by: Some(NamedBy { variables: variables.clone(), labels: BTreeMap::new() }),
        };
        if let Some(problem) = found.problem {
            return Err(left_out(&problem.to_string()));
        }
        if found.is_insecure {
            return Err(left_out("it does not check the server's certificate; name that cluster in the inventory"));
        }
        let leads = found.leads.ok_or_else(|| left_out("it does not say where it leads"))?;
        let kubeconfig = match source {
            KubeconfigSource::List(paths) => {
                paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
            }
            _ if file.contains(':') => {
                return Err(left_out("its path has a `:`, which separates kubeconfigs in an inventory"));
            }
            // Of a name that would be a pattern, one is written that only this file matches.
            _ => Pattern::escape(&file),
        };
        Ok(FoundCluster {
            at,
            variables,
            labels: BTreeMap::new(),
            admin: Table::from_iter([
                ("discovered".to_owned(), Value::from(id.as_str())),
                ("kubeconfig".to_owned(), Value::from(kubeconfig)),
                ("context".to_owned(), found.name.into()),
                ("seen-server".to_owned(), Value::from(leads.server.as_str())),
                ("seen-endpoint".to_owned(), leads.endpoint.into()),
            ]),
            consumer: None,
            server: Some(leads.server),
        })
    });
    Ok(found.collect())
}

/// Runs a program, and reads the clusters that it prints.
async fn run(id: &DiscoveryId, command: &[String]) -> Result<Finds, String> {
    let (program, arguments) = command.split_first().ok_or("it names no program")?;
    let shown = clean(program);
    let child =
        spawn(Command::new(program).args(arguments)).map_err(|error| format!("`{shown}` cannot be run: {error}"))?;
    let Finished { status, stdout, stderr } =
        Finished::of(child, LONGEST, LARGEST_OUTPUT).await.map_err(|why| format!("`{shown}` {why}"))?;
    if !status.success() {
        // As of exec plugins, nothing that it was given is repeated.
        let said = without(&String::from_utf8_lossy(&stderr), given_as_arguments(arguments));
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        return Err(format!("`{shown}` failed ({status}): {}", clean(last)));
    }
    let output = String::from_utf8(stdout).map_err(|_| format!("`{shown}` printed what is not UTF-8 text"))?;
    let lines = (1..).zip(output.lines()).filter(|(_, line)| !line.trim().is_empty());
    Ok(lines.map(|(number, text)| line(id, text, &format!("line {number} of `{shown}`"))).collect())
}

/// The keys of an `admin` that a program may say, and of a `consumer`.
const ADMIN: [&str; 10] = [
    "kubeconfig",
    "context",
    "server",
    "certificate-authority",
    "token-file",
    "client-certificate",
    "client-key",
    "tls-server-name",
    "proxy-url",
    "in-cluster",
];
const CONSUMER: [&str; 5] = ["server", "certificate-authority", "tls-server-name", "proxy-url", "verify"];

/// Reads one line. Its values are not quoted in errors: somebody may have printed a secret.
fn line(id: &DiscoveryId, text: &str, at: &str) -> Result<FoundCluster, Unfit> {
    let object: Json = serde_json::from_str(text).map_err(|_| format!("{at} is no JSON object"))?;
    let fields = object.as_object().ok_or_else(|| format!("{at} is no JSON object"))?;
    let name = fields.get("name").and_then(Json::as_str).ok_or_else(|| format!("{at} has no `name`"))?;
    let at = clean(&format!("`{name}` in {at}"));
    let labels = fields.get("labels").and_then(Json::as_object).into_iter().flatten();
    let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    let variables = vec![("name", name.to_owned())];
    named_line(id, fields, at).map_err(|why| Unfit { why, named_by: Some(NamedBy { variables, labels }) })
}

/// Reads the fields of a line that has a name.
fn named_line(id: &DiscoveryId, fields: &serde_json::Map<String, Json>, at: String) -> Result<FoundCluster, String> {
    let name = fields.get("name").and_then(Json::as_str).unwrap_or_default();
    let mut labels = BTreeMap::new();
    for (key, value) in fields.get("labels").and_then(Json::as_object).into_iter().flatten() {
        let value = value.as_str().ok_or_else(|| format!("{at}: the label `{}` is no text", clean(key)))?;
        labels.insert(key.clone(), value.to_owned());
    }
    let table = |fields: &serde_json::Map<String, Json>, known: &[&str], others: &[&str]| {
        let mut table = Table::new();
        for (key, value) in fields.iter().filter(|(key, _)| !others.contains(&key.as_str())) {
            let value = match value {
                Json::String(text) => Value::from(text.as_str()),
                Json::Bool(flag) => Value::from(*flag),
                _ => return Err(format!("{at}: `{}` is neither text nor a boolean", clean(key))),
            };
            if !known.contains(&key.as_str()) {
                return Err(format!("{at}: `{}` is unknown; known are {}", clean(key), known.join(", ")));
            }
            table.insert(key.clone(), value);
        }
        Ok(table)
    };
    let mut admin = table(fields, &ADMIN, &["name", "labels", "consumer"])?;
    // Alone, it would stand for what the source finds.
    if !admin.is_empty() {
        admin.insert("discovered".to_owned(), id.as_str().into());
    }
    let consumer = match fields.get("consumer") {
        Some(Json::Object(consumer)) => Some(table(consumer, &CONSUMER, &[])?),
        Some(_) => return Err(format!("{at}: its `consumer` is no object")),
        None => None,
    };
    let server = admin.get("server").and_then(Value::as_str).map(str::to_owned);
    Ok(FoundCluster { at, variables: vec![("name", name.to_owned())], labels, admin, consumer, server })
}
