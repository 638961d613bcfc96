//! A hostile API server: it answers to its own advantage, or to the client's harm.
//!
//! A fault is an accident; a [`Hostility`] is an attack, by a server that was broken into or that
//! an inventory should never have named. It is put in force as [`Fault::Hostile`](super::Fault::Hostile).
//! Apart from its attack such a server behaves like any other simulated one, TLS, authentication,
//! RBAC and recorded traffic included, so that the attack strikes in the middle of real work: what
//! the honest server would refuse is refused, unless everything is answered alike, and dry runs and
//! reviews of the caller are answered truthfully, unless they are what is attacked.
//!
//! The families, and where they are:
//! - `wire`: stalls, half-closed connections, other protocols on the port;
//! - `bodies`: answers without end, of enormous size or depth, or slow;
//! - `writes`: writes that are not carried out, and answers that never let a client go on;
//! - `tokens`: each TokenRequest answered with tokens that should not be used;
//! - `words`: text that attacks a terminal, a shell, a log or a path;
//! - `shapes`: JSON that is well formed and says something impossible;
//! - `lies`: about who is asked, who asks, what they may do and what time it is.
//!
//! To add one: a line with doc and name in `mode`, its arm in `answer` or `wire` and its work in a
//! family. Then the test does not compile until it says how the attack is seen. Bodies of more than
//! a few hundred kB are shared or repeated parts: the memory of the test kit stays small, because
//! tests bound the memory of the client.

mod answer;
mod bodies;
mod lies;
mod mode;
mod shapes;
mod tokens;
mod wire;
mod witness;
mod words;
mod writes;

#[cfg(test)]
mod tests;

pub(crate) use answer::{Outgoing, answer};
pub use mode::Hostility;
pub(crate) use wire::{after_tls, before_tls};
pub use witness::Witness;
