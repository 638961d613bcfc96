//! The objects by which consumers find Secrets: on both fleets, with the cluster as its own hub.

use kubemint_testkit::{Admin, TestCluster, User};
use serde_json::{Value, json};

use crate::delivering::path;
use crate::support::{Machine, changes};

/// Passes the scenarios to a macro, so that none can be left out on one fleet.
macro_rules! every_registration {
    ($run:ident) => {
        $run!(
            sveltos_finds_its_secret,
            calico_finds_its_secret,
            a_registration_of_somebody_else_blocks,
            an_access_provider_stands_beside_others,
        );
    };
}
pub(crate) use every_registration;

const PROFILE: &str = "
[profiles.reader]
cluster-rules = [{ api-groups = [''], resources = ['pods'], verbs = ['get', 'list'] }]
[[grants]]
profile = 'reader'
selector = ''
";

/// Writes an inventory with one output that registers its Secret.
fn inventory(machine: &Machine, cluster: &TestCluster, (name, kind): (&str, &str), more: &str) {
    let output = format!(
        "[[outputs]]\nkind = '{kind}'\nadmin = {{ cluster = '{}' }}\nnamespace = '{name}'\n\
         create-namespaces = true\n{more}\n",
        cluster.name
    );
    machine.inventory(name, &format!("{PROFILE}{output}"));
}

/// The types, with the fields that matter here, as their projects define them.
fn crds() -> Vec<Value> {
    let text = json!({ "type": "string" });
    let object = |fields: Value| json!({ "type": "object", "properties": fields });
    let sveltos = object(json!({ "kubeconfigName": text, "kubeconfigKeyName": text, "paused": { "type": "boolean" } }));
    let calico = object(json!({
        "clusterAccessSecret": object(json!({ "kind": text, "namespace": text, "name": text })),
        "syncOptions": {
            "type": "object", "default": { "overlayRoutingMode": "Disabled" }, "properties": { "overlayRoutingMode": text },
        },
    }));
    let extension = json!({ "type": "object", "required": ["name", "extension"], "properties": {
        "name": text, "extension": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
    }});
    let cluster = json!({ "type": "object", "required": ["server"], "properties": {
        "server": text, "certificate-authority-data": { "type": "string", "format": "byte" }, "tls-server-name": text,
        "proxy-url": text, "extensions": { "type": "array", "items": extension },
    }});
    let provider =
        json!({ "type": "object", "required": ["name"], "properties": { "name": text, "cluster": cluster } });
    let version = object(json!({ "kubernetes": text }));
    let manager = object(json!({ "name": text }));
    let crd = |(group, version, kind, plural): (&str, &str, &str, &str), scope: &str, spec: Value, status: Value| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.{group}"), "annotations": {
                // What is defined in a group of Kubernetes itself says where that was approved.
                "api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/pull/4322",
            } },
            "spec": { "group": group, "scope": scope,
                "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") },
                "versions": [{ "name": version, "served": true, "storage": true, "subresources": { "status": {} },
                    "schema": { "openAPIV3Schema": object(json!({ "spec": spec, "status": status })) } }],
            },
        })
    };
    vec![
        crd(
            ("lib.projectsveltos.io", "v1beta1", "SveltosCluster", "sveltosclusters"),
            "Namespaced",
            sveltos,
            object(json!({})),
        ),
        crd(
            ("projectcalico.org", "v3", "RemoteClusterConfiguration", "remoteclusterconfigurations"),
            "Cluster",
            calico,
            object(json!({})),
        ),
        crd(
            ("multicluster.x-k8s.io", "v1alpha1", "ClusterProfile", "clusterprofiles"),
            "Namespaced",
            object(json!({ "displayName": text, "clusterManager": manager })),
            object(json!({ "version": version, "accessProviders": { "type": "array", "items": provider } })),
        ),
    ]
}

/// Installs the types where they are not built in, and waits until they are served.
#[track_caller]
pub(crate) fn install(admin: &Admin) {
    for crd in crds() {
        let [group, plural] = [&crd["spec"]["group"], &crd["spec"]["names"]["plural"]].map(|it| it.as_str().unwrap());
        let list = format!("/apis/{group}/{}/{plural}", crd["spec"]["versions"][0]["name"].as_str().unwrap());
        if admin.get(&list).is_ok() {
            continue;
        }
        let created = admin.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd);
        assert!(created.as_ref().err().is_none_or(|status| status.code == 409), "{created:?}");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while admin.get(&list).is_err() {
            assert!(std::time::Instant::now() < deadline, "{list} is not served");
        }
    }
}

