//! ServiceAccount tokens: real JWTs, signed with the cluster's key, bound to objects.
//!
//! The time is an argument. A token counts only while its ServiceAccount, and the Secret that it
//! is bound to, exist with the UIDs in its claims. Real servers notice a deleted Secret up to 10 s
//! later, because they cache; here it is at once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};
use std::io;
use std::time::Duration;

use super::failure::{Cause, Failure};
use super::rbac::Caller;
use super::request::Reply;
use super::resource::{SECRETS, SERVICE_ACCOUNTS};
use super::store::{Store, text};
use crate::identity::random_uid;

/// The issuer of all tokens, and their default audience.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The lifetime of a token when the request names none.
const DEFAULT_SECONDS: u64 = 3600;

/// The shortest lifetime that may be requested.
const MINIMUM_SECONDS: u64 = 600;

/// The clock difference that Kubernetes forgives at the end of a token's life.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// Whether the times in a token count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Checked,
    /// As a server does that wants its own bad tokens to be used.
    Ignored,
}

/// The key that signs one cluster's tokens.
pub(crate) struct TokenSigner {
    key: EcdsaKeyPair,
    key_id: String,
    random: SystemRandom,
}

impl TokenSigner {
    /// Makes a new key.
    pub(crate) fn generate() -> io::Result<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|error| io::Error::other(error.to_string()))?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let digest = ring::digest::digest(&ring::digest::SHA256, key.public_key().as_ref());
        Ok(Self { key_id: URL_SAFE_NO_PAD.encode(digest), key, random })
    }

    /// Signs claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "ES256", "kid": self.key_id });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let signature =
            self.key.sign(&self.random, signed.as_bytes()).expect("signing with a valid P-256 key does not fail");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Returns the claims of a token whose signature is right.
    fn verify(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key())
            .verify(signed.as_bytes(), &signature)
            .ok()?;
        let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?;
        serde_json::from_slice(&claims).ok()
    }

    /// Returns whom a token stands for, if it still counts.
    pub(crate) fn authenticate(
        &self,
        store: &Store,
        token: &str,
        now: Timestamp,
        lifetime: Lifetime,
    ) -> Option<Caller> {
        let claims = self.verify(token)?;
        let second = |claim: &str| Timestamp::from_second(claims[claim].as_i64()?).ok();
        let audiences = claims["aud"].as_array()?;
        let is_alive = || Some(now <= second("exp")? + LEEWAY && now + LEEWAY >= second("nbf")?);
        if lifetime == Lifetime::Checked && is_alive() != Some(true) {
            return None;
        }
        if !audiences.iter().any(|audience| audience == ISSUER) {
            return None;
        }
        let bound = &claims["kubernetes.io"];
        let namespace = bound["namespace"].as_str()?;
        let is_live = |object: &Value, resource| {
            let live = store.get(resource, namespace, object["name"].as_str()?)?;
            (live["metadata"]["uid"] == object["uid"]).then_some(())
        };
        is_live(&bound["serviceaccount"], &SERVICE_ACCOUNTS)?;
        if !bound["secret"].is_null() {
            is_live(&bound["secret"], &SECRETS)?;
        }
        Some(Caller {
            name: claims["sub"].as_str()?.to_owned(),
            uid: bound["serviceaccount"]["uid"].as_str()?.to_owned(),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
            credential_id: claims["jti"].as_str().map(|jti| format!("JTI={jti}")),
        })
    }
}

/// A TokenRequest and what it is answered from.
pub(crate) struct TokenRequest<'a> {
    pub(crate) store: &'a Store,
    pub(crate) namespace: &'a str,
    /// The ServiceAccount's name.
    pub(crate) name: &'a str,
    pub(crate) body: &'a Value,
    pub(crate) maximum: Option<Duration>,
    pub(crate) now: Timestamp,
}

