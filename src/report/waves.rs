//! The waves of a rollout: who is in them, and when the next one starts.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Changes, ClusterReport, State};
use crate::inventory::{REST, Wave};
use crate::names::{ClusterName, WaveName};
use crate::wording::{count, duration};

/// One wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct WaveReport {
    /// Its name.
    pub name: WaveName,
    /// How many of the selected clusters are in it.
    pub clusters: usize,
    /// How many of these have changes, or had them.
    pub changing: usize,
    /// What holds for it, in words.
    pub rules: Vec<String>,
}

impl Changes {
    /// Adds the waves that the clusters are in; nothing if the inventory has none.
    #[must_use]
    pub(crate) fn in_waves(mut self, waves: &[Arc<Wave>]) -> Self {
        let rest = WaveName::new(REST);
        let all = waves.iter().map(|wave| (&wave.name, rules(wave))).chain([(&rest, vec![])]);
        let reports = all.filter_map(|(name, rules)| {
            let of_wave = || self.clusters.iter().filter(|cluster| cluster.wave.as_ref() == Some(name));
            let is_changing = |cluster: &&ClusterReport| cluster.state != State::Unchanged;
            let (clusters, changing) = (of_wave().count(), of_wave().filter(is_changing).count());
            (clusters > 0).then(|| WaveReport { name: name.clone(), clusters, changing, rules })
        });
        self.waves = reports.collect();
        self
    }

    /// Adds the waves that other reports say, in their order, with the clusters that are here.
    #[must_use]
    pub(super) fn in_known_waves(mut self, waves: Vec<WaveReport>) -> Self {
        let mut known: Vec<WaveReport> = vec![];
        for wave in waves {
            if !known.iter().any(|known| known.name == wave.name) {
                known.push(wave);
            }
        }
        // What no wave selects comes last, whichever report said it first.
        known.sort_by_key(|wave| wave.name == WaveName::new(REST));
        for wave in &mut known {
            let of_wave = || self.clusters.iter().filter(|cluster| cluster.wave.as_ref() == Some(&wave.name));
            wave.changing = of_wave().filter(|cluster| cluster.state != State::Unchanged).count();
            wave.clusters = of_wave().count();
        }
        self.waves = known;
        self
    }

    /// Returns the names of the clusters of a wave.
    pub(super) fn names_in(&self, wave: &WaveName) -> Vec<&ClusterName> {
        let of_wave = self.clusters.iter().filter(|cluster| cluster.wave.as_ref() == Some(wave));
        of_wave.map(|cluster| &cluster.name).collect()
    }
}

fn rules(wave: &Wave) -> Vec<String> {
    let mut rules = vec![];
    if wave.confirm {
        rules.push("asks before it starts".to_owned());
    }
    if let Some(concurrency) = wave.concurrency {
        rules.push(format!("{concurrency} at a time"));
    }
    rules.push(format!("at most {} may fail", wave.max_failures));
    if !wave.pause.is_zero() {
        rules.push(format!("then a pause of {}", duration(wave.pause)));
    }
    if wave.verify {
        rules.push("then its credentials are used once more".to_owned());
    }
    rules
}

impl WaveReport {
    /// Says how many clusters it has, and what holds for it.
    pub(super) fn said(&self) -> String {
        let changing =
            if self.changing == self.clusters { String::new() } else { format!(" ({} to change)", self.changing) };
        let parts = std::iter::once(count(self.clusters, "cluster") + &changing).chain(self.rules.iter().cloned());
        parts.collect::<Vec<_>>().join(", ")
    }
}
