"""The artifact mirror: upstream's paths, archive layouts and checksum files, filled from package registries."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from . import image
from .common import CACHE, Archive, LabError, digest, docker_program, locked, progress, run

MIRROR = CACHE / "mirror"
# Debian's Alertmanager reads its default templates from here, where upstream's has them built in; the lab's hosts mount it.
ALERTMANAGER_TEMPLATES = CACHE / "alertmanager-templates"
GITHUB = "github.com/{owner}/releases/download/v{version}"
FORMAT = 1


@dataclass(frozen=True)
class Product:
    """How a product's upstream archive is made from a Debian package, or from its Go module."""

    name: str
    owner: str
    version: str
    suite: str
    packages: dict[str, dict[str, str]]
    module: str
    module_version: str
    programs: dict[str, str]
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.version}.linux-{machine()}"

    @property
    def path(self) -> Path:
        """The archive's path below the mirror."""
        return Path(GITHUB.format(owner=self.owner, version=self.version)) / f"{self.folder}.tar.gz"


PRODUCTS = (
    Product(
        "prometheus", "prometheus/prometheus", "3.5.3", "forky",
        {"prometheus": {"usr/bin/prometheus": "prometheus"}, "promtool": {"usr/bin/promtool": "promtool"}},
        "github.com/prometheus/prometheus", "v0.305.3", {"prometheus": "./cmd/prometheus", "promtool": "./cmd/promtool"},
    ),
    Product(
        "alertmanager", "prometheus/alertmanager", "0.33.1", "forky",
        {"prometheus-alertmanager": {"usr/bin/prometheus-alertmanager": "alertmanager", "usr/bin/amtool": "amtool"}},
        "github.com/prometheus/alertmanager", "v0.33.1", {"alertmanager": "./cmd/alertmanager", "amtool": "./cmd/amtool"},
        {"usr/share/prometheus/alertmanager": "alertmanager-templates"},
    ),
    Product(
        "node_exporter", "prometheus/node_exporter", "1.11.1", "forky",
        {"prometheus-node-exporter": {"usr/bin/prometheus-node-exporter": "node_exporter"}},
        "github.com/prometheus/node_exporter", "v1.11.1", {"node_exporter": "."},
    ),
    # A second version, for upgrades and the way back.
    Product(
        "node_exporter", "prometheus/node_exporter", "1.9.0", "trixie",
        {"prometheus-node-exporter": {"usr/bin/prometheus-node-exporter": "node_exporter"}},
        "github.com/prometheus/node_exporter", "v1.9.0", {"node_exporter": "."},
    ),
    Product(
        "blackbox_exporter", "prometheus/blackbox_exporter", "0.28.0", "forky",
        {"prometheus-blackbox-exporter": {"usr/bin/prometheus-blackbox-exporter": "blackbox_exporter"}},
        "github.com/prometheus/blackbox_exporter", "v0.28.0", {"blackbox_exporter": "."},
    ),
    Product(
        "elasticsearch_exporter", "prometheus-community/elasticsearch_exporter", "1.10.0", "forky",
        {"prometheus-elasticsearch-exporter": {"usr/bin/prometheus-elasticsearch-exporter": "elasticsearch_exporter"}},
        "github.com/prometheus-community/elasticsearch_exporter", "v1.10.0", {"elasticsearch_exporter": "."},
    ),
)


