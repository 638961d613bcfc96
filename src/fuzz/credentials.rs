//! What is remembered of credentials: the index, a token's claims, the cache of the exec plugin.

use jiff::Timestamp;
use serde_json::Map;

use super::assert_quotes_nothing;
use crate::credential::{AnchorHints, Claims, Generation, Index, LARGEST_GENERATION, Suspended};
use crate::kubeconfig::exec::{CachedToken, ExecInfo, reply, told_expiry};
use crate::kubeconfig::may_replace_token;
use crate::names::Holder;
use crate::secret::SecretToken;

/// An index is read back as it was written, whatever was done to it.
pub(super) fn index(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let index = match Index::parse(text) {
        Ok(index) => index,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    check_written(&index);
    let names: Vec<Holder> = index.holders.keys().map(Holder::new).chain([Holder::new("default")]).collect();
    for holder in &names {
        let hints = AnchorHints::new(Some(&index), holder, &[7]);
        assert!(hints.highest >= 7 && hints.holders.contains(holder));
        let next = index.holder(holder).map_or(1, |chain| chain.next);
        let claimed = index.clone().resume(holder).claim(holder, generation(next));
        if let Ok(claimed) = claimed {
            assert!(claimed.has_claim(holder, &generation(next)));
            if next < LARGEST_GENERATION {
                check_written(&claimed);
            }
            let recorded = claimed.record(holder, generation(next), Timestamp::UNIX_EPOCH).expect("it was claimed");
            check_written_if_small(&recorded.without(holder, &[next]));
        }
        for whose in [Suspended::Holder(holder.clone()), Suspended::Everybody] {
            let suspended = index.clone().suspend(&whose);
            assert!(suspended.is_suspended(holder));
            assert!(suspended.clone().claim(holder, generation(next)).is_err());
            check_written_if_small(&suspended);
            assert!(!suspended.resume(holder).is_suspended(holder));
        }
        check_written(&index.clone().with_exec_anchor(holder).without_exec_anchor(holder));
    }
    assert!(index.latest().is_none_or(|latest| latest.issued.is_some()));
    true
}

#[track_caller]
fn check_written(index: &Index) {
    assert_eq!(Index::parse(&index.to_annotation()).as_ref(), Ok(index));
}

/// Numbers that are as large as they may be leave no room for the next.
#[track_caller]
fn check_written_if_small(index: &Index) {
    if index.holders.values().all(|chain| chain.next < LARGEST_GENERATION) {
        check_written(index);
    }
}

fn generation(n: u64) -> Generation {
    Generation {
        n,
        kind: "token".to_owned(),
        run: "fuzz".to_owned(),
        claimed_at: Timestamp::UNIX_EPOCH,
        policy: "policy".to_owned(),
        anchor: format!("anchor-{n}"),
        requested_seconds: 3600,
        anchor_uid: None,
        issued: None,
        expires: None,
        jti: None,
        date_ahead: None,
        published: None,
        in_secrets: false,
        other: Map::new(),
    }
}

/// Claims are read of a whole token, and of a payload in a token.
pub(super) fn claims(data: &[u8]) -> bool {
    use base64::Engine;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(data);
    let whole = SecretToken::new(String::from_utf8_lossy(data));
    let [of_whole, of_payload] = [whole, SecretToken::new(format!("e30.{payload}.c2ln"))].map(|token| {
        let claims = Claims::of(&token);
        if let Err(error) = &claims {
            assert_quotes_nothing(&error.to_string(), &["it is not a JSON Web Token", "its claims cannot be read"]);
        }
        claims
    });
    may_replace_token(&String::from_utf8_lossy(data));
    of_whole.is_ok() || of_payload.is_ok()
}

/// The cache is read back as it was written, and what a client asks for is known or refused.
pub(super) fn exec_cache(data: &[u8]) -> bool {
    const KEY: &str = "key";
    let text = String::from_utf8_lossy(data);
    let wanted = ExecInfo::parse(Some(&text));
    let Some(cached) = CachedToken::parse(data, KEY) else { return wanted.is_ok() };
    let again = CachedToken::parse(&cached.render(KEY), KEY).expect("what was written can be read");
    assert!(CachedToken::parse(data, "another").is_none(), "it was copied");
    assert!(again.token.is_same_as(&cached.token));
    assert_eq!((again.proven, again.expires), (cached.proven, cached.expires));
    assert_eq!(format!("{cached:?}"), format!("{again:?}"));
    for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, cached.proven, cached.expires, Timestamp::MAX] {
        let (is_fresh, _) = (cached.is_fresh(now), cached.is_just_proven(now));
        let told = told_expiry(cached.expires, now);
        assert!(!is_fresh || told.is_some_and(|told| told <= cached.expires));
        if let Some(told) = told {
            let printed = reply("v1", &cached.token, told);
            assert_eq!(printed.split(|byte| *byte == b'\n').count(), 2, "one line");
            let read: serde_json::Value = serde_json::from_slice(&printed).expect("it is JSON");
            let token = read["status"]["token"].as_str().map(SecretToken::new);
            assert!(token.is_some_and(|token| token.is_same_as(&cached.token)));
        }
    }
    true
}
