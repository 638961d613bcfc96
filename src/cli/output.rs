//! `-o FORMAT` and `-o FORMAT=FILE`, of every command that reports.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error, ValueEnum};

/// How a report is written
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Text for people
    Text,
    /// Text with everything: all clusters, and all columns
    Wide,
    /// One JSON document, described in docs/json.md
    Json,
    /// Markdown for a comment on a pull request
    Markdown,
    /// One HTML file, which needs no network
    Html,
    /// `JUnit` XML: a test case for each cluster and profile
    Junit,
}

impl OutputFormat {
    /// Whether it is for people who read along, rather than a document that is read later.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Wide)
    }
}

/// Where a report is written, and in which format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReportOutput {
    /// The format.
    pub format: OutputFormat,
    /// The file; standard output without one.
    pub file: Option<PathBuf>,
}

impl ReportOutput {
    /// Returns the format for standard output: text, unless another one was asked for.
    pub(crate) fn on_stdout(outputs: &[Self]) -> OutputFormat {
        outputs.iter().find(|output| output.file.is_none()).map_or(OutputFormat::Text, |output| output.format)
    }
}

/// Reads `FORMAT` or `FORMAT=FILE`.
#[derive(Debug, Clone)]
pub(super) struct OutputParser;

fn formats() -> impl Iterator<Item = &'static OutputFormat> {
    OutputFormat::value_variants().iter()
}

impl TypedValueParser for OutputParser {
    type Value = ReportOutput;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<ReportOutput, Error> {
        let text = StringValueParser::new().parse_ref(command, argument, value)?;
        let (name, file) = text.split_once('=').map_or((text.as_str(), None), |(name, file)| (name, Some(file)));
        let is_it =
            |format: &&&OutputFormat| format.to_possible_value().is_some_and(|possible| possible.matches(name, false));
        let format = formats().find(|format| is_it(&format)).copied();
        let format = format.filter(|format| file.is_none_or(|file| !file.is_empty() && !format.is_text()));
        let Some(format) = format else {
            let mut error = Error::new(ErrorKind::InvalidValue).with_cmd(command);
            if let Some(argument) = argument {
                error.insert(ContextKind::InvalidArg, ContextValue::String(argument.to_string()));
            }
            error.insert(ContextKind::InvalidValue, ContextValue::String(text.clone()));
            let names = formats().filter_map(ValueEnum::to_possible_value);
            let names = names.flat_map(|possible| {
                let name = possible.get_name().to_owned();
                let is_text = matches!(name.as_str(), "text" | "wide");
                std::iter::once(name.clone()).chain((!is_text).then(|| format!("{name}=FILE")))
            });
            error.insert(ContextKind::ValidValue, ContextValue::Strings(names.collect()));
            return Err(error);
        };
        Ok(ReportOutput { format, file: file.map(PathBuf::from) })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue>>> {
        Some(Box::new(formats().filter_map(ValueEnum::to_possible_value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ReportOutput, String> {
        let output = Arg::new("output").short('o').value_parser(OutputParser);
        let matches = Command::new("kubemint").arg(output).try_get_matches_from(["kubemint", "-o", text]);
        let mut matches = matches.map_err(|error| error.to_string())?;
        Ok(matches.remove_one::<ReportOutput>("output").expect("it was given"))
    }

    #[test]
    fn a_format_may_name_a_file() {
        let json = ReportOutput { format: OutputFormat::Json, file: None };
        assert_eq!(read("json").unwrap(), json);
        let file = ReportOutput { file: Some("a=b.json".into()), ..json };
        assert_eq!(read("json=a=b.json").unwrap(), file);
        for wrong in ["yaml", "json=", "text=x", "wide=x", ""] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains("json=FILE"), "{wrong}: {error}");
        }
        assert_eq!(read("wide").unwrap().format, OutputFormat::Wide);
    }

    #[test]
    fn text_goes_to_the_terminal_unless_something_else_does() {
        let to = |format, file: Option<&str>| ReportOutput { format, file: file.map(PathBuf::from) };
        assert_eq!(ReportOutput::on_stdout(&[]), OutputFormat::Text);
        assert_eq!(ReportOutput::on_stdout(&[to(OutputFormat::Json, Some("x"))]), OutputFormat::Text);
        let both = [to(OutputFormat::Junit, Some("x")), to(OutputFormat::Markdown, None)];
        assert_eq!(ReportOutput::on_stdout(&both), OutputFormat::Markdown);
    }
}
