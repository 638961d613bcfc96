//! Puts the reports of the parts of a fleet together into one, as a run on the whole fleet would have made it.
//!
//! Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::{
    Body, Changes, ClusterReport, Command, CredentialSummary, Head, Report, ShardReport, Status, Verification,
};
use crate::names::ClusterName;
use crate::plan::{Note, NoteKind};
use crate::shard::Shard;
use crate::wording::list;

/// Reads a report as `-o json` wrote it.
///
/// # Errors
///
/// If it is none, or of a version that is not known; the error says which. No value is quoted.
pub(crate) fn read(content: &[u8]) -> Result<Report, String> {
    let value: Value = serde_json::from_slice(content).map_err(|_| "it is no JSON document".to_owned())?;
    if value["schema_version"] != super::SCHEMA_VERSION {
        return Err("it is no report of a version that this kubemint reads".to_owned());
    }
    let head: Head = parse(&value)?;
    let body = match head.command {
        Command::Plan | Command::Apply | Command::Refresh | Command::Revoke | Command::Retire => {
            Body::Changes(parse(&value)?)
        }
        Command::Status => Body::Status(parse(&value)?),
        Command::Verify => Body::Verification(parse(&value)?),
    };
    Ok(Report { head, body })
}

fn parse<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|_| "it is no report of kubemint".to_owned())
}

