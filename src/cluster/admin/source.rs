//! Where kubeconfigs are: a file, a list that is merged, a directory or a pattern.
//!
//! A list is merged by client-go's rules (`tools/clientcmd/loader.go`): missing files are skipped, and the first file
//! that defines a name wins the whole entry. The files of a directory or a pattern are never merged: each context is
//! what its own file says. In a fleet many files call their cluster `kubernetes`, and merging would give all of them
//! the first one's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{AdminError, Problem};
use super::file::{AdminFile, ByName, ClusterFields, ContextFields, UserFields};
use crate::inventory::KubeconfigSource;
use crate::store::distinct;

/// Files that are merged into one kubeconfig, or that are one kubeconfig each.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    is_merged: bool,
    files: Vec<Arc<AdminFile>>,
    /// Files of a directory or a pattern that cannot be used.
    unusable: Vec<AdminError>,
}

/// A context and the entries it refers to, each with the file that it comes from.
pub(super) struct Found<'a> {
    pub(super) file: &'a AdminFile,
    pub(super) cluster: (&'a AdminFile, &'a ClusterFields),
    pub(super) user: (&'a AdminFile, &'a UserFields),
}

impl Source {
    /// Reads the files of a source; `read` reads each file once.
    pub(super) fn load(
        source: &KubeconfigSource,
        read: &mut dyn FnMut(&Path) -> Result<Arc<AdminFile>, AdminError>,
    ) -> Result<Self, AdminError> {
        match source {
            KubeconfigSource::Path(path) if path.is_dir() => {
                let name = format!("`{}`", path.display());
                Self::separate(name, kubeconfigs_in(path)?, read)
            }
            KubeconfigSource::Path(path) => Ok(Self {
                name: format!("`{}`", path.display()),
                is_merged: true,
                files: vec![read(path)?],
                unusable: vec![],
            }),
            KubeconfigSource::List(paths) => Self::merged(paths, read),
            KubeconfigSource::Glob(pattern) => Self::separate(format!("`{pattern}`"), matching(pattern), read),
            KubeconfigSource::Secret(secret) => Err(AdminError::Nothing { source_name: secret.to_string() }),
        }
    }

    /// Makes a source of one kubeconfig that is no file.
    pub(super) fn of(name: String, file: AdminFile) -> Self {
        Self { name, is_merged: true, files: vec![Arc::new(file)], unusable: vec![] }
    }

    fn separate(
        name: String,
        paths: Vec<PathBuf>,
        read: &mut dyn FnMut(&Path) -> Result<Arc<AdminFile>, AdminError>,
    ) -> Result<Self, AdminError> {
        let paths = distinct(paths);
        if paths.is_empty() {
            return Err(AdminError::Nothing { source_name: name });
        }
        let mut source = Self { name, is_merged: false, files: vec![], unusable: vec![] };
        for path in &paths {
            match read(path) {
                Ok(file) => source.files.push(file),
                Err(error) => source.unusable.push(error),
            }
        }
        Ok(source)
    }

    fn merged(
        paths: &[PathBuf],
        read: &mut dyn FnMut(&Path) -> Result<Arc<AdminFile>, AdminError>,
    ) -> Result<Self, AdminError> {
        let shown: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
        let mut source = Self { name: shown.join(":"), is_merged: true, files: vec![], unusable: vec![] };
        let mut seen = vec![];
        for path in paths {
            // Only a missing file is skipped, not a directory or anything else that is no file.
            if seen.contains(&path) || std::fs::symlink_metadata(path).is_err_and(|error| is_missing(&error)) {
                continue;
            }
            seen.push(path);
            source.files.push(read(path)?);
        }
        if source.files.is_empty() { Err(AdminError::Nothing { source_name: source.name }) } else { Ok(source) }
    }

    /// Returns the files that their group or others can read.
    pub(super) fn exposed(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().filter(|file| file.is_exposed).map(|file| file.path.as_path())
    }

    /// Returns why some files, which might have the wanted context, cannot be used.
    pub(super) fn unusable(&self) -> &[AdminError] {
        &self.unusable
    }

    /// Returns the names of all contexts, the file of each, and whether it is current, in the order of the files, then by
    /// name.
    pub(super) fn contexts(&self) -> Vec<(&str, &Path, bool)> {
        let mut contexts: Vec<(&str, &Path, bool)> = vec![];
        // Of merged files, the first that names a current context counts.
        let merged = self.files.iter().find_map(|file| file.current_context.as_deref()).filter(|_| self.is_merged);
        let mut seen = std::collections::HashSet::new();
        for file in &self.files {
            let mut names: Vec<&str> = file.contexts.names().map(String::as_str).collect();
            names.retain(|name| !self.is_merged || seen.insert(*name));
            let current = if self.is_merged { merged } else { file.current_context.as_deref() };
            contexts.extend(names.into_iter().map(|name| (name, file.path.as_path(), current == Some(name))));
        }
        contexts
    }

