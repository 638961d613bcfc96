//! The command line: what can be typed. Meaning comes in `commands`.

mod output;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use self::output::OutputParser;
pub(crate) use self::output::{OutputFormat, ReportOutput};
use crate::inventory::Budget;
use crate::names::LeaseName;
use crate::output::{ColorWhen, LogFormat};
use crate::risk::RiskClass;
use crate::shard::Shard;

/// Mint access to Kubernetes clusters, for a whole fleet at once
///
/// One TOML inventory says which clusters exist and which access profiles each gets. kubemint
/// provisions the `ServiceAccount` and RBAC on every cluster, mints a short-lived revocable token for
/// each, proves that it works, and writes kubeconfigs.
#[derive(Debug, Parser)]
#[command(name = "kubemint", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command
    #[command(flatten)]
    pub global: GlobalArgs,
}

/// Options of every command
#[derive(Debug, Clone, Args)]
pub(crate) struct GlobalArgs {
    /// The inventory
    #[arg(
        short = 'f',
        long,
        global = true,
        value_name = "FILE",
        default_value = "clusters.toml",
        env = "KUBEMINT_INVENTORY"
    )]
    pub inventory: PathBuf,
    /// Show no progress and no remarks
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Log each step; twice for requests too
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorWhen,
    /// Write secrets also where others own or may change the directories
    #[arg(
        long,
        global = true,
        env = "KUBEMINT_ALLOW_SHARED_DIRECTORIES",
        value_parser = yes_or_no
    )]
    pub allow_shared_directories: bool,
    /// Show plain lines and no progress bar
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// How logs are written to standard error
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

impl Command {
    /// Returns which grants it is about, if it can be told.
    pub(crate) fn selection_mut(&mut self) -> Option<&mut SelectionArgs> {
        match self {
            Self::Plan(args) => Some(&mut args.selection),
            Self::Apply(args) => Some(&mut args.selection),
            Self::Refresh(args) => Some(&mut args.selection),
            Self::Status(args) => Some(&mut args.selection),
            Self::Revoke(args) => Some(&mut args.selection),
            Self::Verify(args) => Some(&mut args.selection),
            Self::Init(_)
            | Self::Validate
            | Self::Discover(_)
            | Self::Show(_)
            | Self::Retire(_)
            | Self::Join(_)
            | Self::Merge(_)
            | Self::Credential(_)
            | Self::Schema { .. }
            | Self::Completions { .. }
            | Self::Man { .. } => None,
        }
    }
}

/// Arguments of `join`
#[derive(Debug, Clone, Args)]
pub(crate) struct JoinArgs {
    /// The reports that the parts wrote with `-o json=FILE`
    #[arg(value_name = "REPORT", required = true)]
    pub reports: Vec<PathBuf>,
    /// Show all of a large fleet, as `-o wide` does
    #[arg(long)]
    pub all: bool,
    /// How the result is reported
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Arguments of `discover`
#[derive(Debug, Clone, Args)]
pub(crate) struct DiscoverArgs {
    /// Ask only these sources, by their `id`
    #[arg(long, value_name = "ID")]
    pub source: Vec<String>,
    /// Write the clusters into a file that the inventory can include
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// How many clusters of a source that the file has may be gone at most, as in `3` or `10%`, which is the default;
    /// beyond that, it is not written
    #[arg(long, value_name = "N|P%", requires = "write", value_parser = Budget::parse)]
    pub max_gone: Option<Budget>,
    /// Print JSON instead of a table
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    pub output: Option<String>,
}

/// Reads a flag as the environment has it; an empty variable is none.
fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "" | "false" | "no" | "0" => Ok(false),
        _ => Err("it is neither `true` nor `false`".to_owned()),
    }
}

