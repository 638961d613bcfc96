//! How much a cluster may make this process hold in memory.
//!
//! Every cluster has a small share for itself. More than that comes out of one supply for all clusters, so that many
//! hostile clusters together cannot take more than the supply, and do not slow down the others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::supply::{STEP, STEP_TIME, Share, Supply, TooSlow};
use crate::failure::ApiFailure;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The largest response that is one object: etcd accepts none above 1.5 MiB by default.
pub(super) const LARGEST_OBJECT: usize = 4 * MIB;
/// The largest page of a list: 500 objects of usual size have 2 MiB.
pub(super) const LARGEST_PAGE: usize = 16 * MIB;
/// Only the message of an error is needed.
pub(super) const LARGEST_ERROR: usize = 256 * KIB;

/// How much one cluster may send for one list, or between two lists: `verify` lists every binding, and 20,000 of these
/// have 40 MiB.
const MOST_SENT: u64 = 128 * MIB as u64;
/// The most objects of one list.
const MOST_OBJECTS: u64 = 100_000;
/// How much is kept of the objects of one cluster: those of 10,000 grants have 30 MiB.
const MOST_KEPT: usize = 64 * MIB;

/// The part of a body that does not come out of the supply, for each connection.
const FREE_BODY: usize = STEP;
/// The part of the kept objects that does not come out of the supply, for each cluster.
const FREE_KEPT: usize = MIB;

/// What all bodies that are being read may have together, beyond [`FREE_BODY`] each: 32 MiB, and one of them
/// [`LARGEST_PAGE`] more.
static BODIES: LazyLock<Arc<Supply>> = LazyLock::new(|| Supply::new(32 * MIB / STEP));
/// How much is kept of all clusters together, beyond [`FREE_KEPT`] each, in MiB.
static KEPT: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(128)));

/// What one connection has used.
#[derive(Debug, Default)]
pub(super) struct Budget {
    sent: AtomicU64,
    objects: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: usize,
    /// Returned to the supply when the connection is dropped, at the end of the work on the cluster.
    permits: Vec<OwnedSemaphorePermit>,
}

/// A body that was read. Dropping it returns its share to the supply.
pub(super) struct Content {
    pub(super) bytes: Bytes,
    _share: Share,
}

impl Budget {
    /// Reads a body of at most `limit` bytes. Waits for its turn if many large ones are being read.
    ///
    /// # Errors
    ///
    /// If the connection breaks, the body is larger than this connection may still receive, or it arrives slowly while
    /// others wait.
    pub(super) async fn read<B>(&self, mut body: B, limit: usize) -> Result<Content, ApiFailure>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let unreadable = |cause: String| ApiFailure::Unreadable { cause };
        let mut bytes = BytesMut::new();
        let mut share = BODIES.share();
        let mut free = FREE_BODY;
        let too_slow = |TooSlow| {
            let least = size(STEP);
            unreadable(format!(
                "less than {least} of it came within {STEP_TIME:?}, and other clusters waited for memory"
            ))
        };
        while let Some(frame) = share.arrival(body.frame()).await.map_err(too_slow)? {
            let Ok(data) = frame.map_err(|_| unreadable("it broke off".to_owned()))?.into_data() else { continue };
            if bytes.len() + data.len() > limit {
                return Err(ApiFailure::TooLarge { most: size(limit) });
            }
            let sent = self.sent.fetch_add(data.len() as u64, Ordering::Relaxed) + data.len() as u64;
            if sent > MOST_SENT {
                let most = size(usize::try_from(MOST_SENT).unwrap_or(usize::MAX));
                return Err(unreadable(format!("the cluster has sent more than {most} by now")));
            }
            while bytes.len() + data.len() > free {
                share.grow().await;
                free += FREE_BODY;
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Content { bytes: bytes.freeze(), _share: share })
    }

    /// Begins to count anew, for another list.
    pub(super) fn begin_list(&self) {
        self.sent.store(0, Ordering::Relaxed);
        self.objects.store(0, Ordering::Relaxed);
    }

    /// Counts listed objects.
    ///
    /// # Errors
    ///
    /// If there are more than a cluster may have.
    pub(super) fn count(&self, objects: usize) -> Result<(), ApiFailure> {
        let all = self.objects.fetch_add(objects as u64, Ordering::Relaxed) + objects as u64;
        if all <= MOST_OBJECTS {
            return Ok(());
        }
        Err(ApiFailure::Unreadable { cause: format!("the cluster has listed more than {MOST_OBJECTS} objects by now") })
    }

    /// Counts what is kept of this cluster.
    ///
    /// # Errors
    ///
    /// If it is more than there may be.
    pub(super) fn keep(&self, bytes: usize) -> Result<(), ApiFailure> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += bytes;
        let beyond = kept.bytes.saturating_sub(FREE_KEPT).div_ceil(MIB);
        if kept.bytes <= MOST_KEPT {
            while kept.permits.len() < beyond {
                match Arc::clone(&KEPT).try_acquire_owned() {
                    Ok(permit) => kept.permits.push(permit),
                    Err(_) => return Err(too_much("all clusters together", 128 * MIB)),
                }
            }
            return Ok(());
        }
        Err(too_much("one cluster", MOST_KEPT))
    }
}

fn too_much(whose: &str, most: usize) -> ApiFailure {
    let most = size(most);
    let cause =
        format!("there are too many objects: {most} are kept of {whose}, which a lower `--concurrency` leaves more of");
    ApiFailure::Unreadable { cause }
}

fn size(bytes: usize) -> String {
    if bytes.is_multiple_of(MIB) { format!("{} MiB", bytes / MIB) } else { format!("{} KiB", bytes / KIB) }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn a_body_may_be_as_large_as_its_limit_and_no_larger() {
        let budget = Budget::default();
        let body = |bytes: usize| Full::<Bytes>::from(vec![b'x'; bytes]);
        assert_eq!(budget.read(body(1000), 1000).await.map(|content| content.bytes.len()).ok(), Some(1000));
        let failure = budget.read(body(1001 * KIB), 1000 * KIB).await.err().unwrap();
        assert_eq!(failure.to_string(), "the answer cannot be read: it is larger than 1000 KiB");
    }

    #[tokio::test]
    async fn what_a_cluster_sends_in_all_is_limited() {
        let budget = Budget::default();
        let mut read = 0;
        let failure = loop {
            match budget.read(Full::<Bytes>::from(vec![b'x'; LARGEST_PAGE]), LARGEST_PAGE).await {
                Ok(_) => read += 1,
                Err(failure) => break failure,
            }
        };
        assert_eq!((read, failure.to_string().contains("more than 128 MiB by now")), (8, true), "{failure}");
    }

    #[test]
    fn what_is_kept_is_limited_and_given_back() {
        let (one, other) = (Budget::default(), Budget::default());
        assert!(one.keep(MOST_KEPT).is_ok() && other.keep(MOST_KEPT).is_ok());
        assert!(one.keep(1).is_err(), "one has its own limit");
        let third = Budget::default();
        assert!(third.keep(FREE_KEPT).is_ok(), "everybody has a little");
        assert!(third.keep(8 * MIB).is_err(), "all together have a limit");
        drop((one, other));
        assert!(Budget::default().keep(MOST_KEPT).is_ok());
    }

    #[test]
    fn listed_objects_are_limited() {
        let budget = Budget::default();
        assert!(budget.count(100_000).is_ok());
        assert!(budget.count(1).is_err());
    }
}
