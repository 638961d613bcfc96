//! Why a request to an API server failed, as a value that can be shown, compared and decided on.
//!
//! `cluster` makes these from what the HTTP client reports. Text that came from a server is cleaned
//! and cut before it gets here, see [`clean`]. Pure: no I/O, no clock.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foreign::is_invisible;

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiFailure {
    /// The API server answered with a `Status`, or something between us answered in its place.
    Status(StatusFailure),
    /// No answer came in time.
    Timeout {
        /// The server's URL.
        server: String,
        /// The time that was allowed.
        after: Duration,
    },
    /// No connection could be made, or it broke.
    Connection {
        /// The server's URL.
        server: String,
        /// The cause, as the operating system tells it.
        cause: String,
    },
    /// The server's certificate was refused.
    Tls {
        /// The server's URL.
        server: String,
        /// The cause, in words.
        cause: String,
    },
    /// The answer was larger than answers may be.
    TooLarge {
        /// How large they may be, in words.
        most: String,
    },
    /// The answer was no Kubernetes object.
    Unreadable {
        /// What was wrong with it; never the answer itself.
        cause: String,
    },
}

/// An answer with an error code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StatusFailure {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason, such as `Forbidden`.
    pub reason: String,
    /// The message, cleaned and cut.
    pub message: String,
    /// The causes of a conflict or a validation error.
    pub causes: Vec<Cause>,
    /// When the server wants to be asked again.
    pub retry_after: Option<Duration>,
}

/// One cause of a `Status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Cause {
    /// Such as `FieldManagerConflict`.
    pub reason: String,
    /// The cause in words.
    pub message: String,
    /// The field.
    pub field: String,
}

impl ApiFailure {
    /// Returns the status code, if the server answered.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status.code),
            _ => None,
        }
    }

    /// Returns the status, if the server answered.
    pub(crate) fn status(&self) -> Option<&StatusFailure> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }

    /// Whether the API server says that the object, or its namespace, does not exist. A 404 of something in between,
    /// such as a load balancer, says nothing about objects.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404 && status.reason == "NotFound")
    }

    /// Whether an object of that name exists already.
    pub(crate) fn is_already_exists(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409 && status.reason == "AlreadyExists")
    }

    /// Whether a precondition on uid or resourceVersion did not hold.
    ///
    /// An apply that names the uid of an object that was recreated is answered with 422, not 409,
    /// because the uid of an existing object cannot change (seen on Kubernetes 1.37).
    pub(crate) fn is_stale(&self) -> bool {
        self.status().is_some_and(|status| {
            let conflict = status.code == 409 && status.reason == "Conflict";
            conflict || (status.code == 422 && status.message.contains("metadata.uid"))
        })
    }

    /// Whether repeating the request may help: 429, 5xx but 501, and broken connections.
    ///
    /// Timeouts count: the requests that are repeated are safe to repeat.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Status(status) => status.code == 429 || (status.code >= 500 && status.code != 501),
            Self::Timeout { .. } | Self::Connection { .. } => true,
            Self::Tls { .. } | Self::TooLarge { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// Whether the API server refuses the caller's right to grant rights that it lacks.
    ///
    /// The message is the only sign (`pkg/registry/rbac/validation/policy_compact.go`).
    pub(crate) fn is_escalation(&self) -> bool {
        self.status().is_some_and(|status| {
            status.code == 403
                && (status.message.contains("attempting to grant RBAC permissions not currently held")
                    || status.message.contains("not allowed to set"))
        })
    }

    /// Whether the API server says that the caller may not do this at all.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status().is_some_and(|status| status.code == 403 && status.reason == "Forbidden")
    }

    /// Whether this one request is refused, by a missing right, a webhook, a policy or a validation, while others of the same
    /// caller may not be.
    pub(crate) fn is_refusal(&self) -> bool {
        self.code().is_some_and(|code| (400..500).contains(&code) && ![401, 429].contains(&code))
    }

    /// Whether a `ResourceQuota` is used up.
    pub(crate) fn is_over_quota(&self) -> bool {
        matches!(self.gate(), Some(Gate::Quota(_)))
    }

    /// Returns what refused the request at admission, if the API server names it.
    ///
    /// The message is the only sign (apiserver, `pkg/admission/plugin/policy/validating/dispatcher.go` and
    /// `pkg/admission/plugin/webhook/errors/statuserror.go`; `plugin/pkg/admission/resourcequota/controller.go`).
    pub(crate) fn gate(&self) -> Option<Gate> {
        let message = self.status()?.message.as_str();
        let between = |before: &str, after: &str| {
            let (_, rest) = message.split_once(before)?;
            rest.split_once(after).map(|(name, _)| name.to_owned()).filter(|name| !name.is_empty())
        };
        if let Some(name) = between("ValidatingAdmissionPolicy '", "'") {
            Some(Gate::Policy(name))
        } else if let Some(name) = between("admission webhook \"", "\"") {
            Some(Gate::Webhook(name))
        } else {
            between("exceeded quota: ", ",").filter(|_| self.is_forbidden()).map(Gate::Quota)
        }
    }
}

