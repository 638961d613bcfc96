//! Problems of single values: syntax, keys, types and names, with the marked text and the hint.

use super::{BASE, check, check_added, check_replaced};

#[test]
fn the_base_has_no_problem() {
    check(BASE, &[]);
}

#[test]
fn syntax_errors_are_all_reported_and_nothing_else() {
    check(
        "version = \nname = 'a\n[[grants]]\nprofile = 'x'\n",
        &[
            "error at : invalid TOML: string values must be quoted, expected literal string",
            "error at : invalid TOML: invalid literal string, expected `'`",
        ],
    );
    check(
        "version = 1\nversion = 1\nname = 'x'\n[profiles]\n[profiles]\n",
        &["error at version: invalid TOML: duplicate key", "error at profiles: invalid TOML: duplicate key"],
    );
    check("version = 1\nname = 'a' x\n", &["error at : invalid TOML: unexpected key or value, expected newline, `#`"]);
}

#[test]
fn the_version_is_looked_at_first() {
    check("version = 2\nnew-key = 1\n", &["error at 2: unknown format version `2` [this kubemint reads version 1]"]);
    check("version = '1'\nname = 'a'\n", &["error at '1': `version` must be a positive integer, not a string"]);
    check("name = 'a'\n[defaults]\n", &["error at : the inventory lacks the key `version`"]);
    check(
        "name = 'a'\n",
        &[
            "error at name: this does not look like an inventory: it has no `version` and none of the tables of one [an inventory begins with `version = 1`; the files that it includes have tables only]",
        ],
    );
    check("", &["error at : the inventory lacks the key `name`", "error at : the inventory lacks the key `version`"]);
}

#[test]
fn unknown_keys_name_the_nearest() {
    check_replaced(
        "name = 'acme'",
        "nmae = 'acme'",
        &["error at nmae: unknown key `nmae` in the inventory [did you mean `name`?]"],
    );
    check_added(
        "colour = 1\n",
        &[
            "error at colour: unknown key `colour` in an output [known keys: `kind`, `path`, `credential`, `command`, `credential-directory`, `context`, `cluster`, `user`, `namespace`, `current-context`, `profiles`, `selector`, and 13 more]",
        ],
    );
    check_replaced(
        "labels = { env = 'prod' }",
        "label = { env = 'prod' }",
        &["error at label: unknown key `label` in a cluster [did you mean `labels`?]"],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "clusterRoles = ['edit']",
        &["error at clusterRoles: unknown key `clusterRoles` in a profile [did you mean `cluster-roles`?]"],
    );
    check_replaced(
        "[defaults]",
        "[defaults]\ncluster_timeout = '1m'",
        &["error at cluster_timeout: unknown key `cluster_timeout` in `defaults` [did you mean `cluster-timeout`?]"],
    );
    check_replaced(
        "admin = { kubeconfig = 'admin.yaml' }",
        "admin = { kubeconfig = 'admin.yaml', contxt = 'a' }",
        &[
            "error at contxt: unknown key `contxt` in `admin` [did you mean `context`?]",
            "warning at 'us': clusters `eu`, `us` have the same admin access [keep one name for each API server; two would fight over the same objects]",
        ],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-rules = [{ apiGroups = [''], resources = ['pods'], verbs = ['get'] }]",
        &["error at apiGroups: unknown key `apiGroups` in a rule [did you mean `api-groups`?]"],
    );
    check_replaced(
        "name = 'us'",
        "name = 'us'\nconsumer.sever = 'https://a'",
        &["error at sever: unknown key `sever` in `consumer` [did you mean `server`?]"],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-roles = ['edit']\ntoken.tll = '1h'",
        &["error at tll: unknown key `tll` in `token` [did you mean `ttl`?]"],
    );
}

