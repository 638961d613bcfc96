//! Files that only grow: each line is written at once, and stays where it is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags};

use super::StoreError;
use super::reach::{Impassable, reach_or_make};
use super::safety::Guard;

/// A file that lines are added to.
#[derive(Debug)]
pub(crate) struct Appender {
    file: File,
    path: PathBuf,
}

impl Appender {
    /// Opens a file for adding lines; makes it with mode 0600 if it does not exist. `is_ours` recognises the first line
    /// of a file that may be continued.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, is no regular file, or begins with something else.
    pub(crate) fn open(path: &Path, is_ours: fn(&[u8]) -> bool) -> Result<Self, StoreError> {
        /// No first line is longer.
        const LONGEST: u64 = 64 * 1024;
        let failed = |source| StoreError::Write { path: path.to_owned(), source };
        let refused = |cause: &str| StoreError::Foreign { path: path.to_owned(), cause: cause.to_owned() };
        let unpassed = |error: Impassable| error.of(path, failed);
        let (target, _) = reach_or_make(path, Guard::Public).map_err(unpassed)?;
        if let Some(stat) = target.stat().map_err(failed)?
            && !FileType::from_raw_mode(stat.st_mode).is_file()
        {
            return Err(refused("it is not a regular file"));
        }
        let mut file =
            target.open(OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK).map_err(failed)?;
        let mut first = vec![];
        (&file).take(LONGEST).read_to_end(&mut first).map_err(failed)?;
        if !first.is_empty() && !first.split(|byte| *byte == b'\n').next().is_some_and(is_ours) {
            return Err(refused("it is something else"));
        }
        // A run that was killed may have left half a line.
        let length = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if length > 0 {
            let mut last = [0];
            file.seek(SeekFrom::Start(length - 1)).and_then(|_| file.read_exact(&mut last)).map_err(failed)?;
            if last != *b"\n" {
                file.write_all(b"\n").map_err(failed)?;
            }
        }
        Ok(Self { file, path: path.to_owned() })
    }

    /// Adds a line, in one write: lines of several processes do not mix.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(crate) fn add(&mut self, line: &str) -> Result<(), StoreError> {
        let failed = |source: io::Error| StoreError::Write { path: self.path.clone(), source };
        self.file.write_all(format!("{line}\n").as_bytes()).map_err(failed)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes and reads plain files")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn is_ours(line: &[u8]) -> bool {
        line.starts_with(b"{")
    }

    #[test]
    fn lines_are_added_and_a_torn_one_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        Appender::open(&path, is_ours).unwrap().add("{1}").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "{1}\n{2").unwrap();
        let mut again = Appender::open(&path, is_ours).unwrap();
        again.add("{3}").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{1}\n{2\n{3}\n");
    }

    #[test]
    fn what_is_something_else_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mine");
        std::fs::write(&path, "version = 1\n").unwrap();
        assert!(matches!(Appender::open(&path, is_ours), Err(StoreError::Foreign { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "version = 1\n");
        assert!(matches!(Appender::open(directory.path(), is_ours), Err(StoreError::Foreign { .. })));
    }
}