/// What to do
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write an inventory with one cluster for each context of existing kubeconfigs
    Init(InitArgs),
    /// Report all problems of the inventory, offline
    Validate,
    /// Show the clusters that the sources of the inventory find, or write them down
    Discover(DiscoverArgs),
    /// Show what apply would do
    Plan(PlanArgs),
    /// Make the clusters match the inventory and write the kubeconfigs
    Apply(ApplyArgs),
    /// Show a plan that `plan --out` saved
    Show(ShowArgs),
    /// Renew the credentials that are due, and end superseded ones after their overlap
    Refresh(RefreshArgs),
    /// Show how the credentials stand, the most urgent first
    Status(StatusArgs),
    /// Kill credentials, or remove the access of grants altogether
    Revoke(RevokeArgs),
    /// Remove everything that was made on a cluster, before it leaves the inventory
    Retire(RetireArgs),
    /// Use the issued credentials, and compare what they may do with what they should
    Verify(VerifyArgs),
    /// Put the reports of the parts of a fleet together into one
    Join(JoinArgs),
    /// Merge kubeconfigs into one, without changing whom any of them means
    Merge(MergeArgs),
    /// Print a credential for kubectl and other clients, which kubeconfigs of outputs with
    /// `credential = "exec"` do
    Credential(CredentialArgs),
    /// Print the JSON Schema of the inventory, or of the reports of `-o json`
    Schema {
        /// What it describes
        #[arg(value_name = "WHAT", default_value = "inventory")]
        of: SchemaOf,
    },
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write man pages into a directory
    Man {
        /// The directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// Which grants a run is about
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SelectionArgs {
    /// Only clusters with these labels, as in `env=prod,region in (eu,us)`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Only this cluster; may be repeated
    #[arg(long, value_name = "NAME")]
    pub cluster: Vec<String>,
    /// Only this access profile; may be repeated
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
    /// Only clusters of this wave of the rollout; may be repeated
    #[arg(long, value_name = "NAME")]
    pub wave: Vec<String>,
    /// Only this wave of the rollout and those after it
    #[arg(long, value_name = "NAME")]
    pub from_wave: Option<String>,
    /// Clusters that are worked on at the same time, instead of the inventory's number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub concurrency: Option<u16>,
    /// Only this part of the fleet, as in `0/8`; in an Indexed Job, `JOB_COMPLETION_INDEX` and
    /// `KUBEMINT_SHARDS` say it
    #[arg(long, value_name = "I/N", value_parser = Shard::parse)]
    pub shard: Option<Shard>,
    /// What only the parts of one run have in common; the environment says it.
    #[arg(skip)]
    pub job: Option<String>,
}

/// What a plan may do
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PolicyArgs {
    /// Who keeps the credentials, instead of the inventory's `holder`
    #[arg(long, value_name = "NAME")]
    pub holder: Option<String>,
    /// Take over objects that no inventory of kubemint owns
    #[arg(long)]
    pub adopt: bool,
    /// Take over objects of another inventory; may be repeated
    #[arg(long, value_name = "INVENTORY")]
    pub adopt_from: Vec<String>,
    /// Mint anew where a living credential is held elsewhere
    #[arg(long)]
    pub reissue: bool,
    /// Block clusters whose plan has a step that does this to access
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    pub deny: Vec<DeniedClass>,
    /// Remove what no grant of the inventory explains: objects with its marks, and entries in outputs
    #[arg(long, conflicts_with = "profile")]
    pub prune: bool,
    /// How many grants may be pruned at most, as in `3` or `10%`, which is the default; beyond that,
    /// nothing is done anywhere
    #[arg(long, value_name = "N|P%", requires = "prune", value_parser = Budget::parse)]
    pub max_prune: Option<Budget>,
}

/// What a step does to the access of somebody
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeniedClass {
    /// An account that did not exist gets access
    Creates,
    /// An account that exists may do more
    Widens,
    /// Somebody may do less
    Narrows,
    /// Some may do more or other things, and some may do less
    Replaces,
    /// What gave somebody access is deleted
    Deletes,
}

impl From<DeniedClass> for RiskClass {
    fn from(class: DeniedClass) -> Self {
        match class {
            DeniedClass::Creates => Self::Creates,
            DeniedClass::Widens => Self::Widens,
            DeniedClass::Narrows => Self::Narrows,
            DeniedClass::Replaces => Self::Replaces,
            DeniedClass::Deletes => Self::Deletes,
        }
    }
}

impl From<RiskClass> for DeniedClass {
    fn from(class: RiskClass) -> Self {
        match class {
            RiskClass::Creates => Self::Creates,
            RiskClass::Widens => Self::Widens,
            RiskClass::Narrows => Self::Narrows,
            RiskClass::Replaces => Self::Replaces,
            RiskClass::Deletes => Self::Deletes,
        }
    }
}

/// When a rollout stops
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RolloutArgs {
    /// How many clusters of a wave may fail before the rollout stops, as in `3` or `2%`
    #[arg(long, value_name = "N|P%", value_parser = Budget::parse)]
    pub max_failures: Option<Budget>,
}

/// How a command writes
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WritingArgs {
    /// Add what happens to this file, one JSON object a line: the audit trail
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Break a kubeconfig's lock that nobody released in time
    #[arg(long)]
    pub break_lock: bool,
}

/// How the result is reported
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ReportArgs {
    /// How the result is written, to standard output or into a file; may be given several times
    #[arg(short, long, value_name = "FORMAT[=FILE]", value_parser = OutputParser)]
    pub output: Vec<ReportOutput>,
    /// Count by the values of this label, where the result is text
    #[arg(long, value_name = "LABEL")]
    pub group_by: Option<String>,
}

/// Arguments of `plan`
#[derive(Debug, Clone, Args)]
pub(crate) struct PlanArgs {
    /// Which grants
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// What may be done
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Show all of a large fleet, as `-o wide` does
    #[arg(long)]
    pub all: bool,
    /// How the result is reported
    #[command(flatten)]
    pub report: ReportArgs,
    /// Exit with 4 if anything is pending
    #[arg(long)]
    pub check: bool,
    /// Save the plan in a file, which `kubemint apply FILE` carries out; its digest is printed
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `apply`
#[derive(Debug, Clone, Args)]
pub(crate) struct ApplyArgs {
    /// A plan that `kubemint plan --out` saved: exactly what was reviewed is done, and nobody is asked
    #[arg(
        value_name = "PLAN",
        conflicts_with_all = [
            "selector", "cluster", "profile", "holder", "adopt", "adopt_from", "reissue", "prune", "max_prune"
        ]
    )]
    pub plan: Option<PathBuf>,
    /// Refuse a saved plan with another digest than this, as in `sha256:…`
    #[arg(long, value_name = "DIGEST", requires = "plan")]
    pub expect_digest: Option<String>,
    /// Refuse a saved plan that is older
    #[arg(
        long,
        value_name = "DURATION",
        requires = "plan",
        default_value = "24h",
        value_parser = crate::inventory::parse_duration
    )]
    pub max_age: Duration,
    /// Plan those clusters anew that are not as they were when the plan was saved, and ask
    #[arg(long, requires = "plan")]
    pub replan: bool,
    /// Which grants
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// What may be done
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// How many failures end it
    #[command(flatten)]
    pub rollout: RolloutArgs,
    /// How it is written
    #[command(flatten)]
    pub writing: WritingArgs,
    /// How the result is reported
    #[command(flatten)]
    pub report: ReportArgs,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Arguments of `show`
