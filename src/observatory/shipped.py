"""The shipped alerts with the shipped values, and the products' own checkers out of the lab's mirror: for tests and for what is generated."""

from __future__ import annotations

import os
import pathlib
import platform
import sys
import tarfile
import tempfile
import typing as t

import yaml

ROOT = pathlib.Path(__file__).parents[2]
if str(ROOT / "collections") not in sys.path:
    sys.path.append(str(ROOT / "collections"))

from ansible_collections.observatory.core.plugins.plugin_utils import alert_rules, cache, site_values  # noqa: E402

ALERTS = "alerts"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Program -> the project whose archive holds it.
CHECKERS = {
    "prometheus": "prometheus/prometheus", "promtool": "prometheus/prometheus",
    "alertmanager": "prometheus/alertmanager", "amtool": "prometheus/alertmanager",
    "json_exporter": "prometheus-community/json_exporter",
}
ADDRESSES = {
    "runbook_base_url": "https://observatory.example.org/runbooks",
    "dashboard_base_url": "https://observatory.example.org/grafana",
}


class NoCheckerError(Exception):
    """The lab's mirror lacks an archive; the message says how to make it."""


def cache_folder() -> pathlib.Path:
    return pathlib.Path(cache.folder(""))


def checker(name: str, root: pathlib.Path = ROOT) -> str:
    """Return the path of a program of CHECKERS, unpacked once from the archive that the lab's mirror has of the version in versions.yml."""
    product = pathlib.PurePath(CHECKERS[name]).name
    version = group_vars("versions", root)[f"{product}_version"]
    archive = f"{product}-{version}.linux-{ARCHITECTURES[platform.machine()]}.tar.gz"
    source = cache_folder() / "lab" / "mirror" / "github.com" / CHECKERS[name] / "releases" / "download" / f"v{version}" / archive
    if not source.is_file():
        raise NoCheckerError(f"No {name}: the lab's mirror has no {archive}. Make it: python -m lab mirror\n(expected at {source})")
    state = source.stat()
    folder = cache_folder() / "checkers" / f"{archive}-{state.st_size}-{state.st_mtime_ns}"
    target = folder / name
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(source) as content:
            data = content.extractfile(next(entry for entry in content if pathlib.PurePath(entry.name).name == name)).read()
        # Several processes may unpack at once: each writes its own file, the rename is atomic.
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as handle:
            handle.write(data)
        os.chmod(handle.name, 0o755)
        os.replace(handle.name, target)
    return str(target)


def group_vars(name: str, root: pathlib.Path = ROOT) -> dict[str, t.Any]:
    """Return one of the files that operators edit."""
    return yaml.safe_load((root / "group_vars" / "all" / f"{name}.yml").read_text(encoding="utf-8"))


def shipped_thresholds(root: pathlib.Path = ROOT) -> dict[str, t.Any]:
    return group_vars("thresholds", root)["observatory_thresholds"]


def make_values(thresholds: dict[str, t.Any] | None = None, root: pathlib.Path = ROOT, **names: t.Any) -> site_values.Values:
    """Return what the shipped texts may use, for a site with the shipped values, or with other thresholds or names."""
    context = {"thresholds": thresholds or shipped_thresholds(root), "site": "lab", "platform_team": "platform", "service_team": "platform", "groups": {},
               **ADDRESSES}
    return site_values.Values({**context, **names})


def load_rules(values: site_values.Values, root: pathlib.Path = ROOT) -> alert_rules.RuleSet:
    versions = {name.removesuffix("_version"): value for name, value in group_vars("versions", root).items()}
    return alert_rules.load([str(root / ALERTS)], values, versions=versions, base=str(root))
