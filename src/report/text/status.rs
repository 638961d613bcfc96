//! The credentials as a table: one row for each grant.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::fold::{ROWS, by_label, fold};
use super::{TextOptions, trimmed};
use crate::foreign::shown;
use crate::plan::CredentialState;
use crate::report::{Drifted, GrantStatus, Holds, LegacyTokenStatus, Status};
use crate::wording::{compact, count};

/// Returns the remarks about a grant beside the columns.
fn remarks(grant: &GrantStatus) -> String {
    let mut remarks: Vec<String> = grant.detail.iter().chain(&grant.error).cloned().collect();
    if let (Some(actual), Some(requested)) = (grant.clamped_seconds, grant.requested_seconds) {
        let show = |seconds| compact(Duration::from_secs(seconds));
        remarks.push(format!("clamped from {} to {}", show(requested), show(actual)));
    }
    remarks.extend(grant.grant_expires.map(|ends| format!("the grant ends at {ends}")));
    let others = grant.other_holders.iter().map(|(holder, living)| format!("`{holder}` has {living} more"));
    remarks.extend(others);
    remarks.join("; ")
}

fn holding(grant: &GrantStatus) -> String {
    let newest = grant.outputs.iter().filter(|output| matches!(output.holds, Holds::Newest | Holds::Plugin)).count();
    let mut text = format!("{newest}/{}", grant.outputs.len());
    let mut others: Vec<u64> = grant
        .outputs
        .iter()
        .filter(|output| output.holds == Holds::Another)
        .filter_map(|output| output.generation)
        .collect();
    others.sort_unstable();
    others.dedup();
    if !others.is_empty() {
        let others: Vec<String> = others.iter().map(ToString::to_string).collect();
        text.push_str(&format!(" (older: {})", others.join(", ")));
    }
    text
}

/// Renders the report as a table. Of a large fleet, it counts, and shows the grants that need somebody.
pub(super) fn text(report: &Status, options: TextOptions<'_>) -> String {
    let states = report.grants.iter().map(|grant| (&grant.labels, grant.state.as_str()));
    let mut out = by_label(options.group_by, "GRANTS", states);
    let is_folded = report.grants.len() > options.most(ROWS);
    if is_folded {
        let _ = writeln!(out, "{}\n", summary(report));
    }
    let needy = report.grants.iter().filter(|grant| !is_folded || grant.needs_somebody()).collect::<Vec<_>>();
    let (rows, folded) = fold(&needy, options.most(ROWS));
    if !rows.is_empty() {
        out.push_str(&grants_table(rows, options));
    }
    if !folded.is_empty() {
        let _ = writeln!(out, "… and {} that need somebody", count(folded.len(), "more grant"));
    }
    if let Some(tokens) = &report.legacy_tokens {
        legacy_text(&mut out, tokens, options);
    }
    let (notes, more) = fold(&report.notes, options.most(ROWS));
    for note in notes {
        let _ = writeln!(out, "note: {}", shown(note));
    }
    if !more.is_empty() {
        let _ = writeln!(out, "… and {}", count(more.len(), "more note"));
    }
    if is_folded {
        let fine = report.grants.len() - needy.len();
        if fine > 0 {
            let _ = writeln!(out, "{} fine and not shown", is_are(fine));
        }
        out.push_str("hint: `--all` shows every grant, `-o wide` every column too\n");
    } else {
        let _ = writeln!(out, "{}", summary(report));
    }
    out
}

fn is_are(grants: usize) -> String {
    format!("{} {}", count(grants, "grant"), if grants == 1 { "is" } else { "are" })
}

