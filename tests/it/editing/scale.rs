//! Files of thousands of contexts: the cost of an edit grows only in proportion to the file.

use std::process::Command;

use kubemint::kubeconfig::edit::{Edit, List, Unranked, edit};
use serde_json::json;

/// The variable that tells the test that it has a process, and its memory, for itself.
const ALONE: &str = "KUBEMINT_TEST_ALONE";

fn entries(count: usize, token: &str) -> Vec<Edit> {
    let ca = "QUJD".repeat(400);
    (0..count)
        .flat_map(|number| {
            let name = format!("cluster-{number:05}");
            let server = format!("https://{name}.example.com:6443");
            [
                (
                    List::Clusters,
                    json!({"cluster": {"certificate-authority-data": ca, "server": server}, "name": name}),
                ),
                (List::Users, json!({"name": name, "user": {"token": format!("{token}-{}", "x".repeat(800))}})),
                (List::Contexts, json!({"context": {"cluster": name, "user": name}, "name": name})),
            ]
        })
        .map(|(list, entry)| Edit::Upsert { list, entry })
        .collect()
}

/// Returns the processor time of this thread, which does not include other threads.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Returns the largest memory of this process so far, in bytes.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

fn cost<T>(work: impl Fn() -> T) -> f64 {
    let start = processor_seconds();
    drop(work());
    processor_seconds() - start
}

/// The edits that are measured: all entries of a file are new, all are replaced, one is replaced.
const EDITS: [&str; 3] = ["all new", "all replaced", "one replaced"];

/// Returns the file's size, and the costs of [`EDITS`].
fn measure(count: usize) -> (f64, [f64; 3]) {
    let (first, second) = (entries(count, "first"), entries(count, "second"));
    let file = edit(b"", &first, &Unranked).unwrap();
    let costs = [
        cost(|| edit(b"", &first, &Unranked).unwrap()),
        cost(|| edit(&file, &second, &Unranked).unwrap()),
        cost(|| edit(&file, &second[..3], &Unranked).unwrap()),
    ];
    (f64::from(u32::try_from(file.len()).unwrap()), costs)
}

fn least(one: [f64; 3], other: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|edit| one[edit].min(other[edit]))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the variable is how the test tells itself where it runs")]
fn eight_times_the_contexts_cost_eight_times_as_much() {
    if std::env::var_os(ALONE).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "editing::scale::eight_times_the_contexts_cost_eight_times_as_much"])
            .arg("--nocapture")
            .env(ALONE, "1")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        println!("{text}");
        return;
    }
    // What else the machine does can only add to a cost. So the lesser of two, taken turn by turn.
    let (mut few, mut many, mut size) = ([f64::MAX; 3], [f64::MAX; 3], 0.0);
    for _ in 0..2 {
        few = least(few, measure(1_250).1);
        let (bytes, costs) = measure(10_000);
        (size, many) = (bytes, least(many, costs));
    }
    let peak = peak_memory();
    for ((what, few), many) in EDITS.iter().zip(few).zip(many) {
        println!("{what}: {few:.3} s, {many:.3} s, {:.1} times as much", many / few);
        // A cost that grows with the square of the file would be 64 times as much.
        assert!(many < few * 24.0, "{what}: {few} s for 1,250 contexts, {many} s for 10,000");
    }
    // Of the memory, the test's own edits and texts are about four times the file.
    println!("{:.1} MB; memory {:.0} MB, {:.1} times the file", size / 1e6, peak / 1e6, peak / size);
    assert!(peak < size * 16.0, "{peak} bytes of memory for a file of {size}");
}
