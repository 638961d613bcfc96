//! Problems of values that do not fit together, with the marked text and the hint.

use super::{BASE, check, check_added, check_replaced, load_with, summarise};

#[test]
fn unknown_references_name_the_nearest() {
    check_replaced(
        "['deployer', 'viewer']",
        "['deploier', 'viewer']",
        &["error at 'deploier': unknown profile `deploier` [did you mean `deployer`?]"],
    );
    check_replaced(
        "['deployer', 'viewer']",
        "['deployer', 'viewer', 'nobody']",
        &["error at 'nobody': unknown profile `nobody` [known profiles: `deployer`, `viewer`]"],
    );
    check_replaced(
        "selector = 'env'",
        "clusters = ['ue', 'asia']",
        &[
            "error at 'ue': unknown cluster `ue` [did you mean `eu`?]",
            "error at 'asia': unknown cluster `asia` [known clusters: `eu`, `us`]",
        ],
    );
    check_added(
        "profiles = ['view']\nclusters = ['su']\n",
        &[
            "error at 'view': unknown profile `view` [did you mean `viewer`?]",
            "error at 'su': unknown cluster `su` [did you mean `eu`?]",
        ],
    );
}

#[test]
fn selectors_are_checked_and_warn_when_they_match_nothing() {
    check_replaced(
        "selector = 'env'",
        "selector = 'env in (prod'",
        &["error at : invalid selector: expected `,` or `)`, found the end"],
    );
    check_replaced(
        "selector = 'env'",
        "selector = 'evn=prod'\nclusters = ['eu']",
        &["warning at 'evn=prod': selector `evn=prod` matches no cluster [did you mean `env`?]"],
    );
    check_replaced(
        "selector = 'env'",
        "selector = 'env=prd'\nclusters = ['eu']",
        &["warning at 'env=prd': selector `env=prd` matches no cluster"],
    );
    check_replaced(
        "selector = 'env'",
        "clusters = []",
        &["warning at []: `clusters` names no cluster", "warning at [[outputs]]: no grant reaches this output"],
    );
    check_replaced(
        "selector = 'env'\n",
        "",
        &[
            r#"error at [[grants]]: the grant names no clusters [give it `clusters` or `selector`; `selector = ""` means every cluster]"#,
        ],
    );
    check_replaced("selector = 'env'", "selector = ''", &[]);
    check_replaced("profiles = ['deployer', 'viewer']\n", "", &["error at [[grants]]: the grant names no profile"]);
    check_replaced(
        "profiles = ['deployer', 'viewer']",
        "profile = 'deployer'\nprofiles = ['viewer']",
        &["error at ['viewer']: the grant has both `profile` and `profiles` [name all of them in `profiles`]"],
    );
    check_replaced("profiles = ['deployer', 'viewer']", "profiles = []", &["error at []: the grant names no profile"]);
}

#[test]
fn token_policies_are_within_the_limits_of_kubernetes() {
    check_replaced(
        "[profiles.viewer]",
        "[profiles.viewer]\ntoken = { ttl = '9m59s', overlap = '1m' }",
        &["error at '9m59s': `ttl` is `9m59s`, and Kubernetes mints no token for less than `10m`"],
    );
    check_replaced(
        "[profiles.viewer]",
        "[profiles.viewer]\ntoken = { ttl = '10m' }",
        &["error at '10m': `overlap` (`15m`) must be shorter than `ttl` (`10m`) [set both in `token`]"],
    );
    check_replaced("[profiles.viewer]", "[profiles.viewer]\ntoken = { ttl = '10m', overlap = '9m' }", &[]);
    check_replaced(
        "[profiles.viewer]",
        "[profiles.viewer]\ntoken = { ttl = '49711d' }",
        &["error at '49711d': `ttl` is `1193064h`, and Kubernetes mints no token for more than 2^32 seconds"],
    );
    check_replaced(
        "[profiles.viewer]",
        "[profiles.viewer]\ntoken = { overlap = '24h' }",
        &["error at '24h': `overlap` (`24h`) must be shorter than `ttl` (`24h`) [set both in `token`]"],
    );
    check_replaced(
        "[profiles.viewer]",
        "[profiles.viewer]\ntoken = { renew-after = 0 }",
        &["error at 0: `renew-after` must be between 0 and 1, not 0"],
    );
    check_replaced(
        "[profiles.viewer]",
        "[profiles.viewer]\ntoken = { renew-after = 1.0 }",
        &["error at 1.0: `renew-after` must be between 0 and 1, not 1"],
    );
    check_replaced(
        "[profiles.viewer]",
        "[profiles.viewer]\ntoken = { renew-after = nan }",
        &["error at nan: `renew-after` must be between 0 and 1, not NaN"],
    );
    check_replaced(
        "[profiles.viewer]",
        "[profiles.viewer]\ntoken = { audiences = ['', 'vault'] }",
        &["error at '': audience must not be empty"],
    );
    check_replaced(
        "[defaults]",
        "[defaults]\ntoken.ttl = '5m'",
        &["error at '5m': `ttl` is `5m`, and Kubernetes mints no token for less than `10m`"],
    );
    check_replaced("[defaults]", "[defaults]\ntoken = { ttl = '20m', overlap = '15m' }", &[]);
}

