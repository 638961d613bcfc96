//! What differs between what sources find now and a file that was written before.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::Discovered;
use crate::inventory::{Budget, DiscoveryId};
use crate::wording::{count, list};

/// A cluster of the inventory that a source is said to have found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frozen {
    /// The source.
    pub source: DiscoveryId,
    /// The name.
    pub name: String,
    /// Where it led.
    pub server: Option<String>,
    /// The digest of that, and of how it was reached and trusted.
    pub endpoint: Option<String>,
}

/// How many names a line shows.
const NAMED: usize = 5;

/// Says what a source finds and the inventory does not have, what has gone, and what leads elsewhere by now.
pub(crate) fn changes(source: &DiscoveryId, frozen: &[Frozen], found: &[Discovered]) -> Vec<String> {
    let frozen: BTreeMap<&str, &Frozen> =
        frozen.iter().filter(|it| it.source == *source).map(|it| (it.name.as_str(), it)).collect();
    let found: BTreeMap<&str, &Discovered> =
        found.iter().filter(|it| it.source == *source).map(|it| (it.name.as_str(), it)).collect();
    let appeared = found.keys().filter(|name| !frozen.contains_key(*name)).copied();
    let went = frozen.keys().filter(|name| !found.contains_key(*name)).copied();
    let moved = frozen.iter().filter_map(|(name, before)| {
        let now = found.get(name)?;
        if let (Some(before), Some(now)) = (&before.server, &now.server)
            && before != now
        {
            return Some(format!("{name} (<{before}>, now <{now}>)"));
        }
        let is_other = before.endpoint.is_some() && before.endpoint != now.endpoint;
        is_other.then(|| format!("{name} (another CA, `tls-server-name` or `proxy-url`)"))
    });
    let moved: Vec<String> = moved.collect();
    let mut said = vec![];
    let mut say = |names: Vec<&str>, what: &str| {
        if !names.is_empty() {
            let number = names.len();
            let names = list(names, NAMED);
            said.push(format!("discovery `{source}`: {} {what}: {names}", count(number, "cluster")));
        }
    };
    say(appeared.collect(), "appeared since it was written down, which this run leaves out");
    say(moved.iter().map(String::as_str).collect(), "changed where they lead since that was written down");
    say(went.collect(), "went since it was written down");
    said
}

/// Refuses to write a file again without clusters that it has, if a source finds fewer of its own than may be gone: whoever
/// lost a namespace would lose the review as well.
///
/// # Errors
///
/// If more is gone of one source than `most`, or the file cannot be read any more.
pub(crate) fn check_lost(before: &str, found: &[Discovered], most: Budget) -> Result<(), String> {
    let table: Table =
        before.parse().map_err(|_| "it is no TOML any more, so what would be lost is not known".to_owned())?;
    // In a file of an earlier kubemint, what is in no Secret does not say who found it.
    let mut by_source: BTreeMap<Option<&str>, BTreeSet<&str>> = BTreeMap::new();
    for cluster in table.get("clusters").and_then(Value::as_array).into_iter().flatten() {
        let Some(name) = cluster.get("name").and_then(Value::as_str) else { continue };
        let source = cluster.get("admin").and_then(|admin| admin.get("discovered")).and_then(Value::as_str);
        by_source.entry(source).or_default().insert(name);
    }
    for (source, names) in by_source {
        let of_source = found.iter().filter(|it| source.is_none_or(|source| it.source.as_str() == source));
        let known: BTreeSet<&str> = of_source.map(|it| it.name.as_str()).collect();
        let gone: Vec<&str> = names.difference(&known).copied().collect();
        if gone.len() > most.of(names.len()) {
            let source = source.map_or("its sources".to_owned(), |source| format!("discovery `{source}`"));
            return Err(format!(
                "{} of {} that {source} found went since it was written down ({}), and `--max-gone` is {most}: see whether \
                 what is found is whole, and pass `--max-gone {}` if it is",
                count(gone.len(), "cluster"),
                names.len(),
                list(gone.iter().copied(), NAMED),
                gone.len()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_finds_little_does_not_empty_what_was_reviewed() {
        let cluster = |source: &str, name: &str| {
            format!("[[clusters]]\nname = '{name}'\nadmin = {{ discovered = '{source}', secret = 'ns/{name}' }}\n")
        };
        let file: String =
            (0..20).map(|number| cluster("a", &format!("a{number}"))).chain([cluster("b", "b0")]).collect();
        let found = |source: &str, names: std::ops::Range<usize>| {
            let of = |number| Discovered {
                source: DiscoveryId::new(source),
                name: format!("{source}{number}"),
                at: String::new(),
                labels: BTreeMap::new(),
                server: None,
                endpoint: None,
            };
            names.map(of).collect::<Vec<_>>()
        };
        let check = |a: std::ops::Range<usize>, b: std::ops::Range<usize>, most: &str| {
            check_lost(&file, &[found("a", a), found("b", b)].concat(), Budget::parse(most).unwrap())
        };
        assert_eq!(check(0..30, 0..1, "10%"), Ok(()));
        assert_eq!(check(2..30, 0..1, "10%"), Ok(()), "a tenth");
        assert_eq!(
            check(3..30, 0..1, "10%").unwrap_err(),
            "3 clusters of 20 that discovery `a` found went since it was written down (`a0`, `a1`, `a2`), and `--max-gone` is \
             10%: see whether what is found is whole, and pass `--max-gone 3` if it is"
        );
        assert_eq!(check(3..30, 0..1, "3"), Ok(()));
        // Few are lost of all, and all of one source.
        assert!(check(0..20, 0..0, "10%").unwrap_err().starts_with("1 cluster of 1 that discovery `b` found"));
        assert!(check_lost("no: toml", &[], Budget::parse("10%").unwrap()).is_err());
        let unnamed = file.replace("discovered = 'a', ", "");
        assert!(
            check_lost(&unnamed, &[], Budget::parse("10%").unwrap())
                .unwrap_err()
                .contains("20 clusters of 20 that its sources found")
        );
    }
}
