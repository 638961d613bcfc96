//! HTML reports in a real browser.
//!
//! `KUBEMINT_BROWSER` names a directory with the program of `tests/browser`; `.ci/run` installs and sets it. Without it,
//! only the files are looked at.

use std::path::PathBuf;
use std::process::Command;

use kubemint_testkit::sim::Fault;
use serde_json::{Value, json};

use crate::support::{Machine, simulated};

const READER: &str = "[profiles.reader]\ncluster-rules = [{ api-groups = [''], resources = ['pods'], verbs = ['get'] }]\n\
     [profiles.writer]\ncluster-rules = [{ api-groups = [''], resources = ['pods'], verbs = ['create'] }]\n\
     [[grants]]\nprofiles = ['reader', 'writer']\nselector = ''\n[[outputs]]\npath = 'out/{cluster}-{profile}.kubeconfig'\n";

/// What an API server might say.
const HOSTILE: &str =
    "</script><script>window.injected=1</script><img src=x onerror=window.injected=2> \u{202e}txt &amp; 'x' \"y\"";

/// Makes a plan of many clusters of a plan of one.
fn multiplied(plan: &str, number: usize) -> String {
    let mut plan: Value = serde_json::from_str(plan).unwrap();
    let one = plan["clusters"][0].clone();
    let cluster = |number: usize| {
        let (name, region) = (format!("cluster-{number:04}"), if number.is_multiple_of(5) { "eu" } else { "us" });
        let mut cluster = one.clone();
        cluster["name"] = json!(name);
        cluster["labels"] = json!({"env": "prod", "region": region});
        cluster["planned"]["plan"]["cluster"] = json!(name);
        if number % 100 == 7 {
            let blocker =
                json!({"kind": "missing-namespace", "message": "namespace `apps` does not exist", "hint": "create it"});
            cluster["planned"]["plan"]["blockers"] = json!([blocker]);
        }
        cluster
    };
    plan["clusters"] = (0..number).map(cluster).collect();
    plan.to_string()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the environment says where the browser is, and screenshots may be kept")]
fn reports_are_pages_that_work() {
    let fleet = simulated(["a", "hostile"]);
    let machine = Machine::of(&fleet, "pages", READER);
    let mut expected = vec![];
    // A plan that was saved and multiplied, as `show` renders it.
    drop(machine.kubemint(&["plan", "--cluster", "a", "--out", "one.plan"]).exits(0));
    machine.write("many.plan", &multiplied(&machine.read("one.plan"), 5_000));
    drop(machine.kubemint(&["show", "many.plan", "-o", "html=plan.html"]).exits(0));
    expected.push(json!({
        "file": "plan.html", "clusters": 5_000, "within": 2_000, "search": ["cluster-0042", 1],
        "label": ["region=eu", 1_000], "state": ["blocked", 50], "unfolds": ["cluster-0007", "namespace `apps` does not exist"],
        "texts": ["kubemint plan", "! 50 blocked", "~ 4950 to change"],
    }));
    // An API server that attacks whoever reads the report.
    fleet.cluster("hostile").set_fault(Some(Fault::FailOn {
        method: Some(http::Method::POST),
        path_contains: "/token".into(),
        code: 403,
        body: Some(json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403, "message": HOSTILE}).to_string()),
        times: None,
    }));
    drop(machine.kubemint(&["apply", "--yes", "-o", "html=apply.html"]).exits(6));
    expected.push(json!({
        "file": "apply.html", "clusters": 2, "search": ["onerror", 1], "label": ["env", 2], "state": ["failed", 1],
        "unfolds": ["hostile", "</script><script>window.injected=1</script><img src=x"],
        "texts": ["kubemint apply", "When each cluster was worked on", "The slowest: "],
    }));
    fleet.cluster("hostile").set_fault(None);
    machine.expect(0, &["apply", "--yes"]);
    for command in ["status", "verify"] {
        let page = format!("{command}.html");
        drop(machine.kubemint(&[command, "-o", &format!("html={page}")]).exits(0));
        expected.push(
            json!({"file": page, "clusters": 2, "search": ["hostile", 1], "unfolds": ["hostile", "ServiceAccount"]}),
        );
    }
    let pages = ["plan.html", "apply.html", "status.html", "verify.html"];
    for page in pages {
        let text = machine.read(page);
        assert!(text.starts_with("<!doctype html>\n<!-- kubemint report -->\n"), "{page}");
        assert_eq!((text.matches("<script").count(), text.matches("</script>").count()), (2, 2), "{page}");
        assert!(text.contains("default-src &#39;none&#39;") || text.contains("default-src 'none'"), "{page}");
    }
    machine.write("expect.json", &json!(expected).to_string());
    let Some(browser) = std::env::var_os("KUBEMINT_BROWSER").map(PathBuf::from) else { return };
    let output = Command::new("node").arg(browser.join("check.mjs")).arg(machine.path("")).output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    println!("{text}");
    // For whoever wants to look.
    if let Some(kept) = std::env::var_os("KUBEMINT_SCREENSHOTS").map(PathBuf::from) {
        for (path, content) in
            machine.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|it| it == "png"))
        {
            std::fs::write(kept.join(path.file_name().unwrap()), content).unwrap();
        }
    }
}