/// What refuses requests at admission, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gate {
    /// A `ValidatingAdmissionPolicy`.
    Policy(String),
    /// An admission webhook.
    Webhook(String),
    /// A `ResourceQuota`.
    Quota(String),
}

impl Gate {
    /// Returns what to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Policy(name) => {
                let command =
                    crate::wording::command(&["kubectl", "get", "validatingadmissionpolicy", name, "-o", "yaml"]);
                format!("change the profile or the policy; `{command}` shows what it allows")
            }
            Self::Webhook(name) => format!("change the profile, or what the admission webhook `{name}` allows"),
            Self::Quota(name) => format!("raise quota `{name}`, or delete what nobody needs in that namespace"),
        }
    }
}

impl fmt::Display for ApiFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => {
                let refused = match status.code {
                    401 => "the credential was not accepted",
                    403 => "the API server refused",
                    404 => "not found",
                    409 => "conflict",
                    429 => "the API server is overloaded",
                    code if code >= 500 => "the API server failed",
                    _ => "the API server refused",
                };
                write!(f, "{refused} ({})", status.code)?;
                if !status.message.is_empty() && status.message != "Unauthorized" {
                    write!(f, ": {}", status.message)?;
                }
                Ok(())
            }
            Self::Timeout { server, after } => {
                write!(f, "no answer from <{server}> within {}", crate::wording::duration(*after))
            }
            Self::Connection { server, cause } => write!(f, "no connection to <{server}>: {cause}"),
            Self::Tls { server, cause } => {
                write!(f, "the certificate of <{server}> is not accepted: {cause}")
            }
            Self::TooLarge { most } => write!(f, "the answer cannot be read: it is larger than {most}"),
            Self::Unreadable { cause } => write!(f, "the answer cannot be read: {cause}"),
        }
    }
}

impl std::error::Error for ApiFailure {}

/// What kind of failure something is, for programs and metrics; `docs/json.md` lists them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FailureKind {
    /// The admin's kubeconfig, its context, or a file that it names cannot be used.
    AdminAccess,
    /// The exec plugin of the admin access failed.
    AdminPlugin,
    /// No connection could be made, or it broke.
    Unreachable,
    /// No answer came in time.
    Timeout,
    /// The server's certificate was refused.
    Certificate,
    /// The API server does not accept the credential.
    Unauthorized,
    /// The API server says that the caller may not.
    Forbidden,
    /// The API server is overloaded, or has an error of its own.
    ServerError,
    /// Something answered that is no API server.
    NotAnApiServer,
    /// The API server refused a request for another reason.
    Refused,
    /// An output could not be written.
    Output,
    /// Something that was known before the first write stood in the way.
    Blocked,
    /// Another run was faster.
    Overtaken,
    /// Anything else.
    #[default]
    Other,
}

impl FailureKind {
    /// All kinds.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 14] = [
        Self::AdminAccess,
        Self::AdminPlugin,
        Self::Unreachable,
        Self::Timeout,
        Self::Certificate,
        Self::Unauthorized,
        Self::Forbidden,
        Self::ServerError,
        Self::NotAnApiServer,
        Self::Refused,
        Self::Output,
        Self::Blocked,
        Self::Overtaken,
        Self::Other,
    ];

    /// Returns the kind as JSON and metrics call it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AdminAccess => "admin-access",
            Self::AdminPlugin => "admin-plugin",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Certificate => "certificate",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::ServerError => "server-error",
            Self::NotAnApiServer => "not-an-api-server",
            Self::Refused => "refused",
            Self::Output => "output",
            Self::Blocked => "blocked",
            Self::Overtaken => "overtaken",
            Self::Other => "other",
        }
    }
}

