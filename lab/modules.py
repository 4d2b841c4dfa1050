"""Products that are built from their Go modules: Jaeger, Filebeat, Grafana and json_exporter, as their publishers pack them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import builder
from .archives import is_made, mark, repack, sha256, write_checksum, write_checksums
from .common import CACHE, LabError, digest, machine

FORMAT = "1"
BUILD = "go build -trimpath"


@dataclass(frozen=True)
class Module:
    """One archive out of a Go module."""

    name: str
    version: str
    module: str
    folder: Path
    """The publisher's folder, below the mirror."""
    archive: str
    top: str
    """Name of the one folder in the archive."""
    script: tuple[str, ...]
    """Run in the module's folder; what it leaves in /out becomes the archive."""
    checksum: Callable[[Path], None]


def programs(flags: str, packages: dict[str, str]) -> tuple[str, ...]:
    """Return the script that builds programs: name -> package."""
    return tuple(f"{BUILD} -ldflags '{flags}' -o /out/{name} {package}" for name, package in packages.items())


def sha512(archive: Path) -> None:
    write_checksum(archive, "sha512")


def jaegers_list(archive: Path) -> None:
    """Jaeger's list holds all archives of the release."""
    version = archive.parent.name.removeprefix("v")
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(archive.parent.glob("*.tar.gz"))]
    (archive.parent / f"jaeger-{version}.sha256sum.txt").write_text("".join(lines))


def bare_sha256(archive: Path) -> None:
    write_checksum(archive, "sha256", bare=True)


def all_of_release(archive: Path) -> None:
    write_checksums(archive.parent)


GRAFANA_SCRIPT = (
    # Its database is SQLite, which is C.
    "export CGO_ENABLED=1",
    # Writes the code that ties the server's parts together, which the module does not hold.
    "go run github.com/google/wire/cmd/wire@v0.7.0 gen -tags oss ./pkg/server",
    "mkdir /out/bin",
    f"{BUILD} -tags oss -ldflags '-s -w -X main.version=10.0.0' -o /out/bin/grafana ./pkg/cmd/grafana",
    "cp -r conf public LICENSE /out/",
    "echo 10.0.0 > /out/VERSION",
)


def catalogue() -> tuple[Module, ...]:
    """Return what is built."""
    arch = machine()
    filebeat_arch = {"amd64": "x86_64", "arm64": "arm64"}[arch]
    jaeger = {
        "version": "2.13.0", "module": "github.com/jaegertracing/jaeger@v1.76.0",
        "folder": Path("github.com/jaegertracing/jaeger/releases/download/v2.13.0"), "checksum": jaegers_list,
    }
    version = "-s -w -X github.com/jaegertracing/jaeger/internal/version.latestVersion=v2.13.0"
    return (
        Module(
            "json_exporter", "0.7.0", "github.com/prometheus-community/json_exporter@v0.7.0",
            Path("github.com/prometheus-community/json_exporter/releases/download/v0.7.0"),
            f"json_exporter-0.7.0.linux-{arch}.tar.gz", f"json_exporter-0.7.0.linux-{arch}",
            (*programs("-s -w -X github.com/prometheus/common/version.Version=0.7.0", {"json_exporter": "."}), "cp LICENSE /out/"),
            all_of_release,
        ),
        Module(
            "filebeat", "9.0.0", "github.com/elastic/beats/v7@v7.0.0-alpha2.0.20241022170531-d2e6603d82fb",
            Path("artifacts.elastic.co/downloads/beats/filebeat"),
            f"filebeat-9.0.0-linux-{filebeat_arch}.tar.gz", f"filebeat-9.0.0-linux-{filebeat_arch}",
            (
                *programs("-s -w", {"filebeat": "./filebeat"}),
                "cp LICENSE.txt NOTICE.txt filebeat/filebeat.yml filebeat/filebeat.reference.yml /out/",
            ),
            sha512,
        ),
        Module(
            "jaeger", archive=f"jaeger-2.13.0-linux-{arch}.tar.gz", top=f"jaeger-2.13.0-linux-{arch}",
            script=(*programs(version, {"jaeger": "./cmd/jaeger"}), "cp LICENSE /out/"), **jaeger,
        ),
        Module(
            "jaeger-tools", archive=f"jaeger-tools-2.13.0-linux-{arch}.tar.gz", top=f"jaeger-tools-2.13.0-linux-{arch}",
            script=programs(version, {"jaeger-es-index-cleaner": "./cmd/es-index-cleaner", "jaeger-es-rollover": "./cmd/es-rollover"}), **jaeger,
        ),
        Module(
            "grafana", "10.0.0", "github.com/grafana/grafana@v1.9.2-0.20230609164553-81d85ce8028d", Path("dl.grafana.com/oss/release"),
            f"grafana-10.0.0.linux-{arch}.tar.gz", "grafana-10.0.0", GRAFANA_SCRIPT, bare_sha256,
        ),
    )


def ensure(mirror: Path) -> None:
    """Make the archives that the mirror lacks; one that fails does not keep the others from being made."""
    problems = []
    for module in catalogue():
        target = mirror / module.folder / module.archive
        key = digest(FORMAT, module.module, module.top, *module.script)
        if not is_made(target, key):
            try:
                _make(module, target)
            except LabError as error:
                problems.append(str(error))
            else:
                mark(target, key)
    if problems:
        raise LabError("\n".join(problems))


def _make(module: Module, target: Path) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"{module.name}-") as name:
        out = Path(name) / "out"
        out.mkdir()
        builder.build([*builder.module(module.module), *module.script, f"chown -R {os.getuid()} /out"], out, f"{module.name} {module.version}")
        (out / "NOTICE.lab").write_text(f"{module.name} {module.version}, built for Observatory's lab from the Go module {module.module}.\n")
        repack(out, target, module.top)
    module.checksum(target)
