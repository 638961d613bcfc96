//! `kubemint merge`: merges any kubeconfigs into one file, whose other content is kept.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::load::load_offline;
use super::{CommandContext, printed};
use crate::at_once::each_at_once;
use crate::cli::{CollisionArg, MergeArgs, OrderArg};
use crate::cluster::kubeconfigs_in;
use crate::delivery::OutputFile;
use crate::error::Error;
use crate::executor::publish::describe;
use crate::exit_code::ExitCode;
use crate::foreign::shown;
use crate::kubeconfig::combine::{
    Collision, CombineOptions, Combined, Input, OnCollision, combine, context_template, prefix_template,
};
use crate::kubeconfig::edit::{EditError, edit};
use crate::kubeconfig::{EntryNames, FileOrder};
use crate::output::Printer;
use crate::report::{MergeReport, collision_lines, merge_text};
use crate::store::{self, Manner, StoreError};

/// The argument for standard input or standard output.
const STANDARD: &str = "-";
/// The largest list of files, with one per line. Standard input is such a list or a kubeconfig.
const LARGEST_LIST: u64 = 64 * 1024 * 1024;

/// Merges kubeconfigs.
pub(super) fn run(context: &CommandContext<'_>, args: &MergeArgs) -> Result<ExitCode, Error> {
    let output = (args.output != Path::new(STANDARD)).then(|| context.environment.directory.join(&args.output));
    let options = options(args, output.as_deref())?;
    let order = order(context, args, output.as_deref())?;
    let inputs = Inputs::read(context, args, output.as_deref())?;
    for problem in &inputs.unusable {
        context.printer.problem(&format!("{}\n", shown(problem)));
    }
    if inputs.usable.is_empty() {
        let error = Error::new(ExitCode::AllFailed, "there is nothing to merge: no input can be used");
        return Err(error);
    }
    if !options.select.is_empty() && !inputs.usable.iter().any(|input| input.has_context_like(&options.select)) {
        return Err(
            Error::usage("no context matches `--select`").hint("the patterns are those of a shell: `*`, `?`, `[…]`")
        );
    }
    let now = context.environment.clock.now();
    let read = |path: &Path| store::read(path).ok().flatten();
    let merged = |before: Option<&Input>| combine(&inputs.usable, before, &options, now, &read);
    let combined = match &output {
        None => {
            let combined = merged(None);
            refuse(&combined.collisions)?;
            let text = edit(b"", &combined.edits, &order).map_err(|error| cannot_edit(STANDARD, &error))?;
            if !args.dry_run {
                printed(Printer::bytes(&text))?;
            }
            combined
        }
        Some(path) if args.dry_run => {
            let before = store::read(path).map_err(|error| unusable(&error))?;
            let combined = merged(parse(path, before.as_deref())?.as_ref());
            refuse(&combined.collisions)?;
            let edited = edit(before.as_deref().unwrap_or_default(), &combined.edits, &order);
            edited.map_err(|error| cannot_edit(&args.output.display().to_string(), &error))?;
            combined
        }
        Some(path) => write(path, context.manner(args.break_lock), &order, &merged)?,
    };
    let code = report(context, args, &inputs, &combined);
    // The process ends: to give back the memory of ten thousand kubeconfigs piece by piece takes a tenth of the time.
    std::mem::forget((inputs, combined));
    code
}

/// Writes the file under its lock, starting from what it holds then.
fn write(
    path: &Path,
    manner: Manner,
    order: &FileOrder,
    merged: &dyn Fn(Option<&Input>) -> Combined,
) -> Result<Combined, Error> {
    let mut result = Combined::default();
    let written = store::update(path, manner, |before| {
        let combined = parse(path, before).map(|input| merged(input.as_ref()));
        let combined = combined.and_then(|combined| refuse(&combined.collisions).map(|()| combined));
        let combined = combined.map_err(NotMerged::Refused)?;
        let bytes = edit(before.unwrap_or_default(), &combined.edits, order).map_err(NotMerged::Edit)?;
        result = combined;
        Ok::<_, NotMerged>(bytes)
    });
    match written {
        Ok(_) => Ok(result),
        Err(StoreError::Edit { source, path }) => match source.downcast::<NotMerged>() {
            Ok(reason) => Err(match *reason {
                NotMerged::Refused(error) => error,
                NotMerged::Edit(error) => cannot_edit(&path.display().to_string(), &error),
            }),
            Err(source) => Err(unusable(&StoreError::Edit { path, source })),
        },
        Err(error) => Err(unusable(&error)),
    }
}