impl ApiFailure {
    /// Returns what kind of failure this is.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::Timeout { .. } => FailureKind::Timeout,
            Self::Connection { .. } => FailureKind::Unreachable,
            Self::Tls { .. } => FailureKind::Certificate,
            Self::TooLarge { .. } | Self::Unreadable { .. } => FailureKind::NotAnApiServer,
            Self::Status(status) if status.reason.is_empty() => match status.code {
                401 => FailureKind::Unauthorized,
                429 | 500.. => FailureKind::ServerError,
                _ => FailureKind::NotAnApiServer,
            },
            Self::Status(status) => match status.code {
                401 => FailureKind::Unauthorized,
                403 => FailureKind::Forbidden,
                429 | 500.. => FailureKind::ServerError,
                _ => FailureKind::Refused,
            },
        }
    }
}

/// Why a step, or the reading before it, failed: in one line, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepFailure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// The cause.
    pub cause: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether another run was faster, and is doing or has done the same.
    pub is_overtaken: bool,
}

impl StepFailure {
    /// Makes a failure without a hint.
    pub(crate) fn new(cause: impl Into<String>) -> Self {
        Self { kind: FailureKind::Other, cause: cause.into(), hint: None, is_overtaken: false }
    }

    /// Makes a failure of an admin access that cannot be used.
    pub(crate) fn of_access(cause: impl Into<String>) -> Self {
        Self { kind: FailureKind::AdminAccess, ..Self::new(cause) }
    }

    /// Makes a failure of work that panicked.
    pub(crate) fn panicked() -> Self {
        Self::new("kubemint panicked; this is a bug in kubemint")
    }

    /// Makes a failure of something that was not done in time.
    pub(crate) fn late(limit: Duration) -> Self {
        let cause = format!("not done within {}", crate::wording::duration(limit));
        Self { kind: FailureKind::Timeout, ..Self::new(cause) }
    }

    /// Makes a failure that comes of another run being faster.
    pub(crate) fn overtaken(cause: impl Into<String>) -> Self {
        Self { kind: FailureKind::Overtaken, is_overtaken: true, ..Self::new(cause) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the cause, and what to do about it.
    pub(crate) fn with_hint(&self) -> String {
        with_hint(&self.cause, self.hint.as_deref())
    }
}

/// Returns what happened, and what to do about it, in one line.
pub(crate) fn with_hint(cause: &str, hint: Option<&str>) -> String {
    hint.map_or_else(|| cause.to_owned(), |hint| format!("{cause}; {hint}"))
}

/// Makes text from a server, or from a program that was run, fit to print: nothing invisible, one line, at most 600
/// characters, and no word that looks like a secret.
pub(crate) fn clean(text: &str) -> String {
    // Long enough for the rules that an escalation message lists.
    const LIMIT: usize = 600;
    // No certificate, name or message that people read has longer words.
    const LONGEST_WORD: usize = 4096;
    let (mut cleaned, mut before) = (String::new(), ["", ""]);
    for (count, word) in words(text).enumerate() {
        if count > 0 {
            cleaned.push(' ');
        }
        // What looks like a token is none of our business to repeat.
        if word.len() > LONGEST_WORD || is_secret(word) || is_announced(before, word) {
            cleaned.push_str("[REDACTED]");
        } else if let Some(end) = assignment(word) {
            cleaned.push_str(&word[..end]);
            cleaned.push_str("[REDACTED]");
        } else {
            cleaned.push_str(word);
        }
        before = [before[1], word];
        if cleaned.len() > LIMIT {
            let end = (0..=LIMIT).rev().find(|end| cleaned.is_char_boundary(*end)).unwrap_or(0);
            cleaned.truncate(end);
            cleaned.push('…');
            break;
        }
    }
    cleaned
}

/// Returns whether text of any length holds something that [`clean`] would not repeat.
pub(crate) fn holds_secret(text: &str) -> bool {
    words(text).any(is_secret)
}

/// Returns where the value begins in a word such as `password=x`, `access_token=x` or `"token":"x"`, if there is one. A colon
/// stands between other things, too, as in `secret:NAMESPACE/NAME`.
fn assignment(word: &str) -> Option<usize> {
    let (end, _) = word.match_indices(['=', ':']).find(|(end, separator)| {
        let key = &word[..*end];
        let is_certain = *separator == "=" || key.ends_with(['"', '\'']);
        let may_be = is_certain || !is_path(key);
        may_be && (is_named(key, &PASSWORDS) || (is_certain && is_named(key, &SECRETS)))
    })?;
    (end + 1 < word.len()).then_some(end + 1)
}

/// Whether the words before one announce a secret, as in `password: x`, `"token": "x"`, `password = x`, `--token x`,
/// `Bearer x` or `Authorization: Basic x`. Others than tokens follow `bearer` elsewhere, and have no digits.
fn is_announced([first, last]: [&str; 2], word: &str) -> bool {
    let key = last.strip_suffix([':', '=']);
    let is_quoted = key.is_some_and(|key| key.ends_with(['"', '\'']));
    let is_flag = last.starts_with('-') && !last.contains('=');
    let is_of_password = key.is_some_and(|key| is_named(key, &PASSWORDS) && !(last.ends_with(':') && is_path(key)))
        || (is_flag && is_named(last, &PASSWORDS))
        || ([":", "="].contains(&last) && is_named(first, &PASSWORDS));
    let is_of_secret = (is_quoted && key.is_some_and(|key| is_named(key, &SECRETS)))
        || (is_flag && is_named(last, &SECRETS))
        || (last == "=" && is_named(first, &SECRETS));
    let is_token = word.len() >= 8 && word.contains(|c: char| c.is_ascii_digit());
    let is_header = is_named(first.trim_end_matches(':'), &["authorization"]);
    let is_of_scheme = is_named(last, &["bearer", "basic"]) && (is_token || is_header);
    is_of_password || is_of_secret || is_of_scheme
}

/// Whether a word is a path, such as `/etc/passwd`, after which a colon begins what happened to it.
fn is_path(word: &str) -> bool {
    word.contains('/')
}

/// Whether a key ends with one of some names.
fn is_named(key: &str, names: &[&str]) -> bool {
    let key = key.trim_end_matches(['"', '\'']).as_bytes();
    names.iter().any(|name| {
        let end = key.len().checked_sub(name.len()).map(|at| &key[at..]);
        end.is_some_and(|end| end.eq_ignore_ascii_case(name.as_bytes()))
    })
}

/// Whether a flag or a variable is followed by a secret, such as `--token`, `--client-key` or `API_KEY`.
pub(crate) fn names_secret(flag: &str) -> bool {
    is_named(flag, &PASSWORDS) || is_named(flag, &SECRETS) || is_named(flag, &["key"])
}

/// What stands before a password.
const PASSWORDS: [&str; 2] = ["password", "passwd"];
/// What stands before another secret.
const SECRETS: [&str; 2] = ["token", "secret"];

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || is_invisible(c)).filter(|word| !word.is_empty())
}