#[test]
fn rules_are_what_kubernetes_accepts() {
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-rules = [{ api-groups = [''], resources = ['pods'], verbs = [] }]",
        &["error at []: the rule has no verbs"],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-rules = [{ resources = ['pods'], verbs = ['get'] }]",
        &[
            r#"error at { resources = ['pods'], verbs = ['get'] }: the rule has no `api-groups` [the core group, of pods and the like, is `api-groups = [""]`]"#,
        ],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-rules = [{ api-groups = [''], verbs = ['get'] }]",
        &["error at { api-groups = [''], verbs = ['get'] }: the rule has neither `resources` nor `non-resource-urls`"],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-rules = [{ verbs = ['get'] }]",
        &["error at { verbs = ['get'] }: the rule has neither `resources` nor `non-resource-urls`"],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-rules = [{ api-groups = [''], resources = ['pods'], non-resource-urls = ['/a'], verbs = ['get'] }]",
        &[
            "error at { api-groups = [''], resources = ['pods'], non-resource-urls = ['/a'], verbs = ['get'] }: the rule has both `resources` and `non-resource-urls` [make two rules of it]",
        ],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-rules = [{ non-resource-urls = ['/metrics', '/a/*', '*', 'healthz', '/*/a'], verbs = ['get'] }]",
        &[
            "error at 'healthz': `healthz` is no URL path: it must begin with `/`, and only end with `*`",
            "error at '/*/a': `/*/a` is no URL path: it must begin with `/`, and only end with `*`",
        ],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-rules = [{ non-resource-urls = ['/a'], api-groups = [''], verbs = ['get'] }]",
        &["error at ['']: a rule with `non-resource-urls` must not have `api-groups`"],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "namespaces = [{ names = ['apps'], rules = [{ non-resource-urls = ['/a'], verbs = ['get'] }] }]",
        &["error at ['/a']: `non-resource-urls` cannot be granted in a namespace [put the rule into `cluster-rules`]"],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-rules = [{ api-groups = [''], resources = [''], verbs = [''], resource-names = [''] }]",
        &[
            "error at '': `resources` must not hold an empty string",
            "error at '': `verbs` must not hold an empty string",
            "error at '': `resource-names` must not hold an empty string",
        ],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-rules = [{ api-groups = ['apps/v1', 'core'], resources = ['Pods'], verbs = ['GET'] }]",
        &[
            r#"warning at 'apps/v1': API group `apps/v1` matches nothing [write `"apps"`, without the version]"#,
            r#"warning at 'core': API group `core` matches nothing [the core group is `""`]"#,
            "warning at 'Pods': resource `Pods` matches nothing: resources are lowercase [write `pods`]",
            "warning at 'GET': verb `GET` matches nothing: verbs are lowercase [write `get`]",
        ],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-rules = [{ api-groups = ['*'], resources = ['*'], verbs = ['*'] }]",
        &[],
    );
}