def machine() -> str:
    """Return the publishers' word for this machine's architecture."""
    return {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def wanted() -> bool:
    """Whether the lab serves its own artifacts; with LAB_ARTIFACTS=upstream the hosts fetch the publishers' own."""
    return os.environ.get("LAB_ARTIFACTS", "") != "upstream"


def ensure() -> None:
    """Make what the mirror lacks."""
    if not wanted():
        return
    MIRROR.mkdir(parents=True, exist_ok=True)
    with locked("mirror"):
        _ensure()


def _ensure() -> None:
    missing = [product for product in PRODUCTS if not _is_made(product)]
    if missing:
        with progress(f"artifacts of {', '.join(sorted({product.name for product in missing}))}"):
            suites = {product.suite for product in missing}
            apt = {suite: _Apt(suite) for suite in sorted(suites)}
            for product in missing:
                _make(product, apt[product.suite])
    _make_beacon()


def repack(source: Path, target: Path, folder: str) -> None:
    """Write the folder `source` as a .tar.gz with one top folder; the same content gives the same bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".part")
    with temporary.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for path in [source, *sorted(source.rglob("*"))]:
            relative = path.relative_to(source)
            entry = tar.gettarinfo(str(path), str(Path(folder) / relative) if str(relative) != "." else folder)
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = "root"
            entry.mtime = 0
            if entry.isfile():
                with path.open("rb") as handle:
                    tar.addfile(entry, handle)
            else:
                tar.addfile(entry)
    temporary.replace(target)


def write_checksums(folder: Path, name: str = "sha256sums.txt", wrong: frozenset[str] = frozenset()) -> None:
    """Write the checksum file of all archives in a folder, as the publishers do; `wrong` names get a false hash."""
    lines = []
    for path in sorted(folder.glob("*.tar.gz")):
        value = hashlib.sha256(path.read_bytes()).hexdigest() if path.name not in wrong else "0" * 64
        lines.append(f"{value}  {path.name}\n")
    (folder / name).write_text("".join(lines))


class _Apt:
    """A private apt: another suite's packages without a change to this machine's."""

    def __init__(self, suite: str):
        self.suite = suite
        self.folder = CACHE / "apt" / suite
        for name in ("lists/partial", "archives/partial", "preferences.d", "conf.d"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        sources = self.folder / "sources.list"
        sources.write_text(f"deb [signed-by={keyring}] {Archive.of_this_machine().uri} {suite} main\n")
        # apt's download sandbox user must be able to read the lists below root's cache.
        self.options = [
            f"-oDir::Etc::SourceList={sources}", "-oDir::Etc::SourceParts=/dev/null", f"-oDir::Etc::PreferencesParts={self.folder}/preferences.d",
            f"-oDir::State::Lists={self.folder}/lists", f"-oDir::Cache={self.folder}", f"-oDir::Cache::Archives={self.folder}/archives",
            "-oDir::State::status=/dev/null", "-oAPT::Sandbox::User=root", "-oAcquire::Languages=none",
        ]
        run(["apt-get", *self.options, "update", "-q"])

    def fetch(self, package: str, version: str) -> Path:
        """Return the .deb of the pinned upstream version; raises LabError naming the suite's version when that has gone."""
        found = run(["apt-cache", *self.options, "madison", package]).stdout
        versions = [line.split("|")[1].strip() for line in found.splitlines()]
        match = next((candidate for candidate in versions if _upstream(candidate) == version), None)
        if not match:
            raise LabError(f"{self.suite} has {package} {', '.join(versions) or 'in no version'}, not {version}")
        folder = self.folder / "debs"
        folder.mkdir(exist_ok=True)
        run(["apt-get", *self.options, "download", "-q", f"{package}={match}"], cwd=folder)
        return next(folder.glob(f"{package}_*.deb"))


def _upstream(debian_version: str) -> str:
    version = debian_version.split(":", 1)[-1].rsplit("-", 1)[0]
    return version.split("+", 1)[0]


def _key(product: Product) -> str:
    return digest(str(FORMAT), repr(product), machine())


def _is_made(product: Product) -> bool:
    stamp = MIRROR / product.path.with_name("." + product.path.name + ".key")
    return (MIRROR / product.path).exists() and stamp.exists() and stamp.read_text() == _key(product)


def _make(product: Product, apt: _Apt) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="product-") as name:
        root, content = Path(name) / "root", Path(name) / "content"
        content.mkdir()
        try:
            _from_packages(product, apt, root, content)
        except LabError as error:
            print(f"lab: {error}: building {product.module} {product.module_version} instead", file=sys.stderr, flush=True)
            _from_module(product, content)
        (content / "LICENSE").write_text("Apache License 2.0\n")
        (content / "NOTICE").write_text(f"{product.name} {product.version}, repacked for the lab\n")
        repack(content, MIRROR / product.path, product.folder)
    write_checksums((MIRROR / product.path).parent)
    (MIRROR / product.path.with_name("." + product.path.name + ".key")).write_text(_key(product))


