//! Tokens, passwords and impersonation.

use crate::parity::case::{CLUSTER, Case};

pub(super) fn tokens() -> Vec<Case> {
    vec![
        Case::user("token", "token: {TOKEN}"),
        Case::user("token-wrong", "token: not-a-token"),
        Case::user("token-quoted", "token: \"{TOKEN}\""),
        Case::user("token-empty", "token: ''"),
        Case::user("token-null", "token: null"),
        Case::user("token-number", "token: 12345"),
        Case::user("token-trailing-newline", "token: \"{TOKEN}\\n\""),
        Case::user("token-block-scalar", "token: |\n  {TOKEN}"),
        Case::user("token-folded-scalar", "token: >-\n  {TOKEN}"),
        Case::user("token-trailing-space", "token: \"{TOKEN} \""),
        Case::user("token-leading-space", "token: \" {TOKEN}\""),
        Case::user("token-inner-space", "token: \"{TOKEN} {TOKEN}\""),
        Case::user("token-tab-at-end", "token: \"{TOKEN}\\t\""),
        Case::user("token-control-character", "token: \"{TOKEN}\\x01\""),
        Case::user("token-not-ascii", "token: \"{TOKEN}é\""),
        Case::user("token-carriage-return", "token: \"{TOKEN}\\r\""),
        Case::user("token-with-bearer", "token: Bearer {TOKEN}"),
        Case::user("token-file", "tokenFile: token").file("token", "{TOKEN}"),
        Case::user("token-file-absolute", "tokenFile: {DIR}/token").file("token", "{TOKEN}"),
        Case::user("token-file-in-directory", "tokenFile: ./secret/../secret/token").file("secret/token", "{TOKEN}"),
        Case::user("token-file-trailing-newline", "tokenFile: token").file("token", "{TOKEN}\n"),
        Case::user("token-file-crlf", "tokenFile: token").file("token", "{TOKEN}\r\n"),
        Case::user("token-file-surrounded-by-blanks", "tokenFile: token").file("token", "\n\t {TOKEN} \n\n"),
        Case::user("token-file-two-lines", "tokenFile: token").file("token", "{TOKEN}\n{OTHER}\n"),
        Case::user("token-file-missing", "tokenFile: token"),
        Case::user("token-file-empty", "tokenFile: token").file("token", ""),
        Case::user("token-file-blank", "tokenFile: token").file("token", "\n"),
        Case::user("token-file-is-directory", "tokenFile: token").file("token/file", ""),
        Case::user("token-file-binary", "tokenFile: token").bytes("token", b"\xff\xfe\x00\x01"),
        Case::user("token-file-bom", "tokenFile: token").file("token", "\u{feff}{TOKEN}\n"),
        Case::user("token-file-empty-path", "tokenFile: ''\ntoken: {TOKEN}"),
        Case::user("token-file-wins-over-token", "token: {TOKEN}\ntokenFile: token").file("token", "{OTHER}"),
        Case::user("token-and-missing-token-file", "token: {TOKEN}\ntokenFile: token"),
        Case::user("token-and-empty-token-file", "token: {TOKEN}\ntokenFile: token").file("token", ""),
        Case::user("token-and-blank-token-file", "token: {TOKEN}\ntokenFile: token").file("token", " \n"),
        Case::user("bad-token-and-token-file", "token: \"x\\n\"\ntokenFile: token").file("token", "{TOKEN}"),
        Case::user("token-file-home", "tokenFile: ~/token").file("token", "{TOKEN}"),
        Case::user("no-credentials", "{}"),
        Case::user("only-empty-strings", "token: ''\ntokenFile: ''\nusername: ''\npassword: ''\nclient-key: ''"),
        Case::user("token-among-empty-strings", EMPTY_BUT_TOKEN),
        Case::user("token-among-nulls", NULL_BUT_TOKEN),
    ]
}

const EMPTY_BUT_TOKEN: &str = "token: {TOKEN}\ntokenFile: ''\nusername: ''\npassword: ''\nclient-certificate: ''\n\
    client-certificate-data: ''\nclient-key: ''\nclient-key-data: ''\nas: ''\nas-uid: ''\nas-groups: []\n\
    as-user-extra: {}";
const NULL_BUT_TOKEN: &str = "token: {TOKEN}\ntokenFile:\nusername:\npassword:\nclient-certificate:\n\
    client-certificate-data:\nclient-key:\nclient-key-data:\nas:\nas-uid:\nas-groups:\nas-user-extra:\n\
    auth-provider:\nexec:\nextensions:";