/// Returns the order of the entries: that of the inventory, if it is asked for.
///
/// # Errors
///
/// If the inventory is invalid, or the file is no output of it.
fn order(context: &CommandContext<'_>, args: &MergeArgs, output: Option<&Path>) -> Result<FileOrder, Error> {
    if args.order == OrderArg::Inputs {
        return Ok(FileOrder::default());
    }
    let loaded = load_offline(context, None)?;
    let is_it = |file: &&OutputFile| output.is_some_and(|path| store::is_same_file(path, &file.path));
    let file = loaded.layout.files.iter().find(is_it).ok_or_else(|| {
        Error::usage(format!("`{}` is no output of the inventory, whose order it should get", args.output.display()))
            .hint("name the file as an output does, or leave out `--order inventory`")
    })?;
    let (caller, inventory) = (context.plugin_caller(), &loaded.inventory);
    let names: Vec<EntryNames> =
        file.entries.iter().map(|entry| caller.names(inventory, &inventory.holder, &file.path, entry)).collect();
    Ok(FileOrder::new(&names))
}

/// Why nothing is written.
#[derive(Debug, thiserror::Error)]
enum NotMerged {
    #[error("{}", .0.message)]
    Refused(Error),
    #[error(transparent)]
    Edit(EditError),
}

fn options(args: &MergeArgs, output: Option<&Path>) -> Result<CombineOptions, Error> {
    let template = |what: &str, parsed: Result<_, String>| {
        parsed.map_err(|cause| Error::usage(format!("`--{what}` is not a valid template")).because(cause))
    };
    let pattern = |text: &String| {
        glob::Pattern::new(text)
            .map_err(|error| Error::usage(format!("`--select {text}` is not a valid pattern")).because(error.msg))
    };
    Ok(CombineOptions {
        select: args.select.iter().map(pattern).collect::<Result<_, _>>()?,
        context: args.context.as_deref().map(|text| template("context", context_template(text))).transpose()?,
        prefix: args.prefix.as_deref().map(|text| template("prefix", prefix_template(text))).transpose()?,
        on_collision: match args.on_collision {
            CollisionArg::Error => OnCollision::Error,
            CollisionArg::PrefixFile => OnCollision::PrefixFile,
            CollisionArg::KeepFirst => OnCollision::KeepFirst,
            CollisionArg::Replace => OnCollision::Replace,
        },
        prune: args.prune,
        directory: output.and_then(Path::parent).map(Path::to_owned),
    })
}

fn parse(path: &Path, bytes: Option<&[u8]>) -> Result<Option<Input>, Error> {
    let Some(bytes) = bytes else { return Ok(None) };
    Input::parse(path.display().to_string(), path, bytes).map(Some).map_err(|error| {
        Error::new(ExitCode::Blocked, format!("`{}` cannot be merged into", path.display())).because(error.to_string())
    })
}

fn unusable(error: &StoreError) -> Error {
    let failure = describe(error);
    Error { hint: failure.hint, ..Error::new(ExitCode::Blocked, failure.cause) }
}

fn cannot_edit(path: &str, error: &EditError) -> Error {
    Error::new(ExitCode::Blocked, format!("`{path}` cannot be merged into")).because(error.to_string())
}

fn refuse(collisions: &[Collision]) -> Result<(), Error> {
    if collisions.is_empty() {
        return Ok(());
    }
    let names = if collisions.len() == 1 { "one name means" } else { "names mean" };
    let mut error = Error::new(ExitCode::Blocked, format!("failed to merge kubeconfigs: {names} different things"));
    error.lines = collision_lines(collisions);
    Err(error.hint("name them apart with `--on-collision prefix-file` or `--context '{file}'`; nothing was written"))
}

/// Prints the result; to stdout, unless the merged file itself goes there.
fn report(
    context: &CommandContext<'_>,
    args: &MergeArgs,
    inputs: &Inputs,
    combined: &Combined,
) -> Result<ExitCode, Error> {
    for finding in &combined.findings {
        context.printer.remark(&format!("{}: {}\n", shown(&finding.input), shown(&finding.message)));
    }
    let to_stdout = args.output == Path::new(STANDARD);
    let text = merge_text(&MergeReport {
        file: (!to_stdout).then(|| args.output.display().to_string()),
        is_dry_run: args.dry_run,
        inputs: inputs.usable.len(),
        changes: &combined.changes,
        unchanged: combined.unchanged,
    });
    if to_stdout {
        context.printer.remark(&text);
    } else {
        printed(context.printer.data(&text))?;
    }
    let left_out = combined.findings.iter().any(|finding| finding.left_out);
    Ok(if left_out || !inputs.unusable.is_empty() { ExitCode::Partial } else { ExitCode::Done })
}

/// The kubeconfigs that are merged, and why others are not.
struct Inputs {
    usable: Vec<Input>,
    unusable: Vec<String>,
}

/// One kubeconfig to read.
enum Origin {
    Standard,
    File(PathBuf),
}

