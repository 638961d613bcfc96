//! Parts of a fleet that runs of their own work on, and their reports put together.

use std::collections::BTreeSet;

use kubemint_testkit::User;
use kubemint_testkit::sim::{Fault, Fleet};
use serde_json::{Value, json};

use crate::support::{Machine, simulated};

const REST: &str = "
[profiles.reader]
cluster-rules = [{ api-groups = [''], resources = ['pods'], verbs = ['get', 'list'] }]
[[grants]]
profile = 'reader'
selector = ''
[[outputs]]
path = 'out/{cluster}.kubeconfig'
[[outputs]]
path = 'all.kubeconfig'
context = '{cluster}'
";

fn fleet_of(number: usize) -> Fleet {
    simulated((0..number).map(|number| format!("c{number:03}")))
}

/// What a report says besides times, identifiers and what is random.
fn essence(mut report: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|key, _| {
                    !["started", "run", "began", "ended", "expires", "due", "next-due", "issued"]
                        .contains(&key.as_str())
                });
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut report);
    report
}

/// Runs a command for each part, and returns the names of their reports.
fn run(machine: &Machine, shards: usize, arguments: &[&str]) -> Vec<String> {
    let shard = |index: usize| {
        let file = format!("results/{}-{index}.json", arguments[0]);
        let (shard, output) = (format!("{index}/{shards}"), format!("json={file}"));
        let more = ["--shard", &shard, "-o", &output];
        machine.expect(0, &[arguments, &more].concat());
        file
    };
    (0..shards).map(shard).collect()
}

fn join(machine: &Machine, files: &[String], more: &[&str]) -> crate::support::Run {
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    machine.kubemint(&[&["join"], files.as_slice(), more].concat())
}

/// Four runs on the parts of forty clusters leave what one run on all of them leaves, and their reports are one report.
#[test]
fn parts_do_what_one_run_does() {
    let (whole, parts) = (fleet_of(40), fleet_of(40));
    let one = Machine::of(&whole, "whole", REST);
    let four = Machine::of(&parts, "whole", REST);
    for machine in [&one, &four] {
        std::fs::create_dir(machine.path("results")).unwrap();
    }
    let expected = one.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    let files = run(&four, 4, &["apply", "--yes"]);
    let joined = join(&four, &files, &["-o", "json"]).exits(0).report();
    let same = |report: &Value, machine: &Machine| {
        let text = report.to_string().replace(machine.path("").to_str().unwrap(), "/");
        let mut report: Value = serde_json::from_str(&text).unwrap();
        // Two fleets have other uids.
        for cluster in report["clusters"].as_array_mut().unwrap() {
            cluster.as_object_mut().unwrap().remove("cluster-uid");
        }
        essence(report)
    };
    assert_eq!(same(&joined, &four), same(&expected, &one));
    assert_eq!(joined["summary"]["changed"], 40);
    for format in ["markdown", "text"] {
        let shown = join(&four, &files, &["-o", format]).exits(0);
        assert!(shown.stdout.contains("40 clusters"), "{format}: {}", shown.stdout);
    }
    let junit = join(&four, &files, &["-o", "junit"]).exits(0);
    assert!(junit.stdout.contains("tests=\"40\""), "{}", junit.stdout);
    assert!(join(&four, &files, &["-o", "html"]).exits(0).stdout.contains("c039"));
    let shards: Vec<BTreeSet<String>> = files
        .iter()
        .map(|file| {
            let report: Value = serde_json::from_str(&four.read(file)).unwrap();
            let names = report["clusters"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned());
            names.collect()
        })
        .collect();
    assert_eq!(shards.iter().map(BTreeSet::len).sum::<usize>(), 40, "no cluster is in two parts");

    // Another run does nothing, also put together; and so for the other commands.
    let again = run(&four, 4, &["apply", "--yes"]);
    assert_eq!(join(&four, &again, &["-o", "json"]).exits(0).report()["summary"]["unchanged"], 40);
    for command in ["status", "verify", "refresh", "plan"] {
        let expected = essence(one.kubemint(&[command, "-o", "json"]).exits(0).report());
        let files = run(&four, 4, &[command]);
        let joined = essence(join(&four, &files, &["-o", "json"]).exits(0).report());
        let count = |report: &Value| (report["summary"].clone(), report["credentials"].clone());
        assert_eq!(count(&joined), count(&expected), "{command}");
        let names = |report: &Value| -> Vec<Value> {
            let items = report["clusters"].as_array().or(report["grants"].as_array()).unwrap();
            items.iter().map(|item| item.get("name").or(item.get("cluster")).unwrap().clone()).collect()
        };
        let (mut now, mut before) = (names(&joined), names(&expected));
        if command == "status" {
            // The most urgent come first, and parts mint at other seconds than one run.
            now.sort_by_key(ToString::to_string);
            before.sort_by_key(ToString::to_string);
        }
        assert_eq!(now, before, "{command}: in the order of the inventory");
    }
}

