//! What differs between what sources find now and a file that was written before.

use std::collections::BTreeMap;

use super::Discovered;
use crate::inventory::DiscoveryId;
use crate::wording::list;

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
            said.push(format!("discovery `{source}`: {} {what}: {names}", crate::wording::count(number, "cluster")));
        }
    };
    say(appeared.collect(), "appeared since it was written down, which this run leaves out");
    say(moved.iter().map(String::as_str).collect(), "changed where they lead since that was written down");
    say(went.collect(), "went since it was written down");
    said
}
