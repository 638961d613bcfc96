//! The connections that clusters were planned over, kept for the steps that follow at once.
//!
//! A handshake costs more than all requests of a plan. The second connection of an apply is saved where few enough are
//! open at the same time, and soon enough: what an admin's exec plugin provides must still be accepted then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::{AdminEntry, Api};
use crate::names::ClusterName;

/// A plugin's credential is used for a cluster if it has half a minute left, and half of that is for the steps.
const KEPT_FOR: Duration = Duration::from_secs(15);

/// A connection that a cluster was planned over.
pub(super) struct Connected {
    /// How the cluster was reached.
    pub admin: AdminEntry,
    /// When that was found out.
    pub since: Instant,
    /// The connection.
    pub api: Api,
}

/// Keeps connections between the planning and the steps of a run; by default none.
#[derive(Clone, Default)]
pub(crate) struct KeptConnections(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    most: usize,
    connections: HashMap<ClusterName, Connected>,
}

impl KeptConnections {
    /// Keeps at most so many.
    pub(crate) fn up_to(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Kept { most, ..Kept::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A map is usable even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection, if there is room.
    pub(super) fn keep(&self, cluster: &ClusterName, connected: Connected) {
        let mut kept = self.lock();
        if kept.connections.len() < kept.most {
            kept.connections.insert(cluster.clone(), connected);
        }
    }

    /// Returns the connection to a cluster, if one was kept and is not too old.
    pub(super) fn take(&self, cluster: &ClusterName) -> Option<Connected> {
        self.lock().connections.remove(cluster).filter(|connected| connected.since.elapsed() < KEPT_FOR)
    }
}

impl std::fmt::Debug for KeptConnections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptConnections").finish_non_exhaustive()
    }
}
