//! The claims of ServiceAccount tokens.
//!
//! The signature is not checked here: only the API server can do that, and it is asked before a
//! token is published. Pure: no I/O, no clock.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;

use crate::secret::SecretToken;

/// The claims of a ServiceAccount token that kubemint relies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    /// `system:serviceaccount:<namespace>:<name>`.
    pub subject: String,
    /// When the API server starts to refuse the token.
    pub expires: Timestamp,
    /// When it was issued.
    pub issued: Timestamp,
    /// The token's own identifier, as audit logs show it.
    pub jti: Option<String>,
    /// The uid of the ServiceAccount.
    pub service_account_uid: Option<String>,
    /// The uid of the anchor that the token is bound to.
    pub anchor_uid: Option<String>,
    /// The name of the anchor.
    pub anchor_name: Option<String>,
}

/// Why claims cannot be read. Never holds a part of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClaimsError {
    /// The token does not consist of three parts, or is unreasonably long.
    #[error("it is not a JSON Web Token")]
    NotAJwt,
    /// The payload cannot be decoded or lacks a claim.
    #[error("its claims cannot be read")]
    Payload,
}

#[derive(Deserialize)]
struct Payload {
    sub: String,
    exp: i64,
    iat: i64,
    jti: Option<String>,
    #[serde(rename = "kubernetes.io", default)]
    kubernetes: Kubernetes,
}

#[derive(Deserialize, Default)]
struct Kubernetes {
    serviceaccount: Option<Object>,
    secret: Option<Object>,
}

#[derive(Deserialize)]
struct Object {
    name: Option<String>,
    uid: Option<String>,
}

/// Tokens are below 2 KiB; a text that is far longer is not decoded.
const MAX_TOKEN_LENGTH: usize = 64 * 1024;

impl Claims {
    /// Reads the claims of a token.
    ///
    /// # Errors
    ///
    /// If it is no JSON Web Token or lacks `sub`, `exp` or `iat`.
    pub(crate) fn of(token: &SecretToken) -> Result<Self, ClaimsError> {
        let token = token.expose();
        let mut parts = token.split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(ClaimsError::NotAJwt);
        };
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(ClaimsError::NotAJwt);
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| ClaimsError::NotAJwt)?;
        // The decoder's error would quote the payload.
        let payload: Payload = serde_json::from_slice(&payload).map_err(|_| ClaimsError::Payload)?;
        let time = |seconds| Timestamp::from_second(seconds).map_err(|_| ClaimsError::Payload);
        let (anchor_name, anchor_uid) =
            payload.kubernetes.secret.map_or((None, None), |secret| (secret.name, secret.uid));
        Ok(Self {
            subject: payload.sub,
            expires: time(payload.exp)?,
            issued: time(payload.iat)?,
            jti: payload.jti,
            service_account_uid: payload.kubernetes.serviceaccount.and_then(|object| object.uid),
            anchor_uid,
            anchor_name,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Makes an unsigned token with the given payload.
    pub(crate) fn token(payload: &Value) -> SecretToken {
        SecretToken::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload.to_string())))
    }

    #[test]
    fn claims_are_read() {
        let claims = Claims::of(&token(&json!({
            "sub": "system:serviceaccount:ci:deployer", "exp": 2000, "iat": 1000, "jti": "j",
            "kubernetes.io": {"serviceaccount": {"name": "deployer", "uid": "u"}, "secret": {"name": "a", "uid": "s"}},
        })))
        .unwrap();
        assert_eq!(claims.anchor_uid.as_deref(), Some("s"));
        assert_eq!(claims.expires.as_second(), 2000);
    }

    #[test]
    fn what_is_no_token_is_refused_without_quoting_it() {
        for text in ["", "secret", "a.b", "a.b.c.d", "a.!!!.c", "e30.e30.x"] {
            let error = Claims::of(&SecretToken::new(text)).unwrap_err();
            assert!(!error.to_string().contains("secret"));
        }
    }
}
