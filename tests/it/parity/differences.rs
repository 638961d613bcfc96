//! Intended differences between kubemint and kubectl in reading a kubeconfig.

/// How they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    KubemintRefuses,
    KubemintAccepts,
    AnotherIdentity,
    AnotherProxy,
    PluginSees,
}

/// One reason for differences, and the cases that show it.
pub(super) struct Difference {
    pub(super) kind: Kind,
    /// The content of a kubeconfig, in a user's words.
    pub(super) what: &'static str,
    pub(super) why: &'static str,
    pub(super) cases: &'static [&'static str],
}

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        kind: Kind::KubemintRefuses,
        what: "a server without `https`",
        why: "Who listens in between could read and change everything; kubectl sends no credential there.",
        cases: &["server-no-scheme-plain", "server-http-plain"],
    },
    Difference {
        kind: Kind::AnotherProxy,
        what: "the same, with a proxy",
        why: "It is refused before the proxy is asked.",
        cases: &["proxy-and-plain-server"],
    },
    Difference {
        kind: Kind::KubemintRefuses,
        what: "`insecure-skip-tls-verify` that the inventory does not allow",
        why: "It has to be meant: `allow-insecure = true`.",
        cases: &["insecure-not-allowed-by-inventory"],
    },
    Difference {
        kind: Kind::KubemintRefuses,
        what: "a user in the URL of its server",
        why: "kubectl sends that instead of the credential of the user.",
        cases: &["server-user", "server-password"],
    },
    Difference {
        kind: Kind::KubemintRefuses,
        what: "a query or a fragment in the URL of its server",
        why: "kubectl drops it without a word.",
        cases: &["server-query", "server-slash-query", "server-fragment", "server-prefix-query"],
    },
    Difference {
        kind: Kind::KubemintRefuses,
        what: "`..` in the path of its server",
        why: "It is sent as it stands; kubectl takes it out.",
        cases: &["server-prefix-dots"],
    },
    Difference {
        kind: Kind::KubemintRefuses,
        what: "a server that redirects",
        why: "A credential goes to the server that was named and to no other.",
        cases: &["server-redirects"],
    },
    Difference {
        kind: Kind::KubemintRefuses,
        what: "a wildcard as `tls-server-name`",
        why: "It is the name of no server.",
        cases: &["tls-name-wildcard-itself"],
    },
    Difference {
        kind: Kind::KubemintRefuses,
        what: "a client key on the curve P-521",
        why: "The TLS library does not know it.",
        cases: &["p521-pkcs8", "p521-sec1"],
    },
    Difference {
        kind: Kind::KubemintRefuses,
        what: "a token with blanks in it or around it",
        why: "The API server reads such a token as another one, or as none.",
        cases: &["token-trailing-space", "token-leading-space", "token-inner-space", "token-tab-at-end"],
    },
    Difference {
        kind: Kind::KubemintRefuses,
        what: "a key twice in one map, also in the reply of a plugin",
        why: "kubectl takes the last; which one was meant is a guess.",
        cases: &[
            "key-twice-last-right",
            "key-twice-last-other",
            "key-twice-same",
            "list-twice-empty-first",
            "kind-twice",
            "json-duplicate-key",
            "reply-with-duplicate-key",
        ],
    },
    Difference {
        kind: Kind::KubemintRefuses,
        what: "text after its first document that is no YAML",
        why: "The file is damaged.",
        cases: &["second-document-broken", "after-the-end-mark", "json-then-text"],
    },
    Difference {
        kind: Kind::KubemintRefuses,
        what: "UTF-16",
        why: "Files are UTF-8.",
        cases: &["utf-16-le", "utf-16-be"],
    },
    Difference {
        kind: Kind::KubemintRefuses,
        what: "a context that another file of the same directory or pattern has too",
        why: "These are not merged, see above.",
        cases: &["glob-first-wins"],
    },
    Difference {
        kind: Kind::KubemintRefuses,
        what: "`HTTPS_PROXY` that is no proxy's URL",
        why: "kubectl goes without a proxy, or guesses another URL.",
        cases: &["https-proxy-ftp", "https-proxy-near-broken"],
    },
    Difference {
        kind: Kind::KubemintAccepts,
        what: "a mistake in what is not used",
        why: "Other entries, `preferences`, extensions, and a plugin beside a token are not looked at.",
        cases: &[
            "other-cluster-not-base64",
            "preferences-bad-type",
            "extensions-map",
            "extension-twice",
            "exec-empty-and-token",
            "exec-broken-and-token",
        ],
    },
    Difference {
        kind: Kind::KubemintAccepts,
        what: "YAML 1.2",
        why: "kubectl reads YAML 1.1 and counts an empty document.",
        cases: &["directive-1-2", "nel-character", "first-document-empty"],
    },
    Difference {
        kind: Kind::AnotherIdentity,
        what: "a merge key (`<<`) after a key that it also has",
        why: "The own key wins, as YAML has it; in kubectl what stands last wins.",
        cases: &["merge-key-after-own"],
    },
    Difference {
        kind: Kind::KubemintRefuses,
        what: "blanks around `as`, `as-groups` or `as-user-extra`",
        why: "HTTP/1.1 takes them away, and what is left is somebody else.",
        cases: &[
            "as-trailing-space",
            "as-groups-trailing-space",
            "as-groups-leading-space",
            "as-user-extra-trailing-space",
        ],
    },
];

/// Returns the section of the page for users.
pub(super) fn section() -> String {
    let mut text = String::from(
        "\nA test gives the same kubeconfigs to kubectl and to kubemint, and compares whether they work, as whom the\n\
         API server sees them, through which proxy, and what exec plugins are told. This is all that differs.\n\n\
         | a kubeconfig with | kubemint | why | cases of the test |\n|---|---|---|---|\n",
    );
    for Difference { kind, what, why, cases } in DIFFERENCES {
        let does = match kind {
            Kind::KubemintRefuses => "refuses it",
            Kind::KubemintAccepts => "accepts it, kubectl does not",
            Kind::AnotherIdentity => "is another user",
            Kind::AnotherProxy => "goes another way",
            Kind::PluginSees => "tells the plugin something else",
        };
        let cases: Vec<String> = cases.iter().map(|case| format!("`{case}`")).collect();
        text.push_str(&format!("| {what} | {does} | {why} | {} |\n", cases.join(", ")));
    }
    text
}
