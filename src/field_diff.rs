//! One field that differs, whatever it is a field of: an object in a cluster, or an entry of a kubeconfig.
//!
//! Pure: no I/O, no clock.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One field that differs, as lines that would go and lines that would come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub(crate) struct FieldDiff {
    /// The field, as in `rules` or `metadata.labels.env`.
    pub field: String,
    /// What is there and would go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// What is missing and would come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
}

impl FieldDiff {
    /// Stands for a value that would go and is not shown, because it may be a secret.
    pub(crate) const WAS: &str = "(what was there, not shown)";
    /// Stands for a value that would come and is not shown, because it may be a secret.
    pub(crate) const WRITTEN: &str = "(what kubemint writes, not shown)";
}
