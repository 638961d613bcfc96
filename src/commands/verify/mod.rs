//! `kubemint verify`: uses the issued credentials and compares granted with intended access.

mod doctor;
mod places;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::session::{block_on, interruptible};
use super::show::{Showing, arguments, check_outputs, print, verify_exit_code};
use super::{CommandContext, load};
use crate::cli::VerifyArgs;
use crate::cluster::AdminSources;
use crate::error::Error;
use crate::executor::verify::{VerifyContext, VerifyGrant, VerifyTask, issued_access, verify_clusters};
use crate::executor::{Cancellation, Hubs};
use crate::exit_code::ExitCode;
use crate::fleet::{Follower, Selected, Visits, select, shard_report};
use crate::foreign::shown;
use crate::inventory::{Cluster, Grant, GrantKey};
use crate::output::Phase;
use crate::report::{Command, Head, Report, Verification, VerifiedClusterReport};
use crate::verified::Verified;

/// Verifies the selected clusters, or one kubeconfig.
pub(super) fn run(context: &CommandContext<'_>, args: &VerifyArgs) -> Result<ExitCode, Error> {
    if let Some(path) = &args.kubeconfig {
        return doctor::run(context, path, args);
    }
    check_outputs(context, &args.report.output)?;
    let load::Loaded { mut inventory, layout, .. } = block_on(load::load(context, args.holder.as_deref()))??;
    if let Some(concurrency) = args.selection.concurrency {
        inventory.run.concurrency = usize::from(concurrency);
    }
    let holder = inventory.holder.clone();
    let clock = context.environment.clock;
    // What does not hold now has no access that could be verified.
    let selection = (&args.selection).into();
    let selected = select(&inventory, &selection, Visits::Granted)?;
    let selected: Vec<Selected> = selected.into_iter().map(|selected| selected.at(clock.now())).collect();
    let selected: Vec<Selected> = selected.into_iter().filter(|selected| !selected.grants.is_empty()).collect();
    let shard = shard_report(&selection, &selected, &inventory);
    let grants: BTreeSet<GrantKey> =
        selected.iter().flat_map(|selected| &selected.grants).map(|grant| grant.key()).collect();
    let mut places = places::read(&inventory, &layout, &holder, &context.plugin_caller(), &grants);
    let cancellation = Cancellation::default();
    let admins = selected.iter().map(|selected| &selected.cluster.admin);
    let admins = admins.chain(inventory.hubs.iter().map(|hub| &hub.access));
    let (environment, limit) = (&context.environment.admin, inventory.run.cluster_timeout);
    let admin = Arc::new(AdminSources::load(admins, environment, limit));
    for warning in admin.warnings() {
        context.printer.remark(&format!("warning: {}\n", shown(&warning)));
    }
    if !layout.secrets.is_empty() {
        let hubs = Hubs::new(&inventory, Arc::clone(&admin), clock);
        let names = (&inventory.name, &layout, &holder);
        let add = places::add_secrets(&mut places, &hubs, names, &grants);
        block_on(add)?;
    }
    let accesses: Vec<_> = places.values().flatten().filter_map(|used| issued_access(&used.place)).collect();
    let issued = AdminSources::load(&accesses, environment, limit);
    let tasks: Vec<VerifyTask> = selected
        .into_iter()
        .map(|Selected { cluster, grants, .. }| {
            let grant =
                |grant: Arc<Grant>| VerifyGrant { places: places.remove(&grant.key()).unwrap_or_default(), grant };
            VerifyTask { cluster, grants: grants.into_iter().map(grant).collect() }
        })
        .collect();
    let clusters: Vec<Arc<Cluster>> = tasks.iter().map(|task| Arc::clone(&task.cluster)).collect();
    let inventory = Arc::new(inventory);
    let shared = Arc::new(VerifyContext { inventory: Arc::clone(&inventory), admin, issued, clock });
    let (mut verified, timeline) = block_on(async {
        let follower = Follower { style: context.progress, clock, trail: None };
        let (events, shown) = follower.events(Phase::Verifying, None, tasks.len());
        let cancellation = &cancellation;
        // The display ends with the last sender, which is dropped at the end of this block.
        let work = async move { verify_clusters(shared, tasks, cancellation, &events).await };
        interruptible(context, cancellation, async { tokio::join!(work, shown) }).await
    })?;
    let reports = clusters.iter().map(|cluster| {
        let verified = verified.remove(&cluster.name).unwrap_or(Verified::NotStarted);
        let span = timeline.get(&cluster.name).copied().unwrap_or_default();
        VerifiedClusterReport { span, ..VerifiedClusterReport::new(cluster, &verified, args.strict) }
    });
    let verification = Verification::new(args.strict, reports.collect());
    let summary = verification.summary;
    let undiscovered = inventory.undiscovered_sources();
    let head = Head { shard, undiscovered, ..Head::new(Command::Verify, clock.began(), &inventory.name, &holder) };
    print(context, &Report::new(head, verification), Showing::new(&args.report, args.all), &repeated(context, args))?;
    Ok(verify_exit_code(&summary, &cancellation))
}

/// Returns the arguments besides the selection of clusters, for repeating the command.
fn repeated(context: &CommandContext<'_>, args: &VerifyArgs) -> Vec<String> {
    arguments(context, &args.selection, args.holder.as_deref(), &[(args.strict, "--strict")])
}
