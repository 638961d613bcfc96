//! Decisions on hand-made chains, anchors and outputs.

use std::sync::Arc;

use serde_json::json;

use super::super::index::tests::generation;
use super::*;
use crate::credential::claims::tests::token;

const HOUR: i64 = 3600;

fn policy() -> TokenPolicy {
    TokenPolicy {
        ttl: Duration::from_secs(3600),
        renew_after: 0.5,
        overlap: Duration::from_secs(600),
        audiences: vec![],
    }
}

/// A recorded generation that was issued at the epoch for an hour.
fn recorded(n: u64) -> Generation {
    Generation {
        anchor_uid: Some(format!("uid-{n}")),
        issued: Some(Timestamp::UNIX_EPOCH),
        published: Some(Timestamp::UNIX_EPOCH),
        expires: Some(Timestamp::from_second(HOUR).unwrap()),
        policy: policy_fingerprint(&policy()),
        ..generation(n, "run")
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands for an output that holds a credential")]
fn stored(n: u64) -> Option<StoredCredential> {
    let token = token(&json!({
        "sub": "system:serviceaccount:ci:x", "exp": HOUR, "iat": 0,
        "kubernetes.io": {"serviceaccount": {"uid": "sa"}, "secret": {"uid": format!("uid-{n}")}},
    }));
    let claims = Claims::of(&token).unwrap();
    Some(StoredCredential { generation: n, token, claims })
}

/// Gives each output a place that is named by its number, from 0.
fn numbered(outputs: Vec<Option<StoredCredential>>) -> Vec<(Arc<Place>, Option<StoredCredential>)> {
    let place = |number: usize| Arc::new(Place::context("out", number.to_string()));
    outputs.into_iter().enumerate().map(|(number, stored)| (place(number), stored)).collect()
}

struct Case {
    generations: Vec<Generation>,
    next: u64,
    absent: Vec<u64>,
    outputs: Vec<Option<StoredCredential>>,
    reissue: Reissue,
    renewal: Renewal,
    distrust: Option<Distrust>,
    now: i64,
    policy: TokenPolicy,
    /// When the grant ends.
    ends: Option<i64>,
}

fn case(generations: Vec<Generation>, outputs: Vec<Option<StoredCredential>>) -> Case {
    let next = generations.iter().map(|generation| generation.n + 1).max().unwrap_or(1);
    Case {
        generations,
        next,
        absent: vec![],
        outputs,
        reissue: Reissue::Refused,
        renewal: Renewal::default(),
        distrust: None,
        now: 60,
        policy: policy(),
        ends: None,
    }
}

fn numbers(spent: &[Spent]) -> Vec<u64> {
    spent.iter().map(|spent| spent.n).collect()
}

fn check(case: Case, expected: &str) {
    let anchors = case
        .generations
        .iter()
        .map(|generation| {
            let state = if case.absent.contains(&generation.n) {
                AnchorState::Absent
            } else {
                AnchorState::Present(format!("uid-{}", generation.n))
            };
            (generation.n, state)
        })
        .collect();
    let chain = HolderIndex { next: case.next, generations: case.generations, ..Default::default() };
    let outputs = numbered(case.outputs);
    let decision = decide(&DecisionInput {
        chain: Some(&chain),
        anchors: &anchors,
        service_account_uid: Some("sa"),
        policy: &case.policy,
        ends: case.ends.map(|second| Timestamp::from_second(second).unwrap()),
        outputs: &outputs,
        reissue: case.reissue,
        renewal: case.renewal,
        distrust: case.distrust,
        now: Timestamp::from_second(case.now).unwrap(),
        orphan_after: Duration::from_secs(360),
        jitter_seed: "seed",
    });
    let actual = match decision {
        Decision::NoOutput => "no output".to_owned(),
        Decision::Publish { from, generation, recorded, retire, superseded, retire_at, .. } => {
            let context = |place: &Arc<Place>| match &**place {
                Place::Context(place) => place.context.clone(),
                place => unreachable!("{place}"),
            };
            let from: Vec<String> = from.iter().map(context).collect();
            let mut text = format!("publish {generation} from {}", from.join("+"));
            if !recorded {
                text.push_str(", record");
            }
            if !retire.is_empty() {
                text.push_str(&format!(", retire {:?}", numbers(&retire)));
            }
            if !superseded.is_empty() {
                let at = retire_at.map_or_else(|| "some time".to_owned(), |at| at.as_second().to_string());
                text.push_str(&format!(", retire {superseded:?} at {at}"));
            }
            text
        }
        Decision::InFlight { generation, claimed, .. } => format!("keep {generation}, {claimed} is in flight"),
        Decision::Mint { generation, reason, spent } => format!("mint {generation} {reason:?} {:?}", numbers(&spent)),
        Decision::Withheld { generation, .. } => format!("withheld {generation}"),
    };
    assert_eq!(actual, expected);
}

#[test]
fn without_an_output_nothing_is_minted() {
    check(case(vec![], vec![]), "no output");
}

#[test]
fn the_first_generation_is_one() {
    check(case(vec![], vec![None]), "mint 1 First []");
}

#[test]
fn a_current_credential_is_kept() {
    check(case(vec![recorded(1)], vec![stored(1)]), "publish 1 from 0");
}

#[test]
fn a_new_output_is_filled_from_an_old_one() {
    check(case(vec![recorded(1)], vec![None, stored(1)]), "publish 1 from 1");
}

#[test]
fn an_output_with_an_older_generation_does_not_count() {
    check(
        case(vec![recorded(1), recorded(2)], vec![stored(1), stored(2)]),
        "publish 2 from 1, retire [1] at some time",
    );
    check(case(vec![recorded(1), recorded(2)], vec![stored(1)]), "withheld 2");
}

#[test]
fn a_living_credential_elsewhere_needs_consent() {
    check(case(vec![recorded(1)], vec![None]), "withheld 1");
    check(Case { reissue: Reissue::Allowed, ..case(vec![recorded(1)], vec![None]) }, "mint 2 Reissue []");
}

#[test]
fn consent_is_needed_whatever_the_reason_to_mint() {
    let other = TokenPolicy { ttl: Duration::from_secs(7200), ..policy() };
    check(Case { policy: other, ..case(vec![recorded(1)], vec![None]) }, "withheld 1");
}

#[test]
fn outputs_that_disagree_are_all_candidates() {
    check(case(vec![recorded(1)], vec![stored(1), None, stored(1)]), "publish 1 from 0+2");
}

#[test]
fn a_dead_newer_generation_in_an_output_does_not_stop_everything() {
    let absent = Case { absent: vec![2], ..case(vec![recorded(1), generation(2, "x")], vec![stored(1), stored(2)]) };
    check(absent, "mint 3 Revoked []");
}

#[test]
fn expired_generations_leave_the_index() {
    let late = Case { now: HOUR + 120, ..case(vec![recorded(1), recorded(2)], vec![stored(2)]) };
    check(late, "mint 3 Expired [1, 2]");
}

#[test]
fn what_is_dead_is_replaced_without_asking() {
    check(Case { absent: vec![1], ..case(vec![recorded(1)], vec![None]) }, "mint 2 Revoked [1]");
    check(Case { now: HOUR, ..case(vec![recorded(1)], vec![None]) }, "mint 2 Expired []");
}

#[test]
fn a_due_credential_is_renewed() {
    check(Case { now: HOUR / 2, ..case(vec![recorded(1)], vec![stored(1)]) }, "mint 2 Due []");
}

#[test]
fn what_lasts_until_its_grant_ends_is_not_renewed_and_what_would_outlive_it_is() {
    let of = |now, ends| Case { now, ends: Some(ends), ..case(vec![recorded(1)], vec![stored(1)]) };
    check(of(HOUR / 2, HOUR), "publish 1 from 0");
    check(of(HOUR - 1, HOUR + 60), "publish 1 from 0");
    check(of(HOUR / 2, HOUR * 2), "mint 2 Due []");
    check(of(60, HOUR - 120), "mint 2 PolicyChanged []");
}

#[test]
fn another_policy_leads_to_a_new_generation() {
    let other = TokenPolicy { ttl: Duration::from_secs(7200), ..policy() };
    check(Case { policy: other, ..case(vec![recorded(1)], vec![stored(1)]) }, "mint 2 PolicyChanged []");
    // The time of renewal is not part of the token's fingerprint.
    let later = TokenPolicy { renew_after: 0.6, ..policy() };
    check(Case { policy: later, ..case(vec![recorded(1)], vec![stored(1)]) }, "publish 1 from 0");
}

#[test]
fn a_run_that_died_after_writing_the_outputs_is_completed() {
    let claimed = Generation { policy: policy_fingerprint(&policy()), ..generation(1, "dead") };
    check(case(vec![claimed], vec![stored(1)]), "publish 1 from 0, record");
}

#[test]
fn a_run_that_died_before_writing_the_outputs_leaves_an_orphan() {
    check(case(vec![generation(1, "dead")], vec![None]), "mint 2 First []");
    check(Case { now: 1000, ..case(vec![generation(1, "dead")], vec![None]) }, "mint 2 First [1]");
}

#[test]
fn a_lost_index_never_leads_to_a_used_number() {
    check(case(vec![], vec![stored(7)]), "mint 8 Revoked []");
}

/// The second of two generations, published at 100.
fn pair() -> Vec<Generation> {
    vec![recorded(1), Generation { published: Some(Timestamp::from_second(100).unwrap()), ..recorded(2) }]
}

#[test]
fn a_superseded_generation_goes_when_all_outputs_have_held_the_newer_one_for_the_overlap() {
    let at = |now, outputs| Case { now, ..case(pair(), outputs) };
    check(at(110, vec![stored(2)]), "publish 2 from 0, retire [1] at 700");
    check(at(699, vec![stored(2)]), "publish 2 from 0, retire [1] at 700");
    check(at(700, vec![stored(2)]), "publish 2 from 0, retire [1]");
    // The consumer of this output may still be using the older one.
    check(at(700, vec![stored(2), stored(1)]), "publish 2 from 0, retire [1] at some time");
    check(at(700, vec![stored(2), None]), "publish 2 from 0, retire [1] at some time");
}

#[test]
fn a_superseded_generation_that_is_dead_goes_at_once() {
    check(Case { absent: vec![1], now: 110, ..case(pair(), vec![stored(2)]) }, "publish 2 from 0, retire [1]");
}

#[test]
fn an_orphan_goes_without_a_renewal() {
    let young = case(vec![recorded(1), generation(2, "dead")], vec![stored(1)]);
    check(young, "publish 1 from 0");
    let old = Case { now: 400, ..case(vec![recorded(1), generation(2, "dead")], vec![stored(1)]) };
    check(old, "publish 1 from 0, retire [2]");
}

#[test]
fn a_third_living_generation_does_not_come_of_a_renewal() {
    // It is due at 600 or a little earlier, but the older one is in its overlap until 1000.
    let policy = TokenPolicy { renew_after: 0.17, ..policy() };
    let published = |at| Generation { published: Some(Timestamp::from_second(at).unwrap()), ..recorded(2) };
    let fingerprint = policy_fingerprint(&policy);
    let chain = |at| {
        vec![recorded(1), published(at)]
            .into_iter()
            .map(|generation| Generation { policy: fingerprint.clone(), ..generation })
            .collect()
    };
    let at = |now| Case { now, policy: policy.clone(), ..case(chain(400), vec![stored(2)]) };
    check(at(900), "publish 2 from 0, retire [1] at 1000");
    check(at(1000), "mint 3 Due [1]");
}

#[test]
fn who_asks_for_it_or_comes_late_renews_early() {
    let forced = Renewal { forced: true, ..Renewal::default() };
    check(Case { renewal: forced, ..case(vec![recorded(1)], vec![stored(1)]) }, "mint 2 Forced []");
    let horizon = |seconds| Renewal { horizon: Duration::from_secs(seconds), ..Renewal::default() };
    check(Case { renewal: horizon(1000), ..case(vec![recorded(1)], vec![stored(1)]) }, "publish 1 from 0");
    check(Case { renewal: horizon(1800), ..case(vec![recorded(1)], vec![stored(1)]) }, "mint 2 Due []");
}

#[test]
fn what_no_longer_works_is_replaced() {
    let with = |distrust| Case { distrust: Some(distrust), ..case(vec![recorded(1)], vec![stored(1)]) };
    check(with(Distrust::Refused), "mint 2 Refused []");
    check(with(Distrust::WrongSubject), "mint 2 WrongSubject []");
}

#[test]
fn a_renewal_is_left_to_a_run_that_is_at_it() {
    let due = || Case { now: HOUR / 2, ..case(vec![recorded(1)], vec![stored(1)]) };
    let claim = |at| Generation { claimed_at: Timestamp::from_second(at).unwrap(), ..generation(2, "other") };
    let in_flight = Case { generations: vec![recorded(1), claim(HOUR / 2 - 10)], next: 3, ..due() };
    check(in_flight, "keep 1, 2 is in flight");
    let abandoned = Case { generations: vec![recorded(1), claim(HOUR / 2 - 400)], next: 3, ..due() };
    check(abandoned, "mint 3 Due [2]");
    // A dead credential is replaced without waiting for another run, which may have died.
    let dead = Case { generations: vec![recorded(1), claim(HOUR / 2 - 10)], next: 3, absent: vec![1], ..due() };
    check(dead, "mint 3 Revoked [1]");
}

#[test]
fn a_recreated_service_account_is_told_from_a_revocation() {
    let mut other = stored(4).unwrap();
    other.claims.service_account_uid = Some("earlier".to_owned());
    check(case(vec![], vec![Some(other)]), "mint 5 AccountRecreated []");
}

#[test]
fn the_due_time_is_earlier_than_the_limits_and_the_same_every_time() {
    let at = |life: i64, policy: &TokenPolicy, seed: &str| {
        due_at(Timestamp::UNIX_EPOCH, Timestamp::from_second(life).unwrap(), policy, seed).as_second()
    };
    for seed in ["a", "b", "c"] {
        let due = at(HOUR, &policy(), seed);
        assert!((1710..=1800).contains(&due), "{due}");
        assert_eq!(due, at(HOUR, &policy(), seed));
        // If the overlap is more than half of the life, that half counts.
        let short = at(600, &policy(), seed);
        assert!((285..=300).contains(&short), "{short}");
        let long = at(1000, &policy(), seed);
        assert!((475..=500).contains(&long), "{long}");
    }
    assert_ne!(at(HOUR, &policy(), "a"), at(HOUR, &policy(), "b"));
}

/// A spent generation says since when, so that it is ended only if that time has also come by the API server's own
/// clock.
#[test]
fn what_is_spent_says_since_when() {
    let mut newer = recorded(2);
    newer.published = Some(Timestamp::from_second(100).unwrap());
    let mut expired = recorded(1);
    expired.expires = Some(Timestamp::from_second(10).unwrap());
    let claim = Generation { claimed_at: Timestamp::from_second(20).unwrap(), ..generation(3, "run") };
    let since = |generations: Vec<Generation>, absent: &[u64]| {
        let is_there = |n: &u64| !absent.contains(n);
        let anchors = generations.iter().map(|generation| generation.n).filter(is_there);
        let anchors = anchors.map(|n| (n, AnchorState::Present(format!("uid-{n}")))).collect();
        let chain = HolderIndex { next: 9, generations: generations.clone(), ..HolderIndex::default() };
        let decision = decide(&DecisionInput {
            chain: Some(&chain),
            anchors: &anchors,
            service_account_uid: Some("sa"),
            policy: &policy(),
            ends: None,
            outputs: &numbered(vec![stored(2)]),
            reissue: Reissue::Refused,
            renewal: Renewal::default(),
            distrust: None,
            now: Timestamp::from_second(1000).unwrap(),
            orphan_after: Duration::from_secs(360),
            jitter_seed: "seed",
        });
        let Decision::Publish { retire, .. } = decision else { panic!("{decision:?}") };
        retire.iter().map(|spent| (spent.n, spent.since.as_second())).collect::<Vec<_>>()
    };
    assert_eq!(since(vec![recorded(1), newer.clone()], &[]), [(1, 700)], "its overlap is over");
    assert_eq!(since(vec![expired.clone(), newer.clone()], &[]), [(1, 70)], "it has expired, and a minute more");
    assert_eq!(since(vec![newer.clone(), claim], &[]), [(3, 380)], "nobody can be working on it");
    let dead = since(vec![expired, newer], &[1]);
    assert_eq!(dead, [(1, Timestamp::MIN.as_second())], "without its anchor it is dead by any clock");
}

#[test]
fn what_lives_until_the_end_of_the_calendar_is_due_before_it() {
    let issued = Timestamp::MAX.checked_sub(SignedDuration::from_hours(1)).unwrap();
    for (issued, expires) in
        [(issued, Timestamp::MAX), (Timestamp::MAX, Timestamp::MAX), (Timestamp::MIN, Timestamp::MAX)]
    {
        let due = due_at(issued, expires, &policy(), "seed");
        assert!((issued..=expires).contains(&due), "{due}");
    }
}