impl TokenRequest<'_> {
    /// Answers with a token.
    pub(crate) fn issue(&self, signer: &TokenSigner) -> Result<Reply, Failure> {
        let requested = self.requested_seconds()?;
        let account = self
            .store
            .get(&SERVICE_ACCOUNTS, self.namespace, self.name)
            .ok_or_else(|| Failure::not_found(&SERVICE_ACCOUNTS, self.name))?;
        self.check_metadata(account)?;
        let secret = self.bound_secret()?;
        let granted = match self.maximum.map(|maximum| maximum.as_secs()) {
            Some(maximum) if requested > maximum => maximum,
            _ => requested,
        };
        let spec = &self.body["spec"];
        let audiences = match spec["audiences"].as_array() {
            Some(audiences) if !audiences.is_empty() => spec["audiences"].clone(),
            _ => json!([ISSUER]),
        };
        let issued = Timestamp::from_second(self.now.as_second()).unwrap_or(self.now);
        let lifetime = i64::try_from(granted).unwrap_or(i64::MAX);
        let expires = issued + SignedDuration::from_secs(lifetime);
        let uid = &account["metadata"]["uid"];
        let mut bound = json!({ "namespace": self.namespace });
        if let Some(secret) = secret {
            bound["secret"] = json!({
                "name": text(secret, "name"),
                "uid": text(secret, "uid"),
            });
        }
        bound["serviceaccount"] = json!({ "name": self.name, "uid": uid });
        let token = signer.sign(&json!({
            "aud": audiences,
            "exp": expires.as_second(),
            "iat": issued.as_second(),
            "iss": ISSUER,
            "jti": random_uid(),
            "kubernetes.io": bound,
            "nbf": issued.as_second(),
            "sub": format!("system:serviceaccount:{}:{}", self.namespace, self.name),
        }));
        let reply = Reply::json(
            201,
            &json!({
                "kind": "TokenRequest",
                "apiVersion": "authentication.k8s.io/v1",
                "metadata": {
                    "name": self.name,
                    "namespace": self.namespace,
                    "uid": uid,
                    "creationTimestamp": issued.to_string(),
                },
                "spec": {
                    "audiences": audiences,
                    "expirationSeconds": granted,
                    "boundObjectRef": spec["boundObjectRef"],
                },
                "status": { "token": token, "expirationTimestamp": expires.to_string() },
            }),
        );
        if granted == requested {
            return Ok(reply);
        }
        Ok(reply.with_warning(&format!("requested expiration of {requested} seconds shortened to {granted} seconds")))
    }

    fn requested_seconds(&self) -> Result<u64, Failure> {
        let value = &self.body["spec"]["expirationSeconds"];
        let seconds = match value {
            Value::Null => DEFAULT_SECONDS,
            _ => value.as_u64().unwrap_or(0),
        };
        let why = if seconds < MINIMUM_SECONDS {
            "may not specify a duration less than 10 minutes"
        } else if seconds > 1 << 32 {
            "may not specify a duration larger than 2^32 seconds"
        } else {
            return Ok(seconds);
        };
        Err(invalid("", "spec.expirationSeconds", value, why))
    }

    fn check_metadata(&self, account: &Value) -> Result<(), Failure> {
        let metadata = &self.body["metadata"];
        if let Some(name) = metadata["name"].as_str()
            && !name.is_empty()
            && name != self.name
        {
            let why = "must match the service account name if specified";
            return Err(invalid(self.name, "metadata.name", &name.into(), why));
        }
        let uid = metadata["uid"].as_str().unwrap_or_default();
        let live = text(account, "uid");
        if uid.is_empty() || uid == live {
            return Ok(());
        }
        Err(Failure::conflict_on(
            "TokenRequest",
            "authentication.k8s.io",
            self.name,
            &format!("the UID in the token request ({uid}) does not match the UID of the service account ({live})"),
        ))
    }

    fn bound_secret(&self) -> Result<Option<&Value>, Failure> {
        let reference = &self.body["spec"]["boundObjectRef"];
        if reference.is_null() {
            return Ok(None);
        }
        let field = |key: &str| reference[key].as_str().unwrap_or_default();
        if (field("apiVersion"), field("kind")) != ("v1", "Secret") {
            let (group, version) = field("apiVersion").rsplit_once('/').unwrap_or(("", field("apiVersion")));
            return Err(Failure::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={}",
                field("kind")
            )));
        }
        let name = field("name");
        let secret =
            self.store.get(&SECRETS, self.namespace, name).ok_or_else(|| Failure::not_found(&SECRETS, name))?;
        let uid = field("uid");
        if uid.is_empty() || uid == text(secret, "uid") {
            return Ok(Some(secret));
        }
        Err(Failure::conflict_on(
            "Secret",
            "",
            name,
            &format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            ),
        ))
    }
}

fn invalid(name: &str, field: &str, value: &Value, why: &str) -> Failure {
    let causes = [Cause::invalid(field, value, why)];
    Failure::invalid("TokenRequest", "authentication.k8s.io", name, &causes)
}
