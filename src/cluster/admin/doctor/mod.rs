//! Examines one kubeconfig of any origin: what kubectl would refuse, what has expired, and in which line.
//!
//! What single fields must be like is decided by [`super::usable`], as for admin access; here is what
//! that needs not know: names that do not match, dates, lines. [`crate::cluster::doctor`] goes on
//! from there.

mod dates;
mod tree;

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
use crate::failure::clean;
use crate::kubeconfig::{FileFinding, FileFindingKind as Kind, line_with};

/// A kubeconfig that was examined, before anything was connected to.
pub struct Examined {
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

/// Reads and examines a kubeconfig; nothing is connected to and no plugin is run.
///
/// # Errors
///
/// If the file cannot be read.
pub fn examine(path: &Path, network: &Network, now: Timestamp) -> Result<Examined, AdminError> {
    let bytes = read_bounded(path, LARGEST_FILE)?;
    let mut examined =
        Examined { findings: vec![], contexts: vec![], current_context: None, root: None, text: String::new() };
    match String::from_utf8(bytes) {
        Ok(text) => examined.text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text),
        Err(_) => {
            let finding = FileFinding::error(Kind::Malformed, None, "it is not UTF-8 text");
            examined.findings.push(finding);
            return Ok(examined);
        }
    }
    if is_exposed(path) {
        let message = "its group or others can read it, and the credentials in it";
        examined.findings.push(FileFinding::warning(Kind::Exposed, None, message).hint(crate::wording::command(&[
            "chmod",
            "600",
            &path.display().to_string(),
        ])));
    }
    examined.root = match tree::parse(&examined.text) {
        Ok(root) => root,
        Err(line) => {
            examined.findings.push(FileFinding::error(Kind::Malformed, Some(line), "it is not YAML from here on"));
            return Ok(examined);
        }
    };
    let mut findings = std::mem::take(&mut examined.findings);
    examined.names(&mut findings);
    examined.fields(path, network, now, &mut findings);
    for finding in &mut findings {
        // A token that ended up as a name is still one.
        finding.message = clean(&finding.message);
        finding.instead = finding.instead.take().filter(|line| !clean(line).contains("[REDACTED]"));
    }
    findings.sort_by_key(|finding| (finding.line.is_none(), finding.line, finding.severity));
    examined.findings = findings;
    Ok(examined)
}

impl Examined {
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
    pub fn line(&self, list: &str, name: &str, fields: &[&str]) -> Option<usize> {
        let key = list.strip_suffix('s').unwrap_or(list);
        let entries = self.entries(list, key);
        let entry = entries.iter().find(|entry| entry.name == name)?;
        let field = fields.iter().find_map(|field| entry.body?.get(field)).map(|(line, _)| line);
        Some(field.unwrap_or(entry.line))
    }

    /// Returns the cluster and the user that a context names.
    pub fn parts(&self, context: &str) -> Option<(String, String)> {
        let entries = self.entries("contexts", "context");
        let body = entries.iter().find(|entry| entry.name == context)?.body?;
        let text = |key: &str| Some(body.get(key)?.1.text()?.to_owned());
        Some((text("cluster")?, text("user")?))
    }

