//! Examines one kubeconfig of any origin: what kubectl would refuse, what has expired, and in which line.
//!
//! [`super::usable`] checks single fields, as for admin access; this module checks what admin access does not need:
//! names that do not match, dates, lines. [`crate::cluster::doctor`] then connects.

mod dates;
mod tree;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use jiff::Timestamp;

use self::tree::Node;
use super::error::{AdminError, Problem};
use super::exec::Plugin;
use super::file::{AdminFile, ClusterFields, LARGEST_FILE, is_exposed, read_bounded};
use super::source::nearest;
use super::usable::{self, Usable};
use crate::cluster::transport::{Network, check_target};
use crate::failure::{clean, holds_secret};
use crate::kubeconfig::{FileFinding, FileFindingKind as Kind, line_with};

/// The result of examining a kubeconfig, before any connection.
pub(crate) struct Examined {
    /// What was found.
    pub findings: Vec<FileFinding>,
    /// The names of all contexts, in the order of the file.
    pub contexts: Vec<String>,
    /// The current context, if it exists.
    pub current_context: Option<String>,
    root: Option<Rc<Node>>,
    text: String,
}

impl std::fmt::Debug for Examined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examined").field("findings", &self.findings).finish_non_exhaustive()
    }
}

/// An entry of one of the three lists.
struct Entry<'a> {
    name: &'a str,
    line: usize,
    body: Option<&'a Rc<Node>>,
}

impl Entry<'_> {
    /// Returns the line of the first of some fields that exists, else of the name.
    fn line_of(&self, fields: &[&str]) -> usize {
        let field = fields.iter().find_map(|field| self.body?.get(field)).map(|(line, _)| line);
        field.unwrap_or(self.line)
    }
}

/// The names of a list, which may be many thousands, and how many lookups found none.
struct Names<'a> {
    first: HashMap<&'a str, usize>,
    list: Vec<String>,
    missed: Cell<usize>,
}

impl<'a> Names<'a> {
    fn of(entries: &[Entry<'a>]) -> Self {
        let mut first = HashMap::new();
        for entry in entries {
            first.entry(entry.name).or_insert(entry.line);
        }
        let list = entries.iter().map(|entry| entry.name.to_owned()).collect();
        Self { first, list, missed: Cell::new(0) }
    }

    /// Returns the name that was probably meant by one that does not exist.
    fn instead(&self, name: &str) -> Option<&String> {
        /// A limit, because each suggestion compares all names, and nobody reads more.
        const SUGGESTIONS: usize = 20;
        let missed = self.missed.replace(self.missed.get() + 1);
        let nearest = if missed < SUGGESTIONS { nearest(name, self.list.iter()) } else { None };
        nearest.or(if let [only] = self.list.as_slice() { Some(only) } else { None })
    }
}

/// Reads and examines a kubeconfig; nothing is connected to and no plugin is run.
///
/// # Errors
///
/// If the file cannot be read.
pub(crate) fn examine(path: &Path, network: &Network, now: Timestamp) -> Result<Examined, AdminError> {
    let bytes = read_bounded(path, LARGEST_FILE)?;
    let Ok(text) = String::from_utf8(bytes) else {
        let finding = FileFinding::error(Kind::Malformed, None, "it is not UTF-8 text");
        return Ok(Examined { findings: vec![finding], ..Examined::new(String::new()) });
    };
    let mut examined = examine_text(path, text, network, now);
    if is_exposed(path) {
        let message = "its group or others can read it, and the credentials in it";
        let hint = crate::wording::command(&["chmod", "600", &path.display().to_string()]);
        examined.findings.push(FileFinding::warning(Kind::Exposed, None, message).hint(hint));
        examined.sort();
    }
    Ok(examined)
}

/// Examines the text of a kubeconfig; relative paths in it start at the directory of `path`.
pub(super) fn examine_text(path: &Path, text: String, network: &Network, now: Timestamp) -> Examined {
    let mut examined = Examined::new(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text));
    examined.root = match tree::parse(&examined.text) {
        Ok(root) => root,
        Err(line) => {
            examined.findings.push(FileFinding::error(Kind::Malformed, Some(line), "it is not YAML from here on"));
            return examined;
        }
    };
    let mut findings = vec![];
    examined.names(&mut findings);
    examined.fields(path, network, now, &mut findings);
    for finding in &mut findings {
        // A token may have ended up in a name by mistake.
        finding.message = clean(&finding.message);
        finding.instead = finding.instead.take().filter(|line| !holds_secret(line));
    }
    examined.findings = findings;
    examined.sort();
    examined
}

impl Examined {
    fn new(text: String) -> Self {
        Self { findings: vec![], contexts: vec![], current_context: None, root: None, text }
    }

    fn sort(&mut self) {
        self.findings.sort_by_key(|finding| (finding.line.is_none(), finding.line, finding.severity));
    }

