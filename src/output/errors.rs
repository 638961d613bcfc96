//! Renders errors: `error:`, details, `caused by:`, and a hint after an empty line.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use crate::error::Error;
use crate::foreign::shown;

/// Renders an error in the one form that all errors have.
pub(crate) fn render_error(error: &Error) -> String {
    let red = AnsiColor::Red.on_default().bold();
    let bold = Style::new().bold();
    let mut out = format!("{red}error:{red:#} {}\n", shown(&error.message));
    for line in &error.lines {
        let _ = writeln!(out, "{}", shown(line));
    }
    let mut above = error.message.clone();
    for cause in &error.causes {
        // A cause that says nothing new is not said.
        if !above.contains(cause) {
            let _ = writeln!(out, "  caused by: {}", shown(cause));
        }
        above.clone_from(cause);
    }
    if let Some(hint) = &error.hint {
        let _ = write!(out, "\n{bold}hint:{bold:#} {}\n", shown(hint));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::ExitCode;

    #[test]
    fn an_error_says_what_why_and_how_to_fix_it() {
        let error = Error::new(ExitCode::AllFailed, "cluster `prod-eu`: failed")
            .because("no answer")
            .because("no answer")
            .hint("run `kubemint apply --cluster prod-eu`");
        insta::assert_snapshot!(anstream::adapter::strip_str(&render_error(&error)), @r"
        error: cluster `prod-eu`: failed
          caused by: no answer

        hint: run `kubemint apply --cluster prod-eu`
        ");
    }

    /// The last example of the project's style for errors; the others are in `tests/it/errors.rs`.
    #[test]
    fn a_chain_of_causes_is_said_link_by_link() {
        let error = Error::new(ExitCode::AllFailed, "no valid credential for `deployer` in cluster `prod-eu`")
            .because("the stored token expired 3h ago")
            .because("refresh failed: no answer from <https://10.20.0.1:6443> within 5s")
            .hint("run `kubemint refresh --cluster prod-eu` where the API server is reachable");
        insta::assert_snapshot!(anstream::adapter::strip_str(&render_error(&error)), @r"
        error: no valid credential for `deployer` in cluster `prod-eu`
          caused by: the stored token expired 3h ago
          caused by: refresh failed: no answer from <https://10.20.0.1:6443> within 5s

        hint: run `kubemint refresh --cluster prod-eu` where the API server is reachable
        ");
    }
}
