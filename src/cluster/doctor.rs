//! Connects with one context of a kubeconfig of any origin, and returns what it finds.

use std::path::Path;

use jiff::Timestamp;

pub(crate) use super::admin::{Examined, examine};
use super::api::{Api, Request};
use super::verify::{is_of_nobody, who_am_i};
use super::{AdminEntry, AdminError, AdminSources, Insecure, Limits, connect_admin};
use crate::failure::{ApiFailure, clean};
use crate::inventory::{AdminAccess, KubeconfigSource};
use crate::kubeconfig::{FileFinding, FileFindingKind as Kind, FindingSeverity};

/// The result of connecting with a context.
#[derive(Debug, Default)]
pub(crate) struct Connected {
    /// What was found.
    pub findings: Vec<FileFinding>,
    /// The server, if it answered at all.
    pub server: Option<String>,
    /// Whom the server takes the credential for.
    pub identity: Option<String>,
    /// Whether it may list namespaces.
    pub may_list_namespaces: Option<bool>,
}

/// Returns the admin access that means this context.
pub(crate) fn access(path: &Path, context: &str) -> AdminAccess {
    AdminAccess::context(KubeconfigSource::Path(path.to_owned()), context)
}

/// Connects with a context as kubectl would, its exec plugin included.
pub(crate) async fn try_context(
    sources: &AdminSources,
    examined: &Examined,
    (path, context): (&Path, &str),
    limits: Limits,
    now: impl Fn() -> Timestamp,
) -> Connected {
    let lines = Lines { examined, parts: examined.parts(context) };
    let mut connected = Connected::default();
    // As in kubectl, the server's certificate goes unchecked if the file says so.
    let entry = match sources.resolve(&access(path, context), Insecure::Allowed, now).await {
        Ok(entry) => entry,
        Err(error) => {
            connected.findings.extend(lines.unusable(&error));
            return connected;
        }
    };
    let api = match connect_admin(&entry, sources.network(), limits) {
        Ok(api) => api,
        Err(error) => {
            connected.findings.push(FileFinding::error(Kind::NotConnected, lines.server(), error.to_string()));
            return connected;
        }
    };
    lines.ask(&api, &entry, &mut connected).await;
    connected
}

/// Finds the lines of the entries that a context refers to.
struct Lines<'a> {
    examined: &'a Examined,
    parts: Option<(String, String)>,
}

impl Lines<'_> {
    fn cluster(&self, fields: &[&str]) -> Option<usize> {
        self.examined.line("clusters", &self.parts.as_ref()?.0, fields)
    }

    fn user(&self, fields: &[&str]) -> Option<usize> {
        self.examined.line("users", &self.parts.as_ref()?.1, fields)
    }

    fn server(&self) -> Option<usize> {
        self.cluster(&["server"])
    }

    fn credential(&self) -> Option<usize> {
        let fields = ["tokenFile", "token", "client-certificate-data", "client-certificate", "username", "exec"];
        self.user(&fields)
    }

    /// Returns why a context cannot be used, unless that is reported already.
    fn unusable(&self, error: &AdminError) -> Option<FileFinding> {
        let problem = match error {
            AdminError::Unusable { problem, .. } => problem,
            // Names and lists are already reported, with their lines.
            _ if self.has_errors() => return None,
            error => return Some(FileFinding::error(Kind::NotConnected, None, error.to_string())),
        };
        if self.has_errors() {
            return None;
        }
        let finding = FileFinding::error(Kind::NotConnected, self.credential(), problem.what.clone());
        Some(match &problem.hint {
            Some(hint) => finding.hint(hint.clone()),
            None => finding,
        })
    }

    fn has_errors(&self) -> bool {
        self.examined.findings.iter().any(|finding| finding.severity == FindingSeverity::Error)
    }

    async fn ask(&self, api: &Api, entry: &AdminEntry, connected: &mut Connected) {
        let server = entry.endpoint().server;
        match who_am_i(api).await {
            Ok(identity) => connected.identity = identity.map(|identity| clean(&identity)),
            Err(failure) if is_of_nobody(&failure) => connected.identity = Some("system:anonymous".to_owned()),
            Err(failure) => {
                connected.findings.extend(self.failure(&failure, entry));
                connected.server = failure.code().map(|_| server);
                return;
            }
        }
        connected.server = Some(server);
        match connected.identity.as_deref() {
            Some("system:anonymous") => {
                let message = "the server takes its requests for nobody's: the credential is not looked at";
                connected.findings.push(FileFinding::error(Kind::Anonymous, self.credential(), message));
                return;
            }
            Some(_) => {}
            None => {
                let message = "the server accepts the credential and does not tell whose it is";
                connected.findings.push(FileFinding::warning(Kind::UnknownIdentity, self.credential(), message));
            }
        }
        match api.send(&Request::get("/api/v1/namespaces").query("limit", "1")).await {
            Ok(_) => connected.may_list_namespaces = Some(true),
            Err(failure) if failure.is_forbidden() => {
                connected.may_list_namespaces = Some(false);
                let message = "it may not list namespaces; a credential with few rights need not";
                connected.findings.push(FileFinding::warning(Kind::NoNamespaces, self.credential(), message));
            }
            Err(failure) => connected.findings.extend(self.failure(&failure, entry)),
        }
    }

    fn failure(&self, failure: &ApiFailure, entry: &AdminEntry) -> Option<FileFinding> {
        let message = failure.to_string();
        let authority = ["certificate-authority-data", "certificate-authority"];
        Some(match failure {
            ApiFailure::Tls { cause, .. } if cause.contains("another name") => {
                FileFinding::error(Kind::Authority, self.cluster(&["tls-server-name", "server"]), message)
                    .hint("connect by a name that is in the server's certificate, or name it with `tls-server-name`")
            }
            ApiFailure::Tls { .. } => {
                let line = self.cluster(&authority).filter(|_| entry.endpoint().certificate_authority.is_some());
                let hint = "a pod's `/var/run/secrets/kubernetes.io/serviceaccount/ca.crt`, or the ConfigMap \
                            `kube-root-ca.crt` of any namespace, has the CA of that server";
                FileFinding::error(Kind::Authority, line.or_else(|| self.server()), message).hint(hint)
            }
            ApiFailure::Status(status) if status.code == 401 => {
                // An expired credential is already reported, with its line.
                let is_said = self.examined.findings.iter().any(|finding| {
                    matches!(finding.kind, Kind::TokenExpired | Kind::CertificateExpired)
                        && finding.line == self.credential()
                });
                if is_said {
                    return None;
                }
                let hint = "it may be revoked, or another cluster's";
                FileFinding::error(Kind::Refused, self.credential(), message).hint(hint)
            }
            _ => FileFinding::error(Kind::Unreachable, self.server(), message),
        })
    }
}