fn sveltos(namespace: &str, name: &str) -> String {
    format!("/apis/lib.projectsveltos.io/v1beta1/namespaces/{namespace}/sveltosclusters/{name}")
}

fn profile(namespace: &str, name: &str) -> String {
    format!("/apis/multicluster.x-k8s.io/v1alpha1/namespaces/{namespace}/clusterprofiles/{name}")
}

const CALICO: &str = "/apis/projectcalico.org/v3/remoteclusterconfigurations";

/// Creates ClusterProfiles, as a cluster manager does.
pub(crate) fn profile_objects(admin: &Admin, namespace: &str, names: &[&str]) {
    let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
    admin.create("/api/v1/namespaces", &object).unwrap();
    for name in names {
        let object = json!({
            "apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ClusterProfile",
            "metadata": { "name": name, "namespace": namespace }, "spec": { "clusterManager": { "name": "acme" } },
        });
        admin.create(&profile(namespace, "").replace("clusterprofiles/", "clusterprofiles"), &object).unwrap();
    }
}

fn is_gone(admin: &Admin, path: &str) -> bool {
    admin.get(path).is_err_and(|status| status.code == 404)
}

/// A machine, and an admin who has installed the types.
fn begin(cluster: &TestCluster) -> (Machine, Admin) {
    let machine = Machine::new(&[cluster], User::Admin);
    let admin = machine.admin(0);
    install(&admin);
    (machine, admin)
}

pub(crate) fn sveltos_finds_its_secret(cluster: &TestCluster) {
    let (machine, admin) = begin(cluster);
    let of = ("sveltos", "sveltos");
    let registers = "options = { register = '{cluster}' }\nlabels = { env = '{labels.env}', tier = 'one' }";
    inventory(&machine, cluster, of, registers);
    let plan = machine.kubemint(&["plan", "-o", "json"]).exits(0).report();
    let created = format!("created with `kubeconfig`, and named by SveltosCluster `sveltos/{}`", cluster.name);
    assert!(plan.to_string().contains(&created), "{plan:#}");
    assert!(is_gone(&admin, &sveltos("sveltos", &cluster.name)), "a plan writes nothing");

    machine.expect(0, &["apply", "--yes"]);
    let registered = || admin.get(&sveltos("sveltos", &cluster.name)).unwrap();
    let secret = format!("{}-sveltos-kubeconfig", cluster.name);
    let first = registered();
    assert_eq!(first["spec"], json!({ "kubeconfigName": secret, "kubeconfigKeyName": "kubeconfig" }));
    let labels = &first["metadata"]["labels"];
    assert_eq!((&labels["env"], &labels["tier"]), (&json!("test"), &json!("one")));
    let again = machine.kubemint(&["apply", "--yes"]).exits(0);
    assert!(again.stdout.contains("up to date"), "{}", again.stdout);
    machine.expect(0, &["refresh", "--force"]);
    machine.expect(0, &["verify"]);
    assert_eq!(registered(), first, "a rotation is nothing to it");

    // Labels follow the inventory; what others wrote there stays.
    let more = json!({ "metadata": { "labels": { "team": "a" } }, "spec": { "paused": true } });
    admin.merge_patch(&sveltos("sveltos", &cluster.name), &more).unwrap();
    machine.expect(0, &["plan", "--check"]);
    inventory(&machine, cluster, of, &registers.replace("tier = 'one'", "ring = 'two'"));
    let report = machine.kubemint(&["apply", "--yes", "-o", "json"]).exits(0).report();
    assert_eq!(changes(&report, 0), ["write reader"], "{report:#}");
    let labels = registered()["metadata"]["labels"].clone();
    assert_eq!([&labels["ring"], &labels["team"], &labels["tier"]], [&json!("two"), &json!("a"), &Value::Null]);
    assert_eq!(registered()["spec"]["paused"], true);

    // Drift is shown and repaired, with the credential that is there.
    let secret_before = admin.get(&path("sveltos", &secret)).unwrap();
    let elsewhere = json!({ "spec": { "kubeconfigName": "another" } });
    admin.merge_patch(&sveltos("sveltos", &cluster.name), &elsewhere).unwrap();
    let plan = machine.kubemint(&["plan", "--check", "-o", "json"]).exits(4).report();
    let field = format!("SveltosCluster sveltos/{} spec.kubeconfigName", cluster.name);
    assert!(plan.to_string().contains(&field), "{plan:#}");
    machine.expect(4, &["verify"]);
    machine.expect(0, &["apply", "--yes"]);
    assert_eq!(registered()["spec"]["kubeconfigName"], secret.as_str());
    admin.delete(&sveltos("sveltos", &cluster.name)).unwrap();
    machine.expect(4, &["plan", "--check"]);
    machine.expect(0, &["apply", "--yes"]);
    assert_eq!(registered()["spec"]["kubeconfigName"], secret.as_str());
    assert_eq!(admin.get(&path("sveltos", &secret)).unwrap(), secret_before);

    // Another name leaves nothing behind, and no name leaves the Secret alone.
    inventory(&machine, cluster, of, "options = { register = 'x-{cluster}' }");
    machine.expect(0, &["apply", "--yes"]);
    let renamed = sveltos("sveltos", &format!("x-{}", cluster.name));
    assert!(is_gone(&admin, &sveltos("sveltos", &cluster.name)) && admin.get(&renamed).is_ok());
    inventory(&machine, cluster, of, "");
    machine.expect(0, &["apply", "--yes"]);
    assert!(is_gone(&admin, &renamed) && admin.get(&path("sveltos", &secret)).is_ok());
    inventory(&machine, cluster, of, registers);
    machine.expect(0, &["apply", "--yes"]);
    machine.expect(0, &["revoke", "--access", "--yes"]);
    assert!(is_gone(&admin, &sveltos("sveltos", &cluster.name)) && is_gone(&admin, &path("sveltos", &secret)));
}

