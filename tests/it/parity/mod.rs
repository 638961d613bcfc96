//! Compares kubemint's admin access with kubectl's: both get the same corpus of kubeconfigs.
//!
//! kubectl gets each kubeconfig in an ordinary `kubectl get configmaps`, kubemint all of them in `kubemint plan`. They
//! must agree on whether it works, on the user in the server's audit log, on the proxy for each connection, and on what
//! an exec plugin is told. The differences are listed in [`differences`], and for users in `docs/admin-access.md`.
//! Start with [`corpus`].

mod case;
mod corpus;
mod differences;
mod doctor;
mod pki;
mod proxies;
mod run;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use differences::{DIFFERENCES, Kind};
use run::Outcome;

#[test]
fn admin_kubeconfigs_mean_what_they_mean_to_kubectl() {
    let cases = corpus::cases();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "the names of cases are unique");
    let Some(world) = world::World::start() else { return };
    let outcomes = run::both(&world, &cases);

    let listed: BTreeMap<&str, Kind> =
        DIFFERENCES.iter().flat_map(|entry| entry.cases.iter().map(|case| (*case, entry.kind))).collect();
    let mut problems = vec![];
    let mut table: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for (case, (kubectl, kubemint)) in cases.iter().zip(&outcomes) {
        let row = table.entry(case.topic).or_default();
        row[0] += 1;
        let found = difference(kubectl, kubemint);
        match found {
            None => row[1] += 1,
            Some(_) => row[2] += 1,
        }
        println!("{} | {} | {found:?} | {} | {}", case.topic, case.name, words(kubectl), words(kubemint));
        let told = format!("{}:\n  kubectl:  {}\n  kubemint: {}", case.name, words(kubectl), words(kubemint));
        for (program, outcome) in [("kubectl", kubectl), ("kubemint", kubemint)] {
            if outcome.complaint.is_empty() == outcome.identities.is_empty() {
                problems.push(format!("{program} says what the audit log does not: {told}"));
            }
        }
        match (found, listed.get(case.name)) {
            (None, Some(kind)) => problems.push(format!("listed as {kind:?}, but they agree: {told}")),
            (Some(kind), None) => problems.push(format!("{kind:?}, which is not listed: {told}")),
            (Some(kind), Some(other)) if kind != *other => {
                problems.push(format!("{kind:?}, listed as {other:?}: {told}"));
            }
            _ => {}
        }
    }
    problems.extend(doctor::problems(&world, &cases, &outcomes, &|name| listed.get(name).copied()));
    problems
        .extend(listed.keys().filter(|name| !names.contains(*name)).map(|name| format!("no case is called {name}")));
    println!("{:<24} {:>5} {:>5} {:>11}", "topic", "cases", "agree", "differences");
    for (topic, [all, agree, differ]) in &table {
        println!("{topic:<24} {all:>5} {agree:>5} {differ:>11}");
    }
    let sum = |column: usize| table.values().map(|row| row[column]).sum::<usize>();
    println!("{:<24} {:>5} {:>5} {:>11}", "all", sum(0), sum(1), sum(2));
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn difference(kubectl: &Outcome, kubemint: &Outcome) -> Option<Kind> {
    match (kubectl.identities.is_empty(), kubemint.identities.is_empty()) {
        (false, true) => Some(Kind::KubemintRefuses),
        (true, false) => Some(Kind::KubemintAccepts),
        _ if kubectl.identities != kubemint.identities => Some(Kind::AnotherIdentity),
        _ if kubectl.tunnels != kubemint.tunnels => Some(Kind::AnotherProxy),
        (false, false) if !same_text(kubectl.plugin_saw.as_deref(), kubemint.plugin_saw.as_deref()) => {
            Some(Kind::PluginSees)
        }
        _ => None,
    }
}

/// Compares the texts that plugins wrote; in JSON, the order of fields does not matter.
fn same_text(kubectl: Option<&str>, kubemint: Option<&str>) -> bool {
    let json = |text: Option<&str>| serde_json::from_str::<serde_json::Value>(text?).ok();
    kubectl == kubemint || json(kubectl).is_some_and(|value| Some(value) == json(kubemint))
}

/// Returns an outcome as one line for people.
fn words(outcome: &Outcome) -> String {
    let join = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(" and ");
    let mut words = if outcome.complaint.is_empty() { join(&outcome.identities) } else { outcome.complaint.clone() };
    if !outcome.tunnels.is_empty() {
        words = format!("{words} [{}]", join(&outcome.tunnels));
    }
    if let Some(saw) = &outcome.plugin_saw {
        words = format!("{words} (plugin saw {})", saw.trim());
    }
    words
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it writes a document of the repository when it is asked to")]
fn the_page_on_admin_access_lists_every_difference() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/admin-access.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let heading = "## Where kubemint differs from kubectl\n";
    let (before, section) = text.split_once(heading).expect("the page has the section");
    let after = section.find("\n## ").map_or("", |end| &section[end..]);
    let wanted = format!("{before}{heading}{}{after}", differences::section());
    if text != wanted && std::env::var_os("KUBEMINT_UPDATE_DOCS").is_some() {
        std::fs::write(&page, &wanted).unwrap();
        return;
    }
    assert_eq!(text, wanted, "run the tests with KUBEMINT_UPDATE_DOCS=1 to write docs/admin-access.md");
}
