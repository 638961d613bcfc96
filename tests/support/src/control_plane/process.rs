//! A child process that cannot outlive this one.
//!
//! Each program runs under a small shell script that holds the reading end of a pipe. However
//! this process ends, also by SIGKILL, the kernel closes the writing end, the script's `read`
//! returns, and the script kills the program.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::poll;

/// The watchdog: prints the program's PID, waits for it, kills it at the end of its own stdin.
const WATCHDOG: &str = r#"
exec 3<&0 </dev/null
log="$1"; shift
"$@" 3<&- >>"$log" 2>&1 &
program=$!
echo "$program"
( read -r _ <&3; kill -CONT "$program"; kill -KILL "$program" ) >/dev/null 2>&1 &
watchdog=$!
exec 3<&- >&-
wait "$program"
status=$?
kill "$watchdog" 2>/dev/null
exit "$status"
"#;

/// Removes a directory at the end of its own stdin, a moment after the watchdogs have killed the
/// programs that write there; the interrupt of a terminal does not stop it.
const SWEEPER: &str = r#"
trap '' INT TERM HUP
read -r _
sleep 1
rm -rf "$1"
"#;

/// How much of a log is shown when its program failed.
const LOG_TAIL_BYTES: u64 = 4_000;

/// What to run.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// Where stdout and stderr go, appended.
    pub(super) log: PathBuf,
}

/// A running program; dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    shell: Child,
    program: Pid,
    name: String,
    log: PathBuf,
}

/// Removes a directory when this process ends without dropping it: killed, or holding the clusters
/// in a static.
#[derive(Debug)]
pub(super) struct Sweeper(Child);

impl Sweeper {
    pub(super) fn spawn(directory: &Path) -> io::Result<Self> {
        std::process::Command::new("sh")
            .args(["-c", SWEEPER, "sweeper"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        // The directory removes itself now.
        let _result = self.0.kill().and_then(|()| self.0.wait());
    }
}

impl Process {
    pub(super) fn spawn(command: &Command) -> io::Result<Self> {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(&command.log)
            .arg(&command.program)
            .args(&command.arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", command.log.parent().unwrap_or(&command.log))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = shell.stdout.take().expect("stdout is a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let program = line
            .trim()
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the watchdog did not start"))?;
        Ok(Self {
            shell,
            program,
            name: command.program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            log: command.log.clone(),
        })
    }

    /// Sends `signal` to the program.
    pub(super) fn signal(&self, signal: Signal) {
        let _gone_already = kill_process(self.program, signal);
    }

    /// Fails with the end of the log when the program is no longer running.
    pub(super) fn check_running(&mut self) -> io::Result<()> {
        match self.shell.try_wait()? {
            None => Ok(()),
            Some(status) => Err(io::Error::other(format!("{} ended with {status}:\n{}", self.name, self.log_tail()))),
        }
    }

    /// Waits until `ready` holds, and fails as soon as the program ends.
    pub(super) fn wait_until(
        &mut self,
        deadline: Duration,
        mut ready: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<()> {
        let name = self.name.clone();
        poll(&name, deadline, || {
            self.check_running()?;
            ready()
        })
        .map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => io::Error::new(error.kind(), format!("{error}\n{}", self.log_tail())),
            _ => error,
        })
    }

    fn log_tail(&self) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_or_else(|error| format!("no log: {error}"), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Closing the pipe is what the watchdog waits for; the wait makes sure that it has acted.
        drop(self.shell.stdin.take());
        let _status = self.shell.wait();
    }
}