#[test]
fn a_profile_that_grants_nothing_is_refused() {
    check_replaced(
        "cluster-roles = ['edit']\n",
        "",
        &[
            "error at deployer: profile `deployer` is empty: it grants nothing [give it `cluster-rules`, `cluster-roles` or `namespaces`]",
        ],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "cluster-roles = []\ncluster-rules = []",
        &[
            "error at deployer: profile `deployer` is empty: it grants nothing [give it `cluster-rules`, `cluster-roles` or `namespaces`]",
        ],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "namespaces = [{ names = ['apps'] }]",
        &[
            "error at { names = ['apps'] }: the access to these namespaces is empty: it grants nothing [give it `rules`, `roles` or `cluster-roles`]",
        ],
    );
    check_replaced(
        "cluster-roles = ['edit']",
        "namespaces = [{ names = [], roles = ['a'] }]",
        &["error at []: `names` is empty: the access holds in no namespace"],
    );
}

#[test]
fn endpoints_are_urls_that_consumers_can_use() {
    check_replaced(
        "name = 'us'",
        "name = 'us'\nconsumer = { server = 'http://a' }",
        &["error at 'http://a': `server` is not valid: it must begin with `https://`"],
    );
    check_replaced(
        "name = 'us'",
        "name = 'us'\nconsumer = { server = 'https://' }",
        &["error at 'https://': `server` is not valid: it has no host"],
    );
    check_replaced(
        "name = 'us'",
        "name = 'us'\nconsumer = { server = 'https://jo:pw@a' }",
        &["error at 'https://jo:pw@a': `server` is not valid: it must not contain a user or password"],
    );
    check_replaced(
        "name = 'us'",
        "name = 'us'\nconsumer = { server = 'https://a?b' }",
        &["error at 'https://a?b': `server` is not valid: it must not have a query"],
    );
    check_replaced(
        "name = 'us'",
        "name = 'us'\nconsumer = { server = 'https://a#b' }",
        &["error at 'https://a#b': `server` is not valid: it must not have a fragment"],
    );
    check_replaced(
        "name = 'us'",
        "name = 'us'\nconsumer = { server = 'a:6443' }",
        &["error at 'a:6443': `server` is not valid: it must begin with `https://`"],
    );
    check_replaced(
        "name = 'us'",
        "name = 'us'\nconsumer = { server = 'https://a:6443/path', tls-server-name = 'kube.internal', proxy-url = 'socks5://p:1080', certificate-authority = '~/ca.pem', verify = 'admin' }",
        &[],
    );
    check_replaced(
        "name = 'us'",
        "name = 'us'\nconsumer = { proxy-url = 'ftp://p' }",
        &["error at 'ftp://p': `proxy-url` is not valid: it must begin with `http://` or `https://` or `socks5://`"],
    );
    check_replaced(
        "name = 'us'",
        "name = 'us'\nconsumer = { proxy-url = 'p:3128' }",
        &["error at 'p:3128': `proxy-url` is not valid: it must begin with `http://` or `https://` or `socks5://`"],
    );
    check_replaced(
        "name = 'us'",
        "name = 'us'\nconsumer = { tls-server-name = 'a b' }",
        &["error at 'a b': tls-server-name `a b` is not valid: it must be a DNS name or an IP address"],
    );
}

#[test]
fn paths_need_a_home_only_where_they_name_it() {
    check_replaced(
        "'admin.yaml'",
        "'~jo/admin.yaml'",
        &[
            "error at '~jo/admin.yaml': `kubeconfig` begins with `~` and a name, which is not supported [write the path from `/`, or `./~…` for a file whose name begins with `~`]",
        ],
    );
    check_replaced("'admin.yaml'", "''", &["error at '': `kubeconfig` must not be empty"]);
    check_replaced(
        "'out/{cluster}-{profile}.yaml'",
        "'out/'",
        &["error at 'out/': `path` must name a file, not a directory"],
    );
    check_replaced(
        "'out/{cluster}-{profile}.yaml'",
        "'~'",
        &["error at '~': `path` must name a file, not a directory"],
    );
}

#[test]
fn two_names_for_one_server_are_a_warning() {
    check_replaced(
        "name = 'us'",
        "name = 'us'\nadmin.context = 'eu'",
        &[
            "warning at 'us': clusters `eu`, `us` have the same admin access [keep one name for each API server; two would fight over the same objects]",
        ],
    );
    check_replaced(
        "[[grants]]",
        "[[clusters]]\nname = 'a'\nconsumer.server = 'https://API.example.com'\n[[clusters]]\nname = 'b'\nconsumer.server = 'https://api.example.com:443/'\n[[grants]]",
        &[
            "warning at 'b': clusters `a`, `b` have the same consumer server [keep one name for each API server; two would fight over the same objects]",
        ],
    );
    check_replaced(
        "[defaults]\nadmin = {",
        "[defaults]\nadmin = { context = 'fleet',",
        &[
            "warning at 'us': clusters `eu`, `us` have the same admin access [keep one name for each API server; two would fight over the same objects]",
        ],
    );
}

