//! Waves of a rollout: which clusters are changed together, and when the next ones are.
//!
//! Pure: no I/O, no clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::{Cluster, Inventory};
use crate::names::WaveName;
use crate::selector::Selector;

/// The name of the wave of clusters that no other wave selects.
pub(crate) const REST: &str = "rest";

/// Clusters that are changed together, after the waves before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wave {
    /// Its name.
    pub(crate) name: WaveName,
    /// Which clusters are in it, if no earlier wave selects them.
    pub(crate) selector: Selector,
    /// How long nothing is done after it.
    pub(crate) pause: Duration,
    /// How many of its clusters are worked on at the same time, instead of the inventory's number.
    pub(crate) concurrency: Option<usize>,
    /// How many of its clusters may fail before the rollout stops.
    pub(crate) max_failures: Budget,
    /// Whether somebody is asked before it starts.
    pub(crate) confirm: bool,
    /// Whether the credentials that it minted are used once more after its pause.
    pub(crate) verify: bool,
}

/// How many of some things something may happen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Budget {
    /// So many.
    Number(usize),
    /// A share, in percent, rounded down.
    Percent(u8),
}

impl Budget {
    /// Parses `3` or `2%`.
    ///
    /// # Errors
    ///
    /// If the text is neither; the error says so.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither a number nor a share such as `2%`");
        match text.strip_suffix('%') {
            None => text.parse().map(Self::Number).map_err(|_| wrong()),
            Some(percent) => match percent.parse() {
                Ok(percent @ 0..=100) => Ok(Self::Percent(percent)),
                _ => Err(wrong()),
            },
        }
    }

    /// Returns how many of `all` it may happen to.
    pub(crate) fn of(self, all: usize) -> usize {
        match self {
            Self::Number(number) => number,
            Self::Percent(percent) => all * usize::from(percent) / 100,
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Inventory {
    /// Returns the name of the wave that a cluster is in; nothing if the inventory has no waves.
    pub(crate) fn wave_of(&self, cluster: &Cluster) -> Option<WaveName> {
        if self.waves.is_empty() {
            return None;
        }
        let wave = self.waves.iter().find(|wave| wave.selector.matches(&cluster.labels));
        Some(wave.map_or_else(|| WaveName::new(REST), |wave| wave.name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_number_or_a_share_that_is_rounded_down() {
        for (text, of, expected) in [("0", 50, 0), ("3", 50, 3), ("2%", 49, 0), ("2%", 50, 1), ("100%", 7, 7)] {
            let budget = Budget::parse(text).unwrap();
            assert_eq!((budget.of(of), budget.to_string().as_str()), (expected, text));
        }
        for wrong in ["", "-1", "101%", "1.5%", "%", "two"] {
            assert!(Budget::parse(wrong).unwrap_err().contains("such as `2%`"), "{wrong}");
        }
    }
}
