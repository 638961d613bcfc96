"""Unpacks an image from an OCI archive, and checks what it says: image.py ARCHIVE DIRECTORY"""

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

EXPECTED = {"usr/local/bin/kubemint": 0o555, "etc/ssl/certs/ca-certificates.crt": 0o444}
LABELS = ["title", "description", "licenses", "version", "revision"]


def fail(message):
    sys.exit(f"error: deployment: the image {message}")


def main(archive, directory):
    with tarfile.open(archive) as tar:

        def blob(descriptor):
            algorithm, digest = descriptor["digest"].split(":")
            content = tar.extractfile(f"blobs/{algorithm}/{digest}").read()
            if hashlib.new(algorithm, content).hexdigest() != digest:
                fail(f"has a damaged blob {digest}")
            return content

        index = json.load(tar.extractfile("index.json"))
        manifest = json.loads(blob(index["manifests"][0]))
        settings = json.loads(blob(manifest["config"]))["config"]
        layers = [tarfile.open(fileobj=io.BytesIO(blob(layer))) for layer in manifest["layers"]]
    if settings.get("User") != "65532:65532":
        fail(f"runs as {settings.get('User')!r}")
    if settings.get("Entrypoint") != ["/usr/local/bin/kubemint"]:
        fail(f"starts {settings.get('Entrypoint')!r}")
    for label in LABELS:
        if not settings.get("Labels", {}).get(f"org.opencontainers.image.{label}"):
            fail(f"lacks the label {label}")
    files = {}
    for layer in layers:
        for member in layer.getmembers():
            if not member.isdir():
                files[member.name.lstrip("./")] = member.mode & 0o7777
        layer.extractall(directory, filter="tar")
    # Nothing else: no shell, no passwd.
    if files != EXPECTED:
        fail(f"holds {files}, and not {EXPECTED}")


if len(sys.argv) != 3:
    sys.exit(__doc__)
main(Path(sys.argv[1]), Path(sys.argv[2]))
