//! Logs to stderr. Only kubemint's own are let through: kube logs whole answers that do not parse,
//! and an answer may be a token.

use std::io::{self, Write};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::progress::Progress;
use crate::foreign::{escaped_in_json, guarded};

/// How logs are written
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// Starts logging; `verbosity` is how often `-v` was given. The first start of a process counts.
pub(crate) fn start_logging(verbosity: u8, format: LogFormat, color: bool) {
    let level = match verbosity {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::new(format!("off,kubemint={level}"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(AsideWriter { format });
    // A second start, as in tests that run commands in one process, keeps the first.
    let _already_started = match format {
        LogFormat::Text => builder.with_ansi(color).with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// Writes to stderr while the progress display steps aside.
#[derive(Debug, Clone, Copy)]
struct AsideWriter {
    format: LogFormat,
}

impl Write for AsideWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Each event comes in one piece.
        let text = String::from_utf8_lossy(bytes);
        let text = match self.format {
            LogFormat::Text => guarded(&text),
            LogFormat::Json => escaped_in_json(&text),
        };
        Progress::suspend(|| io::stderr().write_all(text.as_bytes()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for AsideWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}
