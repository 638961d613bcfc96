"""Writes a Docker archive of an image with one program: image.py ARCHIVE NAME PROGRAM"""

import hashlib
import io
import json
import platform
import sys
import tarfile
from pathlib import Path


def add(tar, name, content, mode=0o644):
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))


def main(archive, name, program):
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        add(tar, "pause", Path(program).read_bytes(), 0o555)
    layer = written.getvalue()
    config = json.dumps({
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(archive, "w") as tar:
        for path, content in ((config_name, config), ("layer.tar", layer), ("manifest.json", manifest)):
            add(tar, path, content)


if len(sys.argv) != 4:
    sys.exit(__doc__)
main(*sys.argv[1:])
