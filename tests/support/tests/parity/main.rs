//! Runs the same requests against a real cluster and a simulated one and compares the answers.
//!
//! What is compared: status code, warnings and the whole body, after [`normalise`] has replaced
//! what differs from run to run. Where they differ, the simulation is wrong. Start reading at
//! `scenarios`.

mod normalise;
mod scenarios;
mod token_scenarios;

use http::Method;
use kubemint_testkit::control_plane::{ClusterOptions, ControlPlane};
use kubemint_testkit::sim::{Fleet, FleetOptions};
use kubemint_testkit::{Admin, Response, TestCluster, User};
use serde_json::Value;
use std::fmt::Write;
use std::time::Duration;

/// The shortest maximum that Kubernetes accepts.
const MAX_TOKEN_EXPIRATION: Duration = Duration::from_secs(3600);

/// One cluster under test and what it answered so far.
struct World {
    admin: Admin,
    limited: Admin,
    reader: Admin,
    /// Whether a revocation is visible at once, or after the cache of a real server.
    has_cache: bool,
    answers: Vec<(String, Value)>,
}

/// The bodies of the requests.
enum Body<'a> {
    None,
    Json(&'a Value),
    Apply(&'a Value),
    Merge(&'a Value),
}

impl World {
    fn new(cluster: &TestCluster, has_cache: bool) -> Self {
        let admin = Admin::new(cluster);
        Self {
            limited: admin.as_token(cluster.token(User::LimitedAdmin)),
            reader: admin.as_token(cluster.token(User::Reader)),
            admin,
            has_cache,
            answers: Vec::new(),
        }
    }

    /// Sends a request as the admin and records the answer.
    fn ask(&mut self, label: &str, method: &Method, path: &str, body: &Body<'_>) -> Value {
        let admin = self.admin.clone();
        self.ask_as(&admin, label, method, path, body)
    }

    /// Sends a request as somebody and records the answer.
    fn ask_as(&mut self, client: &Admin, label: &str, method: &Method, path: &str, body: &Body<'_>) -> Value {
        let (content_type, body) = match body {
            Body::None => (None, None),
            Body::Json(body) => (Some("application/json"), Some(*body)),
            Body::Apply(body) => (Some("application/apply-patch+yaml"), Some(*body)),
            Body::Merge(body) => (Some("application/merge-patch+json"), Some(*body)),
        };
        let headers: Vec<_> = content_type.map(|content_type| ("content-type", content_type)).into_iter().collect();
        let response = client.send(method, path, &headers, body).unwrap_or_else(|error| panic!("{label}: {error}"));
        let label = format!("{label}: {method} {path}");
        self.record(label, &response);
        response.body
    }

    fn record(&mut self, label: String, response: &Response) {
        self.answers.push((label, normalise::answer(response)));
    }
}

#[test]
fn the_simulation_answers_like_a_real_cluster() {
    let options = ClusterOptions { max_token_expiration: Some(MAX_TOKEN_EXPIRATION), ..ClusterOptions::named("real") };
    let Some(control_plane) = ControlPlane::start(vec![options]) else {
        return;
    };
    let fleet = Fleet::start(FleetOptions {
        max_token_expiration: Some(MAX_TOKEN_EXPIRATION),
        ..FleetOptions::named(["simulated"])
    })
    .expect("a fleet of one cluster starts");
    let mut real = World::new(control_plane.test_cluster(0), true);
    let mut simulated = World::new(&fleet.cluster("simulated"), false);
    for world in [&mut real, &mut simulated] {
        for scenario in scenarios::ALL.iter().chain(token_scenarios::ALL) {
            scenario(world);
        }
    }
    let mut report = String::new();
    for (real, simulated) in real.answers.iter().zip(&simulated.answers) {
        if real != simulated {
            let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("it is JSON");
            let (label, real) = real;
            let (_, simulated) = simulated;
            write!(report, "\n## {label}\nreal: {}\nsimulated: {}\n", pretty(real), pretty(simulated))
                .expect("writing to a string cannot fail");
        }
    }
    assert_eq!(real.answers.len(), simulated.answers.len());
    println!(
        "{} scenarios, {} answers compared",
        scenarios::ALL.len() + token_scenarios::ALL.len(),
        real.answers.len()
    );
    assert!(report.is_empty(), "{report}");
}
