//! Fuzz targets: kubeconfigs of the admin and of any origin, and the output of exec plugins.

use std::path::Path;
use std::sync::LazyLock;

use jiff::Timestamp;

use super::doctor::examine_text;
use super::exec::credential;
use super::file::AdminFile;
use super::usable::{self, Usable};
use super::{AdminError, Network, check_target};
use crate::fuzz::{PLANTED, boundary, choice, middle};
use crate::kubeconfig::is_refusal;

/// Shared, because the system's certificates are read once for each `Network`.
static NETWORK: LazyLock<Network> = LazyLock::new(Network::default);

/// A path that does not exist, so that the files that a kubeconfig names beside it do not exist either.
const PATH: &str = "/nonexistent/kubeconfig";

/// Every context is resolved as far as possible without the network; no problem quotes a value.
pub(crate) fn admin_kubeconfig(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let file = match AdminFile::parse(Path::new(PATH), text) {
        Ok(file) => file,
        Err(AdminError::Malformed { cause, .. }) => {
            assert!(cause.contains("defined twice") || is_refusal(&cause) || cause.len() < 100, "{cause}");
            return false;
        }
        Err(error) => panic!("{error}"),
    };
    let shown = format!("{file:?}");
    assert!(shown.len() < 200, "{shown}");
    for context in file.contexts.entries() {
        for allow_insecure in [false, true] {
            let Some(cluster) = file.clusters.get(&context.cluster) else { continue };
            if let Ok(target) = usable::target(cluster, file.directory(), allow_insecure)
                && check_target(&target, &NETWORK).is_ok()
            {
                assert!(target.server.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")));
                assert!(!target.insecure || allow_insecure);
                assert!(!target.identity().is_empty());
            }
            let Some(user) = file.users.get(&context.user) else { continue };
            match usable::login(user, file.directory(), &cluster.with_absolute_authority(file.directory())) {
                Ok(Usable::Login(login)) => {
                    assert!(login.bearer.is_some() || login.basic.is_some() || login.certificate.is_some());
                }
                Ok(Usable::Plugin(..)) => {}
                Err(problem) => assert!(!problem.to_string().is_empty()),
            }
        }
    }
    true
}

/// A kubeconfig of any origin is examined: every line exists, and no token is quoted.
pub(crate) fn doctor(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let examined = examine_text(Path::new(PATH), text.to_string(), &NETWORK, Timestamp::UNIX_EPOCH);
    // In YAML, a carriage return ends a line too.
    let lines = text.matches(['\n', '\r']).count() + 1;
    for finding in &examined.findings {
        assert!(finding.line.is_none_or(|line| line <= lines + 1), "{finding:?}");
    }
    for context in &examined.contexts {
        examined.parts(context);
        examined.line("contexts", context, &["cluster"]);
    }
    let at = boundary(&text, choice(data) % (text.len() + 1));
    // After a backslash the token could become part of an escape, and be another text.
    if !text.contains('\\') {
        let planted = format!("{}{PLANTED}{}", &text[..at], &text[at..]);
        let examined = examine_text(Path::new(PATH), planted, &NETWORK, Timestamp::UNIX_EPOCH);
        let shown = format!("{:?}", examined.findings);
        assert!(!shown.contains(middle(PLANTED)), "{shown}");
    }
    !examined.contexts.is_empty()
}

/// The output of a plugin is a credential that can be sent, or it is refused without being quoted.
pub(crate) fn exec_credential(data: &[u8]) -> bool {
    const VERSION: &str = "client.authentication.k8s.io/v1";
    match credential(data, VERSION) {
        Ok((login, _)) => {
            assert!(login.bearer.is_some() || login.certificate.is_some());
            assert!(login.basic.is_none() && login.impersonation.is_none());
            true
        }
        Err(problem) => {
            // Problems name only fields and the expected version; the longest sentence is about certificates.
            assert!(problem.starts_with("printed ") && problem.len() < 160, "{problem}");
            let text = String::from_utf8_lossy(data);
            let is_long = |word: &&str| word.len() > 16 && !KNOWN.iter().any(|known| known.contains(*word));
            for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(is_long) {
                assert!(!problem.contains(word), "{problem} quotes {word}");
            }
            false
        }
    }
}

/// Long words that a problem may hold.
const KNOWN: [&str; 2] = ["clientCertificateData", "authentication"];
