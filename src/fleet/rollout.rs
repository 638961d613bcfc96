//! Waves: in which order clusters are changed, and when the next ones are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Fleet;
use crate::delivery::ReadPlace;
use crate::executor::prove::{ProveTask, prove_clusters};
use crate::executor::{Cancellation, Pace};
use crate::failure::StepFailure;
use crate::inventory::{GrantKey, Wave};
use crate::names::{ClusterName, WaveName};
use crate::outcome::{Applied, Carried, NotStarted, StepFailed};
use crate::wording::{count, duration};

/// In which order clusters are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Wave by wave.
    Waves,
    /// All at once: what must not wait.
    Together,
}

/// The clusters of a run that are changed together.
#[derive(Debug)]
pub(super) struct Part {
    /// The wave; nothing if the inventory has none.
    pub(super) name: Option<WaveName>,
    /// Its rules; nothing for the clusters that no wave selects.
    wave: Option<Arc<Wave>>,
    pub(super) clusters: HashSet<ClusterName>,
}

/// A rollout on its way from wave to wave.
pub(super) struct Rollout<'a, A> {
    fleet: &'a Fleet,
    cancellation: &'a Cancellation,
    /// Asks whether to go on.
    agrees: &'a A,
    /// Why no further wave starts.
    ended: Option<NotStarted>,
}

impl Fleet {
    /// Returns the parts of a run, in their order.
    pub(super) fn parts(&self, order: Order) -> Vec<Part> {
        let all = || self.selected.iter().map(|selected| selected.cluster.name.clone());
        if order == Order::Together || self.inventory.waves.is_empty() {
            return vec![Part { name: None, wave: None, clusters: all().collect() }];
        }
        let waves = self.inventory.waves.iter().map(|wave| (wave.name.clone(), Some(wave)));
        let waves = waves.chain([(WaveName::new(crate::inventory::REST), None)]);
        let part = |(name, wave): (WaveName, Option<&Arc<Wave>>)| {
            let of_wave = self.selected.iter().filter(|selected| selected.wave.as_ref() == Some(&name));
            let clusters: HashSet<ClusterName> = of_wave.map(|selected| selected.cluster.name.clone()).collect();
            (!clusters.is_empty()).then(|| Part { name: Some(name), wave: wave.cloned(), clusters })
        };
        waves.filter_map(part).collect()
    }

    /// Starts a rollout.
    pub(super) fn rollout<'a, A: AsyncFn(&str) -> bool>(
        &'a self,
        cancellation: &'a Cancellation,
        agrees: &'a A,
    ) -> Rollout<'a, A> {
        Rollout { fleet: self, cancellation, agrees, ended: None }
    }

    /// Uses the credentials that were minted once more; returns the clusters where one does not work.
    async fn prove_again(
        &self,
        minted: HashMap<ClusterName, Vec<GrantKey>>,
        concurrency: usize,
        cancellation: &Cancellation,
    ) -> HashMap<ClusterName, StepFailure> {
        let wanted: HashSet<GrantKey> = minted.values().flatten().cloned().collect();
        let outputs = match self.reading.clone().read(move |grant| wanted.contains(grant)).await {
            Ok(outputs) => outputs,
            Err(error) => {
                let failure = StepFailure::new(error.message);
                return minted.into_keys().map(|cluster| (cluster, failure.clone())).collect();
            }
        };
        let credential = |key: &GrantKey| {
            let held = outputs.places(key).iter().find_map(ReadPlace::credential);
            held.ok_or_else(|| StepFailure::new(format!("no output holds the credential of `{}`", key.profile)))
        };
        let selected = self.selected.iter().filter_map(|selected| {
            let keys = minted.get(&selected.cluster.name)?;
            let grants = selected.grants.iter().filter(|grant| keys.contains(&grant.key()));
            let credentials = grants.map(|grant| (Arc::clone(grant), credential(&grant.key())));
            Some(ProveTask { cluster: Arc::clone(&selected.cluster), credentials: credentials.collect() })
        });
        prove_clusters(self.plan_context(), selected.collect(), concurrency, cancellation).await
    }
}

