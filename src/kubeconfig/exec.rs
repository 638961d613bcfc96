//! The data of the exec plugin: the reply to client-go, and the cache that processes share.
//!
//! Here a token leaves its type: for the standard output of `kubemint credential`, and for its private cache. Pure: no
//! I/O, no clock.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::EXEC_API_VERSION;
use crate::secret::SecretToken;

/// Tokens are reported to expire this much earlier than they do: client-go runs the plugin again only when a token
/// expires, kube-rs a minute before, and a request takes time.
pub(crate) const MARGIN: SignedDuration = SignedDuration::from_secs(120);
/// The shortest lifetime in a reply: with less, kube-rs would run the plugin for each request.
pub(crate) const LEAST_LIFE: SignedDuration = SignedDuration::from_secs(120);

/// The versions of the protocol that have the same reply.
const API_VERSIONS: [&str; 2] = [EXEC_API_VERSION, "client.authentication.k8s.io/v1beta1"];

/// A token in the plugin's cache.
#[derive(Clone)]
pub(crate) struct CachedToken {
    /// The token.
    pub token: SecretToken,
    /// When it was minted, or last seen to work, by this machine's clock.
    pub proven: Timestamp,
    /// When it expires, by this machine's clock.
    pub expires: Timestamp,
}

impl fmt::Debug for CachedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Stored<T> {
    v: u64,
    /// The key that the token was cached under, so that a file copied to another path is not used there.
    key: T,
    token: T,
    proven: Timestamp,
    expires: Timestamp,
}

/// The version of the cache's format; a file of another version is ignored.
const VERSION: u64 = 2;

impl CachedToken {
    /// Reads the cached token for `key`. Returns nothing if the content is damaged, or has another version or another
    /// key.
    pub(crate) fn parse(bytes: &[u8], key: &str) -> Option<Self> {
        let stored: Stored<String> = serde_json::from_slice(bytes).ok()?;
        let Stored { v, key: stored_key, token, proven, expires } = stored;
        // A client would ignore a text that cannot be a token, and go on without a credential.
        let is_token = !token.is_empty() && token.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        (v == VERSION && stored_key == key && is_token).then_some(())?;
        Some(Self { token: SecretToken::new(token), proven, expires })
    }

    /// Returns the content of the cache file for `key`.
    pub(crate) fn render(&self, key: &str) -> Vec<u8> {
        let (proven, expires) = (self.proven, self.expires);
        let stored = Stored { v: VERSION, key, token: self.token.expose(), proven, expires };
        serde_json::to_vec(&stored).expect("a cache consists of text, numbers and times")
    }

    /// Whether it was minted or seen to work a moment ago. Then a second call does not mean that the token was refused,
    /// but that the client runs the plugin several times, as kube-rs does when it starts.
    pub(crate) fn is_just_proven(&self, now: Timestamp) -> bool {
        const SAME_START: SignedDuration = SignedDuration::from_secs(10);
        (SignedDuration::ZERO..=SAME_START).contains(&now.duration_since(self.proven))
    }

    /// Whether it lasts long enough to be returned without minting. If it was proven in the future, the clock was wrong
    /// then, and it does not count.
    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        self.proven <= now && self.expires.duration_since(now) >= MARGIN + LEAST_LIFE
    }
}

/// Returns the expiry to report for a token; nothing if it is too near to be useful.
///
/// If too little time is left for the whole margin, a part of it is given up, because there is no better token.
pub(crate) fn told_expiry(expires: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let early = expires.checked_sub(MARGIN).unwrap_or(expires);
    [early, expires].into_iter().find(|told| told.duration_since(now) >= LEAST_LIFE)
}

/// What a client tells a plugin, in `KUBERNETES_EXEC_INFO`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExecInfo {
    /// The version of the reply that it wants.
    pub(crate) version: &'static str,
    /// The cluster that it is about to send the token to.
    pub(crate) cluster: Option<ToldCluster>,
}

/// A cluster as a client tells it where its kubeconfig says `provideClusterInfo` (client-go,
/// `pkg/apis/clientauthentication/v1/types.go`, `Cluster`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ToldCluster {
    /// The API server.
    pub(crate) server: String,
    /// Whether its certificate is not checked.
    #[serde(default)]
    pub(crate) insecure_skip_tls_verify: bool,
    /// The name that its certificate is checked against, instead of the server's.
    #[serde(default)]
    pub(crate) tls_server_name: Option<String>,
    /// The CA certificates in PEM, in base64; without them, the client's own trust store counts.
    #[serde(default)]
    pub(crate) certificate_authority_data: Option<String>,
    /// What is told as the cluster's name, if its extension `client.authentication.k8s.io/exec` says it as that of a ClusterProfile does
    /// (Kubernetes SIG Multicluster, KEP-5339).
    #[serde(default, rename = "config", deserialize_with = "cluster_name")]
    pub(crate) name: Option<String>,
}

fn cluster_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let config = serde_json::Value::deserialize(deserializer)?;
    Ok(config.get("clusterName").and_then(|name| name.as_str()).map(str::to_owned))
}

impl ToldCluster {
    /// Returns whether the client sends the token to this server.
    pub(crate) fn is_at(&self, server: &str) -> bool {
        // Argo CD takes the slash away.
        self.server.trim_end_matches('/') == server.trim_end_matches('/')
    }
}

