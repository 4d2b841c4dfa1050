"""The artifact mirror: upstream's paths, archive layouts and checksum files, filled from package registries."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from . import builder, elasticsearch, modules, packages, standins, toy
from .archives import repack, sha256, write_checksums
from .common import CACHE, Archive, LabError, digest, locked, machine, progress, run

MIRROR = CACHE / "mirror"
# Path of a pinned archive -> what was made for it, and from what.
MANIFEST = MIRROR / "manifest.json"
# Debian's Alertmanager reads default.tmpl and email.tmpl from here, where upstream's has them built in; the lab's hosts mount it.
ALERTMANAGER_TEMPLATES = CACHE / "alertmanager-templates"
FORMAT = "2"


@dataclass(frozen=True)
class Product:
    """How a product's upstream archive is made from Debian packages, or from its Go module."""

    name: str
    owner: str
    """Owner and repository on the publisher's site."""
    version: str
    suite: str
    packages: dict[str, dict[str, str]]
    """Debian package -> path in it -> name in the archive."""
    module_version: str
    programs: dict[str, str]
    """Name of a program -> its package in the Go module."""
    samples: dict[str, str] = field(default_factory=dict)
    """Path in the Go module -> name in the archive."""
    host_files: dict[str, Path] = field(default_factory=dict)
    """Path in the package -> folder of this machine that the lab's hosts mount there."""

    @property
    def module(self) -> str:
        return f"github.com/{self.owner}"

    def path(self, version: str) -> Path:
        """Return a version's path below the mirror."""
        return Path(f"github.com/{self.owner}/releases/download/v{version}/{self.folder(version)}.tar.gz")

    def folder(self, version: str) -> str:
        """Return the name of the one folder in a version's archive."""
        return f"{self.name}-{version}.linux-{machine()}"

    @property
    def key(self) -> str:
        """A hash of all that the archive depends on."""
        return digest(FORMAT, repr(self), machine())


def exporter(name: str, version: str, *, owner: str = "prometheus", suite: str = "forky", sample: str = "") -> Product:
    """Return an exporter: Debian's package is called prometheus-NAME, with dashes, its program likewise."""
    package = f"prometheus-{name.replace('_', '-')}"
    files = {f"usr/bin/{package}": name} | ({f"etc/prometheus/{sample}": sample} if sample else {})
    return Product(name, f"{owner}/{name}", version, suite, {package: files}, f"v{version}", {name: "."}, {sample: sample} if sample else {})


PRODUCTS = (
    Product(
        "prometheus", "prometheus/prometheus", "3.5.3", "forky",
        {
            "prometheus": {"usr/bin/prometheus": "prometheus", "etc/prometheus/prometheus.yml": "prometheus.yml"},
            "promtool": {"usr/bin/promtool": "promtool"},
        },
        "v0.305.3", {"prometheus": "./cmd/prometheus", "promtool": "./cmd/promtool"},
        {"documentation/examples/prometheus.yml": "prometheus.yml"},
    ),
    Product(
        "alertmanager", "prometheus/alertmanager", "0.33.1", "forky",
        {
            "prometheus-alertmanager": {
                "usr/bin/prometheus-alertmanager": "alertmanager", "usr/bin/amtool": "amtool",
                "etc/prometheus/alertmanager.yml": "alertmanager.yml",
            }
        },
        "v0.33.1", {"alertmanager": "./cmd/alertmanager", "amtool": "./cmd/amtool"},
        {"doc/examples/simple.yml": "alertmanager.yml"},
        {"usr/share/prometheus/alertmanager": ALERTMANAGER_TEMPLATES},
    ),
    exporter("node_exporter", "1.11.1"),
    # A second version, for upgrades and the way back.
    exporter("node_exporter", "1.9.0", suite="trixie"),
    exporter("blackbox_exporter", "0.28.0", sample="blackbox.yml"),
    exporter("elasticsearch_exporter", "1.10.0", owner="prometheus-community"),
)


