//! Documents that others read: Markdown as GitHub reads it, JUnit XML, and no token in any of them.

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use quick_xml::Reader;
use quick_xml::events::Event as Xml;
use serde_json::json;

use super::hostile::{report as hostile_report, status as hostile_status, verified as hostile_verification};
use super::*;
use crate::report::{Rendering, is_html, is_json_report, is_junit, is_markdown, render, schema};

const HOSTILE: &str =
    "x|y `` ``` @team #12 <script>alert(1)</script> [a](http://evil) ![i](x) **b** \n# h\n| - | </details> ~~~";

fn rendered(report: &Report, rendering: Rendering) -> String {
    render(report, rendering, OPTIONS).unwrap()
}

/// What a reader of Markdown makes of a text: tags other than those that kubemint writes, and whether details are closed.
#[track_caller]
fn check_markdown(text: &str) {
    let mut open = 0_i64;
    let mut headings = 0;
    let mut cells = None;
    let (mut in_row, mut in_code) = (0, false);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => {
                let known = ["<!-- kubemint report -->", "<details>", "</details>", "<summary>", "</summary>"];
                let mut rest = html.to_string();
                open += i64::try_from(rest.matches("<details>").count()).unwrap();
                open -= i64::try_from(rest.matches("</details>").count()).unwrap();
                for tag in known.into_iter().chain(["<b>", "</b>", "<code>", "</code>"]) {
                    rest = rest.replace(tag, "");
                }
                assert!(!rest.contains('<'), "{html}\n---\n{text}");
            }
            Event::Start(Tag::Heading { .. }) => headings += 1,
            Event::Start(Tag::Link { .. } | Tag::Image { .. } | Tag::Strong | Tag::Emphasis) => {
                // The sentence about what was cut is strong.
                assert!(text.contains("cut here"), "Markdown of others was read:\n{text}");
            }
            Event::Start(Tag::Table(columns)) => cells = Some(columns.len()),
            Event::Start(Tag::TableRow | Tag::TableHead) => in_row = 0,
            Event::Start(Tag::TableCell) => in_row += 1,
            Event::End(TagEnd::TableRow) => assert_eq!(Some(in_row), cells, "{text}"),
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            Event::Text(said) => assert!(in_code || !said.contains("@team"), "somebody is mentioned: {said}"),
            _ => {}
        }
    }
    assert_eq!((open, headings), (0, 1), "{text}");
}

/// Whoever reads a report elsewhere does not see what the run printed beside it.
#[test]
fn a_report_says_that_clusters_may_be_missing() {
    for mut report in [hostile_report("x"), hostile_status("x"), hostile_verification("x")] {
        let texts = |report: &Report| [Rendering::Text, Rendering::Markdown].map(|it| plain(&rendered(report, it)));
        assert!(texts(&report).iter().all(|text| !text.contains("not all clusters")));
        report.head.undiscovered = ["capi".to_owned(), "rancher".to_owned()].into();
        for text in texts(&report) {
            let said = "not all clusters of discovery `capi`, `rancher` are known, so some may be missing here";
            assert!(text.contains(said), "{text}");
        }
        report.head.undiscovered = [HOSTILE.to_owned()].into();
        check_markdown(&rendered(&report, Rendering::Markdown));
    }
}

#[test]
fn markdown_is_read_as_it_is_meant() {
    for report in [hostile_report(HOSTILE), hostile_status(HOSTILE), hostile_verification(HOSTILE)] {
        let text = rendered(&report, Rendering::Markdown);
        check_markdown(&text);
        assert!(is_markdown(text.as_bytes()));
    }
}

fn pending(number: usize) -> ClusterReport {
    let mut create = change(Action::Create, Kind::ClusterRole, &format!("kubemint:acme:{number}"));
    create.fields = vec![FieldDiff { field: "rules".into(), removed: vec![], added: vec!["get on pods".into()] }];
    ClusterReport { changes: vec![create.into()], ..cluster(&format!("c{number}"), State::Pending) }
}