/// Combined kubeconfigs of parts on machines of their own become the file that one run would have written.
#[test]
fn combined_kubeconfigs_of_parts_become_one_byte_for_byte() {
    let fleet = fleet_of(30);
    let one = Machine::of(&fleet, "combined", REST);
    one.expect(0, &["apply", "--yes"]);
    let expected = one.read("all.kubeconfig");
    // What is on a part's machine: the entries that one run would have written there.
    let part = |index: usize| {
        let machine = Machine::of(&fleet, "combined", REST);
        let report = machine.kubemint(&["plan", "--shard", &format!("{index}/3"), "-o", "json"]);
        let report: Value = serde_json::from_str(&report.stdout).unwrap();
        let names: Vec<String> =
            report["clusters"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        let file = one.path(&format!("part-{index}.kubeconfig"));
        let selects: Vec<&str> = names.iter().flat_map(|name| ["--select", name.as_str()]).collect();
        let output = file.to_str().unwrap();
        one.expect(0, &[&["merge", "all.kubeconfig", "-o", output], selects.as_slice()].concat());
        file
    };
    let parts: Vec<String> = (0..3).map(|index| part(index).display().to_string()).collect();
    std::fs::remove_file(one.path("all.kubeconfig")).unwrap();
    let inputs: Vec<&str> = parts.iter().rev().map(String::as_str).collect();
    one.expect(0, &[&["merge"], inputs.as_slice(), &["-o", "all.kubeconfig", "--order", "inventory"]].concat());
    let joined = one.read("all.kubeconfig");
    let names = |text: &str| text.lines().filter(|line| line.contains("name: ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names(&joined), names(&expected));
    let differs = joined.lines().zip(expected.lines()).find(|(now, before)| now != before);
    assert_eq!(differs, None);
    assert_eq!(joined, expected);
    one.expect(0, &["plan", "--check"]);
    let refused = one.kubemint(&["merge", inputs[0], "-o", "other.kubeconfig", "--order", "inventory"]).exits(2);
    assert!(refused.stderr.contains("is no output of the inventory"), "{}", refused.stderr);
}

/// What does not belong together is refused.
#[test]
fn missing_doubled_and_mixed_reports_are_refused() {
    let fleet = fleet_of(6);
    let machine = Machine::of(&fleet, "mixed", REST);
    std::fs::create_dir(machine.path("results")).unwrap();
    let files = run(&machine, 3, &["apply", "--yes"]);
    let refused = |files: &[&str], why: &str| {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        let run = join(&machine, &files, &[]).exits(2);
        assert!(run.stderr.contains(why), "{why}: {}", run.stderr);
    };
    let [a, b, c] = [&files[0], &files[1], &files[2]].map(String::as_str);
    refused(&[a, c], "there are 3 parts, and these have no report: `1`");
    refused(&[a, b, c, b], "are both about part 1 of 3");
    let other = run(&machine, 2, &["refresh"]);
    refused(&[a, b, c, &other[0]], "are of different commands");
    machine.expect(0, &["apply", "--yes", "--shard", "0/2", "-o", "json=results/two.json"]);
    refused(&["results/two.json", b, c], "are of different numbers of parts");
    machine.expect(0, &["apply", "--yes", "-o", "json=results/whole.json"]);
    refused(&["results/whole.json"], "is about a whole fleet, and not about a part of one");
    let altered = |name: &str, alter: &dyn Fn(&mut Value)| {
        let mut report: Value = serde_json::from_str(&machine.read(a)).unwrap();
        alter(&mut report);
        machine.write(name, &report.to_string());
    };
    altered("results/cut.json", &|report| report["clusters"] = json!([]));
    refused(&["results/cut.json", b, c], "was changed or cut: it says nothing of cluster");
    altered("results/double.json", &|report| {
        let first = report["clusters"][0].clone();
        report["clusters"].as_array_mut().unwrap().push(first);
    });
    refused(&["results/double.json", b, c], "is there twice, or is none of this part");
    altered("results/beyond.json", &|report| report["shard"]["index"] = json!(77));
    refused(&["results/beyond.json", b, c], "3 parts are numbered 0 to 2");
    altered("results/many.json", &|report| report["shard"]["of"] = json!(4_000_000_000_u32));
    refused(&["results/many.json"], "are more than 10000 parts");
    machine.write("results/none.json", "{}");
    refused(&["results/none.json"], "no report of a version that this kubemint reads");
    machine.expect(0, &["apply", "--yes", "--shard", "2/3", "--profile", "reader", "-o", "json=results/chosen.json"]);
    refused(&[a, b, "results/chosen.json"], "are of different choices of clusters and profiles");
    let of_job = |job: &str, part: &str| {
        let file = format!("results/{job}-{part}.json");
        let output = format!("json={file}");
        let mut command = machine.command(&["apply", "--yes", "--shard", &format!("{part}/3"), "-o", &output]);
        assert!(command.env("KUBEMINT_JOB", job).output().unwrap().status.success());
        file
    };
    let [first, second, third] = ["0", "1", "2"].map(|part| of_job("monday", part));
    let stale = of_job("sunday", "2");
    refused(&[&first, &second, &stale], "are of different jobs");
    refused(&[a, b, &third], "are of different jobs");
    let joined = join(&machine, &[first, second, third], &[]).exits(0);
    assert!(!joined.stderr.contains("the parts began between"), "{}", joined.stderr);
    let joined = join(&machine, &files, &[]).exits(0);
    assert!(joined.stderr.contains("the parts began between 20"), "{}", joined.stderr);
    let text = machine.read("clusters.toml");
    machine.write("clusters.toml", &format!("{text}\n# Another inventory.\n"));
    machine.expect(0, &["apply", "--yes", "--shard", "2/3", "-o", "json=results/changed.json"]);
    refused(&[a, b, "results/changed.json"], "are of different inventories");
}

/// Whether all clusters were known is in the reports of the parts, and so in the joined one.
#[test]
fn a_source_that_did_not_answer_is_not_forgotten_by_join() {
    let fleet = fleet_of(4);
    let machine =
        Machine::of(&fleet, "silent", &format!("{REST}[[discover]]\nkind = 'command'\ncommand = ['false']\n"));
    std::fs::create_dir(machine.path("results")).unwrap();
    let files: Vec<String> = (0..2).map(|part| format!("results/{part}.json")).collect();
    for (part, file) in files.iter().enumerate() {
        let (shard, output) = (format!("{part}/2"), format!("json={file}"));
        machine.expect(6, &["apply", "--yes", "--shard", &shard, "-o", &output]);
    }
    let joined = join(&machine, &files, &["-o", "json"]).exits(6);
    assert_eq!(joined.report()["undiscovered"], json!(["command"]));
    assert!(joined.stderr.contains("not all clusters of these discoveries were known"), "{}", joined.stderr);
}

/// What an Indexed Job says is taken, and half of it is an error.
#[test]
fn an_indexed_job_says_which_part_it_is() {
    let fleet = fleet_of(12);
    let machine = Machine::of(&fleet, "indexed", REST);
    let with = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = machine.command(arguments);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap(), output.stdout)
    };
    let plan = ["plan", "-o", "json"];
    let (code, said, _) = with(&[("JOB_COMPLETION_INDEX", "1")], &plan);
    assert!(code == 2 && said.contains("`KUBEMINT_SHARDS` is not set"), "{code} {said}");
    let (code, said, _) = with(&[("KUBEMINT_SHARDS", "4")], &plan);
    assert!(code == 2 && said.contains("`JOB_COMPLETION_INDEX` is not"), "{code} {said}");
    let (code, said, _) = with(&[("JOB_COMPLETION_INDEX", "4"), ("KUBEMINT_SHARDS", "4")], &plan);
    assert!(code == 2 && said.contains("4 parts are numbered 0 to 3"), "{code} {said}");
    let of = |index: &str| {
        let (code, said, output) = with(&[("JOB_COMPLETION_INDEX", index), ("KUBEMINT_SHARDS", "4")], &plan);
        assert_eq!(code, 0, "{said}");
        serde_json::from_slice::<Value>(&output).unwrap()
    };
    let sizes: Vec<usize> = ["0", "1", "2", "3"].map(|index| of(index)["clusters"].as_array().unwrap().len()).into();
    assert_eq!(sizes.iter().sum::<usize>(), 12, "{sizes:?}");
    assert_eq!(of("3")["shard"]["index"], 3);
    // The command line comes first, and what is about no cluster does not care.
    let (code, ..) = with(&[("JOB_COMPLETION_INDEX", "1")], &["plan", "--shard", "0/1"]);
    assert_eq!(code, 0);
    let (code, ..) = with(&[("JOB_COMPLETION_INDEX", "1")], &["validate"]);
    assert_eq!(code, 0);
    // A part may have nothing to do.
    let one = fleet_of(1);
    let tiny = Machine::of(&one, "tiny", REST);
    let codes: Vec<i32> = (0..3).map(|part| tiny.kubemint(&["plan", "--shard", &format!("{part}/3")]).code).collect();
    assert!(codes.iter().all(|code| *code == 0), "{codes:?}");
    machine.expect(2, &["plan", "--shard", "0/2", "--out", "plan.json"]);
}

/// A part that fails is in the one exit code, and two names for one API server in different parts are said.
#[test]
fn one_report_says_what_failed_and_what_is_one_server() {
    let fleet = fleet_of(8);
    let machine = Machine::new(&fleet.test_clusters(), User::Admin);
    machine.inventory("sick", REST);
    machine.impatient();
    std::fs::create_dir(machine.path("results")).unwrap();
    fleet.cluster("c003").set_fault(Some(Fault::Refuse));
    let text = machine.read("clusters.toml");
    let twin = "[[clusters]]\nname = 'copy'\nadmin = { context = 'c000' }\n[profiles.reader]";
    machine.write("clusters.toml", &text.replacen("[profiles.reader]", twin, 1));
    let files: Vec<String> = (0..4)
        .map(|index| {
            let file = format!("results/{index}.json");
            let (shard, output) = (format!("{index}/4"), format!("json={file}"));
            drop(machine.kubemint(&["plan", "--shard", &shard, "-o", &output]));
            file
        })
        .collect();
    let run = join(&machine, &files, &["-o", "json"]).exits(6);
    let report = run.report();
    assert_eq!((&report["summary"]["clusters"], &report["summary"]["failed"]), (&json!(9), &json!(1)));
    assert!(run.stderr.contains("same API server as others: `c000`, `copy`"), "{}", run.stderr);
    assert!(run.stderr.contains("1 failed of 9 clusters"), "{}", run.stderr);
}
