//! Reports as JUnit XML, which CI systems show: a test case for each cluster and profile.
//!
//! Pure: no I/O, no clock.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::verify::VerifiedClusterReport;
use super::{Body, ClusterReport, Report, State, VerifyState};
use crate::foreign::shown;
use crate::names::{ClusterName, ProfileName};

/// What the name of a set of test cases begins with, so that a report is known again.
const NAME: &str = "kubemint ";

/// Returns whether a file is a JUnit report that kubemint wrote.
pub(crate) fn is_junit(content: &[u8]) -> bool {
    let begins = |text: &[u8]| text.windows(NAME.len() + 18).any(|part| part == b"<testsuites name=\"kubemint ");
    begins(&content[..content.len().min(200)])
}

/// How a test case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// Something is not as it should be, with what to do.
    Failed(String, Option<String>),
    /// It could not be found out, with what to do.
    Error(String, Option<String>),
    /// Nothing was done about it.
    Skipped(String),
}

/// One test case.
#[derive(Debug)]
struct Case<'a> {
    cluster: &'a ClusterName,
    profile: Option<&'a ProfileName>,
    outcome: Outcome,
}

/// Renders a report.
///
/// # Errors
///
/// If the XML cannot be written, which memory does not refuse.
pub(super) fn junit(report: &Report) -> io::Result<String> {
    let cases: Vec<Case<'_>> = match &report.body {
        Body::Changes(changes) => changes.clusters.iter().flat_map(changed).collect(),
        Body::Status(status) => status
            .grants
            .iter()
            .map(|grant| Case {
                cluster: &grant.cluster,
                profile: Some(&grant.profile),
                outcome: match (&grant.error, grant.state.is_fine()) {
                    (Some(error), _) => Outcome::Error(error.clone(), None),
                    (None, true) => Outcome::Passed,
                    (None, false) => Outcome::Failed(grant.state.as_str().to_owned(), grant.detail.clone()),
                },
            })
            .collect(),
        Body::Verification(verification) => verification.clusters.iter().flat_map(verified).collect(),
    };
    let number = |is: fn(&Outcome) -> bool| cases.iter().filter(|case| is(&case.outcome)).count().to_string();
    let name = format!("{NAME}{}", report.head.command.as_str());
    let (tests, started) = (cases.len().to_string(), report.head.started.to_string());
    let failures = number(|outcome| matches!(outcome, Outcome::Failed(..)));
    let errors = number(|outcome| matches!(outcome, Outcome::Error(..)));
    let skipped = number(|outcome| matches!(outcome, Outcome::Skipped(_)));
    let counts = [("tests", tests.as_str()), ("failures", &failures), ("errors", &errors)];
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let all = writer.create_element("testsuites").with_attribute(("name", name.as_str())).with_attributes(counts);
    all.write_inner_content(|writer| {
        let suite = writer.create_element("testsuite").with_attribute(("name", report.head.inventory.as_str()));
        let suite = suite.with_attributes(counts).with_attribute(("skipped", skipped.as_str()));
        let suite = suite.with_attribute(("timestamp", started.as_str()));
        suite.write_inner_content(|writer| cases.iter().try_for_each(|case| write_case(writer, case)))?;
        Ok(())
    })?;
    let mut text = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
    text.push('\n');
    Ok(text)
}

fn write_case(writer: &mut Writer<Vec<u8>>, case: &Case<'_>) -> io::Result<()> {
    let cluster = shown(case.cluster.as_str());
    let profile = case.profile.map_or("cluster".into(), |profile| shown(profile.as_str()));
    let element = writer.create_element("testcase").with_attribute(("classname", &*cluster));
    let element = element.with_attribute(("name", &*profile));
    let said = |writer: &mut Writer<Vec<u8>>, kind: &str, message: &str, more: Option<&String>| {
        let message = shown(message);
        let said = writer.create_element(kind).with_attribute(("message", &*message));
        match more {
            Some(more) => said.write_text_content(BytesText::new(&shown(more)))?,
            None => said.write_empty()?,
        };
        Ok::<(), io::Error>(())
    };
    match &case.outcome {
        Outcome::Passed => element.write_empty()?,
        Outcome::Failed(message, more) => {
            element.write_inner_content(|writer| said(writer, "failure", message, more.as_ref()))?
        }
        Outcome::Error(message, more) => {
            element.write_inner_content(|writer| said(writer, "error", message, more.as_ref()))?
        }
        Outcome::Skipped(why) => element.write_inner_content(|writer| said(writer, "skipped", why, None))?,
    };
    Ok(())
}

/// Returns the test cases of a cluster that was planned, or changed.
fn changed(cluster: &ClusterReport) -> Vec<Case<'_>> {
    let hint = || cluster.hint().map(str::to_owned);
    let outcome = |profile: Option<&ProfileName>| match (cluster.state, cluster.why_not()) {
        (State::NotStarted, why) => Outcome::Skipped(why.unwrap_or_else(|| "not started".to_owned())),
        (State::Blocked, _) => {
            let mut blockers = cluster.blockers.iter();
            match blockers.find(|blocker| blocker.profile.is_none() || blocker.profile.as_ref() == profile) {
                Some(blocker) => Outcome::Failed(format!("blocked: {}", blocker.message), blocker.hint.clone()),
                None => Outcome::Skipped("something else of the cluster is blocked".to_owned()),
            }
        }
        (_, Some(why)) => Outcome::Error(why, hint()),
        (_, None) => Outcome::Passed,
    };
    cases(&cluster.name, cluster.profiles.iter(), outcome)
}

/// Returns the test cases of a cluster that was verified.
fn verified(cluster: &VerifiedClusterReport) -> Vec<Case<'_>> {
    let failed = cluster.error.as_ref().map(|error| (format!("{}: {}", error.doing, error.cause), error.hint.clone()));
    let outcome = |profile: Option<&ProfileName>| {
        let grant = cluster.grants.iter().find(|grant| Some(&grant.profile) == profile);
        match (grant.map_or(cluster.state, |grant| grant.state), &failed) {
            (VerifyState::NotStarted, _) => Outcome::Skipped("not started".to_owned()),
            (_, Some((why, hint))) => Outcome::Error(why.clone(), hint.clone()),
            (VerifyState::Fine | VerifyState::Excess, None) => Outcome::Passed,
            (VerifyState::Findings | VerifyState::Failed, None) => {
                let finding = grant.and_then(|grant| grant.findings.first());
                let message = finding.map_or("it could not be verified", |finding| finding.message.as_str());
                Outcome::Failed(message.to_owned(), finding.and_then(|finding| finding.hint.clone()))
            }
        }
    };
    cases(&cluster.name, cluster.grants.iter().map(|grant| &grant.profile), outcome)
}

/// Returns a case for each profile; one for the cluster if it has none.
fn cases<'a>(
    cluster: &'a ClusterName,
    profiles: impl Iterator<Item = &'a ProfileName>,
    outcome: impl Fn(Option<&ProfileName>) -> Outcome,
) -> Vec<Case<'a>> {
    let mut profiles: Vec<Option<&ProfileName>> = profiles.map(Some).collect();
    if profiles.is_empty() {
        profiles.push(None);
    }
    profiles.into_iter().map(|profile| Case { cluster, profile, outcome: outcome(profile) }).collect()
}