fn grants_table(grants: &[&GrantStatus], options: TextOptions<'_>) -> String {
    let now = options.now;
    let mut table = super::table();
    let mut header = vec!["CLUSTER", "PROFILE", "STATE", "GEN", "EXPIRES", "RENEWAL", "OLDER", "DRIFT", "OUTPUTS"];
    if options.is_wide {
        header.extend(["ISSUED", "SERVICEACCOUNT", "FILES"]);
    }
    header.push("REMARKS");
    table.set_header(header);
    for grant in grants {
        let superseded: Vec<String> = grant.superseded.iter().map(ToString::to_string).collect();
        let drift = match grant.drift {
            Drifted::Yes => format!("yes ({})", grant.drifted.len()),
            Drifted::No => "no".to_owned(),
            Drifted::Unknown => "unknown".to_owned(),
        };
        let mut row = vec![
            shown(grant.cluster.as_str()).into_owned(),
            shown(grant.profile.as_str()).into_owned(),
            grant.state.as_str().to_owned(),
            or_dash(grant.generation.map(|generation| generation.to_string())),
            or_dash(grant.expires.map(|expires| when(expires, now))),
            or_dash(grant.due.map(|due| when(due, now))),
            or_dash(Some(superseded.join(", ")).filter(|text| !text.is_empty())),
            drift,
            holding(grant),
        ];
        if options.is_wide {
            let paths: Vec<&str> = grant.outputs.iter().map(|output| output.path.as_str()).collect();
            row.extend([
                or_dash(grant.issued.map(|issued| issued.to_string())),
                shown(&format!("{}/{}", grant.namespace, grant.service_account)).into_owned(),
                paths.iter().map(|path| shown(path)).collect::<Vec<_>>().join(", "),
            ]);
        }
        row.push(shown(&remarks(grant)).into_owned());
        table.add_row(row);
    }
    trimmed(&table)
}

fn legacy_text(out: &mut String, tokens: &[LegacyTokenStatus], options: TextOptions<'_>) {
    if tokens.is_empty() {
        out.push_str("\nno tokens that never expire\n");
        return;
    }
    let mut table = super::table();
    table.set_header(["CLUSTER", "PROFILE", "SECRET THAT NEVER EXPIRES", "CREATED", "LAST USED", "STATE"]);
    let (listed, folded) = fold(tokens, options.most(ROWS));
    for token in listed {
        let state = match &token.invalid_since {
            Some(since) => format!("refused since {}", shown(since)),
            None => "accepted".to_owned(),
        };
        table.add_row([
            shown(token.cluster.as_str()).into_owned(),
            shown(token.profile.as_str()).into_owned(),
            shown(&format!("{}/{}", token.namespace, token.secret)).into_owned(),
            or_dash(token.created.as_deref().map(|created| shown(created).into_owned())),
            token.last_used.as_deref().map_or("never noted".into(), shown).into_owned(),
            state,
        ]);
    }
    let _ = write!(out, "\n{}", trimmed(&table));
    if !folded.is_empty() {
        let _ = writeln!(out, "… and {}", count(folded.len(), "more token"));
    }
    out.push_str(
        "hint: give whoever uses them a kubeconfig of kubemint, wait until LAST USED stays, and delete each with \
         `kubectl delete secret -n NAMESPACE SECRET`\n",
    );
}

fn summary(report: &Status) -> String {
    let mut parts: Vec<String> = vec![];
    for state in CredentialState::ALL {
        let number = report.grants.iter().filter(|grant| grant.state == state).count();
        if number > 0 {
            parts.push(format!("{number} {}", state.as_str()));
        }
    }
    let drifted = report.grants.iter().filter(|grant| grant.drift == Drifted::Yes).count();
    if drifted > 0 {
        parts.push(format!("{drifted} drifted"));
    }
    format!("{}: {}", count(report.grants.len(), "grant"), parts.join(", "))
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// Returns a time relative to `now`: `in 3h12m`, `4m ago`.
fn when(time: Timestamp, now: Timestamp) -> String {
    let ahead = time.duration_since(now);
    let length = compact(Duration::try_from(ahead.abs()).unwrap_or_default());
    if ahead.is_negative() { format!("{length} ago") } else { format!("in {length}") }
}
