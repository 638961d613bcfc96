//! Each attack does what its line in the list says, and leaves the cluster usable when it is lifted.

use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::tokens::claims;
use super::words::{ESCAPES, INDEX_ANNOTATION};
use super::{Hostility, Witness};
use crate::admin::{Admin, Response};
use crate::sim::{Fault, Fleet, FleetOptions, SimCluster};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const ROBOT: &str = "/api/v1/namespaces/default/serviceaccounts/robot";
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/robot/token";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const ANCHOR: &str = "/api/v1/namespaces/default/secrets/anchor";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles?labelSelector=env%3Dtest";
const KUBE_SYSTEM: &str = "/api/v1/namespaces/kube-system";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const MAY: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// How long a test watches something that never ends.
const GLIMPSE: Duration = Duration::from_millis(700);

/// How long a test waits for what ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster with a ServiceAccount that has an index, and a Secret.
struct Bed {
    _fleet: Fleet,
    cluster: SimCluster,
    admin: Admin,
}

impl Bed {
    fn new() -> Self {
        let fleet = Fleet::start(FleetOptions { threads: Some(1), ..FleetOptions::named(["sim"]) }).unwrap();
        let cluster = fleet.cluster("sim");
        let admin = Admin::new(&cluster);
        let index =
            json!({ "v": 1, "holders": { "default": { "next": 2, "generations": [{ "n": 1, "anchor": "a" }] } } });
        let annotations = json!({ INDEX_ANNOTATION: index.to_string() });
        let metadata = json!({ "name": "robot", "labels": { "env": "test" }, "annotations": annotations });
        admin.create(ACCOUNTS, &json!({ "kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata })).unwrap();
        let bed = Self { _fleet: fleet, cluster, admin };
        bed.make_anchor().into_result().unwrap();
        bed
    }

    /// Tries to make the Secret.
    fn make_anchor(&self) -> Response {
        let secret = json!({ "kind": "Secret", "apiVersion": "v1", "metadata": { "name": "anchor" } });
        self.send(&Method::POST, SECRETS, Some(&secret))
    }

    fn send(&self, method: &Method, path: &str, body: Option<&Value>) -> Response {
        self.admin.send(method, path, &[("content-type", "application/json")], body).unwrap()
    }

    fn get(&self, path: &str) -> Response {
        self.send(&Method::GET, path, None)
    }

    fn object(&self, path: &str) -> Value {
        self.get(path).into_result().unwrap()
    }

    /// Tries to delete the Secret.
    fn delete_anchor(&self) -> Response {
        self.send(&Method::DELETE, ANCHOR, None)
    }

    /// Returns the answer to a TokenRequest that is bound to the Secret.
    fn token(&self) -> Value {
        let bound = json!({ "kind": "Secret", "apiVersion": "v1", "name": "anchor" });
        let request = json!({
            "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
            "spec": { "expirationSeconds": 3600, "boundObjectRef": bound },
        });
        self.send(&Method::POST, TOKEN, Some(&request)).into_result().unwrap()
    }

    /// Returns whom the server takes a token for, if it takes it.
    fn who(&self, token: &str) -> Option<String> {
        let review = json!({ "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1" });
        let answer = self.admin.as_token(token).create(WHO, &review).ok()?;
        Some(answer["status"]["userInfo"]["username"].as_str()?.to_owned())
    }

    /// Returns whether a user may read pods, as far as the server says.
    fn may(&self, token: &str) -> bool {
        let wanted = json!({ "verb": "get", "resource": "pods" });
        let review = json!({
            "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
            "spec": { "resourceAttributes": wanted },
        });
        self.admin.as_token(token).create(MAY, &review).unwrap()["status"]["allowed"] == true
    }

    /// Returns the items of a page, its size in bytes, and the token for the next.
    fn page(&self, token: &str) -> (BTreeSet<String>, usize, String) {
        let list = self.object(&format!("{ROLES}&continue={token}"));
        let items = list["items"].as_array().unwrap();
        let names = items.iter().map(|item| {
            assert_eq!(item["metadata"]["labels"]["env"], "test", "it fits the selector");
            item["metadata"]["name"].as_str().unwrap().to_owned()
        });
        (names.collect(), list.to_string().len(), list["metadata"]["continue"].as_str().unwrap().to_owned())
    }

    /// Returns what comes within a glimpse, and how the connection stands then.
    fn glimpse(&self) -> (Vec<u8>, End) {
        self.by_hand(GLIMPSE, |_| false)
    }

    /// Returns an answer as it was sent, at least up to the end of its head.
    fn head(&self) -> String {
        let (seen, end) = self.by_hand(PATIENCE, |seen| has_head(&seen[seen.len().saturating_sub(128 * 1024)..]));
        assert_eq!(end, End::Closed, "the head ended");
        String::from_utf8(seen).unwrap()
    }

    /// Sends a GET by hand and returns what comes in time, or until it is enough.
    fn by_hand(&self, time: Duration, is_enough: impl Fn(&[u8]) -> bool) -> (Vec<u8>, End) {
        let request =
            format!("GET {ROBOT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", self.cluster.admin_token);
        let tls = crate::pki::client_config(&self.cluster.ca_pem).unwrap();
        let port = self.cluster.port();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut seen = Vec::new();
        let exchange = async {
            let stream = TcpStream::connect(("127.0.0.1", port)).await?;
            let name = "127.0.0.1".try_into().map_err(io::Error::other)?;
            let mut stream = tokio_rustls::TlsConnector::from(Arc::clone(&tls)).connect(name, stream).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut piece = vec![0; 64 * 1024];
            loop {
                match stream.read(&mut piece).await? {
                    0 => return io::Result::Ok(()),
                    length => seen.extend_from_slice(&piece[..length]),
                }
                if is_enough(&seen) {
                    return Ok(());
                }
            }
        };
        let end = match runtime.block_on(async { tokio::time::timeout(time, exchange).await }) {
            Ok(Ok(())) => End::Closed,
            Ok(Err(_)) => End::Failed,
            Err(_) => End::Open,
        };
        (seen, end)
    }

    /// Says something on a bare connection and returns the first bytes that come back.
    fn without_tls(&self, length: usize) -> Vec<u8> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.cluster.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut seen = vec![0; length];
        stream.read_exact(&mut seen).unwrap();
        seen
    }

    /// Returns whether an object still exists when the attack is over.
    fn survives(&self, path: &str) -> bool {
        self.cluster.set_fault(None);
        self.get(path).code == 200
    }

    /// Shows that an attack is what its line says. Whoever adds one has to add how it is seen.
    #[expect(clippy::too_many_lines, reason = "one arm for each attack, so that none can be left out")]
    fn shows(&self, mode: &Hostility) {
        match mode {
            Hostility::EndlessList => {
                let (first, size, next) = self.page("");
                let (second, _, after) = self.page(&next);
                assert!(first.is_disjoint(&second) && next != after);
                assert!((300_000..900_000).contains(&size), "{size}");
            }
            Hostility::EndlessListEmpty => {
                let (names, _, next) = self.page("");
                assert!(names.is_empty() && self.page(&next).2 != next);
            }
            Hostility::HugeAnswer => {
                let robot = self.object(ROBOT);
                let padding = robot["metadata"]["annotations"]["padding"].as_str().unwrap();
                assert_eq!((padding.len(), &robot["metadata"]["name"]), (60 * 1024 * 1024, &"robot".into()));
            }
            Hostility::HugeHeader => assert!(self.head().len() > 4 * 1024 * 1024),
            Hostility::ManyHeaders => {
                assert_eq!(self.head().matches("x-padding:").count(), 5_000);
            }
            Hostility::SlowDrip => {
                let start = Instant::now();
                let (seen, _) = self.by_hand(PATIENCE, |seen| seen.ends_with(b"\r\n1\r\n{\r\n1\r\n\"\r\n"));
                assert!(has_head(&seen) && start.elapsed() >= Duration::from_millis(400), "half a second for a byte");
            }
            Hostility::DeepJson => {
                let robot = self.get(ROBOT);
                let text = robot.body.as_str().expect("a reader of JSON gives up");
                assert_eq!((text.matches('[').count() >= 200_000, text.matches('{').count() > 0), (true, true));
            }
            Hostility::GzipBomb => {
                let bomb = self.get(ROBOT);
                assert_eq!(bomb.headers["content-encoding"], "gzip");
                let length: usize = bomb.headers["content-length"].to_str().unwrap().parse().unwrap();
                assert_eq!(length, 10 + 3 + 65_000 * 100 + 1, "10.3 MB of blanks in 65 kB, 100 times");
            }
            Hostility::ManyObjects => {
                let list = self.object(ROLES);
                assert_eq!(list["items"].as_array().unwrap().len(), 200_000);
                assert_eq!(list["kind"], "ClusterRoleList");
            }
            Hostility::OkFailure => {
                let answer = self.delete_anchor();
                assert_eq!((answer.code, &answer.body["status"]), (200, &"Failure".into()));
                assert!(self.survives(ANCHOR));
            }
            Hostility::OkNothing => {
                let answer = self.delete_anchor();
                assert_eq!((answer.code, answer.body), (200, json!({})));
                assert!(self.survives(ANCHOR));
            }
            Hostility::OkLieDelete => {
                let answer = self.delete_anchor();
                assert_eq!((answer.code, &answer.body["status"]), (200, &"Success".into()));
                assert_eq!(self.delete_anchor().code, 200, "again and again");
                assert!(self.survives(ANCHOR));
            }
            Hostility::DeleteWithoutEnd => {
                self.delete_anchor().into_result().unwrap();
                let marked = self.object(ANCHOR);
                assert!(
                    marked["metadata"]["deletionTimestamp"].is_string() && marked["metadata"]["finalizers"].is_array()
                );
                assert!(!self.survives(ANCHOR), "it goes when the attack is lifted");
            }
            Hostility::ConflictForever => {
                let patch = Some(json!({ "metadata": { "labels": { "a": "b" } } }));
                let merge = [("content-type", "application/merge-patch+json")];
                let answer = self.admin.send(&Method::PATCH, ROBOT, &merge, patch.as_ref()).unwrap();
                assert_eq!((answer.code, &answer.body["reason"]), (409, &"Conflict".into()));
            }
            Hostility::ThrottleForever => {
                let answer = self.get(ROBOT);
                assert_eq!((answer.code, answer.headers["retry-after"].to_str().unwrap()), (429, "86400"));
            }
            Hostility::ThrottleGarbage => {
                let answer = self.get(ROBOT);
                assert!(answer.code == 429 && answer.headers["retry-after"].to_str().unwrap().parse::<u64>().is_err());
            }
            Hostility::GoneForever => assert_eq!((self.get(ROLES).code, self.get(ROBOT).code), (410, 200)),
            Hostility::Redirect(url) => {
                let answer = self.get(ROBOT);
                assert_eq!(
                    (answer.code, answer.headers["location"].to_str().unwrap()),
                    (307, &*format!("{url}{ROBOT}"))
                );
            }
            Hostility::PastToken
            | Hostility::TimelessToken
            | Hostility::FarToken
            | Hostility::FartherToken
            | Hostility::ForeignToken
            | Hostility::UnboundToken
            | Hostility::HostileToken => self.shows_a_token(mode),
            Hostility::EscapeText => {
                let robot = self.object(ROBOT).to_string();
                let shown: Value = serde_json::from_str(&robot).unwrap();
                assert_eq!(shown["metadata"]["labels"]["word-2"], ESCAPES[2], "ESC is raw once it is decoded");
                for field in ["finalizers", "managedFields", "ownerReferences"] {
                    assert!(shown["metadata"][field].to_string().contains("2 clusters: 2 changed"), "{field}");
                }
                let missing = self.get(&format!("{ROBOT}x"));
                assert!(missing.code == 404 && missing.body["message"].as_str().unwrap().contains(ESCAPES[0]));
            }
            Hostility::EscapeErrors => {
                let refused = self.delete_anchor();
                assert_eq!(refused.code, 403);
                for field in ["message", "reason"] {
                    assert!(refused.body[field].as_str().unwrap().contains(&ESCAPES.concat()), "{field}");
                }
                let warning = refused.headers["warning"].as_bytes();
                assert!(std::str::from_utf8(warning).unwrap().contains('\u{202e}'));
                assert!(self.survives(ANCHOR));
            }
            Hostility::ShellText => {
                let names = self.object(ROLES)["items"].to_string();
                assert!(names.contains("$(reboot)") && names.contains("`id`"), "{names}");
            }
            Hostility::EchoCredentials => {
                let refused = self.delete_anchor();
                assert!(refused.body["message"].as_str().unwrap().contains(&self.cluster.admin_token));
                assert!(self.object(ROBOT)["metadata"]["labels"].to_string().contains(&self.cluster.admin_token));
            }
            Hostility::EchoCredentialsHtml => {
                let refused = self.get(ROBOT);
                assert!(refused.code == 502 && refused.body.as_str().unwrap().contains(&self.cluster.admin_token));
            }
            Hostility::TraversalIndex => {
                let index = index(&self.object(ROBOT));
                let chain = &index["holders"]["default"];
                assert!(chain["generations"][0]["anchor"].as_str().unwrap().starts_with("../../"));
                assert!(index["holders"].as_object().unwrap().keys().any(|holder| holder.starts_with("../")));
            }
            Hostility::Numbers => {
                let robot = self.object(ROBOT);
                assert_eq!(robot["metadata"]["generation"], json!(-1.5));
                assert_eq!(index(&robot)["holders"]["default"]["generations"][0]["n"], -1);
            }
            Hostility::WrongTypes => {
                let metadata = &self.object(ROBOT)["metadata"];
                assert_eq!((&metadata["name"], &metadata["labels"]), (&json!(17), &json!([["x"]])));
            }
            Hostility::NullItems => {
                assert_eq!(self.object(ROLES).get("items"), Some(&Value::Null));
                assert_eq!(self.object(ROBOT)["metadata"].get("labels"), Some(&Value::Null));
            }
            Hostility::NullObjects => {
                let list = self.object(ROLES);
                assert!(list["items"].as_array().unwrap().contains(&Value::Null));
            }
            Hostility::OtherKind => {
                assert_eq!(
                    (&self.object(ROBOT)["kind"], &self.object(ROLES)["kind"]),
                    (&"Pod".into(), &"PodList".into())
                );
            }
            Hostility::OtherName => assert_eq!(self.object(ROBOT)["metadata"]["name"], "somebody-else"),
            Hostility::OtherUid => {
                assert_ne!(self.object(ROBOT)["metadata"]["uid"], self.object(ROBOT)["metadata"]["uid"]);
            }
            Hostility::OtherClusterUid(uid) => assert_eq!(self.object(KUBE_SYSTEM)["metadata"]["uid"], **uid),
            Hostility::ClockAhead(seconds) => {
                let date = self.get(ROBOT).headers["date"].to_str().unwrap().to_owned();
                let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(&date).unwrap();
                let issued = claims(&self.token()["status"]["token"]).unwrap()["iat"].as_i64().unwrap();
                assert!((date.as_second() - issued - seconds).abs() < 60, "tokens keep the right time");
            }
            Hostility::ClockAbsurd => assert!(self.date().contains("9999")),
            Hostility::ClockGarbage => assert!(self.date().contains("yesterday")),
            Hostility::AnonymousYes => {
                assert_eq!(self.who("no token at all").as_deref(), Some("system:anonymous"));
                assert!(self.may("no token at all"));
            }
            Hostility::WrongWho => {
                let who = self.who(&self.cluster.admin_token);
                assert_eq!(who.as_deref(), Some("system:serviceaccount:kube-system:somebody-else"));
            }
            Hostility::EverythingAllowed => assert!(self.may(&self.cluster.reader_token)),
            Hostility::EverythingDenied => assert!(!self.may(&self.cluster.admin_token)),
            Hostility::AcceptAndHang => assert_eq!(self.glimpse(), (vec![], End::Open)),
            Hostility::TlsHang => {
                assert_eq!(self.without_tls(6), [0x16, 3, 3, 0x3f, 0xff, 2], "a handshake record with a ServerHello");
                assert_eq!(self.glimpse(), (vec![], End::Open));
            }
            Hostility::HalfClose => {
                let (seen, end) = self.by_hand(PATIENCE, |_| false);
                assert!(seen.starts_with(b"HTTP/1.1 200") && seen.ends_with(b"\r\n\r\n") && end == End::Closed);
            }
            Hostility::Http2Garbage => {
                let (seen, _) = self.by_hand(PATIENCE, |seen| seen.len() > 1024 * 1024);
                assert!(seen.starts_with(&[0, 0, 0, 4, 0]) && seen.ends_with(&[0xfe; 1024]));
            }
            Hostility::PlainHttp => {
                assert!(self.without_tls(15).starts_with(b"HTTP/1.1 200 OK"));
                assert_eq!(self.by_hand(PATIENCE, |_| false), (vec![], End::Failed));
            }
        }
    }

    fn shows_a_token(&self, mode: &Hostility) {
        let answer = self.token();
        let token = answer["status"]["token"].as_str().unwrap();
        if *mode == Hostility::HostileToken {
            assert!(token.len() > 1_000_000 && ["\n", "\"", "\0", "\u{1b}"].iter().all(|bad| token.contains(bad)));
            return;
        }
        let claims = claims(&token.into()).unwrap();
        let expires = claims["exp"].as_i64();
        let bound = &claims["kubernetes.io"];
        let robot = "system:serviceaccount:default:robot";
        let mut expected = robot;
        match mode {
            Hostility::PastToken => assert!(expires.unwrap() < jiff::Timestamp::now().as_second() - 3000),
            Hostility::TimelessToken => assert_eq!((expires, claims.get("iat")), (None, None)),
            Hostility::FarToken => assert_eq!(answer["status"]["expirationTimestamp"], "9999-12-31T23:59:59Z"),
            Hostility::FartherToken => assert_eq!(expires, Some(1 << 53)),
            Hostility::ForeignToken => expected = "system:serviceaccount:default:intruder",
            _ => assert!(bound.get("secret").is_none() && bound["serviceaccount"]["name"] == "robot"),
        }
        assert_eq!(self.who(token).as_deref(), Some(expected), "the server accepts its own token");
    }

    fn date(&self) -> String {
        String::from_utf8_lossy(self.get(ROBOT).headers["date"].as_bytes()).into_owned()
    }
}

/// How a connection stood after a glimpse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Closed,
    Failed,
}

fn has_head(seen: &[u8]) -> bool {
    seen.windows(4).any(|end| end == b"\r\n\r\n")
}

fn index(account: &Value) -> Value {
    serde_json::from_str(account["metadata"]["annotations"][INDEX_ANNOTATION].as_str().unwrap()).unwrap()
}

/// The attacks that nobody can send a request to.
fn is_below_http(mode: &Hostility) -> bool {
    matches!(mode, Hostility::AcceptAndHang | Hostility::TlsHang | Hostility::PlainHttp)
}

#[test]
fn every_hostility_does_what_it_says_and_ends_when_it_is_lifted() {
    let bed = Bed::new();
    for mode in Hostility::all() {
        println!("{}", mode.name());
        bed.cluster.set_fault(Some(Fault::Hostile(mode.clone())));
        bed.cluster.reset_traffic();
        bed.shows(&mode);
        assert!(bed.cluster.connections() > 0, "{}: connections are counted", mode.name());
        let recorded = bed.cluster.recorded();
        let is_recorded = recorded.iter().all(|request| request.is_authorized) && !recorded.is_empty();
        assert_eq!(is_recorded, !is_below_http(&mode), "{}: requests are recorded", mode.name());
        bed.cluster.set_fault(None);
        let metadata = &bed.object(ROBOT)["metadata"];
        assert_eq!((&metadata["name"], &metadata["labels"]), (&"robot".into(), &json!({ "env": "test" })));
        // What an attack deleted is there for the next one.
        assert!([201, 409].contains(&bed.make_anchor().code), "{}: writes are carried out again", mode.name());
    }
}

#[test]
fn names_are_unique_and_can_be_names_of_clusters() {
    let names: Vec<&str> = Hostility::all().iter().map(Hostility::name).collect();
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(unique.len(), names.len());
    let is_kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    assert!(names.iter().all(|name| name.chars().all(is_kebab)), "{names:?}");
}

#[test]
fn a_hostile_server_still_asks_who_is_there_and_what_they_may_do() {
    let bed = Bed::new();
    for mode in [Hostility::EndlessList, Hostility::OkNothing, Hostility::HugeAnswer, Hostility::EchoCredentials] {
        bed.cluster.set_fault(Some(Fault::Hostile(mode)));
        let reader = bed.admin.as_token(&bed.cluster.reader_token);
        assert_eq!(reader.get(ROLES).unwrap_err().code, 403);
        assert_eq!(reader.delete(ANCHOR).unwrap_err().code, 403);
        assert_eq!(bed.admin.as_token("wrong").get(ROBOT).unwrap_err().code, 401);
    }
}

#[test]
fn dry_runs_and_questions_are_answered_truthfully_while_writes_are_not() {
    let bed = Bed::new();
    let secret = json!({ "kind": "Secret", "apiVersion": "v1", "metadata": { "name": "new" } });
    for mode in [Hostility::OkFailure, Hostility::OkNothing, Hostility::ConflictForever, Hostility::EscapeErrors] {
        bed.cluster.set_fault(Some(Fault::Hostile(mode.clone())));
        let tried = bed.send(&Method::POST, &format!("{SECRETS}?dryRun=All"), Some(&secret));
        assert_eq!((tried.code, &tried.body["metadata"]["name"]), (201, &"new".into()), "{}", mode.name());
        let done = bed.send(&Method::POST, SECRETS, Some(&secret));
        assert_ne!(done.code, 201, "{}", mode.name());
        assert_eq!(bed.who(&bed.cluster.admin_token).as_deref(), Some("admin"));
        assert_eq!(bed.get(&format!("{SECRETS}/new")).code, 404, "{}", mode.name());
    }
}

#[test]
fn a_witness_sees_who_follows_a_redirect_and_with_what() {
    let witness = Witness::start().unwrap();
    let mode = Hostility::Redirect(witness.url());
    let bed = Bed::new();
    bed.cluster.set_fault(Some(Fault::Hostile(mode)));
    let location = bed.get(&format!("{ROBOT}?a=b")).headers["location"].to_str().unwrap().to_owned();
    assert!(location.ends_with("/robot?a=b"), "{location}");
    assert!(witness.seen().is_empty() && !witness.saw_a_credential());
    let address = witness.url().strip_prefix("http://").unwrap().to_owned();
    for (head, expected) in [("", false), ("Authorization: Bearer x\r\n", true)] {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream.write_all(format!("GET /followed HTTP/1.1\r\nhost: x\r\n{head}\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(witness.saw_a_credential(), expected);
    }
    assert!(witness.seen()[0].starts_with("GET /followed"));
}