def wanted() -> bool:
    """Whether the lab serves its own artifacts; with LAB_ARTIFACTS=upstream the hosts fetch the publishers' own."""
    return os.environ.get("LAB_ARTIFACTS", "") != "upstream"


def ensure() -> None:
    """Make what the mirror lacks, all of it."""
    if not wanted():
        return
    ensure_packaged()
    with locked("built"):
        for part in (elasticsearch, modules, standins, packages):
            part.ensure(MIRROR)


def ensure_packaged() -> None:
    """Make what the mirror lacks of that which Debian has as a program: the checkers of rules and routes among them. No engine is needed."""
    if not wanted():
        return
    MIRROR.mkdir(parents=True, exist_ok=True)
    with locked("mirror"):
        manifest = read_manifest()
        missing = [product for product in PRODUCTS if not _is_made(product, manifest)]
        if missing:
            with progress(f"artifacts of {', '.join(sorted({product.name for product in missing}))}"):
                _make_all(missing, manifest)
        toy.ensure(MIRROR, machine())
        _say_what_is_not_as_pinned(manifest)


def read_manifest() -> dict[str, dict[str, str]]:
    """Return path of a pinned archive -> {key, archive, source, sha256}."""
    return json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}


def inventory() -> str:
    """Return what the mirror holds and where it is from, as lines."""
    return "\n".join(f"{entry['archive']}  ({entry['source']})" for _path, entry in sorted(read_manifest().items()))


def _is_made(product: Product, manifest: dict[str, dict[str, str]]) -> bool:
    entry = manifest.get(str(product.path(product.version)))
    return bool(entry) and entry["key"] == product.key and (MIRROR / entry["archive"]).exists()


def _make_all(products: list[Product], manifest: dict[str, dict[str, str]]) -> None:
    apts: dict[str, _Apt] = {}
    for product in products:
        if product.suite not in apts:
            apts[product.suite] = _Apt(product.suite)
        manifest[str(product.path(product.version))] = _make(product, apts[product.suite])
        # After each: a run that is broken off keeps what it has made.
        part = MANIFEST.with_suffix(".part")
        part.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        part.replace(MANIFEST)


def _say_what_is_not_as_pinned(manifest: dict[str, dict[str, str]]) -> None:
    for product in PRODUCTS:
        entry = manifest.get(str(product.path(product.version)), {})
        if entry and entry["archive"] != str(product.path(product.version)):
            print(
                f"lab: WARNING: {product.name} {product.version} is not to be had. The mirror has {entry['archive']} instead: "
                f"set {product.name}_version in group_vars/all/versions.yml to that version",
                file=sys.stderr, flush=True,
            )


def _make(product: Product, apt: _Apt) -> dict[str, str]:
    """Make a product's archive: of the pinned package, else of the Go module, else of the suite's version. Return its line of the manifest."""
    reasons = []
    for make in (_from_pinned_packages, _from_module, _from_suites_packages):
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="product-") as name:
            content = Path(name) / "content"
            content.mkdir()
            try:
                version, source = make(product, apt, content)
            except LabError as error:
                print(f"lab: {product.name} {product.version}: {error}", file=sys.stderr, flush=True)
                reasons.append(str(error))
                continue
            with (content / "NOTICE").open("a") as notice:
                notice.write(f"\n{product.name} {version}, repacked for Observatory's lab from {source}.\n")
            target = MIRROR / product.path(version)
            repack(content, target, product.folder(version))
        write_checksums(target.parent)
        return {"key": product.key, "archive": str(product.path(version)), "source": source, "sha256": sha256(target)}
    raise LabError(f"{product.name} {product.version} can be had from nowhere:\n" + "\n".join(reasons))


