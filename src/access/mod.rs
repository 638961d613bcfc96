//! What an account may do, compared with what its profile intends.
//!
//! [`crate::inventory::intended`] says what a grant should allow, [`Policy`] holds the roles and bindings that were
//! read, [`Questions`] what the API server is asked with the issued credential, and
//! [`AccessReview::new`] compares. **Start there.** The rules of evaluation are those of Kubernetes'
//! RBAC authorizer (`pkg/apis/rbac/v1/evaluation_helpers.go`, `pkg/registry/rbac/validation/rule.go`).
//! Pure: no I/O, no clock.

mod crosscheck;
mod policy;
mod question;
mod review;

pub(crate) use crosscheck::RulesReview;
pub(crate) use policy::{Account, Binding, Policy, RoleRules};
pub(crate) use question::{Answer, Question, Questions};
pub(crate) use review::{AccessNote, AccessNoteKind, AccessReview, Everyone, Excess, IntendedReview};

#[cfg(test)]
mod tests;
