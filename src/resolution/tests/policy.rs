//! The policy: what it refuses, where that is said, and what exceptions cover.

use super::{BASE, check, load, summarise};

fn with(policy: &str, profile: &str) -> String {
    let base = BASE.replace("cluster-roles = ['edit']\n", profile);
    base.replace("[profiles.deployer]", &format!("{policy}\n[profiles.deployer]"))
}

const SECRETS: &str = "cluster-rules = [{ api-groups = [''], resources = ['secrets'], verbs = ['get'] }]\n";
const RULE: &str = "{ api-groups = [''], resources = ['secrets'], verbs = ['get'] }";

#[test]
fn a_denied_class_is_refused_where_the_profile_has_it() {
    let hint = "leave it out, or name `secrets-read` in `[[policy.exceptions]]` of profile `deployer`";
    let message = "the policy's `secrets-read` refuses what profile `deployer` allows: get on secrets";
    let text = with("[policy]\ndeny = ['secrets-read', 'escalation']", SECRETS);
    check(&text, &[&format!("error at {RULE}: {message} [{hint}]")]);
    let resolution = load(&text);
    let [problem] = resolution.problems.as_slice() else { panic!("{:?}", resolution.problems) };
    assert_eq!(resolution.sources.position(problem.location).to_string(), "clusters.toml:8:18");
    assert_eq!(resolution.sources.position(problem.secondary[0].0).to_string(), "clusters.toml:6:9");
    // In namespaces as well.
    let there = format!("namespaces = [{{ names = ['apps'], rules = [{RULE}] }}]\n");
    check(&with("[policy]\ndeny = ['secrets-read']", &there), &[&format!("error at {RULE}: {message} [{hint}]")]);
    check(&with("[policy]\ndeny = ['escalation']", SECRETS), &[]);
}

#[test]
fn each_rule_of_the_policy_refuses_what_it_is_about() {
    let hint =
        |rule: &str| format!(" [leave it out, or name `{rule}` in `[[policy.exceptions]]` of profile `deployer`]");
    let wild = "cluster-rules = [{ api-groups = ['batch'], resources = ['jobs'], verbs = ['*'] }]\n";
    check(
        &with("[policy]\ndeny-wildcards = true", wild),
        &[&format!(
            "error at {{ api-groups = ['batch'], resources = ['jobs'], verbs = ['*'] }}: the policy's `deny-wildcards` \
             refuses what profile `deployer` allows: every verb on `jobs` of `batch`{}",
            hint("deny-wildcards")
        )],
    );
    check(
        &with("[policy]\ndeny = ['csr-approval']", "cluster-roles = ['cluster-admin']\n"),
        &[&format!(
            "error at 'cluster-admin': the policy's `csr-approval` refuses ClusterRole `cluster-admin`, which profile \
             `deployer` binds: it allows everything{}",
            hint("csr-approval")
        )],
    );
    check(
        &with(
            "[policy]\nmax-ttl = '12h'",
            "cluster-roles = ['edit']\ntoken = { ttl = '13h' }\n[profiles.viewer.token]\nttl = '12h'\n",
        ),
        &[&format!(
            "error at '13h': the policy's `max-ttl` refuses the `ttl` of profile `deployer`: it is `13h`, and at most \
             `12h` is allowed{}",
            hint("max-ttl")
        )],
    );
    let namespaced = "namespaces = [{ names = ['apps'], cluster-roles = ['edit'] }]\n";
    let refused = load(&with("[policy]\nrequire-namespace = true", namespaced));
    assert_eq!(
        summarise(&refused),
        ["error at 'view': the policy's `require-namespace` refuses rights of profile `viewer` in the whole cluster \
          [leave it out, or name `require-namespace` in `[[policy.exceptions]]` of profile `viewer`]"]
    );
}

const EXCEPTION: &str = "[policy]\ndeny = ['secrets-read']\n[[policy.exceptions]]\nprofile = 'deployer'\n\
                         rules = ['secrets-read']\nreason = 'migration'\nuntil = 2026-12-31\n";

