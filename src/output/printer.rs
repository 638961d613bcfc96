//! Standard output and standard error.

use std::io::{self, ErrorKind, Write};

use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;

use super::progress::Progress;
use crate::foreign::{guarded, redacted};

/// When to use colours
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrinterOptions {
    /// When to use colours.
    pub color: ColorWhen,
    /// Whether remarks are left out.
    pub quiet: bool,
}

/// Prints to stdout and stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    choice: ColorChoice,
    quiet: bool,
}

impl Printer {
    /// Makes a printer.
    pub(crate) fn new(options: PrinterOptions) -> Self {
        let choice = match options.color {
            // anstream looks at the terminal and at NO_COLOR.
            ColorWhen::Auto => ColorChoice::Auto,
            ColorWhen::Always => ColorChoice::AlwaysAnsi,
            ColorWhen::Never => ColorChoice::Never,
        };
        Self { choice, quiet: options.quiet }
    }

    /// Returns whether text on stderr may have colours.
    pub(crate) fn colors_stderr(self) -> bool {
        match self.choice {
            ColorChoice::Auto => AutoStream::choice(&io::stderr()) != ColorChoice::Never,
            choice => choice != ColorChoice::Never,
        }
    }

    /// Writes data to stdout. A reader that went away wants no more.
    ///
    /// # Errors
    ///
    /// If stdout cannot be written for another reason: data that was asked for is then missing.
    pub(crate) fn data(self, text: &str) -> io::Result<()> {
        Progress::suspend(|| {
            let mut stdout = AutoStream::new(io::stdout().lock(), self.choice);
            match stdout.write_all(redacted(&guarded(text)).as_bytes()).and_then(|()| stdout.flush()) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                result => result,
            }
        })
    }

    /// Writes data to stdout as it is, such as a kubeconfig, whose bytes count.
    ///
    /// # Errors
    ///
    /// As [`Printer::data`].
    pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
        Progress::suspend(|| {
            let mut stdout = io::stdout().lock();
            match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                result => result,
            }
        })
    }

    /// Writes a remark to stderr, unless the run is quiet.
    pub(crate) fn remark(self, text: &str) {
        if !self.quiet {
            self.problem(text);
        }
    }

    /// Writes a problem to stderr.
    pub(crate) fn problem(self, text: &str) {
        Progress::suspend(|| {
            let mut stderr = AutoStream::new(io::stderr().lock(), self.choice);
            // Where stderr is gone, nobody can be told so.
            drop(stderr.write_all(redacted(&guarded(text)).as_bytes()).and_then(|()| stderr.flush()));
        });
    }
}
