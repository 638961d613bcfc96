//! Any of the fuzz targets, for libFuzzer: `KUBEMINT_FUZZ_TARGET` names it.
#![no_main]

use std::sync::LazyLock;

use kubemint::fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("KUBEMINT_FUZZ_TARGET").expect("KUBEMINT_FUZZ_TARGET names a target");
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no target is called {name}"))
});

fuzz_target!(|data: &[u8]| {
    (TARGET.run)(data);
});