#[test]
fn profiles_do_not_share_a_service_account() {
    check_replaced(
        "[profiles.viewer]",
        "[profiles.viewer]\nservice-account = 'deployer'",
        &[
            "error at viewer: profiles `deployer` and `viewer` share ServiceAccount `kubemint/deployer` on cluster `eu` and 1 more cluster [give each its own `service-account`, or make one profile of both]",
        ],
    );
    check_replaced("[profiles.viewer]", "[profiles.viewer]\nservice-account = 'deployer'\nnamespace = 'other'", &[]);
    check(
        &BASE
            .replacen("[profiles.viewer]", "[profiles.viewer]\nservice-account = 'deployer'\nnamespace = 'other'", 1)
            .replacen("name = 'us'", "name = 'us'\nnamespace = 'kubemint'", 1),
        &[
            "error at viewer: profiles `deployer` and `viewer` share ServiceAccount `kubemint/deployer` on cluster `us` [give each its own `service-account`, or make one profile of both]",
        ],
    );
}

#[test]
fn what_nobody_uses_is_a_warning() {
    check_replaced("['deployer', 'viewer']", "['deployer']", &["warning at viewer: no grant uses profile `viewer`"]);
    check_added(
        "profiles = ['viewer']\n",
        &[
            "warning at [[grants]]: no output holds profile `deployer` on 2 clusters, so no token is minted: `eu`, `us` [add an `[[outputs]]` that holds it]",
        ],
    );
    check_replaced(
        "[[outputs]]\npath = 'out/{cluster}-{profile}.yaml'\n",
        "",
        &[
            "warning at [[grants]]: no output holds profile `deployer` on 2 clusters, so no token is minted: `eu`, `us` [add an `[[outputs]]` that holds it]",
            "warning at [[grants]]: no output holds profile `viewer` on 2 clusters, so no token is minted: `eu`, `us` [add an `[[outputs]]` that holds it]",
        ],
    );
    check_replaced(
        "[[grants]]",
        "[[clusters]]\nname = 'idle'\n[[outputs]]\npath = 'idle'\nclusters = ['idle']\n[[grants]]",
        &["warning at [[outputs]]: no grant reaches this output"],
    );
    check_added("profiles = []\n", &["error at []: the output names no profile"]);
}

#[test]
fn templates_are_checked() {
    check_replaced(
        "out/{cluster}-{profile}.yaml",
        "out/{clustr}.yaml",
        &["error at {clustr}: unknown variable `{clustr}` [did you mean `{cluster}`?]"],
    );
    check_added(
        "context = '{env}'\n",
        &[
            "error at {env}: unknown variable `{env}` [the variables are `{cluster}`, `{profile}`, `{inventory}` and `{holder}`]",
        ],
    );
    check_added(
        "user = '{profile'\ncluster = 'a}'\n",
        &[
            "error at {: `{` has no counterpart [write `{{` for a brace]",
            "error at }: `}` has no counterpart [write `}}` for a brace]",
        ],
    );
    check_added("context = ''\n", &["error at '': the template is not valid: it is empty"]);
    check_added(
        "namespace = '{profile}'\n",
        &[
            "error at '{profile}': namespace `{profile}` is not valid: it must have 1 to 63 lowercase letters, digits or `-`, and begin and end with a letter or digit",
        ],
    );
    check_added(
        "current-context = '{cluster}'\n",
        &[
            "error at '{cluster}': no file of this output has the context `{cluster}` [known contexts: `deployer@eu`, `viewer@eu`, `deployer@us`, `viewer@us`]",
        ],
    );
    check_added("current-context = 'viewer@eu'\n", &[]);
}