#[test]
fn an_exception_covers_its_clusters_and_no_others() {
    let covered = load(&with(&format!("{EXCEPTION}selector = ''"), SECRETS));
    assert_eq!(summarise(&covered), Vec::<String>::new());
    let policy = covered.inventory.unwrap().policy;
    assert_eq!(policy.exceptions[0].until.to_string(), "2027-01-01T00:00:00Z");
    let message =
        "the policy's `secrets-read` refuses what profile `deployer` allows: get on secrets (clusters.toml:14:18)";
    assert_eq!(policy.waived[0].message, message);
    let partly = load(&with(&format!("{EXCEPTION}selector = 'env=dev'"), SECRETS));
    let said = summarise(&partly);
    assert!(said[0].contains("allows: get on secrets, on `eu` ["), "{said:?}");
}

#[test]
fn what_is_wrong_in_a_policy_is_said_where_it_stands() {
    let text = with("[policy]\ndeny = ['secret-read']", SECRETS);
    let said = summarise(&load(&text));
    assert!(
        said[0].starts_with("error at 'secret-read': each element of `deny` must be `secrets-read` or"),
        "{said:?}"
    );
    assert!(said[0].ends_with("[did you mean `secrets-read`?]"), "{said:?}");
    check(
        &with("[policy]\nmax-ttl = '1m'", "cluster-roles = ['edit']\ntoken.ttl = '10m'\ntoken.overlap = '1m'\n").replace("cluster-roles = ['view']", "cluster-roles = ['view']\ntoken.ttl = '10m'\ntoken.overlap = '1m'").replace("max-ttl = '1m'", "max-ttl = '5m'\n[[policy.exceptions]]\nprofile = 'deployer'\nrules = ['max-ttl']\nselector = ''\nreason = 'x'\nuntil = '2026-12-31'\n[[policy.exceptions]]\nprofile = 'viewer'\nrules = ['max-ttl']\nselector = ''\nreason = 'x'\nuntil = '2026-12-31'"),
        &["error at '5m': `max-ttl` is `5m`, and Kubernetes mints no token for less than `10m`"],
    );
    let bad =
        EXCEPTION.replace("'migration'", "' '").replace("'deployer'", "'deploier'").replace("2026-12-31", "'soon'");
    let said = summarise(&load(&with(&format!("{bad}clusters = ['mars']"), "cluster-roles = ['edit']\n")));
    for expected in [
        "error at ' ': `reason` must say why",
        "error at 'deploier': unknown profile `deploier` [did you mean `deployer`?]",
        "error at 'mars': unknown cluster `mars`",
        "error at 'soon': `until` must be a date such as `2026-12-31`, or a time such as `2026-12-31T18:00:00Z`: it is no date",
    ] {
        assert!(said.iter().any(|line| line.starts_with(expected)), "{expected}: {said:#?}");
    }
    let said = summarise(&load(&with(EXCEPTION, SECRETS)));
    assert!(said.iter().any(|line| line.contains("the exception names no clusters")), "{said:?}");
    let idle = EXCEPTION.replace("rules = ['secrets-read']", "rules = ['webhooks']");
    check(
        &with(&format!("{idle}selector = ''"), "cluster-roles = ['edit']\n"),
        &["warning at 'webhooks': the policy has no rule `webhooks`, so there is no exception from it"],
    );
}

#[test]
fn roles_that_do_not_exist_may_be_allowed_for_all_profiles() {
    let allowed = |policy: &str, profile: &str| {
        let inventory = load(&with(policy, &format!("cluster-roles = ['edit']\n{profile}"))).inventory.unwrap();
        inventory.profiles["deployer"].allow_missing_roles
    };
    assert!(!allowed("", ""));
    assert!(!allowed("[policy]\ndangling-roles = 'deny'", ""));
    assert!(allowed("[policy]\ndangling-roles = 'allow'", ""));
    assert!(allowed("[policy]\ndangling-roles = 'deny'", "allow-missing-roles = true\n"));
    assert!(!allowed("[policy]\ndangling-roles = 'allow'", "allow-missing-roles = false\n"));
}
