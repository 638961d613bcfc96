//! The metrics of a refresher, in Prometheus' text format.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::failure::FailureKind;
use crate::names::{ClusterName, ProfileName};
use crate::plan::CredentialState;
use crate::report::{Changes, ClusterReport, State};
use crate::step::Action;

/// Grants with series of their own: those that expire soonest. More would burden a monitoring system
/// and tell it nothing that the counts do not.
const MOST_SERIES: usize = 1000;
/// From a pass over a few clusters to one over a slow fleet, in seconds.
const DURATIONS: [f64; 9] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GrantLabel {
    cluster: String,
    profile: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: &'static str,
}

/// How the credential of one grant stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantState {
    /// The cluster.
    pub cluster: ClusterName,
    /// The profile.
    pub profile: ProfileName,
    /// Its state.
    pub state: CredentialState,
    /// When it expires, by this machine's clock.
    pub expires: Option<Timestamp>,
    /// Whether the API server gave a shorter life than was requested.
    pub is_clamped: bool,
}

/// The metrics of a refresher.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    credentials: Family<StateLabel, Gauge>,
    expiry: Family<GrantLabel, Gauge>,
    to_expiry: Family<GrantLabel, Gauge>,
    omitted: Gauge,
    renewals: Family<ReasonLabel, Counter>,
    failures: Family<ReasonLabel, Counter>,
    durations: Histogram,
    last_run: Gauge,
    next_due: Gauge,
    clamped: Gauge,
    reload_failed: Gauge,
    waits_for_lease: Gauge,
    /// What is known of each grant, also of those whose cluster was not reached last time.
    grants: Mutex<BTreeMap<(ClusterName, ProfileName), GrantState>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Makes metrics that nothing has happened to yet.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("kubemint");
        let credentials = Family::default();
        registry.register("credentials", "Credentials by state", credentials.clone());
        let expiry: Family<GrantLabel, Gauge> = Family::default();
        let help = "When a credential expires, of those that expire soonest";
        registry.register("credential_expiry_timestamp_seconds", help, expiry.clone());
        let to_expiry: Family<GrantLabel, Gauge> = Family::default();
        let help = "Seconds until a credential expires, of those that expire soonest";
        registry.register("credential_seconds_to_expiry", help, to_expiry.clone());
        let omitted = Gauge::default();
        registry.register("credential_series_omitted", "Credentials without a series of their own", omitted.clone());
        let renewals = Family::default();
        registry.register("renewals", "Credentials that were renewed, by reason", renewals.clone());
        let failures = Family::default();
        registry.register("failures", "Clusters that a run could not finish, by reason", failures.clone());
        let durations = Histogram::new(DURATIONS);
        registry.register("run_duration_seconds", "How long runs took", durations.clone());
        let last_run = Gauge::default();
        registry.register("last_run_timestamp_seconds", "When the last run ended", last_run.clone());
        let next_due = Gauge::default();
        registry.register("next_due_timestamp_seconds", "When the next credential is due", next_due.clone());
        let clamped = Gauge::default();
        let help = "Credentials whose lifetime the API server shortened";
        registry.register("clamped_credentials", help, clamped.clone());
        let reload_failed = Gauge::default();
        let help = "Whether the inventory on disk is broken and an older one is used";
        registry.register("inventory_reload_failed", help, reload_failed.clone());
        let waits_for_lease = Gauge::default();
        let help = "Whether another watcher holds the Lease, and this one waits";
        registry.register("waits_for_lease", help, waits_for_lease.clone());
        // No info metric: the text format of node_exporter's textfile collector has none.
        let build: Family<VersionLabel, Gauge> = Family::default();
        build.get_or_create(&VersionLabel { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The version of kubemint", build);
        Self {
            registry,
            credentials,
            expiry,
            to_expiry,
            omitted,
            renewals,
            failures,
            durations,
            last_run,
            next_due,
            clamped,
            reload_failed,
            waits_for_lease,
            grants: Mutex::default(),
        }
    }

    /// Takes in what came of a run: its report, how the grants stand now, and how long it took.
    pub(crate) fn observe(&self, report: &Changes, grants: Vec<GrantState>, took: Duration, now: Timestamp) {
        // It is held to the end, so that nobody is shown one half of a run.
        let mut known = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        for cluster in &report.clusters {
            for change in cluster.changes.iter().filter(|change| change.action == Action::Mint) {
                if let (Some(true), Some(reason)) = (change.done, change.reason.as_deref()) {
                    self.renewals.get_or_create(&ReasonLabel { reason: reason.replace(' ', "-") }).inc();
                }
            }
            if matches!(cluster.state, State::Failed | State::Blocked) {
                let reason = reason(cluster).to_owned();
                self.failures.get_or_create(&ReasonLabel { reason }).inc();
            }
        }
        for grant in grants {
            let key = (grant.cluster.clone(), grant.profile.clone());
            let before = known.get(&key);
            // What an unreachable cluster's credential was like is still true.
            let expires = grant.expires.or(before.and_then(|before| before.expires));
            let is_clamped =
                grant.is_clamped || (grant.expires.is_none() && before.is_some_and(|before| before.is_clamped));
            known.insert(key, GrantState { expires, is_clamped, ..grant });
        }
        self.durations.observe(took.as_secs_f64());
        self.last_run.set(now.as_second());
        if let Some(due) = report.credentials.and_then(|credentials| credentials.next_due) {
            self.next_due.set(due.as_second());
        }
    }

    /// Forgets grants that are no longer in the inventory.
    pub(crate) fn keep(&self, is_live: impl Fn(&ClusterName, &ProfileName) -> bool) {
        let mut known = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(cluster, profile), _| is_live(cluster, profile));
    }

    /// Says whether the inventory on disk is broken.
    pub(crate) fn reload_failed(&self, failed: bool) {
        self.reload_failed.set(i64::from(failed));
    }

    /// Says whether another watcher works. What is known of the grants is its business then.
    pub(crate) fn waits_for_lease(&self, waits: bool) {
        self.waits_for_lease.set(i64::from(waits));
        if waits {
            self.keep(|_, _| false);
        }
    }

    /// Returns all metrics in Prometheus' text format.
    pub(crate) fn render(&self, now: Timestamp) -> String {
        let known = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        for state in CredentialState::ALL {
            // Several states are one to a monitoring system.
            self.credentials.get_or_create(&StateLabel { state: label(state) }).set(0);
        }
        for grant in known.values() {
            self.credentials.get_or_create(&StateLabel { state: label(grant.state) }).inc();
        }
        let mut expiring: Vec<(Timestamp, &GrantState)> =
            known.values().filter_map(|grant| Some((grant.expires?, grant))).collect();
        expiring.sort_by_key(|(expires, _)| *expires);
        self.expiry.clear();
        self.to_expiry.clear();
        for (expires, grant) in expiring.iter().take(MOST_SERIES) {
            let label = GrantLabel { cluster: grant.cluster.to_string(), profile: grant.profile.to_string() };
            self.expiry.get_or_create(&label).set(expires.as_second());
            self.to_expiry.get_or_create(&label).set(expires.duration_since(now).as_secs());
        }
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.omitted.set(count(expiring.len().saturating_sub(MOST_SERIES)));
        self.clamped.set(count(known.values().filter(|grant| grant.is_clamped).count()));
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}

