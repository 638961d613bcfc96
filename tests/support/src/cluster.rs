//! What both fleets hand out: a cluster's address, CA and tokens, and a kubeconfig over them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

use crate::identity::random_hex;

/// One cluster to test against, real or simulated.
#[derive(Clone, Debug)]
pub struct TestCluster {
    /// The cluster's name, unique in its fleet.
    pub name: String,
    /// The URL of the API server, `https://127.0.0.1:PORT`.
    pub server: String,
    /// The certificate of the CA that signed the server's certificate.
    pub ca_pem: String,
    /// The token of [`User::Admin`].
    pub admin_token: String,
    /// The certificate and key of [`User::Admin`] in PEM, if its kubeconfig has these instead of the token.
    pub admin_certificate: Option<(String, String)>,
    /// The token of [`User::LimitedAdmin`].
    pub limited_admin_token: String,
    /// The token of [`User::Reader`].
    pub reader_token: String,
}

/// The users that every cluster knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// `admin`, in the group `system:masters`: may do everything.
    Admin,
    /// `limited-admin`, in the group `limited`: has no rights until a test grants some.
    LimitedAdmin,
    /// `reader`, in the group `readers`: has no rights until a test grants some.
    Reader,
}

impl User {
    /// All users.
    pub const ALL: [Self; 3] = [Self::Admin, Self::LimitedAdmin, Self::Reader];

    /// Returns the user name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::LimitedAdmin => "limited-admin",
            Self::Reader => "reader",
        }
    }

    /// Returns the one group that the user's token carries.
    pub fn group(self) -> &'static str {
        match self {
            Self::Admin => "system:masters",
            Self::LimitedAdmin => "limited",
            Self::Reader => "readers",
        }
    }
}

impl TestCluster {
    pub(crate) fn new(name: &str, port: u16, ca_pem: String) -> Self {
        Self {
            name: name.to_owned(),
            server: format!("https://127.0.0.1:{port}"),
            ca_pem,
            admin_token: random_hex::<20>(),
            admin_certificate: None,
            limited_admin_token: random_hex::<20>(),
            reader_token: random_hex::<20>(),
        }
    }

    /// Returns the static token of `user`.
    pub fn token(&self, user: User) -> &str {
        match user {
            User::Admin => &self.admin_token,
            User::LimitedAdmin => &self.limited_admin_token,
            User::Reader => &self.reader_token,
        }
    }

    /// Returns the port of the API server.
    pub fn port(&self) -> u16 {
        self.server
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("a test cluster's URL ends in its port")
    }
}

/// Returns a kubeconfig for `user` on `clusters`, laid out as kubectl writes it.
///
/// Contexts and clusters are named after the clusters, users `<cluster>-<user>`. There is no
/// current context.
pub fn kubeconfig_yaml(clusters: &[&TestCluster], user: User) -> String {
    let mut text = String::from("apiVersion: v1\nclusters:\n");
    let infallible = "writing to a string cannot fail";
    for cluster in clusters {
        write!(
            text,
            "- cluster:\n    certificate-authority-data: {}\n    server: {}\n  name: {}\n",
            STANDARD.encode(&cluster.ca_pem),
            cluster.server,
            cluster.name
        )
        .expect(infallible);
    }
    text.push_str("contexts:\n");
    for TestCluster { name, .. } in clusters {
        write!(text, "- context:\n    cluster: {name}\n    user: {name}-{}\n  name: {name}\n", user.name())
            .expect(infallible);
    }
    text.push_str("current-context: \"\"\nkind: Config\nusers:\n");
    for cluster in clusters {
        write!(text, "- name: {}-{}\n  user:\n", cluster.name, user.name()).expect(infallible);
        match &cluster.admin_certificate {
            Some((certificate, key)) if user == User::Admin => {
                let [certificate, key] = [certificate, key].map(|pem| STANDARD.encode(pem));
                write!(text, "    client-certificate-data: {certificate}\n    client-key-data: {key}\n")
            }
            _ => writeln!(text, "    token: {}", cluster.token(user)),
        }
        .expect(infallible);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_has_the_layout_of_kubectl() {
        let mut cluster = TestCluster::new("eu", 6443, "PEM".to_owned());
        cluster.admin_token = "secret".to_owned();
        assert_eq!(
            kubeconfig_yaml(&[&cluster], User::Admin),
            "apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: UEVN
    server: https://127.0.0.1:6443
  name: eu
contexts:
- context:
    cluster: eu
    user: eu-admin
  name: eu
current-context: \"\"
kind: Config
users:
- name: eu-admin
  user:
    token: secret
"
        );
    }
}
