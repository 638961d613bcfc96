//! The scenarios on the simulated fleet, which answers at once and can be looked into.

use std::time::Duration;

use kubemint_testkit::sim::{Fleet, FleetOptions};

use crate::scenarios;

fn fleet() -> Fleet {
    Fleet::start(FleetOptions::named(["sim"])).unwrap()
}

macro_rules! on_simulated {
    ($($scenario:ident),* $(,)?) => {$(
        #[test]
        fn $scenario() {
            scenarios::$scenario(&fleet().cluster("sim"));
        }
    )*};
}

on_simulated!(
    creates_and_then_does_nothing,
    repairs_drift_and_names_who_is_overruled,
    a_plan_writes_nothing,
    a_misspelled_role_is_a_note,
    a_delete_that_is_held_is_not_done,
    narrowing_really_narrows,
    vanished_grants_are_a_note,
    foreign_objects_block_until_they_are_adopted,
    another_role_leaves_no_gap,
    two_holders_live_side_by_side,
    escalation_is_refused_before_the_first_write,
    a_reader_gets_a_plan_and_no_apply,
    a_missing_namespace_blocks_unless_it_may_be_created,
    deleting_the_anchor_revokes,
    a_credential_held_elsewhere_needs_consent,
    a_new_output_never_mints,
    a_changed_token_policy_mints,
    what_asks_to_be_left_alone_is_left_alone,
    a_changed_endpoint_is_proven_first,
    a_damaged_token_never_replaces_a_whole_one,
    another_holders_credential_is_not_overwritten,
    a_renamed_service_account_needs_consent,
    a_forged_index_deletes_nothing,
    the_right_to_write_the_index_is_checked,
    the_server_answers_a_create_of_something_that_exists,
);

#[test]
fn a_shortened_lifetime_is_noticed() {
    let mut options = FleetOptions::named(["sim"]);
    options.max_token_expiration = Some(Duration::from_secs(3600));
    let fleet = Fleet::start(options).unwrap();
    scenarios::a_shortened_lifetime_is_noticed(&fleet.cluster("sim"));
}