#[test]
fn names_that_collide_in_a_file_are_refused() {
    check_replaced(
        "path = 'out/{cluster}-{profile}.yaml'\n",
        "path = 'out'\ncontext = '{cluster}'\n",
        &[
            r#"error at '{cluster}': profiles `deployer` and `viewer` on cluster `eu` both produce context `eu` in `/inv/out`, and 1 more collision like this [set `context = "{profile}@{cluster}"` in that `[[outputs]]`]"#,
        ],
    );
    check_replaced(
        "path = 'out/{cluster}-{profile}.yaml'\n",
        "path = 'out/{profile}'\ncontext = 'x'\n",
        &[
            r#"error at 'x': clusters `eu` and `us` both produce context `x` in `/inv/out/deployer`, and 1 more collision like this [set `context = "{profile}@{cluster}"` in that `[[outputs]]`]"#,
        ],
    );
    check_replaced(
        "path = 'out/{cluster}-{profile}.yaml'\n",
        "path = 'out'\ncontext = 'x'\n",
        &[
            r#"error at 'x': profiles `deployer` and `viewer` on cluster `eu` both produce context `x` in `/inv/out`, and 2 more collisions like this [set `context = "{profile}@{cluster}"` in that `[[outputs]]`]"#,
        ],
    );
    check_replaced(
        "path = 'out/{cluster}-{profile}.yaml'\n",
        "path = 'out'\ncluster = '{profile}'\n",
        &[
            r#"error at '{profile}': clusters `eu` and `us` both produce cluster entry `deployer` in `/inv/out`, and 1 more collision like this [set `cluster = "{profile}@{cluster}"` in that `[[outputs]]`]"#,
        ],
    );
    check_replaced("path = 'out/{cluster}-{profile}.yaml'\n", "path = 'out'\ncluster = '{cluster}'\n", &[]);
    check_replaced(
        "path = 'out/{cluster}-{profile}.yaml'\n",
        "path = 'out'\nuser = '{profile}'\n",
        &[
            r#"error at '{profile}': clusters `eu` and `us` both produce user `deployer` in `/inv/out`, and 1 more collision like this [set `user = "{profile}@{cluster}"` in that `[[outputs]]`]"#,
        ],
    );
    check_replaced(
        "path = 'out/{cluster}-{profile}.yaml'\n",
        "path = 'a'\n[[outputs]]\npath = './b/../a'\nnamespace = 'x'\n",
        &[
            "error at './b/../a': profile `deployer` on cluster `eu` produces context `deployer@eu` twice in `/inv/a`, with different entries, and 3 more collisions like this [give both outputs the same names and namespace, or another path to one of them]",
        ],
    );
    check_replaced("path = 'out/{cluster}-{profile}.yaml'\n", "path = 'a'\n[[outputs]]\npath = './b/../a'\n", &[]);
    check_replaced(
        "path = 'out/{cluster}-{profile}.yaml'\n",
        "path = 'a'\ncurrent-context = '{profile}@{cluster}'\n",
        &[
            "error at '{profile}@{cluster}': more than one context would be current in `/inv/a`: `deployer@eu` and `viewer@eu` [name one context, or give the contexts a file each]",
        ],
    );
    check_replaced(
        "path = 'out/{cluster}-{profile}.yaml'\n",
        "path = 'a'\n[[outputs]]\npath = 'a/{cluster}'\n",
        &[
            "error at 'a/{cluster}': `/inv/a` would be a file and a directory, because of `/inv/a/eu`, and 1 more collision like this [give one of them another path]",
        ],
    );
    check_replaced(
        "path = 'out/{cluster}-{profile}.yaml'\n",
        "path = 'a'\ncontext = '{cluster}-{profile}'\n[[outputs]]\npath = 'a'\ncontext = '{profile}-{cluster}'\nprofiles = ['viewer']\n",
        &[],
    );
    check_replaced(
        "path = 'out/{cluster}-{profile}.yaml'\n",
        "path = '{profile}'\ncurrent-context = 'viewer@us'\n",
        &[],
    );
    check_replaced("path = 'out/{cluster}-{profile}.yaml'\n", "path = '{holder}/{inventory}'\n", &[]);
}

