"""Compiles what no registry has as a program, in a container of the hosts' Debian, so that this machine needs no compiler."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from . import engine, image
from .common import CACHE, Archive, LabError, digest, docker, docker_program, locked, progress, run

SUITE = "trixie"
PACKAGES = ("golang-go", "gcc", "libc6-dev", "git", "nodejs", "npm", "openjdk-21-jdk-headless")
# What a builder must know of this machine's way to the registries; passed by name, so that no value shows in a process list.
ENVIRONMENT = (
    "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOFLAGS", "NPM_CONFIG_REGISTRY",
    *(name for word in ("HTTP", "HTTPS", "NO") for name in (f"{word}_PROXY", f"{word}_PROXY".lower())),
)
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
INSTALL = "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends " + " ".join(PACKAGES)
# The archive that the image's hosts do not have: they get packages from the lab's mirror.
SOURCE = "echo 'deb {uri} {suite} main' > /etc/apt/sources.list && "


def ensure() -> str:
    """Return the name of the builder's image, made when the engine does not have it."""
    engine.ensure()
    base = image.ensure(SUITE)
    name = f"observatory-lab:builder-{digest(base, INSTALL)}"
    with locked("builder"):
        if not docker("images", "--quiet", name, check=False):
            with progress(f"builder with {', '.join(PACKAGES)} (about a minute)"):
                script = SOURCE.format(uri=Archive.of_this_machine().uri, suite=SUITE) + INSTALL
                container = docker("run", "--detach", *_ways_out(), base, "sh", "-ec", script)
                try:
                    if docker("wait", container) != "0":
                        raise LabError("the builder cannot be made:\n" + run([docker_program(), "logs", "--tail", "8", container], check=False).stdout)
                    docker("commit", container, name)
                finally:
                    docker("rm", "--force", container, check=False)
    return name


def build(script: list[str], out: Path, what: str) -> None:
    """Run a shell script in the builder with `out` at /out, the modules' cache in its home; raises LabError with its last lines."""
    home = CACHE / "go"
    home.mkdir(parents=True, exist_ok=True)
    # The modules say which Go they need; Debian's fetches that one, as a module too.
    head = ["export HOME=/go-home GOTOOLCHAIN=auto CGO_ENABLED=0"]
    run_in(ensure(), head + script, out, f"build {what} (minutes)", "-v", f"{home}:/go-home")


def run_in(name: str, script: list[str], out: Path, what: str, *options: str) -> None:
    """Run a shell script in a container of an image, with `out` at /out; raises LabError with its last lines."""
    argv = [docker_program(), "run", "--rm", "-i", *_ways_out(), "-v", f"{out}:/out", *options, name, "nice", "sh"]
    with progress(what):
        done = subprocess.run(argv, input="\n".join(["set -eu", *script]), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{what}: failed\n" + "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:]))


def module(name: str) -> list[str]:
    """Return the script's lines that put a Go module, `path@version`, writable into /tmp/module, and go there.

    Built as the main module its own go.sum and `replace` lines count, so every module that takes part is the one that its authors took.
    """
    return [
        "mkdir /tmp/get && cd /tmp/get",
        f"go mod download -json {name} > module.json",
        "folder=$(sed -n 's/.*\"Dir\": \"\\(.*\\)\".*/\\1/p' module.json)",
        'cp -r "$folder" /tmp/module && chmod -R u+w /tmp/module && cd /tmp/module',
    ]


def _ways_out() -> list[str]:
    argv = ["--network", "host"]
    for name in ENVIRONMENT:
        argv += ["-e", name] if name in os.environ else []
    if BUNDLE.exists():
        argv += ["-v", f"{BUNDLE}:{BUNDLE}:ro", "-e", f"SSL_CERT_FILE={BUNDLE}", "-e", f"NODE_EXTRA_CA_CERTS={BUNDLE}"]
    return argv