/// Puts the reports of all parts together; each comes with the name of its file.
///
/// # Errors
///
/// If a part is missing or there twice, or they are not of one run on one inventory; the error is a sentence.
pub(crate) fn join(parts: Vec<(String, Report)>) -> Result<Report, String> {
    let mut by_index: BTreeMap<u32, (String, Report)> = BTreeMap::new();
    let mut first: Option<(String, Head, ShardReport)> = None;
    for (name, report) in parts {
        let Some(shard) = report.head.shard.clone() else {
            return Err(format!("`{name}` is about a whole fleet, and not about a part of one"));
        };
        let (index, head) = (shard.index, &report.head);
        Shard::new(index, shard.of).map_err(|why| format!("`{name}` is about part {index} of {}: {why}", shard.of))?;
        is_whole(&report, &shard).map_err(|why| format!("`{name}` was changed or cut: {why}"))?;
        let (known, other_head, other) = first.get_or_insert_with(|| (name.clone(), head.clone(), shard.clone()));
        let inventories_differ =
            other_head.inventory != head.inventory || other.inventory_digest != shard.inventory_digest;
        let differs = [
            ("commands", other_head.command != head.command),
            ("inventories", inventories_differ),
            ("choices of clusters and profiles", other.selection_digest != shard.selection_digest),
            ("holders", other_head.holder != head.holder),
            ("numbers of parts", other.of != shard.of),
            ("jobs (`KUBEMINT_JOB`)", other.job != shard.job),
            ("versions of kubemint", other_head.kubemint != head.kubemint),
        ];
        if let Some((what, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            return Err(format!("`{known}` and `{name}` are of different {what}"));
        }
        if let Some((other, _)) = by_index.insert(index, (name.clone(), report)) {
            return Err(format!("`{other}` and `{name}` are both about part {index} of {}", shard.of));
        }
    }
    let Some((_, head, ShardReport { of, .. })) = first else { return Err("there is no report".to_owned()) };
    let missing: Vec<String> = (0..of).filter(|index| !by_index.contains_key(index)).map(|it| it.to_string()).collect();
    if !missing.is_empty() {
        let missing = list(missing.iter().map(String::as_str), 5);
        return Err(format!("there are {of} parts, and these have no report: {missing}"));
    }
    let reports: Vec<Report> = by_index.into_values().map(|(_, report)| report).collect();
    let started = reports.iter().map(|report| report.head.started).min().unwrap_or(head.started);
    let undiscovered = reports.iter().flat_map(|report| report.head.undiscovered.clone()).collect();
    let body = match head.command {
        Command::Status => Body::Status(statuses(reports)?),
        Command::Verify => Body::Verification(verifications(reports)?),
        Command::Plan | Command::Apply | Command::Refresh | Command::Revoke | Command::Retire => {
            Body::Changes(changes(reports)?)
        }
    };
    Ok(Report { head: Head { started, run: None, shard: None, undiscovered, ..head }, body })
}

/// Whether a part has all clusters that it says it is about, and no others.
fn is_whole(report: &Report, shard: &ShardReport) -> Result<(), String> {
    let said: Vec<&ClusterName> = match &report.body {
        Body::Changes(changes) => changes.clusters.iter().map(|cluster| &cluster.name).collect(),
        Body::Verification(verification) => verification.clusters.iter().map(|cluster| &cluster.name).collect(),
        // It lists grants, of which a cluster may have none at the moment.
        Body::Status(_) => return Ok(()),
    };
    let mut missing: BTreeSet<&ClusterName> = shard.positions.keys().collect();
    for cluster in said {
        if !missing.remove(cluster) {
            return Err(format!("cluster `{cluster}` is there twice, or is none of this part"));
        }
    }
    match missing.first() {
        None => Ok(()),
        Some(cluster) => Err(format!("it says nothing of cluster `{cluster}`")),
    }
}

/// Puts what parts say of their clusters together, in the order of the inventory.
fn in_order<T>(
    parts: Vec<(Option<ShardReport>, Vec<T>)>,
    cluster_of: impl Fn(&T) -> &ClusterName,
) -> Result<Vec<T>, String> {
    let mut all = vec![];
    for (shard, said) in parts {
        let ShardReport { index, of, positions, .. } = shard.ok_or("a report says no part")?;
        for one in said {
            let cluster = cluster_of(&one);
            let position = positions.get(cluster).copied();
            let lacks = || format!("the report of part {index} of {of} does not say where cluster `{cluster}` stands");
            all.push((position.ok_or_else(lacks)?, one));
        }
    }
    all.sort_by_key(|(position, _)| *position);
    for pair in all.windows(2) {
        let [(one, first), (other, second)] = pair else { continue };
        let (first, second) = (cluster_of(first), cluster_of(second));
        if one == other && first != second {
            return Err(format!("clusters `{first}` and `{second}` stand at one place"));
        }
    }
    Ok(all.into_iter().map(|(_, one)| one).collect())
}

fn changes(reports: Vec<Report>) -> Result<Changes, String> {
    let (mut credentials, mut waves): (Option<CredentialSummary>, Vec<_>) = (None, vec![]);
    let parts = reports.into_iter().filter_map(|Report { head, body }| {
        let Body::Changes(part) = body else { return None };
        credentials = match (credentials, part.credentials) {
            (Some(sum), Some(more)) => Some(sum.and(more)),
            (one, other) => one.or(other),
        };
        waves.extend(part.waves);
        Some((head.shard, part.clusters))
    });
    let mut clusters = in_order(parts.collect(), |cluster| &cluster.name)?;
    note_duplicates(&mut clusters);
    let joined = Changes::new(clusters).in_known_waves(waves);
    Ok(Changes { credentials, ..joined })
}

fn verifications(reports: Vec<Report>) -> Result<Verification, String> {
    let mut strict = false;
    let parts = reports.into_iter().filter_map(|Report { head, body }| {
        let Body::Verification(part) = body else { return None };
        strict |= part.strict;
        Some((head.shard, part.clusters))
    });
    let clusters = in_order(parts.collect(), |cluster| &cluster.name)?;
    Ok(Verification::new(strict, clusters))
}

fn statuses(reports: Vec<Report>) -> Result<Status, String> {
    let (mut is_offline, mut legacy, mut notes) = (true, None, vec![]);
    let parts = reports.into_iter().filter_map(|Report { head, body }| {
        let Body::Status(part) = body else { return None };
        is_offline &= part.offline;
        if let Some(tokens) = part.legacy_tokens {
            legacy.get_or_insert_with(Vec::new).extend(tokens);
        }
        notes.extend(part.notes);
        Some((head.shard, part.grants))
    });
    let grants = in_order(parts.collect(), |grant| &grant.cluster)?;
    Ok(Status::new(is_offline, grants, legacy, notes))
}

/// Notes which clusters are one API server: each part compares its own clusters only. Claims in the cluster keep two runs
/// from minting one generation there, and both names would take turns with what is made.
fn note_duplicates(clusters: &mut [ClusterReport]) {
    let mut by_uid: HashMap<String, BTreeSet<ClusterName>> = HashMap::new();
    for cluster in clusters.iter() {
        if let Some(uid) = &cluster.cluster_uid {
            by_uid.entry(uid.clone()).or_default().insert(cluster.name.clone());
        }
    }
    for cluster in clusters {
        let Some(names) = cluster.cluster_uid.as_ref().and_then(|uid| by_uid.get(uid)) else { continue };
        let others: Vec<&str> = names.iter().filter(|name| **name != cluster.name).map(ClusterName::as_str).collect();
        if !others.is_empty() {
            let others = list(others, 5);
            let message = format!("it is the same API server as {others}, or answers with its identity: keep one name");
            let note = Note::new(NoteKind::CopiedIdentity, message);
            if !cluster.notes.contains(&note) {
                cluster.notes.push(note);
            }
        }
    }
}

/// Returns the clusters that are one API server with another, as they were noted.
pub(crate) fn duplicates(report: &Report) -> Vec<&ClusterName> {
    let Body::Changes(changes) = &report.body else { return vec![] };
    let has_note = |cluster: &&ClusterReport| cluster.notes.iter().any(|note| note.kind == NoteKind::CopiedIdentity);
    changes.clusters.iter().filter(has_note).map(|cluster| &cluster.name).collect()
}
