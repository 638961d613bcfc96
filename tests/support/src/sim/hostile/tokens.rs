//! Tokens that should not be used: properly signed, apart from the one that is no token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::rewrite;
use super::mode::Hostility;
use crate::sim::request::Reply;
use crate::sim::server::Server;

/// The last second of the year 9999, which is later than this library's calendar goes.
const END_OF_CALENDARS: i64 = 253_402_300_799;
const LAST_SECOND: &str = "9999-12-31T23:59:59Z";

/// The name of the ServiceAccount whose tokens others get.
const INTRUDER: &str = "intruder";

/// Puts another token into the answer to a TokenRequest.
pub(super) fn forge(mode: &Hostility, server: &Server, reply: Reply) -> Reply {
    rewrite(reply, |answer| {
        if *mode == Hostility::HostileToken {
            answer["status"]["token"] = hostile_token().into();
            return;
        }
        let Some(mut claims) = claims(&answer["status"]["token"]) else {
            return;
        };
        change(mode, server, &mut claims, answer);
        answer["status"]["token"] = server.sign(&claims).into();
    })
}

fn change(mode: &Hostility, server: &Server, claims: &mut Value, answer: &mut Value) {
    let issued = claims["iat"].as_i64().unwrap_or_default();
    match mode {
        Hostility::PastToken => {
            claims["iat"] = (issued - 7200).into();
            claims["nbf"] = (issued - 7200).into();
            expire(claims, answer, issued - 3600);
        }
        Hostility::TimelessToken => {
            if let Some(claims) = claims.as_object_mut() {
                claims.retain(|claim, _| !["iat", "exp", "nbf"].contains(&claim.as_str()));
            }
        }
        Hostility::FarToken => expire(claims, answer, END_OF_CALENDARS),
        Hostility::FartherToken => expire(claims, answer, 1 << 53),
        Hostility::ForeignToken => {
            let namespace = claims["kubernetes.io"]["namespace"].as_str().unwrap_or_default().to_owned();
            let uid = server.plant_account(&namespace, INTRUDER);
            claims["sub"] = format!("system:serviceaccount:{namespace}:{INTRUDER}").into();
            claims["kubernetes.io"]["serviceaccount"] = json!({ "name": INTRUDER, "uid": uid });
        }
        _ => {
            if let Some(bound) = claims["kubernetes.io"].as_object_mut() {
                bound.shift_remove("secret");
            }
        }
    }
}

fn expire(claims: &mut Value, answer: &mut Value, second: i64) {
    claims["exp"] = second.into();
    let said = match Timestamp::from_second(second) {
        Ok(time) => time.to_string(),
        Err(_) if second == END_OF_CALENDARS => LAST_SECOND.to_owned(),
        // What no calendar can say is said as a number of seconds.
        Err(_) => second.to_string(),
    };
    answer["status"]["expirationTimestamp"] = said.into();
}

pub(super) fn claims(token: &Value) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.as_str()?.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Returns 1 MiB of what breaks headers, YAML, shells and terminals.
fn hostile_token() -> String {
    const PIECE: &str = "\n\"'\0\u{1b}[2J\r\nusers: [] # $(reboot)\n";
    PIECE.repeat(1024 * 1024 / PIECE.len())
}