/// Whether a file begins like what [`Metrics::render`] writes.
pub(crate) fn is_metrics(content: &[u8]) -> bool {
    content.starts_with(b"# HELP kubemint_")
}

/// Returns the state as metrics call it.
fn label(state: CredentialState) -> &'static str {
    match state {
        CredentialState::Unknown => "unknown",
        CredentialState::Expired => "expired",
        CredentialState::Revoked => "revoked",
        CredentialState::Missing | CredentialState::HeldElsewhere => "missing",
        CredentialState::Suspended => "suspended",
        CredentialState::Due | CredentialState::NotEverywhere => "due",
        CredentialState::Current
        | CredentialState::Plugin
        | CredentialState::NoOutput
        | CredentialState::NotBegun
        | CredentialState::Ended => "current",
    }
}

/// Returns why a run could not finish a cluster, as the kind that its report has.
fn reason(cluster: &ClusterReport) -> &'static str {
    cluster.error.as_ref().map_or(FailureKind::Blocked, |error| error.kind).as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(cluster: &str, state: CredentialState, expires: Option<i64>) -> GrantState {
        GrantState {
            cluster: cluster.into(),
            profile: "p".into(),
            state,
            expires: expires.map(|seconds| Timestamp::from_second(seconds).unwrap()),
            is_clamped: false,
        }
    }

    fn report() -> Changes {
        Changes::new(vec![])
    }

    #[test]
    fn metrics_are_recognised_and_nothing_else_is() {
        let metrics = Metrics::new();
        assert!(is_metrics(metrics.render(Timestamp::UNIX_EPOCH).as_bytes()));
        for other in ["", "apiVersion: v1\n", "version = 1\n", "# HELP node_load1 1m load\n"] {
            assert!(!is_metrics(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_is_known_of_an_unreachable_cluster_stays() {
        let metrics = Metrics::new();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let seen =
            vec![grant("a", CredentialState::Current, Some(100)), grant("b", CredentialState::Current, Some(50))];
        metrics.observe(&report(), seen, Duration::from_secs(2), at(1));
        metrics.observe(&report(), vec![grant("a", CredentialState::Unknown, None)], Duration::from_secs(2), at(2));
        let text = metrics.render(at(10));
        for line in [
            "kubemint_credentials{state=\"unknown\"} 1",
            "kubemint_credentials{state=\"current\"} 1",
            "kubemint_credential_seconds_to_expiry{cluster=\"a\",profile=\"p\"} 90",
            "kubemint_credential_expiry_timestamp_seconds{cluster=\"b\",profile=\"p\"} 50",
            "kubemint_run_duration_seconds_count 2",
            "kubemint_last_run_timestamp_seconds 2",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        metrics.keep(|cluster, _| cluster.as_str() == "b");
        assert!(!metrics.render(at(10)).contains("cluster=\"a\""));
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let metrics = Metrics::new();
        let grants = (0..1500).map(|n| grant(&format!("c{n}"), CredentialState::Current, Some(n))).collect();
        metrics.observe(&report(), grants, Duration::ZERO, Timestamp::UNIX_EPOCH);
        let text = metrics.render(Timestamp::UNIX_EPOCH);
        assert_eq!(text.matches("kubemint_credential_seconds_to_expiry{").count(), MOST_SERIES);
        assert!(text.contains("kubemint_credential_series_omitted 500"));
        assert!(text.contains("cluster=\"c0\"") && !text.contains("cluster=\"c1499\""), "the soonest are shown");
    }
}
