//! Outputs that are Secrets: what is refused before anything is contacted, and what is meant.

use super::*;
use crate::delivery::Piece;

/// An output of some kind, after [`BASE`].
fn output(kind: &str, rest: &str) -> String {
    format!(
        "[[outputs]]\nkind = '{kind}'\nadmin = {{ context = 'hub' }}\nnamespace = 'ns'\nprofiles = ['viewer']\n{rest}\n"
    )
}

fn refuses(kind: &str, rest: &str, expect: &[&str]) {
    check_added(&output(kind, rest), expect);
}

/// Returns hub, namespace, name, type and keys of each Secret.
fn secrets(text: &str) -> Vec<String> {
    let resolution = load(&format!("{BASE}{text}"));
    assert_eq!(summarise(&resolution), Vec::<String>::new(), "{text}");
    let layout = resolution.layout.unwrap();
    let shown = layout.secrets.iter().map(|target| {
        let keys: Vec<&str> = target.form.data.keys().map(String::as_str).collect();
        format!("{} {} {}", target.place, target.form.secret_type, keys.join(","))
    });
    shown.collect()
}

#[test]
fn each_kind_has_the_form_that_its_consumer_wants() {
    let cases = [
        ("argocd", "cluster-eu in hub Opaque config,name,server"),
        ("istio", "istio-remote-secret-eu in hub Opaque eu"),
        ("flux", "eu-kubeconfig in hub Opaque value"),
        ("kueue", "eu-kubeconfig in hub Opaque kubeconfig"),
        ("cluster-api", "eu-kubeconfig in hub cluster.x-k8s.io/secret value"),
        ("sveltos", "eu-sveltos-kubeconfig in hub Opaque kubeconfig"),
        ("cluster-profile", "eu in hub Opaque token"),
        ("linkerd", "cluster-credentials-eu in hub mirror.linkerd.io/remote-kubeconfig kubeconfig"),
        ("calico", "remote-eu in hub Opaque datastoreType,kubeconfig"),
    ];
    for (kind, expected) in cases {
        let found = secrets(&output(kind, "clusters = ['eu']"));
        assert_eq!(found, [format!("Secret ns/{expected}")], "{kind}");
    }
    let options = "clusters = ['eu']\noptions = { reader = 'kubeconfig-secretreader' }";
    assert_eq!(secrets(&output("cluster-profile", options)), ["Secret ns/eu in hub Opaque kubeconfig"]);
    let both = "clusters = ['eu']\noptions = { trust-domain = 'a', cluster-domain = 'b' }";
    let resolution = load(&format!("{BASE}{}", output("linkerd", both)));
    let form = &resolution.layout.unwrap().secrets[0].form;
    assert_eq!(form.labels["multicluster.linkerd.io/cluster-name"], "eu");
    assert_eq!(form.annotations["multicluster.linkerd.io/trust-domain"], "a");
}

#[test]
fn templates_know_labels_and_the_credential() {
    let data = "data = { '{cluster}.x' = 'Bearer {token}', k = '{kubeconfig}', t = '{labels.env} {{x}}' }";
    let text =
        output("secret", &format!("name = '{{cluster}}-{{labels.env}}'\nlabels = {{ e = '{{labels.env}}' }}\n{data}"));
    let resolution = load(&format!("{BASE}{text}"));
    let layout = resolution.layout.unwrap_or_else(|| panic!("{:?}", resolution.problems));
    let target = &layout.secrets[1];
    assert_eq!((target.place.name.as_str(), target.form.labels["e"].as_str()), ("us-dev", "dev"));
    assert_eq!(target.form.data["us.x"], [Piece::Text("Bearer ".into()), Piece::Token]);
    assert_eq!(target.form.data["t"], [Piece::Text("dev {x}".into())]);
    assert!(matches!(target.form.data["k"].as_slice(), [Piece::Kubeconfig(names)] if names.context == "us"));
}

#[test]
fn what_templates_do_not_know_is_marked() {
    refuses(
        "argocd",
        "labels = { env = '{label.env}' }",
        &["error at {label.env}: unknown variable `{label.env}` [did you mean `{labels.env}`?]"],
    );
    refuses(
        "argocd",
        "name = 'x-{token}'",
        &[
            "error at {token}: unknown variable `{token}` [the variables are `{cluster}`, `{profile}`, `{inventory}`, `{holder}` and `{labels.NAME}`]",
        ],
    );
    refuses(
        "argocd",
        "labels = { region = '{labels.region}' }",
        &["error at '{labels.region}': cluster `eu` has no label `region`, and 1 more like this"],
    );
    refuses(
        "secret",
        "name = '{cluster}'\ndata = { a = '{cluster}{token}' }",
        &["error at '{cluster}{token}': `{token}` must not touch letters, digits, `-`, `_`, `.` or another variable"],
    );
    refuses(
        "secret",
        "name = '{cluster}'\ndata = { a = 'x {kubeconfig}' }",
        &["error at 'x {kubeconfig}': `{kubeconfig}` must stand alone in its value"],
    );
    refuses(
        "secret",
        "name = '{cluster}'\ndata = { a = '{server}' }",
        &["error at { a = '{server}' }: no key of `data` holds the credential: one needs `{token}` or `{kubeconfig}`"],
    );
}