#[test]
fn a_comment_holds_what_it_can_and_says_what_it_does_not() {
    let text = rendered(&report(Command::Plan, (0..10_000).map(pending).collect()), Rendering::Markdown);
    let length = text.chars().count();
    assert!((60_000..=65_000).contains(&length), "{length}");
    check_markdown(&text);
    let shown = text.matches("<details>").count();
    assert!(text.contains(&format!("**{} sections cut here**", 10_000 - shown)), "{}", &text[text.len() - 300..]);
    // What is the same is said once, whatever the number of clusters.
    let same = (0..10_000).map(|number| ClusterReport { name: format!("c{number}").as_str().into(), ..pending(1) });
    let text = rendered(&report(Command::Plan, same.collect()), Rendering::Markdown);
    assert!(text.len() < 2_000 && text.contains("and 9980 more"), "{text}");
}

#[test]
fn a_plan_as_a_comment() {
    let failed = ClusterReport {
        error: Some(ErrorReport {
            kind: FailureKind::Timeout,
            step: 0,
            steps: 0,
            doing: "read the current access objects".into(),
            cause: "no answer within 10s".into(),
            hint: Some("check the network".into()),
        }),
        ..cluster("edge-07", State::Failed)
    };
    let clusters = vec![pending(1), cluster("fine", State::Unchanged), failed];
    insta::assert_snapshot!(rendered(&report(Command::Plan, clusters), Rendering::Markdown));
}

/// Returns the names of failed, broken and skipped cases, after counting all of them against what the file says.
#[track_caller]
fn cases(text: &str) -> Vec<(String, &'static str)> {
    let mut reader = Reader::from_str(text);
    let (mut said, mut found, mut cases, mut current) = (None, 0, vec![], String::new());
    loop {
        let event = reader.read_event().unwrap_or_else(|error| panic!("{error}:\n{text}"));
        let (Xml::Start(element) | Xml::Empty(element)) = &event else {
            if matches!(event, Xml::Eof) {
                break;
            }
            continue;
        };
        let value = |name: &str| {
            let attribute = element.try_get_attribute(name).unwrap()?;
            Some(attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).unwrap().into_owned())
        };
        match element.name().as_ref() {
            "testsuites" => said = value("tests"),
            "testcase" => {
                found += 1;
                current = format!("{}/{}", value("classname").unwrap(), value("name").unwrap());
            }
            "failure" => cases.push((current.clone(), "failure")),
            "error" => cases.push((current.clone(), "error")),
            "skipped" => cases.push((current.clone(), "skipped")),
            _ => {}
        }
    }
    assert_eq!(said.as_deref(), Some(found.to_string().as_str()), "{text}");
    cases
}

#[test]
fn a_ci_system_sees_which_cluster_and_profile_failed() {
    let with = |cluster: ClusterReport| ClusterReport { profiles: vec!["a".into(), "b".into()], ..cluster };
    let blocked = ClusterReport {
        blockers: vec![Blocker {
            profile: Some("a".into()),
            kind: BlockerKind::ForeignEntry,
            message: "an entry is in the way".into(),
            hint: None,
        }],
        ..cluster("blocked", State::Blocked)
    };
    let failed = ClusterReport {
        error: Some(ErrorReport {
            kind: FailureKind::Other,
            step: 1,
            steps: 2,
            doing: "mint".into(),
            cause: "no".into(),
            hint: None,
        }),
        ..cluster("failed", State::Failed)
    };
    let fine = with(cluster("fine", State::Changed));
    let clusters = vec![fine, with(blocked), failed, with(cluster("late", State::NotStarted))];
    let text = rendered(&report(Command::Apply, clusters), Rendering::Junit);
    let expected = [
        ("blocked/a", "failure"),
        ("blocked/b", "skipped"),
        ("failed/cluster", "error"),
        ("late/a", "skipped"),
        ("late/b", "skipped"),
    ];
    assert_eq!(cases(&text), expected.map(|(name, how)| (name.to_owned(), how)), "{text}");
    assert!(is_junit(text.as_bytes()) && !is_junit(b"<testsuites name=\"pytest\">"));
    for hostile in [hostile_report(HOSTILE), hostile_status(HOSTILE), hostile_verification(HOSTILE)] {
        let text = rendered(&hostile, Rendering::Junit);
        assert!(!cases(&text).is_empty() && !text.contains("<script>"), "{text}");
    }
}

