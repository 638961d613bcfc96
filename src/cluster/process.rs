//! Programs of others that are run: their output is bounded, and none outlives its time with what it started.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::failure::names_secret;

/// How long the processes that a program left running may hold its output open after it ended.
const GRACE: Duration = Duration::from_millis(500);
/// How much of standard error is kept.
const LARGEST_ERRORS: u64 = 1024 * 1024;

/// Starts a program that reads nothing, and whose output is read.
///
/// # Errors
///
/// If it cannot be started.
pub(crate) fn spawn(command: &mut Command) -> std::io::Result<Child> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        // With its own process group, the processes that it starts are killed with it.
        .process_group(0)
        .spawn()
}

/// The processes that a program started, with itself: they are killed if nobody waits for it any more.
struct Group(Option<Pid>);

impl Group {
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "cannot kill the process group of a program");
        }
    }
}

/// The exit status and the output of a process that ended.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Finished {
    /// Waits for a process of [`spawn`] to end, and kills it and what it started if that takes too long.
    ///
    /// # Errors
    ///
    /// If it does, or prints more than `largest` bytes; the error says what it did and not who.
    pub(crate) async fn of(mut child: Child, limit: Duration, largest: u64) -> Result<Self, String> {
        let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (mut stdout, mut stderr) = (vec![], vec![]);
        let ended = {
            let reading = async { tokio::join!(read(out, largest + 1, &mut stdout), read_and_drain(err, &mut stderr)) };
            tokio::pin!(reading);
            let running = async {
                tokio::select! {
                    status = child.wait() => {
                        // A process that it left behind may hold the pipe open for ever.
                        drop(tokio::time::timeout(GRACE, &mut reading).await);
                        status
                    }
                    _ = &mut reading => child.wait().await,
                }
            };
            tokio::time::timeout(limit, running).await
        };
        let is_too_long = stdout.len() as u64 > largest;
        // What it left running after it ended is its own affair.
        if ended.is_ok() {
            group.leave();
        }
        match ended {
            // Its output was not read to the end, which may itself be why it failed.
            Ok(_) if is_too_long => Err(format!("printed more than {} MiB", largest / (1024 * 1024))),
            Ok(Ok(status)) => Ok(Self { status, stdout, stderr }),
            Ok(Err(error)) => Err(format!("cannot be waited for: {error}")),
            Err(_) => Err(format!("did not end within {}", crate::wording::duration(limit))),
        }
    }
}

/// Reads a pipe to its end, or as much of it as is wanted.
async fn read(pipe: Option<impl AsyncRead + Unpin>, most: u64, into: &mut Vec<u8>) {
    if let Some(pipe) = pipe {
        // After a read error, the part that was read is judged.
        drop(pipe.take(most).read_to_end(into).await);
    }
}

/// Reads what is written to standard error. Only the beginning is kept; the rest is read, so that the writer does
/// not block.
async fn read_and_drain(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    read(Some(&mut pipe), LARGEST_ERRORS, into).await;
    drop(tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await);
}

/// Returns the arguments of a program that may be secrets: `--token=…` and `--token …`. Leaving out a harmless word by mistake is
/// better than showing a secret, but a path is one only where its flag says so.
pub(crate) fn given_as_arguments(arguments: &[String]) -> impl Iterator<Item = &str> {
    let before = std::iter::once("").chain(arguments.iter().map(String::as_str));
    let values = before.zip(arguments).flat_map(|(before, argument)| {
        let value = argument.split_once('=');
        [value, Some((if before.contains('=') { "" } else { before }, argument.as_str()))]
    });
    values
        .flatten()
        .filter(|(flag, value)| !value.starts_with('-') && (!value.contains('/') || names_secret(flag)))
        .map(|(_, value)| value)
}

/// Returns what a program said without what it was given.
pub(crate) fn without<'a>(said: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    /// A shorter value is no secret, and would be found in many words.
    const SHORTEST: usize = 8;
    secrets.filter(|secret| secret.len() >= SHORTEST).fold(said.to_owned(), |said, it| said.replace(it, "[REDACTED]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_was_given_is_not_repeated() {
        let given =
            ["env", "API_KEY=hunter2hunter", "--token=ab/cd==ef", "--password", "open/sesame", "/usr/bin/lister"];
        let given = given.map(str::to_owned);
        let said = "/usr/bin/lister: 401 for hunter2hunter, ab/cd==ef and open/sesame";
        let shown = "/usr/bin/lister: 401 for [REDACTED], [REDACTED] and [REDACTED]";
        assert_eq!(without(said, given_as_arguments(&given)), shown);
    }
}