    /// Returns the current context, or the only one.
    ///
    /// # Errors
    ///
    /// If there is neither.
    pub(super) fn only_context(&self) -> Result<String, AdminError> {
        let file = self.files.first();
        let current = file.and_then(|file| file.current_context.clone());
        let only =
            || file.filter(|file| file.contexts.len() == 1).and_then(|file| file.contexts.names().next().cloned());
        current.or_else(only).ok_or_else(|| {
            let problem = format!("{} has several contexts, and none is current", self.name);
            AdminError::Access(Problem::new(problem).hint("say which with `context` in the `admin` of that cluster"))
        })
    }

    /// Finds a context and what it refers to.
    pub(super) fn find(&self, name: &str) -> Result<Found<'_>, AdminError> {
        let mut having = self.files.iter().filter_map(|file| Some((file, file.contexts.get(name)?)));
        let (file, context) =
            having.next().ok_or_else(|| self.missing("context", name, &self.files, |file| &file.contexts))?;
        if let Some((other, _)) = having.next().filter(|_| !self.is_merged) {
            let (first, second) = (file.path.clone(), other.path.clone());
            return Err(AdminError::Ambiguous { context: name.to_owned(), first, second });
        }
        self.found(file, context)
    }

    fn found<'a>(&'a self, file: &'a Arc<AdminFile>, context: &ContextFields) -> Result<Found<'a>, AdminError> {
        let own = std::slice::from_ref(file);
        let files = if self.is_merged { &self.files[..] } else { own };
        let cluster = find_in(files, &context.cluster, |file| &file.clusters);
        let user = find_in(files, &context.user, |file| &file.users);
        Ok(Found {
            file,
            // Without a cluster, kubectl would connect to localhost.
            cluster: cluster.ok_or_else(|| self.missing("cluster", &context.cluster, files, |file| &file.clusters))?,
            // Without a user, kubectl would ask for a password, and kube would be anonymous.
            user: user.ok_or_else(|| self.missing("user", &context.user, files, |file| &file.users))?,
        })
    }

    fn missing<T>(
        &self,
        kind: &'static str,
        name: &str,
        files: &[Arc<AdminFile>],
        entries: impl Fn(&AdminFile) -> &ByName<T>,
    ) -> AdminError {
        let names = files.iter().flat_map(|file| entries(file).names());
        AdminError::Missing {
            source_name: match files {
                [file] => format!("`{}`", file.path.display()),
                _ => self.name.clone(),
            },
            kind,
            name: name.to_owned(),
            nearest: nearest(name, names).cloned(),
            unusable: self.unusable.first().map(ToString::to_string),
        }
    }
}

fn find_in<'a, T>(
    files: &'a [Arc<AdminFile>],
    name: &str,
    entries: impl Fn(&AdminFile) -> &ByName<T>,
) -> Option<(&'a AdminFile, &'a T)> {
    files.iter().find_map(|file| Some((&**file, entries(file).get(name)?)))
}

/// Returns the files that a pattern matches.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let matches = glob::glob(pattern).map(|paths| paths.filter_map(Result::ok).collect::<Vec<_>>());
    let mut files = matches.unwrap_or_default();
    files.retain(|path| path.is_file());
    files
}

/// Returns the files that a source means at the moment.
pub(crate) fn kubeconfig_files(source: &KubeconfigSource) -> Vec<PathBuf> {
    match source {
        KubeconfigSource::Path(path) if path.is_dir() => kubeconfigs_in(path).unwrap_or_default(),
        KubeconfigSource::Path(path) => vec![path.clone()],
        KubeconfigSource::List(paths) => paths.clone(),
        KubeconfigSource::Glob(pattern) => matching(pattern),
        KubeconfigSource::Secret(_) => vec![],
    }
}

/// Returns the files of a directory that may be kubeconfigs, sorted: no hidden ones and no locks.
///
/// # Errors
///
/// If the directory cannot be read.
pub(crate) fn kubeconfigs_in(directory: &Path) -> Result<Vec<PathBuf>, AdminError> {
    let unreadable = |error: &std::io::Error| AdminError::Unreadable {
        path: directory.to_owned(),
        cause: super::file::describe_io(error),
    };
    let mut files = vec![];
    for entry in std::fs::read_dir(directory).map_err(|error| unreadable(&error))? {
        let path = entry.map_err(|error| unreadable(&error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_lock = path.extension().is_some_and(|extension| extension == "lock");
        if !name.starts_with('.') && !is_lock && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// Returns the name that is most similar to `name`, if one is similar at all.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    const ALIKE: f64 = 0.7;
    names
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, left), (b, right)| a.total_cmp(b).then_with(|| right.cmp(left)))
        .map(|(_, known)| known)
}