#[derive(Debug, Clone, Args)]
pub(crate) struct ShowArgs {
    /// The saved plan
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// Show all of a large fleet, as `-o wide` does
    #[arg(long)]
    pub all: bool,
    /// How the plan is reported
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Arguments of `refresh`
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that is typed")]
pub(crate) struct RefreshArgs {
    /// Which grants
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Who keeps the credentials, instead of the inventory's `holder`
    #[arg(long, value_name = "NAME")]
    pub holder: Option<String>,
    /// Renew all of them, due or not
    #[arg(long)]
    pub force: bool,
    /// Renew also what falls due before the next run, which comes after this time, as in `6h`
    #[arg(long, value_name = "DURATION", value_parser = crate::inventory::parse_duration)]
    pub next_run: Option<Duration>,
    /// Repair ServiceAccounts and RBAC too, as `apply` does; otherwise drift is only reported
    #[arg(long)]
    pub with_access: bool,
    /// Lift the suspension that `revoke` left
    #[arg(long)]
    pub resume: bool,
    /// Mint anew where a living credential is held elsewhere
    #[arg(long)]
    pub reissue: bool,
    /// Stay until superseded credentials are deleted, which is `overlap` after the renewal
    #[arg(long, conflicts_with = "check")]
    pub wait_overlap: bool,
    /// Write nothing, and exit with 4 if anything is due
    #[arg(long)]
    pub check: bool,
    /// Do not ask before waves that want it
    #[arg(short, long)]
    pub yes: bool,
    /// How many failures end it
    #[command(flatten)]
    pub rollout: RolloutArgs,
    /// How it is written
    #[command(flatten)]
    pub writing: WritingArgs,
    /// How the result is reported
    #[command(flatten)]
    pub report: ReportArgs,
    /// Keep running: sleep until something is due, renew it, and so on until SIGTERM
    #[arg(long, conflicts_with_all = ["force", "next_run", "resume", "reissue", "wait_overlap", "check", "output", "group_by"])]
    pub watch: bool,
    /// Show /metrics, /healthz and /readyz there
    #[arg(long, value_name = "ADDRESS", requires = "watch")]
    pub listen: Option<SocketAddr>,
    /// Write metrics to this file after each run, for the textfile collector of `node_exporter`
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,
    /// Work only while this Lease is held here, in the cluster of this pod: of several watchers, one works
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "watch", value_parser = LeaseName::parse)]
    pub lease: Option<LeaseName>,
    /// The cluster of the inventory that has the Lease, instead of the one of this pod
    #[arg(long, value_name = "NAME", requires = "lease")]
    pub lease_cluster: Option<String>,
}

