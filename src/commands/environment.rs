//! What the process was started with, read once: environment, terminal, clock.

use std::io::IsTerminal;
use std::path::PathBuf;

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};

use crate::executor::Clock;

/// What a run reads from its process.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The home directory, which `~` stands for.
    pub home: Option<PathBuf>,
    /// The directory that relative paths of the command line refer to.
    pub directory: PathBuf,
    /// Tells the time since the process began.
    pub clock: Clock,
    /// An identifier of this run that no other run has.
    pub run: String,
    /// Whether somebody can answer a question.
    pub can_ask: bool,
    /// Whether stderr is a terminal that somebody watches.
    pub shows_progress: bool,
}

impl Environment {
    /// Reads the process.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads environment and clock")]
    pub fn from_process() -> Self {
        let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        Self {
            home: std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from),
            directory: std::env::current_dir().unwrap_or_default(),
            clock: Clock::start(Timestamp::now()),
            run: random_identifier(),
            can_ask: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
            shows_progress: std::io::stderr().is_terminal() && !is_ci,
        }
    }
}

fn random_identifier() -> String {
    let mut bytes = [0_u8; 8];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