#[test]
fn wrong_types_name_both_types() {
    check_replaced("'acme'", "1", &["error at 1: `name` must be a string, not an integer"]);
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-roles = 'edit'",
        &[
            r#"error at 'edit': `cluster-roles` must be a list of strings, not a string [write `cluster-roles = ["edit"]`]"#,
        ],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-roles = ['edit', 1]",
        &["error at 1: each element of `cluster-roles` must be a string, not an integer"],
    );
    check_replaced(
        "[defaults]",
        "[defaults]\nconcurrency = '8'",
        &["error at '8': `concurrency` must be a positive integer, not a string"],
    );
    check_replaced(
        "[defaults]",
        "[defaults]\nconcurrency = -1",
        &["error at -1: `concurrency` must be a positive integer, not `-1`"],
    );
    check_replaced(
        "[defaults]",
        "[defaults]\nconcurrency = 1.5",
        &["error at 1.5: `concurrency` must be a positive integer, not a number"],
    );
    check_replaced(
        "[defaults]",
        "[defaults]\ncreate-namespaces = 'yes'",
        &["error at 'yes': `create-namespaces` must be `true` or `false`, not a string"],
    );
    check_replaced(
        "[defaults]",
        "[defaults]\nrequest-timeout = 10",
        &[
            r#"error at 10: `request-timeout` must be a duration such as `"24h"`, not an integer [say the unit: `"10s"`, `"10m"` or `"10h"`]"#,
        ],
    );
    check_replaced(
        "[defaults]",
        "[defaults]\nrequest-timeout = '10'",
        &[
            r#"error at '10': `request-timeout` is no duration: `10` has no unit [say the unit: `"10s"`, `"10m"` or `"10h"`]"#,
        ],
    );
    check_replaced(
        "[defaults]",
        "[defaults]\nrequest-timeout = 'ten'",
        &["error at 'ten': `request-timeout` is no duration: expected a number before `ten`"],
    );
    check_replaced(
        "[defaults]",
        "[defaults]\ntoken.renew-after = '0.5'",
        &["error at '0.5': `renew-after` must be a number, not a string"],
    );
    check_replaced(
        "admin = { kubeconfig = 'admin.yaml' }",
        "admin = 'admin.yaml'",
        &["error at 'admin.yaml': `admin` must be a table, not a string"],
    );
    check_replaced(
        "labels = { env = 'dev' }",
        "labels = ['dev']",
        &[r#"error at ['dev']: `labels` must be a table, not a list [write `labels = { NAME = "…" }`]"#],
    );
    check_replaced(
        "name = 'us'",
        "name = 'us'\nconsumer.verify = 'endpont'",
        &["error at 'endpont': `verify` must be `endpoint` or `admin`, not `endpont` [did you mean `endpoint`?]"],
    );
    check_replaced(
        "name = 'us'",
        "name = 'us'\nconsumer.verify = 1",
        &["error at 1: `verify` must be `endpoint` or `admin`, not an integer"],
    );
    check_replaced(
        "selector = 'env'",
        "clusters = 1979-05-27",
        &["error at 1979-05-27: `clusters` must be a list of strings, not a date"],
    );
    check_added(
        "kind = 'secrt'\n",
        &[
            "error at 'secrt': `kind` must be `kubeconfig` or `token-file` or `secret` or `argocd` or `istio` or `flux` or `kueue` or `cluster-api` or `sveltos` or `cluster-profile` or `linkerd` or `calico`, not `secrt` [did you mean `secret`?]",
        ],
    );
    check(
        "version = 1\nname = 'a'\nprofiles = []\n[clusters]\nname = 'a'\n",
        &[
            "error at []: `profiles` must be a table, not a list [write `[profiles.NAME]`]",
            "error at [clusters]: `clusters` must be a list of tables, not a table [write `[[clusters]]`, with two brackets]",
        ],
    );
}

#[test]
fn missing_keys_name_their_table() {
    check_replaced("name = 'us'\n", "", &["error at [[clusters]]: a cluster lacks the key `name`"]);
    check_replaced(
        "path = 'out/{cluster}-{profile}.yaml'\n",
        "",
        &["error at [[outputs]]: an output lacks the key `path`"],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "namespaces = [{ cluster-roles = ['edit'] }]",
        &["error at { cluster-roles = ['edit'] }: a profile's `namespaces` lacks the key `names`"],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-rules = [{ api-groups = [''], resources = ['pods'] }]",
        &["error at { api-groups = [''], resources = ['pods'] }: a rule lacks the key `verbs`"],
    );
    check_replaced(
        "admin = { kubeconfig = 'admin.yaml' }\n",
        "",
        &[
            r#"error at 'eu': the cluster has no admin access [set `admin = { kubeconfig = "…" }` in `[defaults]` or in the cluster]"#,
            r#"error at 'us': the cluster has no admin access [set `admin = { kubeconfig = "…" }` in `[defaults]` or in the cluster]"#,
        ],
    );
}