#[test]
fn what_would_not_be_valid_for_a_grant_names_it_once() {
    refuses(
        "flux",
        "name = 'X{cluster}'",
        &[
            "error at 'X{cluster}': the name of the Secret `Xeu` is not valid: it must have 1 to 253 lowercase letters, digits, `-` or `.`, and each part between dots must begin and end with a letter or digit, and 1 more like this",
        ],
    );
    refuses(
        "argocd",
        "labels = { who = '-{cluster}' }",
        &[
            "error at '-{cluster}': label value `-eu` is not valid: it has up to 63 letters, digits, `-`, `_` or `.`, and begins and ends with a letter or digit (label `who`), and 1 more like this",
        ],
    );
    refuses(
        "secret",
        "name = '{cluster}'\ndata = { 'a b' = '{token}' }",
        &[
            "error at '{token}': the key `a b` is not valid: it must have 1 to 253 letters, digits, `-`, `_` or `.`, and 1 more like this",
        ],
    );
}

#[test]
fn labels_that_others_act_on_are_refused() {
    refuses(
        "flux",
        "labels = { 'app.kubernetes.io/instance' = 'x' }",
        &[
            "error at 'app.kubernetes.io/instance': the label `app.kubernetes.io/instance` would make Argo CD prune the Secret",
        ],
    );
    refuses(
        "flux",
        "annotations = { 'argocd.argoproj.io/tracking-instance' = 'x' }",
        &[
            "error at 'argocd.argoproj.io/tracking-instance': the annotation `argocd.argoproj.io/tracking-instance` would make Argo CD prune the Secret",
        ],
    );
    refuses(
        "flux",
        "labels = { 'kubemint.dev/inventory' = 'x' }",
        &["error at 'kubemint.dev/inventory': kubemint sets the label `kubemint.dev/inventory` itself"],
    );
    refuses(
        "argocd",
        "labels = { 'argocd.argoproj.io/secret-type' = 'repository' }",
        &[
            "error at 'argocd.argoproj.io/secret-type': the consumer needs `argocd.argoproj.io/secret-type` as it is, so it cannot be set",
        ],
    );
}

#[test]
fn keys_of_the_other_kinds_are_refused() {
    refuses(
        "flux",
        "credential = 'exec'",
        &[
            "error at 'exec': `credential` is for kubeconfig files, and this output is a Secret [its consumer reads neither token files nor plugins; a Secret holds the token]",
        ],
    );
    refuses(
        "flux",
        "data = { x = '{token}' }",
        &["error at { x = '{token}' }: `data` is for kind `secret` [`flux` decides that itself]"],
    );
    refuses(
        "flux",
        "options = { project = 'x' }",
        &["error at 'x': `project` is an option of `argocd`, and this output is for `flux`"],
    );
    refuses(
        "argocd",
        "options = { cluster-resources = true }",
        &["error at true: `cluster-resources` needs `namespaces`: without it, all of the cluster is meant"],
    );
    refuses(
        "linkerd",
        "options = { trust-domain = 'x' }",
        &["error at 'x': Linkerd's control plane wants both `trust-domain` and `cluster-domain`"],
    );
    check_added(
        "admin = { context = 'hub' }\n",
        &[
            "error at { context = 'hub' }: `admin` is for Secrets, and this output is a kubeconfig file [set `kind` to `\"secret\"`, or to the consumer that the Secret is for]",
        ],
    );
    check_added(
        "[[outputs]]\nkind = 'token-file'\npath = 't/{cluster}-{profile}'\nworkload = 'x'\n",
        &[
            "error at 'x': `workload` is for Secrets, and this output is a file with a token [set `kind` to `\"secret\"`, or to the consumer that the Secret is for]",
        ],
    );
    check_replaced(
        "path = 'out/{cluster}-{profile}.yaml'\n",
        "context = 'x'\n",
        &["error at [[outputs]]: an output lacks the key `path`"],
    );
}