    /// Checks what names what.
    fn names(&mut self, findings: &mut Vec<FileFinding>) {
        let (clusters, users, contexts) =
            (self.entries("clusters", "cluster"), self.entries("users", "user"), self.entries("contexts", "context"));
        for (what, entries) in [("cluster", &clusters), ("user", &users), ("context", &contexts)] {
            for (position, entry) in entries.iter().enumerate() {
                if let Some(first) = entries[..position].iter().find(|first| first.name == entry.name) {
                    let message = format!("{what} `{}` is defined twice, first in line {}", entry.name, first.line);
                    let hint = "rename or remove one of them; kubectl refuses the file";
                    findings.push(FileFinding::error(Kind::DuplicateName, Some(entry.line), message).hint(hint));
                }
            }
        }
        for context in &contexts {
            for (field, entries, kind) in
                [("cluster", &clusters, Kind::UnknownCluster), ("user", &users, Kind::UnknownUser)]
            {
                findings.extend(self.reference(context, field, entries, kind));
            }
            if let Some((line, namespace)) = context.body.and_then(|body| body.get("namespace"))
                && let Some(namespace) = namespace.text().filter(|namespace| !is_dns_label(namespace))
            {
                let message =
                    format!("context `{}` has namespace `{namespace}`, which none can be called", context.name);
                findings.push(FileFinding::error(Kind::InvalidNamespace, Some(line), message));
            }
        }
        let names: Vec<String> = contexts.iter().map(|context| context.name.to_owned()).collect();
        let written = self.root.as_ref().and_then(|root| root.get("current-context"));
        let current = written.and_then(|(line, node)| Some((line, node.text().filter(|text| !text.is_empty())?)));
        let only = if let [only] = names.as_slice() { Some(only) } else { None };
        let mut current_context = None;
        match current {
            Some((_, current)) if names.iter().any(|name| name == current) => {
                current_context = Some(current.to_owned());
            }
            Some((line, current)) => {
                let message = format!("the current context is `{current}`, which the file does not have");
                let instead = nearest(current, names.iter()).or(only);
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
        (self.contexts, self.current_context) = (names, current_context);
    }

    fn reference(&self, context: &Entry<'_>, field: &str, entries: &[Entry<'_>], kind: Kind) -> Option<FileFinding> {
        let written = context.body.and_then(|body| body.get(field));
        let named = written.and_then(|(line, node)| Some((line, node.text().filter(|name| !name.is_empty())?)));
        let Some((line, name)) = named else {
            let message = format!("context `{}` names no {field}", context.name);
            let line = written.map_or(context.line, |(line, _)| line);
            return Some(FileFinding::error(kind, Some(line), message));
        };
        if entries.iter().any(|entry| entry.name == name) {
            return None;
        }
        let message = format!("context `{}` names {field} `{name}`, which the file does not have", context.name);
        let names: Vec<String> = entries.iter().map(|entry| entry.name.to_owned()).collect();
        let only = if let [only] = names.as_slice() { Some(only) } else { None };
        let mut finding = FileFinding::error(kind, Some(line), message);
        finding.instead = nearest(name, names.iter()).or(only).map(|name| line_with(&self.text, line, field, name));
        Some(finding)
    }

    /// Checks what the entries say, as it would be used.
    fn fields(&self, path: &Path, network: &Network, now: Timestamp, findings: &mut Vec<FileFinding>) {
        let file = match AdminFile::parse(path, &self.text) {
            Ok(file) => file,
            Err(AdminError::Malformed { cause, .. }) => {
                // Duplicates were found with their lines.
                if !findings.iter().any(|finding| finding.kind == Kind::DuplicateName) {
                    let line = cause.strip_prefix("line ").and_then(|rest| rest.split(',').next()?.parse().ok());
                    let message = match line {
                        Some(_) => "what stands here is not of the form of a kubeconfig".to_owned(),
                        None => cause,
                    };
                    let mut finding = FileFinding::error(Kind::Malformed, line, message);
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
            let line = |fields: &[&str]| self.line("users", entry.name, fields);
            match usable::login(fields, file.directory(), &ClusterFields::default()) {
                Ok(Usable::Login(login)) => {
                    // A plugin beside a static credential is not asked, but kubectl wants it to be whole.
                    let plugin =
                        fields.exec.as_ref().map(|exec| Plugin::new(exec, file.directory(), &ClusterFields::default()));
                    if let Some(Err(problem)) = plugin {
                        findings.push(self.problem(Kind::UnusableUser, "users", &entry, problem));
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
                Err(problem) => findings.push(self.problem(Kind::UnusableUser, "users", &entry, problem)),
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
        let line = |fields: &[&str]| self.line("clusters", entry.name, fields);
        let target = match usable::target(fields, directory, true) {
            Ok(target) => target,
            Err(problem) => {
                let mut finding = self.problem(Kind::UnusableCluster, "clusters", entry, problem);
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
            findings.push(self.problem(Kind::UnusableCluster, "clusters", entry, problem.into()));
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
    fn problem(&self, kind: Kind, list: &str, entry: &Entry<'_>, problem: Problem) -> FileFinding {
        let what = list.trim_end_matches('s');
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
        let mut finding = FileFinding::error(kind, self.line(list, entry.name, &fields), message);
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
