//! Reading with an upper limit; each limit ends in an error that names it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads everything from a reader, which may give at most `largest` bytes.
///
/// # Errors
///
/// If it is longer, or cannot be read.
pub(crate) fn read_to_limit(reader: impl Read, largest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    // One byte more than the limit is read, to see whether there is more.
    reader.take(largest.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest { Err(too_long(largest)) } else { Ok(bytes) }
}

/// Reads a regular file of at most `largest` bytes. A pipe or a device is refused, because it may never end.
///
/// # Errors
///
/// If it is something else or longer, or cannot be read.
pub(crate) fn read_regular(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    // Without this flag, opening a pipe would wait for a writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    read_opened(OpenOptions::new().read(true).custom_flags(flags).open(path)?, largest)
}

/// Reads an open file if it is a regular one. The open file is checked, so it cannot be exchanged before it is read.
pub(super) fn read_opened(file: File, largest: u64) -> io::Result<Vec<u8>> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(not_regular());
    }
    if metadata.len() > largest {
        return Err(too_long(largest));
    }
    read_to_limit(file, largest)
}

pub(super) fn not_regular() -> io::Error {
    io::Error::other("it is not a regular file")
}

fn too_long(largest: u64) -> io::Error {
    const MIB: u64 = 1024 * 1024;
    let limit = if largest.is_multiple_of(MIB) { format!("{} MiB", largest / MIB) } else { format!("{largest} bytes") };
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_the_limit_is_an_error_and_never_cut() {
        assert_eq!(read_to_limit(&b"1234"[..], 4).unwrap(), b"1234");
        assert_eq!(read_to_limit(&b"12345"[..], 4).unwrap_err().to_string(), "it is larger than 4 bytes");
        assert!(read_to_limit(io::repeat(0), 1 << 20).unwrap_err().to_string().contains("1 MiB"));
    }

    #[test]
    fn only_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero"), directory.path()] {
            let error = read_regular(path, 1024).unwrap_err();
            assert_eq!(error.to_string(), "it is not a regular file", "{}", path.display());
        }
        // Its metadata give its length as 0, although it has content.
        assert!(read_regular(Path::new("/proc/self/status"), 10).unwrap_err().to_string().contains("10 bytes"));
    }
}
