//! Finds or builds the programs of the control plane.
//!
//! Their versions are pinned by the Go modules in `tests/control-plane`. A build takes minutes and
//! happens once per version: the result is cached below the cargo target directory, and a file
//! lock makes several test processes wait for one build.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::report;
use crate::identity::sha256_hex;

/// A Go module, and its programs with the packages that they are built from.
struct Module {
    directory: &'static str,
    programs: &'static [(&'static str, &'static str)],
}

const NEWEST: Module = Module {
    directory: "../control-plane",
    programs: &[
        ("etcd", "go.etcd.io/etcd/server/v3"),
        API_SERVER,
        ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
        ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    ],
};

const OLDEST: Module = Module { directory: "../control-plane/oldest", programs: &[API_SERVER] };

const API_SERVER: (&str, &str) = ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver");

/// A directory with the programs of the control plane.
#[derive(Clone, Debug)]
pub struct Binaries {
    directory: PathBuf,
}

impl Binaries {
    /// Returns the path of `program`, for example `kubectl`.
    ///
    /// # Errors
    /// When the directory does not hold it, as with bundles that lack kube-controller-manager.
    pub fn path(&self, program: &str) -> io::Result<PathBuf> {
        let path = self.directory.join(program);
        if path.is_file() {
            Ok(path)
        } else {
            Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "`{program}` is missing in `{}`; put it there, or unset KUBEBUILDER_ASSETS to build it",
                    self.directory.display()
                ),
            ))
        }
    }
}

/// Returns the programs, and builds them first where that has not happened yet.
///
/// # Errors
/// When there is neither a directory in `KUBEBUILDER_ASSETS` nor a working Go; the message says
/// what to install.
pub fn binaries() -> io::Result<Binaries> {
    // One build per process; the lock file is for the other processes.
    static FOUND: Mutex<Option<Binaries>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(binaries) = &*found {
        return Ok(binaries.clone());
    }
    let directory = match std::env::var_os("KUBEBUILDER_ASSETS") {
        Some(assets) if !assets.is_empty() => PathBuf::from(assets),
        _ => cached_build(&NEWEST)?,
    };
    let binaries = Binaries { directory };
    for program in ["etcd", "kube-apiserver"] {
        binaries.path(program)?;
    }
    Ok(found.insert(binaries).clone())
}

/// Returns the API server of the oldest Kubernetes, and builds it first where that has not happened yet.
///
/// `KUBEBUILDER_ASSETS` does not matter: such a directory holds one version.
pub(super) fn oldest_api_server() -> io::Result<PathBuf> {
    Binaries { directory: cached_build(&OLDEST)? }.path(API_SERVER.0)
}

fn cached_build(module: &Module) -> io::Result<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(module.directory);
    let mut versions = fs::read(directory.join("go.mod"))?;
    versions.extend(fs::read(directory.join("go.sum"))?);
    let cache = target_directory().join("control-plane");
    let complete = cache.join(&sha256_hex(&versions)[..16]);
    if complete.is_dir() {
        return Ok(complete);
    }
    fs::create_dir_all(&cache)?;
    let lock = File::create(cache.join("lock"))?;
    if lock.try_lock().is_err() {
        report("another process builds it, waiting");
        lock.lock()?;
    }
    if !complete.is_dir() {
        build(&directory, module.programs, &cache, &complete)?;
    }
    Ok(complete)
}

fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from)
}

fn build(module: &Path, programs: &[(&str, &str)], cache: &Path, complete: &Path) -> io::Result<()> {
    let linker_flags = linker_flags(module)?;
    let partial = tempfile::Builder::new().prefix("partial-").tempdir_in(cache)?;
    for (index, (program, package)) in programs.iter().enumerate() {
        report(&format!(
            "building {program} from its Go module ({} of {}), once; several minutes",
            index + 1,
            programs.len()
        ));
        let status = Command::new("go")
            .args(["build", "-trimpath", &linker_flags, "-o"])
            .arg(partial.path().join(program))
            .arg(package)
            .current_dir(module)
            .env("GOFLAGS", "-mod=readonly")
            .env("CGO_ENABLED", "0")
            .status()
            .map_err(|error| missing_go(&error))?;
        if !status.success() {
            return Err(io::Error::other(format!(
                "`go build {package}` failed in `{}` with {status}; its messages are above",
                module.display()
            )));
        }
    }
    fs::rename(partial.keep(), complete)?;
    report("built");
    Ok(())
}

/// Without a version in them the programs claim to be a development build, and kubectl's `version`
/// fails.
fn linker_flags(module: &Path) -> io::Result<String> {
    let requirements = fs::read_to_string(module.join("go.mod"))?;
    let version = requirements
        .lines()
        .find_map(|line| line.trim().trim_start_matches("require ").strip_prefix("k8s.io/kubernetes "))
        .ok_or_else(|| io::Error::other("go.mod does not require k8s.io/kubernetes"))?;
    Ok(format!("-ldflags=-s -w -X k8s.io/component-base/version.gitVersion={version}"))
}

fn missing_go(error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!(
            "cannot run `go`: {error}\n\
             Install Go 1.26 or later (<https://go.dev/dl>) to build etcd, kube-apiserver, \
             kube-controller-manager and kubectl, or let KUBEBUILDER_ASSETS name a directory that \
             holds them (`setup-envtest use -p path`), or set KUBEMINT_SKIP_CONTROL_PLANE=1 to \
             skip the tests on real clusters."
        ),
    )
}