#[test]
fn what_a_secret_needs_is_asked_for() {
    check_added(
        "[[outputs]]\nkind = 'argocd'\nprofiles = ['viewer']\n",
        &[
            "error at [[outputs]]: an output of kind `argocd` lacks the key `namespace` [say the namespace that its consumer reads; none is guessed]",
            "error at [[outputs]]: an output that is a Secret lacks the key `admin` [name the cluster that it is written to: `admin = { cluster = \"hub\" }`]",
        ],
    );
    let with = |admin: &str| output("flux", "").replace("{ context = 'hub' }", admin);
    check_added(&with("{ cluster = 'ue' }"), &["error at 'ue': unknown cluster `ue` [did you mean `eu`?]"]);
    check_added(
        &with("{ kubeconfig = 'a.yaml' }"),
        &[
            "error at { kubeconfig = 'a.yaml' }: the `admin` of an output lacks the key `context` [say the context of the cluster that the Secret is written to]",
        ],
    );
    check_added(
        &with("{ cluster = 'eu', context = 'x' }"),
        &["error at 'eu': `cluster` is a whole admin access, so it needs no other keys"],
    );
    check_replaced(
        "labels = { env = 'prod' }",
        "labels = { env = 'prod' }\nadmin = { cluster = 'us' }",
        &["error at 'us': `cluster` is for the `admin` of `[[outputs]]`"],
    );
}

#[test]
fn two_credentials_for_one_secret_are_refused() {
    refuses(
        "flux",
        "name = 'x'",
        &[
            "error at [[outputs]]: `viewer` on cluster `eu` and `viewer` on cluster `us` both go to `Secret ns/x in hub` [put `{profile}` or `{cluster}` into `name`, or select fewer grants]",
        ],
    );
    let both = output("argocd", "name = '{cluster}-{profile}'").replace("['viewer']", "['viewer', 'deployer']");
    check_added(
        &both,
        &[
            "error at [[outputs]]: `deployer` on cluster `eu` and `viewer` on cluster `eu` give Argo CD the same `server`, by which it tells clusters apart [give it one profile of each cluster, with `profiles`, `clusters` or `selector`]",
        ],
    );
    // The same hub, however it is named.
    let twice = output("flux", "")
        + &output("flux", "").replace("{ context = 'hub' }", "{ kubeconfig = 'admin.yaml', context = 'hub' }");
    check_added(
        &twice,
        &[
            "error at [[outputs]]: `viewer` on cluster `eu` and `viewer` on cluster `eu` both go to `Secret ns/eu-kubeconfig in hub` [put `{profile}` or `{cluster}` into `name`, or select fewer grants]",
        ],
    );
    // Two hubs whose contexts have one name are told apart.
    let others = output("flux", "clusters = ['eu']")
        + &output("flux", "clusters = ['eu']")
            .replace("{ context = 'hub' }", "{ kubeconfig = 'b.yaml', context = 'hub' }");
    assert_eq!(
        secrets(&others),
        ["Secret ns/eu-kubeconfig in hub Opaque value", "Secret ns/eu-kubeconfig in hub of /inv/b.yaml Opaque value",]
    );
}

#[test]
fn tokens_outlive_the_time_that_a_consumer_needs() {
    let token = "cluster-roles = ['view']\ntoken = { overlap = '30s' }";
    let text = BASE.replace("cluster-roles = ['view']", token);
    check(
        &format!("{text}{}", output("argocd", "")),
        &[
            "error at 'argocd': a superseded token of profile `viewer` lives for 30s (its `overlap`), and a consumer with `rotation` `watch` needs 1m [in its `token`, set an `overlap` of at least 1m, and a `ttl` of at least 2m]",
        ],
    );
    let restart = "name = '{cluster}'\ndata = { a = '{token}' }\nrotation = 'restart'\n";
    refuses(
        "secret",
        restart,
        &[
            "error at 'secret': the consumer reads its token when it starts, and tokens of profile `viewer` live for 24h [set a `ttl` of at least 2160h, or `restart-acknowledged = true` if something restarts it in time]",
        ],
    );
    refuses("secret", &format!("{restart}restart-acknowledged = true\nworkload = 'deployment/x'"), &[]);
    refuses(
        "flux",
        "workload = 'deployment/x'",
        &[
            "error at 'deployment/x': `workload` is for kind `secret` [`flux` decides that itself]",
            "error at 'deployment/x': `workload` needs `rotation = \"restart\"`",
        ],
    );
}