#[test]
fn a_report_is_known_again_and_nothing_else_is() {
    let json = rendered(&hostile_report("x"), Rendering::Json);
    assert!(is_json_report(json.as_bytes()));
    for other in ["{}", "[]", "{\"kubemint\": \"1\"}", "version = 1\n", ""] {
        let bytes = other.as_bytes();
        assert!(!is_json_report(bytes) && !is_markdown(bytes) && !is_junit(bytes) && !is_html(bytes), "{other}");
    }
}

/// Reports as kubemint 0.1 wrote them, with a cluster that could not be reached. What reads the reports of today reads
/// them as well.
const OLD: [(&str, &str); 6] = [
    ("plan", include_str!("../../../tests/documents/report-0.1/plan.json")),
    ("apply", include_str!("../../../tests/documents/report-0.1/apply.json")),
    ("refresh", include_str!("../../../tests/documents/report-0.1/refresh.json")),
    ("revoke", include_str!("../../../tests/documents/report-0.1/revoke.json")),
    ("status", include_str!("../../../tests/documents/report-0.1/status.json")),
    ("verify", include_str!("../../../tests/documents/report-0.1/verify.json")),
];

/// The report stands in the page as JSON that no text in it can end.
#[test]
fn a_page_holds_the_report_and_nothing_that_breaks_out() {
    let hostile = hostile_report(&format!("{HOSTILE}</script><!--\u{2028}"));
    let page = rendered(&hostile, Rendering::Html);
    assert!(is_html(page.as_bytes()));
    let (_, data) = page.split_once("<script type=\"application/json\" id=\"report\">").unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    assert!(!data.contains(['<', '>', '&', '\u{2028}']), "{data}");
    let document: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(document, serde_json::from_str::<serde_json::Value>(&rendered(&hostile, Rendering::Json)).unwrap());
    assert_eq!(page.matches("<script").count(), 2);
}

#[test]
fn old_and_new_reports_follow_the_schema() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let check = |what: &str, json: &str| {
        let document: serde_json::Value = serde_json::from_str(json).unwrap();
        let errors: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{what}");
        document
    };
    for (command, json) in OLD {
        assert!(is_json_report(json.as_bytes()), "{command}");
        let document = check(command, json);
        assert_eq!(document["command"], command);
        // A field that is missing, or has another type, is noticed in each of them.
        for (field, value) in [("command", json!("merge")), ("schema_version", json!(2)), ("holder", json!(null))] {
            let mut wrong = document.clone();
            wrong[field] = value;
            assert!(!validator.is_valid(&wrong), "{command}: {field}");
        }
        let mut wrong = document.clone();
        let rows = if command == "status" { "grants" } else { "clusters" };
        wrong[rows][0]["state"] = json!("somehow");
        assert!(!validator.is_valid(&wrong), "{command}");
    }
    for report in [hostile_report("x"), hostile_status("x"), hostile_verification("x")] {
        drop(check(report.head.command.as_str(), &rendered(&report, Rendering::Json)));
    }
}

proptest! {
    /// Texts of others may repeat a token; no renderer does, wherever it stands.
    #[test]
    fn no_renderer_shows_a_token(
        body in "[A-Za-z0-9_-]{40,200}",
        signature in "[A-Za-z0-9_-]{20,342}",
        before in "[ -~]{0,20}",
        after in "[ -~]{0,20}",
    ) {
        let token = format!("eyJhbGciOiJSUzI1NiIsImtpZCI6IiJ9.{body}.{signature}");
        let text = format!("{before} {token} {after}");
        for report in [hostile_report(&text), hostile_status(&text), hostile_verification(&text)] {
            for rendering in Rendering::ALL {
                let shown = rendered(&report, rendering);
                prop_assert!(!shown.contains(&body) && !shown.contains(&signature), "{rendering:?}: {shown}");
            }
        }
    }
}