pub(super) fn passwords() -> Vec<Case> {
    vec![
        Case::user("basic", "username: reader\npassword: secret"),
        Case::user("basic-without-password", "username: reader"),
        Case::user("password-without-user", "password: secret"),
        Case::user("token-and-basic", "token: {TOKEN}\nusername: reader\npassword: secret"),
        Case::user("token-and-username", "token: {TOKEN}\nusername: reader"),
        Case::user("token-and-password", "token: {TOKEN}\npassword: secret"),
        Case::user("token-file-and-basic", "tokenFile: token\nusername: reader\npassword: secret")
            .file("token", "{TOKEN}"),
        Case::user(
            "basic-and-certificate",
            "username: reader\npassword: secret\nclient-certificate-data: {B64:client-p256.pem}\n\
             client-key-data: {B64:client-p256-key.pem}",
        ),
        Case::user("auth-provider", "auth-provider:\n  name: oidc\n  config:\n    id-token: {TOKEN}"),
        Case::user("auth-provider-gone", "auth-provider:\n  name: gcp"),
        Case::user("auth-provider-unknown", "auth-provider:\n  name: nobody-knows"),
        Case::user("auth-provider-without-name", "auth-provider:\n  config: {}"),
        Case::user("auth-provider-and-token", "token: {TOKEN}\nauth-provider:\n  name: gcp"),
        Case::user(
            "auth-provider-and-certificate",
            "auth-provider:\n  name: gcp\nclient-certificate-data: {B64:client-p256.pem}\n\
             client-key-data: {B64:client-p256-key.pem}",
        ),
    ]
}

pub(super) fn impersonation() -> Vec<Case> {
    let admin = |name: &'static str, fields: &str| Case::user(name, &format!("token: {{ADMIN}}\n{fields}"));
    vec![
        admin("as", "as: jane"),
        admin("as-service-account", "as: system:serviceaccount:default:robot"),
        admin("as-anonymous", "as: system:anonymous"),
        admin("as-groups", "as: jane\nas-groups: [first, second]"),
        admin("as-groups-masters", "as: jane\nas-groups: [system:masters]"),
        admin("as-groups-same-twice", "as: jane\nas-groups: [first, first]"),
        admin("as-groups-empty-string", "as: jane\nas-groups: ['']"),
        admin("as-groups-null", "as: jane\nas-groups: null"),
        admin("as-groups-string", "as: jane\nas-groups: first"),
        admin("as-uid", "as: jane\nas-uid: 06f6ce97-e2c5-4ab8-7ba5-7654dd08d52b"),
        admin("as-user-extra", "as: jane\nas-user-extra:\n  reason: [audit, repair]\n  scopes: [view]"),
        admin("as-user-extra-capitals", "as: jane\nas-user-extra:\n  Reason: [Audit]"),
        admin("as-user-extra-slash", "as: jane\nas-user-extra:\n  acme.example/project: [some-project]"),
        admin("as-user-extra-odd-key", "as: jane\nas-user-extra:\n  \"a b%c:d\": [value]"),
        admin("as-user-extra-no-values", "as: jane\nas-user-extra:\n  reason: []"),
        admin("as-user-extra-empty-value", "as: jane\nas-user-extra:\n  reason: ['']"),
        admin("as-user-extra-spaces", "as: jane\nas-user-extra:\n  reason: ['two words']"),
        admin("as-user-extra-string", "as: jane\nas-user-extra:\n  reason: audit"),
        admin("as-everything", "as: jane\nas-uid: u-1\nas-groups: [one]\nas-user-extra:\n  reason: [audit]"),
        admin("as-uid-alone", "as-uid: u-1"),
        admin("as-groups-alone", "as-groups: [one]"),
        admin("as-user-extra-alone", "as-user-extra:\n  reason: [audit]"),
        admin("as-empty-with-groups", "as: ''\nas-groups: [one]"),
        admin("as-not-ascii", "as: jané"),
        admin("as-space", "as: jane doe"),
        admin("as-newline", "as: \"jane\\n\""),
        admin("as-trailing-space", "as: 'jane '"),
        admin("as-groups-trailing-space", "as: jane\nas-groups: ['one ']"),
        admin("as-groups-leading-space", "as: jane\nas-groups: [' one']"),
        admin("as-user-extra-trailing-space", "as: jane\nas-user-extra:\n  reason: ['audit ']"),
        admin("as-tab", "as: \"jane\\tdoe\""),
        admin("as-groups-newline", "as: jane\nas-groups: [\"one\\nImpersonate-Group: two\"]"),
        admin("as-old-key", "act-as: jane"),
        Case::user("as-of-file", "tokenFile: token\nas: jane").file("token", "{ADMIN}"),
        Case::user(
            "as-of-certificate",
            "client-certificate-data: {B64:client-p256.pem}\nclient-key-data: {B64:client-p256-key.pem}\nas: jane",
        ),
        Case::user("as-without-credentials", "as: jane"),
        Case::pair(
            "as-through-prefix",
            "server: https://127.0.0.1:{PREFIX}/clusters/c-1\n\
            certificate-authority-data: {B64:server-ca.pem}",
            "token: {ADMIN}\nas: jane",
        ),
        Case::pair("as-plain", CLUSTER, "token: {ADMIN}\nimpersonate: jane"),
    ]
}
