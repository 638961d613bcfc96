//! What RBAC rules allow.
//!
//! A [`Rule`] is the product of its lists, a [`Right`] is one element of it: one verb on one resource, name or
//! URL, which holds in a [`Scope`]. [`Rule::allows`] is the only place that decides whether a rule covers a
//! right; comparison, access review and warnings use it. Pure: no I/O, no clock.

mod escalating;
mod right;
mod rule;
mod wildcard;

pub use escalating::Escalating;
pub(crate) use right::{Right, RightGroup, Scope, summarise};
pub use rule::Rule;
pub(crate) use rule::uncovered;