fn is_secret(word: &str) -> bool {
    looks_like_token(word) || looks_opaque(word)
}

/// Whether a word contains a JSON Web Token, as proxies that echo requests send them back.
pub(crate) fn looks_like_token(word: &str) -> bool {
    word.find("eyJ").is_some_and(|start| word[start..].matches('.').count() >= 2 && word.len() - start > 60)
}

/// What the tokens of well-known issuers begin with.
const PREFIXES: [&str; 12] = [
    "ya29.",
    "k8s-aws-v1.",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "hvs.",
    "AKIA",
    "sha256~",
];

/// The shortest word without a well-known prefix that is taken for a secret: names and hashes of objects are shorter.
const LONG: usize = 40;

/// Whether a word looks like an opaque token, as plugins print them: a known prefix, or a long mixture of large and
/// small letters and digits.
fn looks_opaque(word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.~+=".contains(c);
    word.split(|c| !is_part(c)).flat_map(|part| [part, part.rsplit_once('=').map_or(part, |(_, value)| value)]).any(
        |part| {
            let has = |is: fn(&char) -> bool| part.chars().any(|c| is(&c));
            let is_mixed = has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit);
            PREFIXES.iter().any(|prefix| part.starts_with(prefix) && part.len() > prefix.len() + 8)
                || (part.len() >= LONG && is_mixed)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever answers decides what is cleaned, and nothing else runs meanwhile.
    #[test]
    fn what_is_long_is_cleaned_in_no_time() {
        for part in [":", "=", "\"", "\":", "password:", "a ", "a=b ", "eyJ."] {
            let began = std::time::Instant::now();
            let cleaned = clean(&part.repeat(4 * 1024 * 1024 / part.len()));
            assert!(cleaned.len() < 700, "{}", cleaned.len());
            assert!(began.elapsed() < Duration::from_secs(5), "{part} {:?}", began.elapsed());
        }
    }

    #[test]
    fn every_kind_is_documented_by_the_name_that_it_has_in_json() {
        let documented = include_str!("../docs/json.md");
        for kind in FailureKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert!(documented.contains(&format!("\n| `{}` | ", kind.as_str())), "{kind:?}");
        }
    }

    #[test]
    fn what_refuses_at_admission_is_named() {
        let gate = |message: &str| {
            let (reason, message) = ("Forbidden".to_owned(), message.to_owned());
            ApiFailure::Status(StatusFailure { code: 403, reason, message, ..StatusFailure::default() }).gate()
        };
        for (message, expected) in [
            (
                "serviceaccounts \"a\" is forbidden: ValidatingAdmissionPolicy 'short.example.com' with binding 'b' denied \
                 request: too long",
                Some(Gate::Policy("short.example.com".into())),
            ),
            ("admission webhook \"v.example.com\" denied the request: no", Some(Gate::Webhook("v.example.com".into()))),
            (
                "secrets \"x\" is forbidden: exceeded quota: few, requested: secrets=1, used: secrets=2",
                Some(Gate::Quota("few".into())),
            ),
            ("secrets is forbidden: User \"ci\" cannot create resource \"secrets\"", None),
        ] {
            assert_eq!(gate(message), expected, "{message}");
        }
    }

    #[test]
    fn server_text_is_cleaned_and_cut() {
        assert_eq!(clean("a\u{1b}[31m\nb\t c"), "a [31m b c");
        assert!(clean(&"x".repeat(5000)).chars().count() <= 601);
        assert!(clean(&"ä ".repeat(5000)).chars().count() <= 601);
        let echoed = format!("Bearer eyJhbGciOi.{}.sig", "p".repeat(80));
        assert_eq!(clean(&echoed), "Bearer [REDACTED]");
        assert_eq!(clean("a\u{202e}b\u{200b}c\u{9b}31m"), "a b c 31m");
    }

    #[test]
    fn what_looks_like_a_secret_is_not_repeated() {
        for secret in [
            "ya29.a0AfH6SMBx",
            "k8s-aws-v1.aHR0cHM6Ly9zdHM",
            "token=ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "\"glpat-0123456789abcdef\",",
            "c2VjcmV0IHRva2VuIHdpdGggTG90cyBvZiB0ZXh0IDEyMw==",
        ] {
            assert_eq!(clean(&format!("got {secret} back")), "got [REDACTED] back", "{secret}");
        }
        for (said, shown) in [
            ("login --password=hunter2 failed", "login --password=[REDACTED] failed"),
            ("with client_secret=abc", "with client_secret=[REDACTED]"),
            ("{\"password\":\"hunter2\"}", "{\"password\":[REDACTED]"),
            ("Password: hunter2", "Password: [REDACTED]"),
            ("Authorization: Bearer abc123def", "Authorization: Bearer [REDACTED]"),
            ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [REDACTED]"),
            ("{\"password\": \"hunter2\"}", "{\"password\": [REDACTED]"),
            ("{\"token\": \"abc\", \"x\": 1}", "{\"token\": [REDACTED] \"x\": 1}"),
            ("{\"token\":\"abc\"}", "{\"token\":[REDACTED]"),
            ("password = hunter2", "password = [REDACTED]"),
            ("wrote secret/password=hunter2", "wrote secret/password=[REDACTED]"),
            ("POST /login?x/token=abc", "POST /login?x/token=[REDACTED]"),
            ("run it with --password hunter2 again", "run it with --password [REDACTED] again"),
        ] {
            assert_eq!(clean(said), shown);
        }
        for harmless in [
            "the bearer authentication failed",
            "create secret:ns/name: already exists",
            "a token= is empty",
            "invalid token: it has expired",
            "open /etc/passwd: permission denied",
            "the server uses basic authentication",
            "kubemint:acme:deployer:7ae7ea98c1",
            "arn:aws:eks:eu-central-1:123456789012:cluster/Production-Frankfurt-One",
            "https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF",
            "0b5b1c7e-5d0a-4c38-8f2e-7a1d3f9e6c21",
            "clusterrolebindings.rbac.authorization.k8s.io",
        ] {
            assert_eq!(clean(harmless), harmless);
        }
    }

    #[test]
    fn only_what_may_pass_is_repeated() {
        let status = |code| ApiFailure::Status(StatusFailure { code, ..StatusFailure::default() });
        let transient: Vec<u16> = [400, 401, 403, 404, 409, 422, 429, 500, 501, 503]
            .into_iter()
            .filter(|code| status(*code).is_transient())
            .collect();
        assert_eq!(transient, [429, 500, 503]);
    }
}
