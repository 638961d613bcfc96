"""Works on rendered manifests; needs PyYAML.

    manifests.py compare KUSTOMIZE HELM      fails with a difference if they say different things
    manifests.py pods MANIFESTS DIRECTORY    writes the pod template of each workload as a Pod, and spoiled ones beside it
    manifests.py words MANIFESTS             prints the arguments of the one workload, a line each
    manifests.py environment MANIFESTS       prints its environment as NAME=VALUE, a line each
    manifests.py only KIND,… MANIFESTS       prints the objects of these kinds
"""

import copy
import difflib
import json
import re
import sys
from pathlib import Path

import yaml

# What Helm says about itself, and what says nothing about the object.
OF_HELM = {"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"}
# Both append ten characters, and compute them differently.
HASHED = re.compile(r"^(kubemint-inventory)-[0-9a-z]{10}$")


def fail(message):
    sys.exit(f"error: deployment: {message}")


def read(path):
    return [document for document in yaml.safe_load_all(Path(path).read_text()) if document]


def template(document):
    """Returns the pod template of a workload, or None."""
    spec = document.get("spec", {})
    return spec.get("jobTemplate", {}).get("spec", {}).get("template") or spec.get("template")


def without_hashes(value):
    if isinstance(value, dict):
        return {key: without_hashes(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_hashes(each) for each in value]
    return HASHED.sub(r"\1", value) if isinstance(value, str) else value


def normalised(path):
    objects = {}
    for document in map(without_hashes, read(path)):
        metadata = document["metadata"]
        labels = metadata.get("labels", {})
        # Labels of Namespaces decide what may run in them; those of other objects are for people.
        kept = {key: value for key, value in labels.items() if key.startswith("pod-security.kubernetes.io/")}
        metadata.pop("labels", None)
        if kept:
            metadata["labels"] = kept
        pod = template(document)
        if pod:
            for key in OF_HELM:
                pod["metadata"].get("labels", {}).pop(key, None)
            annotations = pod["metadata"].get("annotations", {})
            for key in [key for key in annotations if key.startswith("checksum/")]:
                del annotations[key]
            if not annotations:
                pod["metadata"].pop("annotations", None)
        name = " ".join(filter(None, [document["apiVersion"], document["kind"], metadata.get("namespace"), metadata["name"]]))
        if name in objects:
            fail(f"{path}: {name} is there twice")
        objects[name] = json.dumps(document, indent=2, sort_keys=True).splitlines()
    return objects


def compare(kustomize, helm):
    one, other = normalised(kustomize), normalised(helm)
    lines = [f"only Kustomize has {name}" for name in one.keys() - other.keys()]
    lines += [f"only Helm has {name}" for name in other.keys() - one.keys()]
    for name in sorted(one.keys() & other.keys()):
        difference = list(difflib.unified_diff(one[name], other[name], f"Kustomize: {name}", f"Helm: {name}", lineterm=""))
        lines += difference
    if lines:
        fail(f"{Path(kustomize).name} and {Path(helm).name} differ:\n" + "\n".join(lines))
    print(len(one))


# Each takes away one thing that "restricted" asks for. The API server must refuse every one of them, or it judges nothing.
BREAKS = {
    "no-seccomp": lambda spec: spec["securityContext"].pop("seccompProfile"),
    "as-root": lambda spec: spec["securityContext"].update(runAsUser=0, runAsNonRoot=False),
    "escalates": lambda spec: spec["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    "capabilities": lambda spec: spec["containers"][0]["securityContext"].pop("capabilities"),
    "host-path": lambda spec: spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
}


def pods(path, directory):
    found = 0
    for document in read(path):
        pod = template(document)
        if not pod:
            continue
        found += 1
        whole = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "as-a-pod", "namespace": document["metadata"]["namespace"], "labels": pod["metadata"]["labels"]},
            "spec": pod["spec"],
        }
        written = {"good": whole}
        for name, spoil in BREAKS.items():
            written[f"bad-{name}"] = copy.deepcopy(whole)
            spoil(written[f"bad-{name}"]["spec"])
        for name, each in written.items():
            Path(directory, f"{document['kind'].lower()}-{name}.yaml").write_text(yaml.safe_dump(each))
        container = pod["spec"]["containers"][0]
        # Pod Security does not ask for these two.
        if not container["securityContext"].get("readOnlyRootFilesystem"):
            fail(f"{path}: the root file system of {document['kind']} can be written")
        if not container.get("resources", {}).get("requests"):
            fail(f"{path}: {document['kind']} requests no resources")
    if not found:
        fail(f"{path}: no workload")


def container(path):
    found = [template(document)["spec"]["containers"] for document in read(path) if template(document)]
    if len(found) != 1 or len(found[0]) != 1:
        fail(f"{path}: not one workload of one container")
    return found[0][0]


def main():
    match sys.argv[1:]:
        case ["compare", kustomize, helm]:
            compare(kustomize, helm)
        case ["pods", path, directory]:
            pods(path, directory)
        case ["words", path]:
            print("\n".join(container(path)["args"]))
        case ["environment", path]:
            # What refers to the pod's own fields, a kubelet would have to fill in.
            print("\n".join(f"{each['name']}={each['value']}" for each in container(path)["env"] if "value" in each))
        case ["only", kinds, path]:
            print(yaml.safe_dump_all([each for each in read(path) if each["kind"] in kinds.split(",")]))
        case _:
            sys.exit(__doc__)


main()
