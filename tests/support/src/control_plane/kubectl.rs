//! Runs the kubectl that belongs to the control plane, untouched by the caller's environment.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::binaries;

/// What a run of kubectl printed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Output {
    /// The exit status, or -1 where a signal ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Returns whether kubectl was content.
    pub fn success(&self) -> bool {
        self.status == 0
    }
}

/// Returns the path of kubectl.
pub fn kubectl_path() -> io::Result<PathBuf> {
    binaries()?.path("kubectl")
}

/// Runs kubectl with `kubeconfig` and `arguments`, with an empty home and a clean environment.
pub fn kubectl<I, A>(kubeconfig: &Path, arguments: I) -> io::Result<Output>
where
    I: IntoIterator<Item = A>,
    A: AsRef<std::ffi::OsStr>,
{
    let home = tempfile::tempdir()?;
    let output = Command::new(kubectl_path()?)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", home.path())
        .current_dir(home.path())
        .stdin(std::process::Stdio::null())
        .output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Output { status: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) })
}