#[test]
fn a_registration_names_the_secret() {
    let registered = |kind: &str, options: &str| {
        let text = output(
            kind,
            &format!("clusters = ['eu']\nlabels = {{ env = '{{labels.env}}' }}\noptions = {{ {options} }}"),
        );
        let resolution = load(&format!("{BASE}{text}"));
        assert_eq!(summarise(&resolution), Vec::<String>::new(), "{text}");
        let registration = resolution.layout.unwrap().secrets[0].form.registration.clone().unwrap();
        let form = serde_json::to_value(&registration.form).unwrap();
        (registration.object.to_string(), form, registration.labels.len())
    };
    let config =
        serde_json::json!({ "access-provider": { "name": "secretreader", "config": { "clusterName": "eu" } } });
    assert_eq!(
        registered("cluster-profile", "register = 'x-{cluster}', register-namespace = 'fleet'"),
        ("ClusterProfile `fleet/x-eu`".to_owned(), config, 0)
    );
    let spec = serde_json::json!({
        "spec": { "kubeconfigKeyName": "kubeconfig", "kubeconfigName": "eu-sveltos-kubeconfig" },
    });
    assert_eq!(registered("sveltos", "register = '{cluster}'"), ("SveltosCluster `ns/eu`".to_owned(), spec, 1));
    let (calico, ..) = registered("calico", "register = '{cluster}'");
    assert_eq!(calico, "RemoteClusterConfiguration `eu`");

    refuses(
        "flux",
        "options = { register = 'x' }",
        &[
            "error at 'x': `register` is an option of `sveltos`, `calico` and `cluster-profile`, and this output is for `flux`",
        ],
    );
    refuses(
        "sveltos",
        "options = { register = '{cluster}', register-namespace = 'x' }",
        &["error at 'x': `register-namespace` is an option of `cluster-profile`, and this output is for `sveltos`"],
    );
    refuses(
        "cluster-profile",
        "options = { register-namespace = 'x' }",
        &["error at 'x': `register-namespace` needs `register`, the name of the ClusterProfile"],
    );
    refuses(
        "sveltos",
        "options = { register = 'X' }",
        &[
            "error at 'X': the name of the SveltosCluster `X` is not valid: it must have 1 to 253 lowercase letters, digits, `-` or `.`, and each part between dots must begin and end with a letter or digit, and 1 more like this",
        ],
    );
    refuses(
        "sveltos",
        "options = { register = 'x' }",
        &[
            "error at [[outputs]]: `viewer` on cluster `eu` and `viewer` on cluster `us` are both registered by SveltosCluster `ns/x` [put `{profile}` or `{cluster}` into `register`, or select fewer grants]",
        ],
    );
}

/// What the other keys are for is not known then.
#[test]
fn an_unknown_kind_is_one_problem() {
    let resolution = load(&format!("{BASE}{}", output("argo", "labels = { a = 'b' }")));
    let found = summarise(&resolution);
    assert!(found.len() == 1 && found[0].contains("argo"), "{found:?}");
}

#[test]
fn addresses_that_the_hub_does_not_reach_are_a_warning() {
    let text = BASE.replace(
        "labels = { env = 'prod' }",
        "labels = { env = 'prod' }\nconsumer = { server = 'https://127.0.0.1:6443' }",
    );
    check(
        &format!("{text}{}", output("argocd", "")),
        &[
            "warning at [[outputs]]: controllers in `hub` cannot reach the API servers of `eu` under the address that they are told [set `consumer.server` of these clusters to an address that the hub reaches]",
        ],
    );
}

#[test]
fn a_token_file_is_of_one_grant_and_no_kubeconfig() {
    let output = |rest: &str| format!("[[outputs]]\nkind = 'token-file'\n{rest}\n");
    check_added(&output("path = 'tokens/{cluster}-{profile}'"), &[]);
    check_added(
        &output("path = 'tokens/{cluster}'"),
        &[
            "error at 'tokens/{cluster}': profiles `deployer` and `viewer` on cluster `eu` both produce a token that stands alone in `/inv/tokens/eu`, and 1 more collision like this [give one of them another path]",
        ],
    );
    check_added(
        &output("path = 'out/{cluster}-{profile}.yaml'"),
        &[
            "error at 'out/{cluster}-{profile}.yaml': profile `deployer` on cluster `eu` produces a token that stands alone twice in `/inv/out/eu-deployer.yaml`, with different entries, and 3 more collisions like this [give one of them another path]",
        ],
    );
    check_added(
        &output("path = 'tokens/{cluster}-{profile}'\ncontext = 'x'"),
        &["error at 'x': `context` is for kubeconfigs, and the files of this output hold a token and nothing else"],
    );
}
