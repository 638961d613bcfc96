//! The cases, by topic: valid, odd and broken kubeconfigs, modelled on client-go's own tests.

mod authorities;
mod certificates;
mod exec;
mod lists;
mod proxies;
mod servers;
mod shape;
mod users;

use super::case::Case;

/// Returns every case; its index is its number in namespaces and directories.
pub(super) fn cases() -> Vec<Case> {
    let topics = [
        ("tokens", users::tokens()),
        ("passwords", users::passwords()),
        ("impersonation", users::impersonation()),
        ("client certificates", certificates::cases()),
        ("certificate authorities", authorities::cases()),
        ("server names", authorities::server_names()),
        ("servers", servers::cases()),
        ("references", shape::references()),
        ("names", shape::names()),
        ("YAML", shape::yaml()),
        ("documents", shape::documents()),
        ("KUBECONFIG lists", lists::cases()),
        ("exec plugins", exec::cases()),
        ("exec replies", exec::replies()),
        ("exec surroundings", exec::surroundings()),
        ("proxy-url", proxies::configured()),
        ("proxies of the environment", proxies::environment()),
    ];
    let with_topic =
        |(topic, cases): (&'static str, Vec<Case>)| cases.into_iter().map(move |case| Case { topic, ..case });
    topics.into_iter().flat_map(with_topic).collect()
}
