//! What a cluster was asked: counters, a bounded record of requests, and the latency to add.

use http::Method;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many requests are remembered; more than any test asks of one cluster.
const REMEMBERED_REQUESTS: usize = 10_000;

/// A request that a simulated cluster received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRequest {
    /// The method.
    pub method: Method,
    /// The path and query, as sent.
    pub path: String,
    /// Whether it carried an `Authorization` header.
    pub is_authorized: bool,
}

/// The traffic of one cluster.
pub(crate) struct Traffic {
    connections: AtomicU64,
    requests: AtomicU64,
    latency_micros: AtomicU64,
    recorded: Mutex<VecDeque<RecordedRequest>>,
}

impl Traffic {
    pub(crate) fn new(latency: Duration) -> Self {
        let traffic = Self {
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            latency_micros: AtomicU64::new(0),
            recorded: Mutex::new(VecDeque::new()),
        };
        traffic.set_latency(latency);
        traffic
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency_micros.store(micros, Ordering::Relaxed);
    }

    pub(crate) fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_micros.load(Ordering::Relaxed))
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn recorded(&self) -> Vec<RecordedRequest> {
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.iter().cloned().collect()
    }

    /// Forgets everything.
    pub(crate) fn reset(&self) {
        self.connections.store(0, Ordering::Relaxed);
        self.requests.store(0, Ordering::Relaxed);
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn requested(&self, method: &Method, path: &str, is_authorized: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.len() == REMEMBERED_REQUESTS {
            recorded.pop_front();
        }
        recorded.push_back(RecordedRequest { method: method.clone(), path: path.to_owned(), is_authorized });
    }
}
