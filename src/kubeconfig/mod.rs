//! Kubeconfigs: our entries, reading what is there, and editing it without touching the rest.
//!
//! Pure: no I/O, no clock. `entry` renders our entries, [`Document`] reads those of an output, and [`edit`] splices the
//! former into the latter.

pub mod combine;
mod digest;
mod document;
pub mod edit;
mod endpoint;
mod entry;
pub(crate) mod exec;
mod extension;
mod fields;
mod finding;
#[cfg(test)]
mod large;
mod merge;
mod order;
mod refusal;
mod removal;

pub use document::{Document, DocumentError};
pub(crate) use document::{EntryState, Held, OtherHolder, RENAME, facts_of, foreign_owner};
pub(crate) use endpoint::{Endpoint, without_user};
pub(crate) use entry::{EXEC_API_VERSION, Mark, OurEntries};
pub use entry::{EntryNames, ExecPlugin, UserForm};
pub(crate) use finding::line_with;
pub use finding::{FileFinding, FileFindingKind, FindingSeverity};
pub(crate) use merge::{Incoming, MergeError, may_replace_token, merge, token_file};
pub(crate) use order::FileOrder;
#[cfg(any(test, fuzzing))]
pub(crate) use refusal::is_refusal;
pub(crate) use refusal::{NOT_A_BOOLEAN, Refusal, refusal};
pub(crate) use removal::{EntryName, Leaving, Marked, Removable, remove};

/// The most keys and values of one file: 100,000 clusters have that many. While a file is read, each takes some hundred
/// bytes of memory, however short it is.
const MOST_NODES: usize = 4_000_000;

/// Returns the options for reading YAML of `length` bytes: the limits grow with the file, and errors do not quote it,
/// because neighbouring lines hold tokens.
pub(crate) fn yaml_options(length: usize) -> serde_saphyr::Options {
    yaml_options_of_part(length, length)
}

/// Returns the options for reading a part of a text: its share of what the whole may have, by their lengths in bytes. If all
/// parts can be read, so can the whole.
fn yaml_options_of_part(part: usize, whole: usize) -> serde_saphyr::Options {
    let share = |most: usize| if part == whole { most } else { most * part / whole };
    let events = share((whole / 4).clamp(100_000, 2 * MOST_NODES));
    serde_saphyr::options! {
        with_snippet: false,
        // Values that aliases stand for count like written ones: a few lines can refer to each other a million times.
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: events },
        budget: serde_saphyr::budget! {
            max_events: events,
            max_nodes: share((whole / 4).clamp(100_000, MOST_NODES)),
            max_total_scalar_bytes: share(whole.max(1 << 20)),
            // Threads have 2 MiB of stack, and without optimisation a level takes more than 32 KiB of it where a refusal
            // looks for the place of a fault.
            max_depth: 32,
            flow_nesting_limit: 32,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_documents: 16,
        },
    }
}

/// Says why a mapping is no kubeconfig, judged by its `kind` and by whether it has any key of one. Other programs'
/// files are neither read as a kubeconfig nor written.
pub(crate) fn refuse_other_kinds(kind: Option<&str>, has_keys: bool) -> Result<(), String> {
    match kind {
        Some(kind) if !matches!(kind, "" | "Config") => Err("its `kind` is not `Config`".to_owned()),
        None if !has_keys => Err("it has no key of a kubeconfig".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few hundred bytes that refer to each other many thousand times are refused at once.
    #[test]
    fn what_aliases_stand_for_counts_like_what_is_written() {
        let twice = |level: usize| format!("k{level}: &k{level} {{<<: [*k{0}, *k{0}]}}\n", level - 1);
        let text = format!("k0: &k0 {{z: 1}}\n{}clusters:\n- <<: *k12\n", (1..=12).map(twice).collect::<String>());
        assert!(matches!(Document::parse(&text), Err(DocumentError::Malformed(_))));
    }
}
