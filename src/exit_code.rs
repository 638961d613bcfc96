//! Exit codes: public, and documented in `docs/exit-codes.md`.

/// How a run ended, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything that was asked for is done.
    Done = 0,
    /// A bug in kubemint.
    Internal = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The inventory is invalid.
    InvalidInventory = 3,
    /// Changes are pending, or something was found that should not be.
    Pending = 4,
    /// Nothing was written: an output collision, every selected cluster is blocked, or more would be pruned than may.
    Blocked = 5,
    /// Some clusters are blocked, failed or unreachable, some inputs were left out, or some file could not be searched for
    /// what has to leave it; the others are done.
    Partial = 6,
    /// All clusters failed, or no input can be used.
    AllFailed = 7,
    /// The run was interrupted.
    Interrupted = 130,
}

impl ExitCode {
    /// All codes with what they mean, in their order.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Done, "everything that was asked for is done"),
        (Self::Internal, "internal error: a bug in kubemint"),
        (Self::Usage, "the command line is wrong"),
        (Self::InvalidInventory, "the inventory is invalid"),
        (
            Self::Pending,
            "changes are pending or something is due (`--check`), a run was declined, or `verify` found something",
        ),
        (
            Self::Blocked,
            "nothing was written: an output collision, every selected cluster is blocked, or more would be pruned than may",
        ),
        (
            Self::Partial,
            "some clusters are blocked, failed or unreachable, some inputs were left out, or some file could not be searched for \
             what has to leave it; the others are done",
        ),
        (Self::AllFailed, "all clusters failed, or no input can be used"),
        (Self::Interrupted, "the run was interrupted"),
    ];

    /// Returns the number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.code())
    }
}