#[test]
fn names_are_what_kubernetes_and_file_systems_accept() {
    check_replaced(
        "'acme'",
        "'Acme'",
        &[
            "error at 'Acme': inventory name `Acme` is not valid: it must have 1 to 63 lowercase letters, digits or `-`, and begin and end with a letter or digit",
        ],
    );
    check_replaced(
        "name = 'acme'",
        "name = 'acme'\nholder = 'a.b'",
        &[
            "error at 'a.b': holder `a.b` is not valid: it must have 1 to 63 lowercase letters, digits or `-`, and begin and end with a letter or digit",
        ],
    );
    check_replaced(
        "[profiles.deployer]",
        "[profiles.Deployer]",
        &[
            "error at Deployer: profile name `Deployer` is not valid: it must have 1 to 63 lowercase letters, digits or `-`, and begin and end with a letter or digit",
            "error at 'deployer': unknown profile `deployer` [did you mean `Deployer`?]",
        ],
    );
    check_replaced(
        "[profiles.deployer]",
        "[profiles.deployer]\nservice-account = 'a..b'\nnamespace = 'Apps'",
        &[
            "error at 'a..b': ServiceAccount name `a..b` is not valid: it must have 1 to 253 lowercase letters, digits, `-` or `.`, and each part between dots must begin and end with a letter or digit",
            "error at 'Apps': namespace `Apps` is not valid: it must have 1 to 63 lowercase letters, digits or `-`, and begin and end with a letter or digit",
        ],
    );
    check_replaced(
        "'eu'",
        "'../eu'",
        &[
            r"error at '../eu': cluster name `../eu` is not valid: it must not contain `/` or `\`, because it becomes part of file names",
        ],
    );
    check_replaced(
        "'eu'",
        "'.eu'",
        &[
            "error at '.eu': cluster name `.eu` is not valid: it must not begin with `.` or `-`, because it becomes part of file names",
        ],
    );
    check_replaced(
        "'eu'",
        "' eu'",
        &["error at ' eu': cluster name ` eu` is not valid: it must not begin or end with a space"],
    );
    check_replaced(
        "'eu'",
        r#""e\u0000u""#,
        &[r#"error at "e\u0000u": cluster name `e�u` is not valid: it must not contain control characters"#],
    );
    check_replaced("'eu'", "''", &["error at '': cluster name must not be empty"]);
    check_replaced(
        "['edit']",
        "['a/b', '..', 'ok:role']",
        &[
            "error at 'a/b': ClusterRole name `a/b` is not valid: it must not contain `/` or `%`",
            "error at '..': ClusterRole name `..` is not valid: it must not be `.` or `..`",
        ],
    );
    check_replaced(
        "labels = { env = 'prod' }",
        "labels = { env = 'prod', '-a' = 'b c' }",
        &[
            "error at '-a': label key `-a` is not valid: its name has 1 to 63 letters, digits, `-`, `_` or `.`, and begins and ends with a letter or digit",
            "error at 'b c': label value `b c` is not valid: it has up to 63 letters, digits, `-`, `_` or `.`, and begins and ends with a letter or digit",
        ],
    );
    check_replaced(
        "name = 'us'",
        "name = 'us'\nnamespace = 'a.b'",
        &[
            "error at 'a.b': namespace `a.b` is not valid: it must have 1 to 63 lowercase letters, digits or `-`, and begin and end with a letter or digit",
        ],
    );
    check_replaced("[defaults]", "[defaults]\nnamespace = ''", &["error at '': namespace must not be empty"]);
    check_replaced(
        "cluster-roles = ['edit']",
        "namespaces = [{ names = ['Apps'], roles = ['a%b'] }]",
        &[
            "error at 'Apps': namespace `Apps` is not valid: it must have 1 to 63 lowercase letters, digits or `-`, and begin and end with a letter or digit",
            "error at 'a%b': Role name `a%b` is not valid: it must not contain `/` or `%`",
        ],
    );
}

#[test]
fn duplicate_names_show_both_places() {
    check_replaced("'us'", "'eu'", &["error at 'eu': cluster `eu` is defined twice"]);
}
