//! A case: one kubeconfig, with its files and environment.
//!
//! Texts are templates, in which `{TOKEN}` and the like are replaced, see [`super::world::World::expand`].

/// One kubeconfig that both programs are given.
#[derive(Clone)]
pub(super) struct Case {
    /// The unique name, as in the list of differences.
    pub(super) name: &'static str,
    pub(super) topic: &'static str,
    /// The kubeconfig, `config` in the case's directory.
    pub(super) text: String,
    pub(super) encoding: Encoding,
    pub(super) context: &'static str,
    /// Whether the inventory says `allow-insecure = true`, which kubectl does not need.
    pub(super) allow_insecure: bool,
    pub(super) files: Vec<File>,
    /// Environment variables for both programs; such a case has its own run.
    pub(super) environment: Vec<(&'static str, &'static str)>,
    pub(super) source: Source,
}

#[derive(Clone)]
pub(super) struct File {
    pub(super) name: &'static str,
    pub(super) content: Content,
    pub(super) executable: bool,
}

#[derive(Clone)]
pub(super) enum Content {
    Template(String),
    Bytes(&'static [u8]),
}

/// The source of kubeconfigs that the programs are given.
#[derive(Clone)]
pub(super) enum Source {
    /// One file: `--kubeconfig` and `--context`.
    File,
    /// Files of the case's directory: `KUBECONFIG` and `--context`; kubemint is given the same list.
    List(&'static str),
    /// The same without `--context`: kubectl takes the current one, kubemint is told which that is.
    Current(&'static str),
    /// A source that only kubemint knows, and the list of files that it stands for.
    Pattern { kubemint: &'static str, kubectl: &'static str },
}

#[derive(Clone, Copy)]
pub(super) enum Encoding {
    Utf8,
    Utf8Bom,
    Utf16Le,
    Utf16Be,
    Crlf,
}

pub(super) const CLUSTER: &str = "server: {SERVER}\ncertificate-authority-data: {CA}";
pub(super) const USER: &str = "token: {TOKEN}";

impl Case {
    /// A whole kubeconfig.
    pub(super) fn text(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            name,
            topic: "",
            text: text.into(),
            encoding: Encoding::Utf8,
            context: "ctx",
            allow_insecure: false,
            files: vec![],
            environment: vec![],
            source: Source::File,
        }
    }

    /// A plain kubeconfig with these fields of its user.
    pub(super) fn user(name: &'static str, user: &str) -> Self {
        Self::pair(name, CLUSTER, user)
    }

    /// A plain kubeconfig with these fields of its cluster.
    pub(super) fn cluster(name: &'static str, cluster: &str) -> Self {
        Self::pair(name, cluster, USER)
    }

    pub(super) fn pair(name: &'static str, cluster: &str, user: &str) -> Self {
        Self::text(name, kubeconfig(cluster, user))
    }

    /// A user with an exec plugin: the fields of `exec`, and the shell script that `./plugin` is.
    pub(super) fn plugin(name: &'static str, exec: &str, script: &str) -> Self {
        Self::user(name, &format!("exec:\n{}", indented(exec, 2))).script("plugin", script)
    }

    pub(super) fn file(mut self, name: &'static str, content: &str) -> Self {
        self.files.push(File { name, content: Content::Template(content.to_owned()), executable: false });
        self
    }

    pub(super) fn bytes(mut self, name: &'static str, content: &'static [u8]) -> Self {
        self.files.push(File { name, content: Content::Bytes(content), executable: false });
        self
    }

    pub(super) fn script(mut self, name: &'static str, content: &str) -> Self {
        let content = Content::Template(format!("#!/bin/sh\n{content}\n"));
        self.files.push(File { name, content, executable: true });
        self
    }

    pub(super) fn encoded(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    pub(super) fn context(mut self, context: &'static str) -> Self {
        self.context = context;
        self
    }

    pub(super) fn insecure(mut self) -> Self {
        self.allow_insecure = true;
        self
    }

    pub(super) fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    pub(super) fn from(mut self, source: Source) -> Self {
        self.source = source;
        self
    }
}

/// A plain kubeconfig: one cluster, one user, the context `ctx`.
pub(super) fn kubeconfig(cluster: &str, user: &str) -> String {
    entries("c", cluster, "u", user, "ctx")
}

/// A kubeconfig of one context, with these names.
pub(super) fn entries(cluster_name: &str, cluster: &str, user_name: &str, user: &str, context: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: {cluster_name}\n  cluster:\n{}\ncontexts:\n\
         - name: {context}\n  context:\n    cluster: {cluster_name}\n    user: {user_name}\nusers:\n\
         - name: {user_name}\n  user:\n{}\n",
        indented(cluster, 4),
        indented(user, 4)
    )
}

pub(super) fn indented(text: &str, width: usize) -> String {
    let indent = " ".repeat(width);
    let lines: Vec<String> = text.lines().map(|line| format!("{indent}{line}")).collect();
    lines.join("\n")
}

/// A shell command that prints an `ExecCredential` with this status.
pub(super) fn reply(version: &str, status: &str) -> String {
    format!(
        "cat <<'END'\n{{\"apiVersion\":\"client.authentication.k8s.io/{version}\",\"kind\":\"ExecCredential\",\
         \"status\":{status}}}\nEND"
    )
}
