//! Renders errors: `error:`, details, `caused by:`, and a hint after an empty line.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use crate::error::Error;

/// Renders an error in the one form that all errors have.
pub fn render_error(error: &Error) -> String {
    let red = AnsiColor::Red.on_default().bold();
    let bold = Style::new().bold();
    let mut out = format!("{red}error:{red:#} {}\n", error.message);
    for line in &error.lines {
        let _ = writeln!(out, "{line}");
    }
    let mut above = error.message.clone();
    for cause in &error.causes {
        // A cause that says nothing new is not said.
        if !above.contains(cause) {
            let _ = writeln!(out, "  caused by: {cause}");
        }
        above.clone_from(cause);
    }
    if let Some(hint) = &error.hint {
        let _ = write!(out, "\n{bold}hint:{bold:#} {hint}\n");
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
}