impl Inputs {
    fn read(context: &CommandContext<'_>, args: &MergeArgs, output: Option<&Path>) -> Result<Self, Error> {
        let mut directories = Directories::default();
        let own = output.map(|output| directories.identity(output));
        let mut seen = std::collections::HashSet::new();
        let mut sources = vec![];
        for origin in origins(context, &args.inputs)? {
            sources.push(match origin {
                Origin::Standard => {
                    let path = context.environment.directory.join("stdin");
                    Source { name: "standard input".to_owned(), path, bytes: Some(read_standard()?) }
                }
                Origin::File(path) => {
                    let identity = directories.identity(&path);
                    // A pattern may match the output file, and several patterns may match one file.
                    if own.as_ref() == Some(&identity) || !seen.insert(identity) {
                        continue;
                    }
                    let shown = path.strip_prefix(&context.environment.directory).unwrap_or(&path);
                    Source { name: shown.display().to_string(), path, bytes: None }
                }
            });
        }
        let mut inputs = Self { usable: vec![], unusable: vec![] };
        // Reading YAML takes most of the time.
        for (source, read) in sources.iter().zip(each_at_once(&sources, Source::read)) {
            match read {
                Ok(input) => inputs.usable.push(input),
                Err(cause) => inputs.unusable.push(format!("{}: {cause}; it is left out", source.name)),
            }
        }
        Ok(inputs)
    }
}

/// The paths of directories without links, which many files share.
#[derive(Default)]
struct Directories(HashMap<PathBuf, Option<PathBuf>>);

impl Directories {
    /// Returns the path of a file without links, so that two paths to one file are noticed.
    fn identity(&mut self, path: &Path) -> PathBuf {
        let directory = path.parent().filter(|_| !path.is_symlink()).and_then(|directory| {
            let known = self.0.entry(directory.to_owned());
            known.or_insert_with(|| directory.canonicalize().ok()).clone()
        });
        match (directory, path.file_name()) {
            (Some(directory), Some(name)) => directory.join(name),
            _ => store::identity(path).unwrap_or_else(|_| path.to_owned()),
        }
    }
}

/// A kubeconfig to read, or what standard input held.
struct Source {
    name: String,
    path: PathBuf,
    bytes: Option<Vec<u8>>,
}

impl Source {
    fn read(&self) -> Result<Input, String> {
        let read = || match store::read(&self.path) {
            Ok(read) => read.ok_or_else(|| "it does not exist".to_owned()),
            Err(error) => Err(describe(&error).cause),
        };
        let bytes =
            self.bytes.as_ref().map_or_else(|| read().map(Cow::Owned), |bytes| Ok(Cow::Borrowed(&bytes[..])))?;
        Input::parse(&self.name, &self.path, &bytes).map_err(|error| error.to_string())
    }
}

/// Expands what was typed: files, directories, patterns, lists of these, standard input.
fn origins(context: &CommandContext<'_>, typed: &[String]) -> Result<Vec<Origin>, Error> {
    let mut origins = vec![];
    for text in typed {
        if text == STANDARD {
            origins.push(Origin::Standard);
            continue;
        }
        let Some(list) = text.strip_prefix('@') else {
            origins.extend(files(context, text)?.into_iter().map(Origin::File));
            continue;
        };
        let lines = if list == STANDARD {
            String::from_utf8_lossy(&read_standard()?).into_owned()
        } else {
            let path = context.environment.directory.join(list);
            let unreadable = |error| Error::unreadable(ExitCode::Usage, &path, &error);
            // It may be a pipe, such as a shell's `<(…)`.
            let file = std::fs::File::open(&path).map_err(unreadable)?;
            let bytes = store::read_to_limit(file, LARGEST_LIST).map_err(unreadable)?;
            String::from_utf8_lossy(&bytes).into_owned()
        };
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            origins.extend(files(context, line)?.into_iter().map(Origin::File));
        }
    }
    Ok(origins)
}

fn files(context: &CommandContext<'_>, text: &str) -> Result<Vec<PathBuf>, Error> {
    let path = context.environment.directory.join(text);
    let nothing = || Error::usage(format!("`{text}` matches no file"));
    if path.is_dir() {
        let files = kubeconfigs_in(&path).map_err(|error| Error::usage(error.to_string()))?;
        return if files.is_empty() { Err(nothing()) } else { Ok(store::distinct(files)) };
    }
    // A file may have a name that looks like a pattern.
    if path.exists() || !text.contains(['*', '?', '[']) {
        return Ok(vec![path]);
    }
    let pattern = path.to_string_lossy().into_owned();
    let matches = glob::glob(&pattern)
        .map_err(|error| Error::usage(format!("`{text}` is not a valid pattern")).because(error.msg))?;
    let files: Vec<PathBuf> = matches.filter_map(Result::ok).filter(|path| path.is_file()).collect();
    if files.is_empty() { Err(nothing()) } else { Ok(store::distinct(files)) }
}

fn read_standard() -> Result<Vec<u8>, Error> {
    let read = store::read_to_limit(std::io::stdin().lock(), LARGEST_LIST);
    read.map_err(|error| Error::usage("cannot read standard input").because(error.to_string()))
}