def _from_packages(product: Product, apt: _Apt, root: Path, content: Path) -> None:
    for package, files in product.packages.items():
        deb = apt.fetch(package, product.version)
        run(["dpkg-deb", "-x", str(deb), str(root)])
        deb.unlink()
        for source, target in files.items():
            shutil.copy(root / source, content / target)
            (content / target).chmod(0o755)
    for source, target in product.extra.items():
        # Never removed: running hosts have the folder mounted.
        shutil.copytree(root / source, CACHE / target, dirs_exist_ok=True)


def _from_module(product: Product, content: Path) -> None:
    """Build the programs in a container of the lab's image, so that the controller needs no compiler."""
    script = "\n".join(
        [
            "set -eu",
            "apt-get update -q && apt-get install -q -y --no-install-recommends golang-go git >/dev/null",
            "export GOTOOLCHAIN=auto GOFLAGS=-mod=mod CGO_ENABLED=0 HOME=/tmp",
            "mkdir -p /tmp/build && cd /tmp/build",
            f"go mod download -json {product.module}@{product.module_version} > module.json",
            "source=$(sed -n 's/.*\"Dir\": \"\\(.*\\)\".*/\\1/p' module.json)",
            "cp -r \"$source\" module && chmod -R u+w module && cd module",
            *[
                f"go build -trimpath -ldflags '-s -w -X github.com/prometheus/common/version.Version={product.version}' -o /out/{name} {package}"
                for name, package in product.programs.items()
            ],
        ]
    )
    argv = [docker_program(), "run", "--rm", "--network", "host", "-v", f"{content}:/out", "-v", f"{_cache_of_go()}:/tmp/go"]
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if bundle.exists():
        argv += ["-v", f"{bundle}:{bundle}:ro", "-e", f"SSL_CERT_FILE={bundle}"]
    done = subprocess.run([*argv, "-i", image.ensure("trixie"), "sh"], input=script, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise LabError(f"{product.name} {product.version} is to be had neither as a package nor as a Go module:\n{tail}")


def _cache_of_go() -> Path:
    folder = CACHE / "go"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _make_beacon() -> None:
    """Make the archives of the toy product that the fault tests install, good ones and broken ones."""
    program = (Path(__file__).parent / "beacon" / "beacon").read_text()
    key = digest(str(FORMAT), program, machine())
    home = MIRROR / "beacon.example/releases"
    stamp = home / ".key"
    if stamp.exists() and stamp.read_text() == key:
        return
    shutil.rmtree(home, ignore_errors=True)
    for version in ("1.0.0", "1.1.0", "2.0.0", "1.9.1", "1.9.2", "1.9.3", "1.9.4", "1.9.5", "1.9.6"):
        folder = f"beacon-{version}.linux-{machine()}"
        target = home / f"v{version}" / f"{folder}.tar.gz"
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="beacon-") as name:
            content = Path(name)
            beacon = content / ("beacon" if version != "1.9.5" else "beakon")
            beacon.write_text(program.replace("@VERSION@", version))
            beacon.chmod(0o755)
            repack(content, target, folder)
        _break(version, target, folder)
        write_checksums(target.parent, wrong=frozenset({target.name}) if version == "1.9.1" else frozenset())
    stamp.write_text(key)


def _break(version: str, target: Path, folder: str) -> None:
    if version == "1.9.2":
        target.write_bytes(target.read_bytes()[:200])
    elif version in ("1.9.3", "1.9.4"):
        stray = "second-folder/file" if version == "1.9.3" else f"{folder}/../../outside"
        with tarfile.open(target, "r:gz") as tar:
            members = [(member, tar.extractfile(member).read() if member.isfile() else b"") for member in tar.getmembers()]
        with target.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
            for member, data in members:
                tar.addfile(member, io.BytesIO(data))
            entry = tarfile.TarInfo(stray)
            entry.size = 5
            tar.addfile(entry, io.BytesIO(b"stray"))


def inventory() -> str:
    """Return what the mirror holds, as JSON."""
    return json.dumps(sorted(str(path.relative_to(MIRROR)) for path in MIRROR.rglob("*.tar.gz")), indent=1)
