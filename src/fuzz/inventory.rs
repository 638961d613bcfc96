//! Inventories: whatever is typed, the problems can be shown, at places that exist and without a secret.

use std::fmt::Write as _;

use super::{PLANTED, boundary, choice, middle};
use crate::inventory::{Color, SourceFile, render, summary};
use crate::resolution::{Resolution, Setting, resolve};

/// What separates the root file from an included one.
const NEXT_FILE: &str = "#--- included\n";

/// Reads an inventory with an included file, shows its problems, and does so again with secrets in it.
pub(super) fn inventory(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let read = resolved(&text);
    let shown = all_shown(&read);
    if read.inventory.is_none() {
        assert!(!shown.is_empty(), "a refusal says why");
    }
    let choice = choice(data);
    let at = boundary(&text, choice % (text.len() + 1));
    // An escape would change the token itself.
    if !text[boundary(&text, at.saturating_sub(12))..at].contains('\\') {
        check_hidden(&format!("{}{PLANTED}{}", &text[..at], &text[at..]), PLANTED);
    }
    // Of what looks like nothing in particular only the key tells that it is a secret, and that has to be one.
    if !text.contains("'''") && !text.contains("\"\"\"") {
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let secret = "correct horse battery staple";
        let written = [
            format!("password = \"{secret}\"\n"),
            format!("client-key-data = '{secret}'\n"),
            format!("  token: {secret}\n"),
            format!("proxy-url = \"http://jo:{}@proxy:3128\"\n", secret.replace(' ', "-")),
        ];
        let planted = &written[choice / 7 % written.len()];
        let secret = if planted.contains(secret) { secret.to_owned() } else { secret.replace(' ', "-") };
        // Who watches comparisons finds the secret, and puts it anywhere.
        if text.contains(middle(&secret)) {
            return read.inventory.is_some();
        }
        check_hidden(&format!("{}{planted}{}", &text[..line], &text[line..]), &secret);
    }
    read.inventory.is_some()
}

fn resolved(text: &str) -> Resolution {
    let (root, included) = text.split_once(NEXT_FILE).map_or((text, None), |(root, next)| (root, Some(next)));
    let included = included.map(|text| SourceFile::new("/inv/clusters.d/a.toml", text).named("clusters.d/a.toml"));
    let root = SourceFile::new("/inv/clusters.toml", root).named("clusters.toml");
    let kubeconfig = vec!["/home/jo/.kube/config".into()];
    let environment = Setting { home: Some("/home/jo".into()), kubeconfig, holder: None };
    resolve(root, included.into_iter().collect(), environment)
}

/// Shows problems in every way.
fn all_shown(read: &Resolution) -> String {
    let mut shown = render(&read.problems, &read.sources, Color::Never);
    for problem in &read.problems {
        write!(shown, "{}", read.sources.position(problem.location)).expect("a string takes everything");
    }
    shown.push_str(&summary(&read.problems, &read.sources));
    // With colours it is the same; the sequences would split what is looked for.
    drop(render(&read.problems, &read.sources, Color::Always));
    shown
}

#[track_caller]
fn check_hidden(text: &str, secret: &str) {
    let shown = all_shown(&resolved(text));
    assert!(!shown.contains(middle(secret)), "a secret is shown:\n{shown}\nof:\n{text}");
}
