//! `kubemint verify --kubeconfig FILE`: examines any kubeconfig, even one written by hand.

use std::path::Path;
use std::time::Duration;

use super::super::session::block_on;
use crate::cli::{OutputFormat, ReportOutput, VerifyArgs};
use crate::cluster::doctor::{Examined, access, examine, try_context};
use crate::cluster::{AdminSources, Limits, Network};
use crate::commands::{CommandContext, json, printed};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::kubeconfig::{FileFinding, FindingSeverity};
use crate::report::{KubeconfigReport, kubeconfig_text};

/// A user waits for the result, so a server that does not respond within seconds counts as unreachable. It is also the
/// limit of all work, so no request is repeated.
const REQUEST: Duration = Duration::from_secs(10);
/// Longer than a request, because an exec plugin may ask an identity provider first.
const PLUGIN: Duration = Duration::from_secs(30);

/// Examines one kubeconfig, and connects with one of its contexts.
pub(super) fn run(context: &CommandContext<'_>, written: &Path, args: &VerifyArgs) -> Result<ExitCode, Error> {
    let format = match args.report.output.as_slice() {
        [] => OutputFormat::Text,
        [ReportOutput { format: format @ (OutputFormat::Text | OutputFormat::Json), file: None }] => *format,
        _ => return Err(Error::usage("`verify --kubeconfig` writes text or JSON to standard output")),
    };
    let environment = context.environment;
    let path = environment.directory.join(written);
    let network = Network::new(environment.admin.proxies.clone());
    let examined = examine(&path, &network, environment.clock.now()).map_err(|error| {
        Error::new(ExitCode::AllFailed, format!("cannot examine `{}`", written.display())).because(error.to_string())
    })?;
    let chosen = choose(&examined, args.context.as_deref())?;
    let mut findings: Vec<FileFinding> = examined.findings.clone();
    let mut connected = crate::cluster::doctor::Connected::default();
    if let Some(name) = &chosen {
        let sources = AdminSources::load(&[access(&path, name)], &environment.admin, PLUGIN);
        let now = || environment.clock.now();
        connected = block_on(try_context(&sources, &examined, (&path, name), Limits::new(REQUEST, REQUEST), now))?;
        findings.append(&mut connected.findings);
    }
    let mut report = KubeconfigReport::new(written.display().to_string(), chosen, findings);
    (report.server, report.identity) = (connected.server, connected.identity);
    report.may_list_namespaces = connected.may_list_namespaces;
    if format == OutputFormat::Json {
        printed(context.printer.data(&json(&report)?))?;
    } else {
        printed(context.printer.data(&kubeconfig_text(&report)))?;
    }
    let is_error = |finding: &FileFinding| finding.severity == FindingSeverity::Error;
    Ok(if report.findings.iter().any(is_error) { ExitCode::Pending } else { ExitCode::Done })
}

/// Returns the context to connect with: the one that is named, the current one, or the only one.
fn choose(examined: &Examined, named: Option<&str>) -> Result<Option<String>, Error> {
    let Some(named) = named else {
        let only = if let [only] = examined.contexts.as_slice() { Some(only.clone()) } else { None };
        return Ok(examined.current_context.clone().or(only));
    };
    if examined.contexts.iter().any(|context| context == named) {
        return Ok(Some(named.to_owned()));
    }
    // A file that cannot be parsed has no contexts, and its errors explain that.
    let is_error = |finding: &FileFinding| finding.severity == FindingSeverity::Error;
    if examined.contexts.is_empty() && examined.findings.iter().any(is_error) {
        return Ok(None);
    }
    let error = Error::usage(format!("the file has no context `{named}`"));
    let known: Vec<String> = examined.contexts.iter().map(|context| format!("`{context}`")).collect();
    Err(if known.is_empty() { error } else { error.hint(format!("it has {}", known.join(", "))) })
}
