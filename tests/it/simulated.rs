//! The scenarios on the simulated fleet, which responds at once and can be inspected.

use std::time::Duration;

use kubemint_testkit::sim::{Fleet, FleetOptions};

use crate::scenarios;
use crate::support::simulated;

macro_rules! on_simulated {
    ($($scenario:ident),* $(,)?) => {$(
        #[test]
        fn $scenario() {
            scenarios::$scenario(&simulated(["sim"]).cluster("sim"));
        }
    )*};
}

scenarios::every_scenario!(on_simulated);

macro_rules! lives_on_simulated {
    ($($scenario:ident),* $(,)?) => {$(
        #[test]
        fn $scenario() {
            lives::$scenario(&simulated(["sim"]).cluster("sim"));
        }
    )*};
}

crate::life::every_life!(lives_on_simulated);
crate::revoking::every_revocation!(lives_on_simulated);
crate::plugin::every_delivery!(lives_on_simulated);
crate::damaged::every_damage!(lives_on_simulated);
crate::dead::every_death!(lives_on_simulated);
crate::pruning::every_prune!(lives_on_simulated);
crate::timeboxed::every_period!(lives_on_simulated);
crate::reviewed::every_review!(lives_on_simulated);
crate::judged::every_judgement!(lives_on_simulated);
crate::alone::every_limit!(lives_on_simulated);
crate::delivering::every_secret!(lives_on_simulated);
crate::registering::every_registration!(lives_on_simulated);
crate::discovering::every_discovery!(lives_on_simulated);
crate::trusting::every_mistrust!(lives_on_simulated);

/// All scenarios of the life of a credential.
mod lives {
    pub(super) use crate::alone::*;
    pub(super) use crate::damaged::*;
    pub(super) use crate::dead::*;
    pub(super) use crate::delivering::*;
    pub(super) use crate::discovering::*;
    pub(super) use crate::judged::*;
    pub(super) use crate::life::*;
    pub(super) use crate::plugin::*;
    pub(super) use crate::pruning::*;
    pub(super) use crate::registering::*;
    pub(super) use crate::reviewed::*;
    pub(super) use crate::revoking::*;
    pub(super) use crate::timeboxed::*;
    pub(super) use crate::trusting::*;
}

#[test]
fn the_right_to_write_the_index_is_checked() {
    scenarios::the_right_to_write_the_index_is_checked(&simulated(["sim"]).cluster("sim"));
}

#[test]
fn a_shortened_lifetime_is_noticed() {
    let mut options = FleetOptions::named(["sim"]);
    options.max_token_expiration = Some(Duration::from_secs(3600));
    let fleet = Fleet::start(options).unwrap();
    scenarios::a_shortened_lifetime_is_noticed(&fleet.cluster("sim"));
}
