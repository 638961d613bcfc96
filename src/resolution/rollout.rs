//! The waves of rollouts. Pure.

use std::time::Duration;

use super::clusters::Clusters;
use super::{Context, Parsed, selection};
use crate::inventory::file::WaveTable;
use crate::inventory::problem::{At, Location, Problem};
use crate::inventory::syntax;
use crate::inventory::wave::{Budget, REST, Wave};
use crate::names::WaveName;
use crate::selector::Selector;

pub(super) fn resolve(root: Option<&Parsed>, clusters: &Clusters, ctx: &mut Context<'_>) -> Vec<Wave> {
    let mut waves: Vec<(Wave, Location)> = vec![];
    let tables = root.and_then(|root| root.content.rollout.as_ref());
    for table in tables.into_iter().flat_map(|tables| &tables.value) {
        let Some(wave) = wave(table, clusters, ctx) else {
            ctx.incomplete = true;
            continue;
        };
        match waves.iter().find(|(other, _)| other.name == wave.name) {
            Some((_, first)) => {
                let problem = Problem::error(table.location, format!("wave `{}` is defined twice", wave.name));
                ctx.problems.push(problem.also(*first, "it is defined here first"));
            }
            None => waves.push((wave, table.location)),
        }
    }
    waves.into_iter().map(|(wave, _)| wave).collect()
}

fn wave(table: &At<WaveTable>, clusters: &Clusters, ctx: &mut Context<'_>) -> Option<Wave> {
    let WaveTable { name, selector, pause, concurrency, max_failures, confirm, verify } = &table.value;
    if let Some(name) = name {
        ctx.check("name of a wave", name, syntax::dns_label);
        if name.value == REST {
            let problem = Problem::error(name.location, format!("a wave cannot be called `{REST}`"));
            ctx.problems.push(problem.hint("that is the wave of the clusters that no other wave selects"));
        }
    }
    if let Some(at) = concurrency.as_ref().filter(|at| !(1..=4096).contains(&at.value)) {
        ctx.error(at.location, format!("`concurrency` must be between 1 and 4096, not {}", at.value));
    }
    let (name, selector) = (name.as_ref()?, selector.as_ref()?);
    // It reports what is wrong with the selector, and that it matches nothing.
    drop(selection::select(Some(selector), None, clusters, ctx));
    let is_set = |flag: &Option<At<bool>>| flag.as_ref().is_some_and(|at| at.value);
    Some(Wave {
        name: WaveName::new(&name.value),
        selector: Selector::parse(&selector.value).ok()?,
        pause: pause.as_ref().map_or(Duration::ZERO, |at| at.value),
        concurrency: concurrency.as_ref().map(|at| usize::try_from(at.value).unwrap_or(usize::MAX)),
        max_failures: max_failures.as_ref().map_or(Budget::Number(0), |at| at.value),
        confirm: is_set(confirm),
        verify: is_set(verify),
    })
}