    fn entries(&self, list: &str, key: &str) -> Vec<Entry<'_>> {
        let items = self.root.as_ref().and_then(|root| root.get(list)).map(|(_, list)| list.items());
        items
            .into_iter()
            .flatten()
            .filter_map(|node| {
                let (line, name) = node.get("name")?;
                Some(Entry { name: name.text()?, line, body: node.get(key).map(|(_, body)| body) })
            })
            .collect()
    }

    /// Returns the line of the first field of an entry that exists, else of its name.
    pub(crate) fn line(&self, list: &str, name: &str, fields: &[&str]) -> Option<usize> {
        let key = list.strip_suffix('s').unwrap_or(list);
        let entries = self.entries(list, key);
        let entry = entries.iter().find(|entry| entry.name == name)?;
        Some(entry.line_of(fields))
    }

    /// Returns the cluster and the user that a context names.
    pub(crate) fn parts(&self, context: &str) -> Option<(String, String)> {
        let entries = self.entries("contexts", "context");
        let body = entries.iter().find(|entry| entry.name == context)?.body?;
        let text = |key: &str| Some(body.get(key)?.1.text()?.to_owned());
        Some((text("cluster")?, text("user")?))
    }

    /// Checks names: each is defined once, and each that is referred to exists.
    fn names(&mut self, findings: &mut Vec<FileFinding>) {
        let (clusters, users, contexts) =
            (self.entries("clusters", "cluster"), self.entries("users", "user"), self.entries("contexts", "context"));
        let [of_clusters, of_users, of_contexts] = [&clusters, &users, &contexts].map(|entries| Names::of(entries));
        for (what, entries, names) in
            [("cluster", &clusters, &of_clusters), ("user", &users, &of_users), ("context", &contexts, &of_contexts)]
        {
            let mut seen = HashSet::new();
            for entry in entries.iter().filter(|entry| !seen.insert(entry.name)) {
                let message =
                    format!("{what} `{}` is defined twice, first in line {}", entry.name, names.first[entry.name]);
                let hint = "rename or remove one of them; kubectl refuses the file";
                findings.push(FileFinding::error(Kind::DuplicateName, Some(entry.line), message).hint(hint));
            }
        }
        for context in &contexts {
            for (field, names, kind) in
                [("cluster", &of_clusters, Kind::UnknownCluster), ("user", &of_users, Kind::UnknownUser)]
            {
                findings.extend(self.reference(context, field, names, kind));
            }
            if let Some((line, namespace)) = context.body.and_then(|body| body.get("namespace"))
                && let Some(namespace) = namespace.text().filter(|namespace| !is_dns_label(namespace))
            {
                let message =
                    format!("context `{}` has namespace `{namespace}`, which none can be called", context.name);
                findings.push(FileFinding::error(Kind::InvalidNamespace, Some(line), message));
            }
        }
        let written = self.root.as_ref().and_then(|root| root.get("current-context"));
        let current = written.and_then(|(line, node)| Some((line, node.text().filter(|text| !text.is_empty())?)));
        let only = if let [only] = of_contexts.list.as_slice() { Some(only) } else { None };
        let mut current_context = None;
        match current {
            Some((_, current)) if of_contexts.first.contains_key(current) => {
                current_context = Some(current.to_owned());
            }
            Some((line, current)) => {
                let message = format!("the current context is `{current}`, which the file does not have");
                let instead = of_contexts.instead(current);
                let mut finding = FileFinding::error(Kind::UnknownContext, Some(line), message);
                finding.instead = instead.map(|name| line_with(&self.text, line, "current-context", name));
                findings.push(finding);
            }
            None => {
                let line = written.map(|(line, _)| line);
                let message = "no context is current: kubectl needs `--context` with it";
                let mut finding = FileFinding::warning(Kind::NoCurrentContext, line, message);
                finding.instead = only.map(|name| line_with(&self.text, line.unwrap_or(0), "current-context", name));
                findings.push(finding);
            }
        }
        (self.contexts, self.current_context) = (of_contexts.list, current_context);
    }

    fn reference(&self, context: &Entry<'_>, field: &str, names: &Names<'_>, kind: Kind) -> Option<FileFinding> {
        let written = context.body.and_then(|body| body.get(field));
        let named = written.and_then(|(line, node)| Some((line, node.text().filter(|name| !name.is_empty())?)));
        let Some((line, name)) = named else {
            let message = format!("context `{}` names no {field}", context.name);
            let line = written.map_or(context.line, |(line, _)| line);
            return Some(FileFinding::error(kind, Some(line), message));
        };
        if names.first.contains_key(name) {
            return None;
        }
        let message = format!("context `{}` names {field} `{name}`, which the file does not have", context.name);
        let mut finding = FileFinding::error(kind, Some(line), message);
        finding.instead = names.instead(name).map(|name| line_with(&self.text, line, field, name));
        Some(finding)
    }

    /// Checks the fields of the entries by the rules of admin access.
    fn fields(&self, path: &Path, network: &Network, now: Timestamp, findings: &mut Vec<FileFinding>) {
        let file = match AdminFile::parse(path, &self.text) {
            Ok(file) => file,
            Err(AdminError::Malformed { cause, line, .. }) => {
                // Duplicate names are already reported, with their lines.
                if !findings.iter().any(|finding| finding.kind == Kind::DuplicateName) {
                    let mut finding = FileFinding::error(Kind::Malformed, line, cause);
                    finding.instead = line.and_then(|line| self.quoted(line));
                    findings.push(finding);
                }
                return;
            }
            Err(error) => {
                findings.push(FileFinding::error(Kind::Malformed, None, error.to_string()));
                return;
            }
        };
        for entry in self.entries("clusters", "cluster") {
            if let Some(fields) = file.clusters.get(entry.name) {
                self.cluster(&entry, fields, file.directory(), network, now, findings);
            }
        }
        for entry in self.entries("users", "user") {
            let Some(fields) = file.users.get(entry.name) else { continue };
            let line = |fields: &[&str]| Some(entry.line_of(fields));
            match usable::login(fields, file.directory(), &ClusterFields::default()) {
                Ok(Usable::Login(login)) => {
                    // kubectl does not run a plugin beside a static credential, but refuses one that is not valid.
                    let plugin =
                        fields.exec.as_ref().map(|exec| Plugin::new(exec, file.directory(), &ClusterFields::default()));
                    if let Some(Err(problem)) = plugin {
                        findings.push(Self::problem(Kind::UnusableUser, "user", &entry, problem));
                    }
                    if let Some((chain, _)) = &login.certificate {
                        let line = line(&["client-certificate-data", "client-certificate"]);
                        findings.extend(dates::certificates(chain, "the client certificate", line, now));
                    }
                    if let Some(token) = &login.bearer {
                        findings.extend(dates::token(token, line(&["tokenFile", "token"]), now));
                    }
                }
                Ok(Usable::Plugin(..)) => {}
                Err(problem) => findings.push(Self::problem(Kind::UnusableUser, "user", &entry, problem)),
            }
        }
    }

    fn cluster(
        &self,
        entry: &Entry<'_>,
        fields: &ClusterFields,
        directory: &Path,
        network: &Network,
        now: Timestamp,
        findings: &mut Vec<FileFinding>,
    ) {
        let line = |fields: &[&str]| Some(entry.line_of(fields));
        let target = match usable::target(fields, directory, true) {
            Ok(target) => target,
            Err(problem) => {
                let mut finding = Self::problem(Kind::UnusableCluster, "cluster", entry, problem);
                finding.instead =
                    fields.server.as_deref().and_then(|server| self.https(server, finding.line?, &finding.message));
                findings.push(finding);
                return;
            }
        };
        if target.insecure {
            let message = format!("cluster `{}` does not check whose server it is", entry.name);
            let hint = "name the CA with `certificate-authority-data` instead";
            findings
                .push(FileFinding::warning(Kind::Insecure, line(&["insecure-skip-tls-verify"]), message).hint(hint));
        }
        let mut of_authority = vec![];
        if let Some(pem) = &target.authority {
            let line = line(&["certificate-authority-data", "certificate-authority"]);
            of_authority = dates::certificates(pem, "the CA certificate", line, now);
        }
        if of_authority.is_empty()
            && let Err(problem) = check_target(&target, network)
        {
            findings.push(Self::problem(Kind::UnusableCluster, "cluster", entry, problem.into()));
        }
        findings.append(&mut of_authority);
    }

    /// Returns a line whose name YAML takes for a number or a boolean with the name in quotes.
    fn quoted(&self, line: usize) -> Option<String> {
        let written = self.text.lines().nth(line.checked_sub(1)?)?;
        let (key, name) = written.trim_start_matches([' ', '-']).split_once(": ")?;
        let is_name = matches!(key, "name" | "cluster" | "user" | "namespace" | "current-context");
        let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
        let quoted = line_with(&self.text, line, key, name);
        (is_name && is_word && quoted != written).then_some(quoted)
    }

    /// Returns a `server` line with https, if that is what is missing.
    fn https(&self, server: &str, line: usize, message: &str) -> Option<String> {
        if !message.contains("not https") {
            return None;
        }
        let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        Some(line_with(&self.text, line, "server", &format!("https://{host}")))
    }

    /// Finds the line that a problem is about: that of the first field which it names.
    fn problem(kind: Kind, what: &str, entry: &Entry<'_>, problem: Problem) -> FileFinding {
        let quoted = problem.what.split('`').skip(1).step_by(2);
        let of_words = [
            ("its CA", ["certificate-authority-data", "certificate-authority"]),
            ("client key", ["client-key-data", "client-key"]),
            ("client certificate", ["client-certificate-data", "client-certificate"]),
            ("the token", ["tokenFile", "token"]),
        ];
        let implied = of_words.iter().filter(|(word, _)| problem.what.contains(word)).flat_map(|(_, fields)| *fields);
        let fields: Vec<&str> = quoted.chain(implied).collect();
        let said = problem.what.replace("its user has", "it has");
        let message = format!("{what} `{}`: {said}", entry.name);
        let mut finding = FileFinding::error(kind, Some(entry.line_of(&fields)), message);
        finding.hint = problem.hint;
        if finding.hint.is_none() && problem.what.ends_with("is not base64") {
            finding.hint = Some("it is the PEM text in base64, all in one line: `base64 -w0 FILE`".to_owned());
        }
        finding
    }
}

fn is_dns_label(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 63 && name.chars().all(is_inner) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests;
