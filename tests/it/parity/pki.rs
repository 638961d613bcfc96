//! The fixed certificates and keys in `pki/`.

use std::path::{Path, PathBuf};

pub(super) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/parity/pki").join(name)
}

/// Returns the PEM text of a file.
pub(super) fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
