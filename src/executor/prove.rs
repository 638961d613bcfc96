//! Uses credentials that were published, once more, as their consumers do.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;

use super::observe::{PlanContext, access, try_credential};
use super::{Cancellation, Ended, Slot, each_cluster};
use crate::cluster::Limits;
use crate::credential::Credential;
use crate::failure::StepFailure;
use crate::inventory::{Cluster, Grant};
use crate::names::ClusterName;

/// One cluster, with the credentials that are used.
#[derive(Debug)]
pub(crate) struct ProveTask {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The credentials; where none could be read, why.
    pub credentials: Vec<(Arc<Grant>, Result<Credential, StepFailure>)>,
}

/// Uses the credentials of some clusters. Returns the clusters where one does not work, and why.
pub(crate) async fn prove_clusters(
    context: Arc<PlanContext>,
    tasks: Vec<ProveTask>,
    concurrency: usize,
    cancellation: &Cancellation,
) -> HashMap<ClusterName, StepFailure> {
    let tasks = tasks.into_iter().map(|task| (task.cluster.name.clone(), task)).collect();
    let work = |task, slot| prove_one(Arc::clone(&context), task, slot);
    let ends = each_cluster(tasks, concurrency, cancellation, work);
    let failure = |(cluster, end)| async move {
        let failure = match end {
            Ended::Done(Ok(())) => return None,
            Ended::Done(Err(failure)) => failure,
            Ended::Panicked => StepFailure::panicked(),
            // An interrupted rollout does not go on anyway, and what was not looked at is not known to be broken.
            Ended::NotStarted(_) | Ended::Stopped => return None,
        };
        Some((cluster, failure))
    };
    ends.filter_map(failure).collect().await
}

async fn prove_one(context: Arc<PlanContext>, task: ProveTask, mut slot: Slot) -> Result<(), StepFailure> {
    let run = &context.inventory.run;
    let limits = Limits::new(run.request_timeout, run.cluster_timeout);
    let proving = async {
        let (admin, endpoint) = access(&context.admin, &task.cluster, context.clock).await?;
        for (grant, credential) in task.credentials {
            let credential = credential?;
            let tried = try_credential(&context, &grant, &credential, (&admin, &endpoint), limits).await;
            match tried {
                Ok(None) => {}
                Ok(Some(distrust)) => {
                    return Err(StepFailure::new(format!(
                        "the credential of `{}` does not work any more: {}",
                        grant.profile.name,
                        distrust.as_str()
                    )));
                }
                Err(cause) => {
                    let profile = &grant.profile.name;
                    return Err(StepFailure::new(format!("the credential of `{profile}` could not be used: {cause}")));
                }
            }
        }
        Ok(())
    };
    let proven = slot.lend_if_slow(tokio::time::timeout(run.cluster_timeout, Box::pin(proving))).await;
    proven.unwrap_or_else(|_| Err(StepFailure::late(run.cluster_timeout)))
}