pub(crate) fn calico_finds_its_secret(cluster: &TestCluster) {
    let (machine, admin) = begin(cluster);
    inventory(&machine, cluster, ("calico", "calico"), "options = { register = '{cluster}' }");
    machine.expect(0, &["apply", "--yes"]);
    let object = format!("{CALICO}/{}", cluster.name);
    let secret = json!({ "kind": "Secret", "namespace": "calico", "name": format!("remote-{}", cluster.name) });
    assert_eq!(admin.get(&object).unwrap()["spec"]["clusterAccessSecret"], secret);
    admin.merge_patch(&object, &json!({ "spec": { "syncOptions": { "overlayRoutingMode": "Enabled" } } })).unwrap();
    machine.expect(0, &["plan", "--check"]);
    machine.expect(0, &["refresh", "--force"]);
    assert_eq!(admin.get(&object).unwrap()["spec"]["syncOptions"]["overlayRoutingMode"], "Enabled");
    machine.expect(0, &["revoke", "--access", "--yes"]);
    assert!(is_gone(&admin, &object));
}

pub(crate) fn a_registration_of_somebody_else_blocks(cluster: &TestCluster) {
    let (machine, admin) = begin(cluster);
    let (namespace, name) = ("theirs", cluster.name.as_str());
    let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
    admin.create("/api/v1/namespaces", &object).unwrap();
    let theirs = json!({
        "apiVersion": "lib.projectsveltos.io/v1beta1", "kind": "SveltosCluster",
        "metadata": { "name": name, "namespace": namespace }, "spec": { "kubeconfigName": "theirs" },
    });
    let collection = format!("/apis/lib.projectsveltos.io/v1beta1/namespaces/{namespace}/sveltosclusters");
    let before = admin.create(&collection, &theirs).unwrap();
    inventory(&machine, cluster, (namespace, "sveltos"), "options = { register = '{cluster}' }");
    let refused = machine.kubemint(&["apply", "--adopt", "--yes"]).exits(5);
    let message = format!(
        "SveltosCluster `{namespace}/{name}` exists, its `spec.kubeconfigKeyName` is null, and kubemint did not make it"
    );
    assert!(refused.stderr.contains(&message), "{}", refused.stderr);
    let secret = format!("{name}-sveltos-kubeconfig");
    assert!(is_gone(&admin, &path(namespace, &secret)), "nothing was minted for it");
    assert_eq!(admin.get(&sveltos(namespace, name)).unwrap(), before);

    // Whoever made it: one that names the Secret is right, and stays when that goes.
    let right = json!({ "spec": { "kubeconfigName": secret, "kubeconfigKeyName": "kubeconfig" } });
    let right = admin.merge_patch(&sveltos(namespace, name), &right).unwrap();
    machine.expect(0, &["apply", "--yes"]);
    let again = machine.kubemint(&["apply", "--yes"]).exits(0);
    assert!(again.stdout.contains("up to date"), "{}", again.stdout);
    machine.expect(0, &["revoke", "--access", "--yes"]);
    assert!(is_gone(&admin, &path(namespace, &secret)));
    assert_eq!(admin.get(&sveltos(namespace, name)).unwrap(), right);
}

