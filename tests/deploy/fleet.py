"""Lays out what the kubelet would mount for a pod, below the root directory that the image was unpacked into.

    fleet.py ROOT ADMIN-KUBECONFIG TOKEN INVENTORY

The first cluster of the kubeconfig is the one that the pod runs in, the second one is `prod-eu`, under a name that only
/etc/hosts knows. Prints the host and the port of the first. Needs PyYAML.
"""

import base64
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import yaml

USER = 65532
NAME = "prod-eu.example.com"


def place(path, text, mode):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    # As the kubelet does with fsGroup: of root, and readable for the group of the pod.
    os.chown(path, 0, USER)
    path.chmod(mode)


def mount(directory, files, mode):
    """Writes files as the kubelet does: `..data` leads to a directory, and each name leads through it."""
    for name, text in files.items():
        place(directory / "..first" / name, text, mode)
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")
    if not (directory / "..data").is_symlink():
        (directory / "..data").symlink_to("..first")


def main(root, admin, token, inventory):
    config = yaml.safe_load(admin.read_text())

    def part(kind, name):
        return next(each[kind] for each in config[kind + "s"] if each["name"] == name)

    here, there = (each["context"] for each in config["contexts"][:2])
    own, other = part("cluster", here["cluster"]), part("cluster", there["cluster"])
    address = urlsplit(other["server"])
    other = {**other, "server": f"https://{NAME}:{address.port}", "tls-server-name": address.hostname}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "prod-eu", "cluster": other}],
        "users": [{"name": "prod-eu", "user": part("user", there["user"])}],
        "contexts": [{"name": "prod-eu", "context": {"cluster": "prod-eu", "user": "prod-eu"}}],
    }
    pod = root / "var/run/secrets/kubernetes.io/serviceaccount"
    authority = base64.b64decode(own["certificate-authority-data"]).decode()
    mount(pod, {"token": token.read_text().strip(), "ca.crt": authority}, 0o440)
    mount(root / "etc/kubemint/admin", {"kubeconfig": yaml.safe_dump(kubeconfig)}, 0o440)
    text = inventory.read_text().replace("https://here.example.com:6443", own["server"])
    mount(root / "etc/kubemint/inventory", {"clusters.toml": text}, 0o644)
    place(root / "etc/hosts", f"127.0.0.1 localhost\n{address.hostname} {NAME}\n", 0o644)
    place(root / "etc/resolv.conf", "", 0o644)
    cache = root / "var/cache/kubemint"
    cache.mkdir(parents=True, exist_ok=True)
    # An emptyDir with fsGroup.
    os.chown(cache, 0, USER)
    cache.chmod(0o2777)
    server = urlsplit(own["server"])
    print(server.hostname, server.port)


if len(sys.argv) != 5:
    sys.exit(__doc__)
main(*map(Path, sys.argv[1:]))