class _Apt:
    """A private apt: another suite's packages without a change to this machine's."""

    def __init__(self, suite: str):
        self.suite = suite
        self.folder = CACHE / "apt" / suite
        self.updated = False
        sources = self.folder / "sources.list"
        # The packages are unpacked, never installed: what this machine has or pins does not matter. apt's download user may
        # not be able to read below root's home.
        self.options = [
            f"-oDir::Etc::SourceList={sources}", "-oDir::Etc::SourceParts=/dev/null", "-oDir::Etc::Preferences=/dev/null",
            f"-oDir::Etc::PreferencesParts={self.folder}/preferences.d", f"-oDir::State::Lists={self.folder}/lists",
            f"-oDir::Cache={self.folder}", f"-oDir::Cache::Archives={self.folder}/archives", "-oDir::State::status=/dev/null",
            "-oAPT::Sandbox::User=root", "-oAcquire::Languages=none",
        ]

    def _update(self) -> None:
        if self.updated:
            return
        for name in ("lists/partial", "archives/partial", "preferences.d"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        archive = Archive.of_this_machine()
        (self.folder / "sources.list").write_text(f"deb {archive.source_options} {archive.uri} {self.suite} main\n")
        run(["apt-get", *self.options, "update", "-q"])
        self.updated = True

    def versions(self, package: str) -> list[str]:
        """Return the versions that the suite has, newest first."""
        self._update()
        found = run(["apt-cache", *self.options, "madison", package]).stdout
        return [line.split("|")[1].strip() for line in found.splitlines()]

    def unpack(self, package: str, version: str, root: Path) -> None:
        """Fetch a package and unpack it into `root`."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="deb-") as name:
            run(["apt-get", *self.options, "download", "-q", f"{package}={version}"], cwd=name)
            run(["dpkg-deb", "-x", str(next(Path(name).glob("*.deb"))), str(root)])


def upstream_version(debian_version: str) -> str:
    """Return the publisher's version in a Debian version: `2:3.5.3+ds1-6` -> `3.5.3`."""
    return debian_version.split(":", 1)[-1].rsplit("-", 1)[0].split("+", 1)[0]


def _from_pinned_packages(product: Product, apt: _Apt, content: Path) -> tuple[str, str]:
    return _from_packages(product, apt, content, product.version)


def _from_suites_packages(product: Product, apt: _Apt, content: Path) -> tuple[str, str]:
    versions = apt.versions(next(iter(product.packages)))
    if not versions:
        raise LabError(f"Debian {product.suite} does not have it at all")
    return _from_packages(product, apt, content, upstream_version(versions[0]))


def _from_packages(product: Product, apt: _Apt, content: Path, version: str) -> tuple[str, str]:
    """Fill `content` from Debian's packages; return the version and where it is from, raises LabError when the suite has another one."""
    root, source = content.parent / "root", ""
    for package, files in product.packages.items():
        versions = apt.versions(package)
        match = next((candidate for candidate in versions if upstream_version(candidate) == version), None)
        if not match:
            raise LabError(f"Debian {product.suite} has {package} {', '.join(versions) or 'in no version'}")
        source = source or f"Debian {product.suite}, package {package} {match}"
        apt.unpack(package, match, root)
        for path, name in files.items():
            shutil.copy(root / path, content / name)
    papers = root / "usr/share/doc" / next(iter(product.packages))
    shutil.copy(papers / "copyright", content / "LICENSE")
    if (papers / "NOTICE").exists():
        shutil.copy(papers / "NOTICE", content / "NOTICE")
    for path, folder in product.host_files.items():
        # Never removed: running hosts have the folder mounted.
        shutil.copytree(root / path, folder, dirs_exist_ok=True)
    return version, source


def _from_module(product: Product, _apt: _Apt, content: Path) -> tuple[str, str]:
    """Fill `content` from the Go module."""
    module = f"{product.module}@{product.module_version}"
    flags = f"-s -w -X github.com/prometheus/common/version.Version={product.version}"
    script = [
        *builder.module(module),
        *(f"go build -trimpath -ldflags '{flags}' -o /out/{name} {package}" for name, package in product.programs.items()),
        *(f"cp {path} /out/{name}" for path, name in {"LICENSE": "LICENSE", "NOTICE": "NOTICE", **product.samples}.items()),
    ]
    builder.build(script, content, module)
    return product.version, f"Go module {module}"