pub(crate) fn an_access_provider_stands_beside_others(cluster: &TestCluster) {
    let (machine, admin) = begin(cluster);
    let of = ("inventories", "cluster-profile");
    let options =
        |more: &str| format!("options = {{ register = 'p-{{cluster}}', register-namespace = 'default'{more} }}");
    inventory(&machine, cluster, of, &options(""));
    let refused = machine.kubemint(&["apply", "--yes"]).exits(5);
    let object = format!("p-{}", cluster.name);
    let message = format!("ClusterProfile `default/{object}` does not exist");
    assert!(refused.stderr.contains(&message), "{}", refused.stderr);

    let wanted = json!({
        "apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ClusterProfile",
        "metadata": { "name": object, "namespace": "default", "labels": { "x-k8s.io/cluster-manager": "acme" } },
        "spec": { "displayName": object, "clusterManager": { "name": "acme" } },
    });
    admin.create("/apis/multicluster.x-k8s.io/v1alpha1/namespaces/default/clusterprofiles", &wanted).unwrap();
    let status = format!("{}/status", profile("default", &object));
    let google = json!({ "name": "google", "cluster": { "server": "https://gke.example.com" } });
    let theirs = json!({ "status": { "version": { "kubernetes": "v1.37.0" }, "accessProviders": [google] } });
    admin.merge_patch(&status, &theirs).unwrap();
    machine.expect(0, &["apply", "--yes"]);
    let now = || admin.get(&profile("default", &object)).unwrap();
    let first = now();
    assert_eq!(first["status"]["version"]["kubernetes"], "v1.37.0");
    let providers = first["status"]["accessProviders"].as_array().unwrap();
    assert_eq!((providers.len(), &providers[0]), (2, &google));
    let ours = &providers[1];
    assert_eq!((&ours["name"], &ours["cluster"]["server"]), (&json!("secretreader"), &json!(cluster.server)));
    assert_eq!(ours["cluster"]["extensions"][0]["name"], "client.authentication.k8s.io/exec");
    assert_eq!(ours["cluster"]["extensions"][0]["extension"], json!({ "clusterName": cluster.name }));
    let again = machine.kubemint(&["apply", "--yes"]).exits(0);
    assert!(again.stdout.contains("up to date"), "{}", again.stdout);
    machine.expect(0, &["refresh", "--force"]);
    machine.expect(0, &["verify"]);
    assert_eq!(now(), first);

    // Its manager writes the whole list again, and drops what it does not know.
    admin.merge_patch(&status, &theirs).unwrap();
    machine.expect(4, &["plan", "--check"]);
    machine.expect(0, &["apply", "--yes"]);
    assert_eq!(now()["status"], first["status"]);

    // The other plugin is another access provider.
    inventory(&machine, cluster, of, &options(", reader = 'kubeconfig-secretreader'"));
    machine.expect(0, &["apply", "--yes"]);
    let status_now = now()["status"]["accessProviders"].clone();
    assert_eq!(status_now.as_array().unwrap().len(), 2, "{status_now:#}");
    let config = json!({
        "name": cluster.name, "namespace": "inventories", "key": "kubeconfig", "context": cluster.name,
    });
    assert_eq!(status_now[1]["cluster"]["extensions"][0]["extension"], config);
    machine.expect(0, &["revoke", "--access", "--yes"]);
    assert_eq!(now()["status"]["accessProviders"], json!([google]));
    assert!(is_gone(&admin, &path("inventories", &cluster.name)));
}
