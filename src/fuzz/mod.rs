//! Everything that reads what others wrote, one target for each, to be fed with anything.
//!
//! A target takes bytes, checks what must hold whatever they are, and tells whether they were what it reads. It never
//! touches the network. `tests` feeds the targets from `tests/fuzz/corpus` on the stable toolchain; `fuzz/` at the
//! root of the repository does with libFuzzer. Compiled for these two only.

mod credentials;
mod inventory;
mod kubeconfigs;
mod words;

#[cfg(test)]
pub(crate) use kubeconfigs::incoming_of;

/// One reader.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its directory of seeds.
    pub name: &'static str,
    /// Checks one input; panics if something does not hold, and returns whether the input was read as what it should be.
    pub run: fn(&[u8]) -> bool,
}

/// All targets.
pub const TARGETS: [Target; 16] = [
    Target { name: "admin_kubeconfig", run: crate::cluster::fuzz::admin_kubeconfig },
    Target { name: "api_answer", run: crate::cluster::fuzz::api_answer },
    Target { name: "api_error", run: crate::cluster::fuzz::api_error },
    Target { name: "claims", run: credentials::claims },
    Target { name: "doctor", run: crate::cluster::fuzz::doctor },
    Target { name: "exec_cache", run: credentials::exec_cache },
    Target { name: "exec_credential", run: crate::cluster::fuzz::exec_credential },
    Target { name: "foreign", run: words::foreign },
    Target { name: "index", run: credentials::index },
    Target { name: "inventory", run: inventory::inventory },
    Target { name: "kubeconfig_combine", run: kubeconfigs::combine_two },
    Target { name: "kubeconfig_edit", run: kubeconfigs::edit_one },
    Target { name: "kubeconfig_merge", run: kubeconfigs::merge_grants },
    Target { name: "kubeconfig_read", run: kubeconfigs::read },
    Target { name: "selector", run: words::selector },
    Target { name: "template", run: words::template },
];

/// A token that looks like one, of which the middle stands nowhere else.
pub(crate) const PLANTED: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImZ1enoifQ.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6Y2k6\
                                  ZGVwbG95ZXIiLCJqdGkiOiJwbGFudGVkLWluLWEtZnV6ei10YXJnZXQifQ.c2lnbmF0dXJlLW9mLWEtZnV6ei10YXJnZXQ";

/// Returns the middle half of a secret: that part of it is as bad as the whole.
pub(crate) fn middle(secret: &str) -> &str {
    &secret[secret.len() / 4..secret.len() * 3 / 4]
}

/// Returns a number that depends on the whole input, for choices that a target makes.
pub(crate) fn choice(data: &[u8]) -> usize {
    // FNV-1a.
    let hash = data
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    usize::try_from(hash >> 33).unwrap_or_default()
}

/// Returns the nearest place at or before a number that is between two characters.
pub(crate) fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

/// Checks that the error of a reader quotes nothing: it is one of some sentences, apart from numbers.
#[track_caller]
pub(crate) fn assert_quotes_nothing(message: &str, sentences: &[&str]) {
    let mut plain: String = message.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    while plain.contains("00") {
        plain = plain.replace("00", "0");
    }
    assert!(sentences.contains(&plain.as_str()), "{message}");
}

#[cfg(test)]
mod tests;