/// Problems that a run would otherwise find only after it has minted something.
#[test]
fn an_output_is_not_where_another_has_its_lock_or_its_tokens() {
    let output = |path: &str| format!("[[outputs]]\npath = '{path}'\n");
    let with_tokens =
        |path: &str| format!("{}credential = 'token-file'\nprofiles = ['viewer']\nclusters = ['eu']\n", output(path));
    let named = |path: &str| format!("{}profiles = ['viewer']\nclusters = ['eu']\n", output(path));
    let hint = "[give one of them another path]";
    let check = |text: &str, expect: String| check_added(text, &[&expect]);
    check(
        &(named("a") + &named("a.lock")),
        format!("error at 'a.lock': `/inv/a.lock` is where the lock of `/inv/a` must be {hint}"),
    );
    for path in ["a.tokens", "a.tokens/viewer@eu.token", "a.tokens/x/../deeper/y"] {
        let normal = path.replace("x/../", "");
        check(
            &(with_tokens("a") + &named(path)),
            format!("error at '{path}': `/inv/{normal}` is among the token files of `/inv/a` {hint}"),
        );
    }
    check_added(&(named("a") + &named("a.tokens/b")), &[]);
    check(
        &named("clusters.toml.lock"),
        "error at 'clusters.toml.lock': the output `/inv/clusters.toml.lock` is where the lock of `/inv/clusters.toml` must be"
            .to_owned(),
    );
    check(
        &named("admin.yaml.lock"),
        "error at 'admin.yaml.lock': the output `/inv/admin.yaml.lock` is where the lock of `/inv/admin.yaml` must be"
            .to_owned(),
    );
    check(
        &named("x/.kubemint-tmp-1"),
        "error at 'x/.kubemint-tmp-1': the output `.kubemint-tmp-1` has a name of kubemint's temporary files"
            .to_owned(),
    );
    let (fits, long) = ("n".repeat(250), "n".repeat(251));
    check_added(&named(&fits), &[]);
    let too_long = |marked: &str, name: &str| {
        let (bytes, shown) = (name.len(), format!("{}…", &name[..80]));
        format!(
            "error at '{marked}': the name `{shown}` has {bytes} bytes, and a name may have 255 with the `.lock` of a lock"
        )
    };
    check(&named(&long), too_long(&long, &long));
    let directory = format!("{}/x", "d".repeat(256));
    check(&named(&directory), too_long(&directory, &"d".repeat(256)));
    check_added(&with_tokens(&"n".repeat(248)), &[]);
    let tokens = "n".repeat(249);
    check(&with_tokens(&tokens), too_long(&tokens, &format!("{tokens}.tokens")));
}

#[test]
fn outputs_do_not_overwrite_what_is_read() {
    check_replaced(
        "path = 'out/{cluster}-{profile}.yaml'\n",
        "path = 'clusters.toml'\n",
        &["error at 'clusters.toml': the output would overwrite the inventory `/inv/clusters.toml`"],
    );
    check_replaced(
        "path = 'out/{cluster}-{profile}.yaml'\n",
        "path = './admin.yaml'\n",
        &[
            "warning at './admin.yaml': the output is merged into the admin kubeconfig `/inv/admin.yaml` [its own entries stay; give the output a file of its own to keep them apart]",
        ],
    );
    check_replaced(
        "[[grants]]",
        "[[clusters]]\nname = 'ca'\nlabels.env = 'x'\nconsumer.certificate-authority = 'out/ca-viewer.yaml'\n[[grants]]",
        &[
            "error at 'out/{cluster}-{profile}.yaml': the output would overwrite a `certificate-authority` `/inv/out/ca-viewer.yaml`",
        ],
    );
}

#[test]
fn timeouts_and_concurrency_have_limits() {
    check_replaced(
        "[defaults]",
        "[defaults]\nconcurrency = 0",
        &["error at 0: `concurrency` must be between 1 and 4096, not 0"],
    );
    check_replaced(
        "[defaults]",
        "[defaults]\nconcurrency = 4097",
        &["error at 4097: `concurrency` must be between 1 and 4096, not 4097"],
    );
    check_replaced(
        "[defaults]",
        "[defaults]\nrequest-timeout = '0s'",
        &["error at '0s': `request-timeout` must be at least `1s`"],
    );
    check_replaced(
        "[defaults]",
        "[defaults]\nrequest-timeout = '2m'",
        &["error at '2m': `request-timeout` (`2m`) is longer than `cluster-timeout` (`1m`)"],
    );
    check_replaced(
        "[defaults]",
        "[defaults]\ncluster-timeout = '5s'",
        &["error at '5s': `request-timeout` (`10s`) is longer than `cluster-timeout` (`5s`)"],
    );
    check_replaced("[defaults]", "[defaults]\nrequest-timeout = '5s'\ncluster-timeout = '5s'", &[]);
}