/// Arguments of `status`
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that is typed")]
pub(crate) struct StatusArgs {
    /// Which grants
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Whose credentials, instead of those of the inventory's `holder`
    #[arg(long, value_name = "NAME")]
    pub holder: Option<String>,
    /// Look at the output files alone
    #[arg(long, conflicts_with = "legacy")]
    pub offline: bool,
    /// Exit with 4 if anything is expired, due, drifted or missing
    #[arg(long)]
    pub check: bool,
    /// List tokens of the ServiceAccounts that never expire, too; needs the right to list Secrets
    #[arg(long)]
    pub legacy: bool,
    /// Show all of a large fleet, as `-o wide` does
    #[arg(long)]
    pub all: bool,
    /// How the result is reported
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Arguments of `revoke`
#[derive(Debug, Clone, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that is typed")]
pub(crate) struct RevokeArgs {
    /// Which grants
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Whose credentials, instead of those of the inventory's `holder`
    #[arg(long, value_name = "NAME")]
    pub holder: Option<String>,
    /// Only this generation of the holder
    #[arg(long, value_name = "N", conflicts_with_all = ["superseded", "all", "hard", "access"])]
    pub generation: Option<u64>,
    /// Only what a newer generation of the holder supersedes; nothing is suspended
    #[arg(long, conflicts_with_all = ["all", "hard", "access"])]
    pub superseded: bool,
    /// The credentials of every holder
    #[arg(long, conflicts_with = "holder")]
    pub all: bool,
    /// Make the `ServiceAccount` anew: every token for it dies, of every holder, also those that one made
    /// for itself
    #[arg(long, conflicts_with_all = ["access", "holder"])]
    pub hard: bool,
    /// Remove the `ServiceAccount`, its RBAC and the entries in the outputs too, for every holder
    #[arg(long, conflicts_with = "holder")]
    pub access: bool,
    /// Leave the entries in the outputs
    #[arg(long, requires = "access")]
    pub keep_files: bool,
    /// Wait until the API servers refuse what was revoked, which takes about 10 s: the tokens that the
    /// outputs hold are tried
    #[arg(long)]
    pub wait: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// How many failures end it
    #[command(flatten)]
    pub rollout: RolloutArgs,
    /// How it is written
    #[command(flatten)]
    pub writing: WritingArgs,
    /// How the result is reported
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Arguments of `retire`
#[derive(Debug, Clone, Args)]
pub(crate) struct RetireArgs {
    /// The cluster; may be repeated
    #[arg(long, value_name = "NAME", required_unless_present = "gone")]
    pub cluster: Vec<String>,
    /// Only remove its entries from the outputs, because it is gone for good and cannot be reached
    #[arg(long)]
    pub forget: bool,
    /// Forget every cluster that outputs know and the inventory does not have any more
    #[arg(long, requires = "forget", conflicts_with = "cluster")]
    pub gone: bool,
    /// How many clusters may be gone at most, as in `3` or `10%`, which is the default; beyond that,
    /// nothing is done
    #[arg(long, value_name = "N|P%", requires = "gone", value_parser = Budget::parse)]
    pub max_gone: Option<Budget>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// How it is written
    #[command(flatten)]
    pub writing: WritingArgs,
    /// How the result is reported
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Arguments of `credential`
#[derive(Debug, Clone, Args)]
pub(crate) struct CredentialArgs {
    /// The cluster, instead of the one that the client tells as `clusterName` with `provideClusterInfo`
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// The access profile
    #[arg(long, value_name = "NAME")]
    pub profile: String,
    /// The name that the inventory must have
    #[arg(long, value_name = "NAME")]
    pub inventory_name: Option<String>,
    /// Who keeps the credentials, instead of the inventory's `holder`
    #[arg(long, value_name = "NAME")]
    pub holder: Option<String>,
    /// An audience of the token, instead of the profile's; may be repeated
    #[arg(long, value_name = "AUDIENCE")]
    pub audience: Vec<String>,
    /// The fingerprint of the token policy that the kubeconfig was written for
    #[arg(long, value_name = "HASH")]
    pub policy: Option<String>,
    /// The API server that the kubeconfig was written for: a token for another one is not given
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The fingerprint of the CA that the kubeconfig was written for
    #[arg(long, value_name = "HASH")]
    pub authority: Option<String>,
    /// The uid of the namespace kube-system of the cluster that the kubeconfig was written for
    #[arg(long, value_name = "UID")]
    pub cluster_uid: Option<String>,
    /// How long the token must still be valid, as in `1h`, for jobs that take long
    #[arg(long, value_name = "DURATION", value_parser = crate::inventory::parse_duration)]
    pub min_left: Option<Duration>,
    /// A directory of token files that a refresher keeps, instead of minting
    #[arg(long, value_name = "DIR", requires = "cluster", conflicts_with_all = ["inventory_name", "holder"])]
    pub from: Option<PathBuf>,
}

/// Arguments of `verify`
#[derive(Debug, Clone, Args)]
pub(crate) struct VerifyArgs {
    /// Which grants
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Whose credentials, instead of the inventory's `holder`
    #[arg(long, value_name = "NAME")]
    pub holder: Option<String>,
    /// Exit with 4 if more is allowed than intended
    #[arg(long)]
    pub strict: bool,
    /// Examine this kubeconfig instead, whoever wrote it
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["selector", "cluster", "profile", "wave", "from_wave", "concurrency", "holder", "strict"]
    )]
    pub kubeconfig: Option<PathBuf>,
    /// The context of that kubeconfig to connect with, instead of its current one
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub context: Option<String>,
    /// Show all of a large fleet, as `-o wide` does
    #[arg(long)]
    pub all: bool,
    /// How the result is reported
    #[command(flatten)]
    pub report: ReportArgs,
}

/// Arguments of `init`
#[derive(Debug, Clone, Args)]
pub(crate) struct InitArgs {
    /// A kubeconfig, a list separated by `:`, a directory, a pattern, or `$KUBECONFIG`; may be repeated
    #[arg(long, value_name = "KUBECONFIG", required = true, num_args = 1..)]
    pub from: Vec<String>,
    /// Only contexts whose name matches this pattern; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub context: Vec<String>,
    /// Make labels of the context's name: each named group of this regular expression is one
    #[arg(long, value_name = "REGEX")]
    pub label_from_name: Option<String>,
    /// The inventory's name, its mark on every object
    #[arg(long, value_name = "NAME", default_value = "fleet")]
    pub name: String,
}

/// Arguments of `merge`
#[derive(Debug, Clone, Args)]
pub(crate) struct MergeArgs {
    /// Kubeconfigs, directories, patterns, `@LIST` for a file that lists these, or `-` for standard input
    #[arg(value_name = "FILE|DIR|GLOB|@LIST", required = true)]
    pub inputs: Vec<String>,
    /// The file that is written, or `-` for standard output; everything else that it has stays
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// What happens if two entries have one name and say different things
    #[arg(long, value_name = "WHAT", default_value = "error")]
    pub on_collision: CollisionArg,
    /// A template of context names, which clusters and users then have too: {context}, {cluster},
    /// {user}, {namespace}, {file}
    #[arg(long, value_name = "TEMPLATE")]
    pub context: Option<String>,
    /// What all names begin with; {file} is the file's name
    #[arg(long, value_name = "TEMPLATE")]
    pub prefix: Option<String>,
    /// Only contexts whose name matches this pattern; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub select: Vec<String>,
    /// Remove the entries of OUT that no input has
    #[arg(long)]
    pub prune: bool,
    /// Show what would come, change and go, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The order of new entries
    #[arg(long, value_name = "WHAT", default_value = "inputs")]
    pub order: OrderArg,
    /// Break a lock that nobody released in time
    #[arg(long)]
    pub break_lock: bool,
}

/// The order of entries that a merge adds
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OrderArg {
    /// That of the inputs
    Inputs,
    /// That of the inventory, of which OUT is an output: for what the parts of a fleet wrote
    Inventory,
}

/// What a JSON Schema describes
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// The inventory
    Inventory,
    /// The reports
    Report,
}

/// What happens if two entries have one name and say different things
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CollisionArg {
    /// Write nothing
    Error,
    /// Put the file's name before the later one's
    PrefixFile,
    /// Leave the later one's context out
    KeepFirst,
    /// Replace what OUT has; two inputs still collide
    Replace,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// As kubeconfigs of exec plugins give it, see `fleet/outputs/caller.rs`.
    #[test]
    fn an_audience_may_begin_with_a_dash() {
        let arguments =
            ["kubemint", "credential", "--cluster", "a", "--profile", "p", "--audience=-x", "--audience=--y"];
        let parsed = Cli::try_parse_from(arguments).unwrap();
        let Command::Credential(args) = parsed.command else { panic!("another command") };
        assert_eq!(args.audience, ["-x", "--y"]);
    }
}
