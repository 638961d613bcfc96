//! What came of combining kubeconfigs. It is about files and no inventory, and has no JSON.

use crate::kubeconfig::combine::Change;

/// What came of combining kubeconfigs into a file.
#[derive(Debug)]
pub(crate) struct MergeReport<'a> {
    /// The file, as it was named; nothing for standard output.
    pub(crate) file: Option<String>,
    /// Whether nothing is written.
    pub(crate) is_dry_run: bool,
    /// How many kubeconfigs were combined.
    pub(crate) inputs: usize,
    /// The entries that are not as they were.
    pub(crate) changes: &'a [Change],
    /// How many are.
    pub(crate) unchanged: usize,
}
