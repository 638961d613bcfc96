//! The body of an answer: in pieces that are shared and never copied, slowly, without end, or broken off.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Interval;

/// A body that is sent piece by piece.
pub(crate) struct ReplyBody {
    parts: VecDeque<Part>,
    /// The length that the head announces; `None` for chunks until the end.
    announced: Option<u64>,
    ending: Ending,
    /// The time between two bytes; `None` for as fast as the client reads.
    pace: Option<Interval>,
}

/// Bytes, and how often they are sent.
#[derive(Clone)]
pub(crate) struct Part {
    bytes: Bytes,
    times: usize,
}

/// What comes after the last part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Complete,
    BrokenOff,
}

impl Part {
    /// Returns bytes that are sent once.
    pub(crate) fn once(bytes: impl Into<Bytes>) -> Self {
        Self::repeated(bytes, 1)
    }

    /// Returns bytes that are sent `times` times and held once.
    pub(crate) fn repeated(bytes: impl Into<Bytes>, times: usize) -> Self {
        Self { bytes: bytes.into(), times }
    }
}

impl ReplyBody {
    /// Returns a body that is sent whole.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::parts([Part::once(bytes)])
    }

    /// Returns a body of half of `bytes`, after which the connection breaks.
    pub(crate) fn half(bytes: &Bytes) -> Self {
        let half = Self::whole(bytes.slice(..bytes.len() / 2));
        Self { announced: Some(bytes.len() as u64), ending: Ending::BrokenOff, ..half }
    }

    /// Returns a body of several parts.
    pub(crate) fn parts(parts: impl IntoIterator<Item = Part>) -> Self {
        let parts: VecDeque<Part> = parts.into_iter().filter(|part| part.times > 0 && !part.bytes.is_empty()).collect();
        let length = |part: &Part| (part.bytes.len() as u64).checked_mul(part.times as u64);
        let announced = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(length(part)?));
        Self { parts, announced, ending: Ending::Complete, pace: None }
    }

    /// Returns the body sent byte by byte, with blanks after it for ever.
    ///
    /// Must be called inside a runtime.
    pub(crate) fn dripping(bytes: Bytes, period: Duration) -> Self {
        let pace = Some(tokio::time::interval(period));
        Self { pace, announced: None, ..Self::parts([Part::once(bytes), Part::repeated(" ", usize::MAX)]) }
    }

    /// Returns the length that the head announces.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Takes what is sent next: a whole piece, or one byte where there is a pace.
    fn next(&mut self) -> Option<Bytes> {
        let part = self.parts.front_mut()?;
        if self.pace.is_some() && part.bytes.len() > 1 {
            return Some(part.bytes.split_to(1));
        }
        part.times -= 1;
        let bytes = part.bytes.clone();
        if part.times == 0 {
            self.parts.pop_front();
        }
        Some(bytes)
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(pace) = &mut self.pace {
            ready!(pace.poll_tick(context));
        }
        match (self.next(), self.ending) {
            (Some(bytes), _) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            (None, Ending::Complete) => Poll::Ready(None),
            (None, Ending::BrokenOff) => Poll::Ready(Some(Err(io::Error::other("broken off by a fault")))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty() && self.ending == Ending::Complete
    }

    fn size_hint(&self) -> SizeHint {
        // What is announced before the first piece is what the HTTP library checks.
        self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