impl<A: AsyncFn(&str) -> bool> Rollout<'_, A> {
    /// Returns how a part is worked on, or why it does not start; `tasks` of its clusters have something to do.
    pub(super) async fn start(&mut self, part: &Part, tasks: usize) -> Result<Pace, NotStarted> {
        if self.cancellation.no_new.is_cancelled() {
            return Err(NotStarted::Interrupted);
        }
        if let Some(why) = self.ended {
            return Err(why);
        }
        if let Some(name) = part.wave.as_ref().filter(|wave| wave.confirm).and(part.name.as_ref()) {
            let question = format!("Go on with wave `{name}`, {}?", count(tasks, "cluster"));
            if !(self.agrees)(&question).await {
                let is_interrupted = self.cancellation.no_new.is_cancelled();
                let why = if is_interrupted { NotStarted::Interrupted } else { NotStarted::Declined };
                self.ended = Some(why);
                return Err(why);
            }
        }
        Ok(Pace { concurrency: self.concurrency(part), most_failures: self.most_failures(part) })
    }

    fn concurrency(&self, part: &Part) -> usize {
        let of_wave = part.wave.as_ref().and_then(|wave| wave.concurrency);
        self.fleet.concurrency.or(of_wave).unwrap_or(self.fleet.inventory.run.concurrency)
    }

    fn most_failures(&self, part: &Part) -> usize {
        let of_wave = part.wave.as_ref().map(|wave| wave.max_failures);
        let budget = self.fleet.max_failures.or(of_wave);
        budget.map_or(usize::MAX, |budget| budget.of(part.clusters.len()))
    }

    /// Ends a part: after its pause, uses its credentials once more. What does not work is added to `carried`. `is_last`
    /// says that nothing is left to do after it.
    pub(super) async fn end<'c>(
        &mut self,
        part: &Part,
        is_last: bool,
        carried: impl Iterator<Item = (&'c ClusterName, &'c mut Carried)>,
    ) {
        let most_failures = self.most_failures(part);
        let mut carried: HashMap<&ClusterName, &mut Applied> = carried
            .filter_map(|(cluster, carried)| match carried {
                Carried::Out(applied) => Some((cluster, &mut **applied)),
                Carried::NotStarted(_) => None,
            })
            .collect();
        let failed =
            |carried: &HashMap<_, &mut Applied>| carried.values().filter(|applied| applied.failure.is_some()).count();
        if failed(&carried) > most_failures {
            self.ended = Some(NotStarted::Wave);
            return;
        }
        let (Some(wave), Some(name)) = (&part.wave, &part.name) else { return };
        // Where nothing was changed, there is nothing to wait for.
        if carried.is_empty() || (is_last && !wave.verify) {
            return;
        }
        if !wave.pause.is_zero() {
            let pause = duration(wave.pause);
            self.fleet.printer.remark(&format!("wave `{name}` is done, a pause of {pause} follows\n"));
            tokio::select! {
                () = tokio::time::sleep(wave.pause) => {}
                () = self.cancellation.no_new.cancelled() => return,
            }
        }
        if !wave.verify {
            return;
        }
        let minted = carried.iter().map(|(cluster, applied)| {
            let minted = applied.published.iter().filter(|published| published.minted);
            ((*cluster).clone(), minted.map(|published| published.grant.clone()).collect::<Vec<_>>())
        });
        let minted = minted.filter(|(_, grants)| !grants.is_empty()).collect();
        let failures = self.fleet.prove_again(minted, self.concurrency(part), self.cancellation).await;
        for (cluster, failure) in failures {
            let Some(applied) = carried.get_mut(&cluster) else { continue };
            let doing = "use the new credential once more after the pause".to_owned();
            let number = applied.done.len();
            applied.failure.get_or_insert(StepFailed { number, of: number, doing, failure });
        }
        if failed(&carried) > most_failures {
            self.ended = Some(NotStarted::Wave);
        }
    }
}