impl ExecInfo {
    /// Reads what a client sets `KUBERNETES_EXEC_INFO` to. client-go refuses a reply of another version than it asks for
    /// (`plugin/pkg/client/auth/exec/exec.go`).
    ///
    /// # Errors
    ///
    /// If it is malformed or asks for a version that is not known. The error does not quote it.
    pub(crate) fn parse(info: Option<&str>) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Told {
            #[serde(default)]
            api_version: String,
            #[serde(default)]
            spec: Option<Spec>,
        }
        #[derive(Deserialize)]
        struct Spec {
            #[serde(default)]
            cluster: Option<ToldCluster>,
        }
        let Some(info) = info else { return Ok(Self { version: EXEC_API_VERSION, cluster: None }) };
        let unreadable = |_| "KUBERNETES_EXEC_INFO is not JSON of an ExecCredential".to_owned();
        let Told { api_version, spec } = serde_json::from_str(info).map_err(unreadable)?;
        let version = API_VERSIONS.into_iter().find(|known| *known == api_version).ok_or_else(|| {
            format!(
                "the client asks for apiVersion `{api_version}`; known are `{}` and `{}`",
                API_VERSIONS[0], API_VERSIONS[1]
            )
        })?;
        Ok(Self { version, cluster: spec.and_then(|spec| spec.cluster) })
    }
}

/// Returns the one document that the plugin prints.
pub(crate) fn reply(version: &str, token: &SecretToken, told_expiry: Timestamp) -> Vec<u8> {
    let whole_seconds = Timestamp::from_second(told_expiry.as_second()).unwrap_or(told_expiry);
    let reply = json!({
        "apiVersion": version,
        "kind": "ExecCredential",
        "status": { "expirationTimestamp": whole_seconds, "token": token.expose() },
    });
    let mut bytes = reply.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_is_told_is_early_and_never_near() {
        assert_eq!(told_expiry(at(3600), at(0)), Some(at(3480)));
        assert_eq!(told_expiry(at(240), at(0)), Some(at(120)));
        assert_eq!(told_expiry(at(239), at(0)), Some(at(239)), "the margin is given up first");
        assert_eq!(told_expiry(at(119), at(0)), None);
    }

    #[test]
    fn the_cache_is_read_back_and_what_is_damaged_is_no_hit() {
        let cached = CachedToken { token: SecretToken::new("t"), proven: at(1), expires: at(600) };
        let read = CachedToken::parse(&cached.render("key"), "key").unwrap();
        assert!(CachedToken::parse(&cached.render("key"), "another").is_none(), "it was copied");
        for no_token in ["", " ", "a\nb", "a b"] {
            let cached = CachedToken { token: SecretToken::new(no_token), ..cached.clone() };
            assert!(CachedToken::parse(&cached.render("key"), "key").is_none(), "{no_token:?}");
        }
        assert!(read.token.is_same_as(&cached.token));
        assert_eq!((read.proven, read.expires), (at(1), at(600)));
        assert!(read.is_fresh(at(1)) && !read.is_fresh(at(400)));
        assert!(read.is_just_proven(at(11)) && !read.is_just_proven(at(12)));
        assert!(!read.is_fresh(at(0)) && !read.is_just_proven(at(0)), "a clock that was set back proves nothing");
        for damaged in [
            "",
            "{}",
            "{\"v\":1,\"token\":\"t\",\"proven\":\"1970-01-01T00:00:00Z\",\"expires\":\"1970-01-01T00:00:00Z\"}",
            "{\"v\":3,\"key\":\"key\",\"token\":\"t\",\"proven\":\"1970-01-01T00:00:00Z\",\"expires\":\"1970-01-01T00:00:00Z\"}",
        ] {
            assert!(CachedToken::parse(damaged.as_bytes(), "key").is_none(), "{damaged}");
        }
    }

    #[test]
    fn a_client_tells_the_cluster_that_it_talks_to() {
        let parse = |cluster: serde_json::Value| {
            let info = json!({"apiVersion": EXEC_API_VERSION, "kind": "ExecCredential", "spec": {"cluster": cluster}});
            ExecInfo::parse(Some(&info.to_string())).map(|info| info.cluster)
        };
        let told = parse(json!({"server": "https://a:1/", "config": {"clusterName": "prod eu", "other": 1}}));
        let told = told.unwrap().unwrap();
        assert_eq!(told.name.as_deref().unwrap(), "prod eu");
        assert!(told.is_at("https://a:1") && !told.is_at("https://a:12") && !told.insecure_skip_tls_verify);
        for config in [
            json!(null),
            json!({}),
            json!({"clusterName": null}),
            json!({"clusterName": 5}),
            json!(["of another plugin"]),
        ] {
            assert_eq!(parse(json!({"server": "x", "config": config})).unwrap().unwrap().name, None, "{config}");
        }
        assert_eq!(parse(json!({"server": "x"})).unwrap().unwrap().name, None);
        assert_eq!(parse(json!(null)), Ok(None));
        for wrong in [json!({}), json!("x")] {
            let error = parse(wrong).unwrap_err();
            assert_eq!(error, "KUBERNETES_EXEC_INFO is not JSON of an ExecCredential");
        }
    }

    #[test]
    fn the_reply_has_the_version_that_is_asked_for() {
        let wanted_version = |info| ExecInfo::parse(info).map(|info| info.version);
        assert_eq!(wanted_version(None), Ok(EXEC_API_VERSION));
        let beta = r#"{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","spec":{}}"#;
        assert_eq!(wanted_version(Some(beta)), Ok("client.authentication.k8s.io/v1beta1"));
        assert!(wanted_version(Some("{}")).unwrap_err().contains("asks for apiVersion ``"));
        let reply: serde_json::Value =
            serde_json::from_slice(&reply(EXEC_API_VERSION, &SecretToken::new("t"), at(60))).unwrap();
        assert_eq!(reply["status"]["expirationTimestamp"], "1970-01-01T00:01:00Z");
        assert_eq!((&reply["kind"], &reply["status"]["token"]), (&json!("ExecCredential"), &json!("t")));
    }
}