#[test]
fn what_only_an_exec_plugin_needs_is_refused_elsewhere() {
    check_added(
        "[[outputs]]\npath = 'more'\ncommand = '/bin/k'\ncredential-directory = 'd'\n",
        &[
            "error at '/bin/k': `command` needs `credential = \"exec\"`",
            "error at 'd': `credential-directory` needs `credential = \"exec\"`",
        ],
    );
    check_added(
        "[[outputs]]\npath = 'more'\ncredential = 'exec'\ncommand = 'kubemint'\n",
        &["error at 'kubemint': `command` must be an absolute path: kubectl runs it from any directory"],
    );
    check_added(
        "[[outputs]]\npath = 'more'\ncredential = 'file'\n",
        &["error at 'file': `credential` must be `token` or `token-file` or `exec`, not `file`"],
    );
}

#[test]
fn one_user_entry_gives_its_credential_in_one_way() {
    check_added(
        "[[outputs]]\npath = 'same'\n[[outputs]]\npath = 'same'\ncredential = 'exec'\n",
        &["error at 'same': profile `deployer` on cluster `eu` produces context `deployer@eu` twice in `/inv/same`, \
           with different entries, and 3 more collisions like this [give both outputs the same names and namespace, \
           or another path to one of them]"],
    );
}

#[test]
fn waves_are_checked() {
    let wave = |name: &str, rules: &str| format!("[[rollout]]\nname = '{name}'\nselector = 'env=prod'\n{rules}\n");
    check_added(&(wave("a", "pause = '5m'\nmax-failures = '2%'") + &wave("b", "concurrency = 1")), &[]);
    check_added(&(wave("a", "") + &wave("a", "")), &["error at [[rollout]]: wave `a` is defined twice"]);
    check_added(
        &wave("rest", ""),
        &[
            "error at 'rest': a wave cannot be called `rest` [that is the wave of the clusters that no other wave selects]",
        ],
    );
    check_added(&wave("a", "concurrency = 0"), &["error at 0: `concurrency` must be between 1 and 4096, not 0"]);
    check_added(
        &wave("a", "max-failures = '2 %'"),
        &["error at '2 %': `max-failures` is not valid: `2 %` is neither a number nor a share such as `2%`"],
    );
    check_added(
        "[[rollout]]\nname = 'a'\nselector = 'env=nowhere'\n",
        &["warning at 'env=nowhere': selector `env=nowhere` matches no cluster"],
    );
    let resolution = load_with(BASE, &(wave("a", "") + "[[clusters]]\nname = 'asia'\n"));
    let problems = summarise(&resolution);
    assert!(problems.iter().any(|line| line.contains("`rollout` is not allowed in an included file")), "{problems:?}");
}

#[test]
fn periods_are_checked() {
    let grant = |keys: &str| format!("[[grants]]\nprofile = 'viewer'\nclusters = ['eu']\n{keys}\n");
    let grants = "[[grants]]\nprofiles = ['deployer', 'viewer']\nselector = 'env'";
    let one = "[[grants]]\nprofile = 'deployer'\nselector = 'env'\n";
    check_replaced(grants, &format!("{one}{}", grant("expires = 2026-12-01T18:00:00+01:00")), &[]);
    check_replaced(
        grants,
        &format!("{one}{}", grant("starts = '2026-12-02T00:00:00Z'\nexpires = '2026-12-01T00:00:00Z'")),
        &["error at '2026-12-01T00:00:00Z': the grant ends before it begins"],
    );
    check_replaced(
        grants,
        &format!("{one}{}", grant("expires = '2026-12-01'")),
        &[
            "error at '2026-12-01': `expires` must be a time with its offset such as `\"2026-12-01T18:00:00Z\"`, not `2026-12-01`",
        ],
    );
    check_added(
        &grant("expires = '2026-12-01T00:00:00Z'"),
        &["error at [[grants]]: profile `viewer` is granted on cluster `eu` for two different times \
           [give both the same `starts` and `expires`, or keep one of them]"],
    );
}
