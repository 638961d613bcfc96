//! What a running refresher tells a monitoring system: [`Metrics`], and the server that shows them.
//!
//! Nothing can be changed through it. No metric has a label that could hold a secret.

mod metrics;
mod server;

pub(crate) use metrics::{GrantState, Metrics, is_metrics};
pub(crate) use server::{Health, serve};
