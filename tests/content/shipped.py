"""The shipped alerts with the shipped values, and the products' own checkers out of the lab's mirror."""

from __future__ import annotations

import os
import pathlib
import platform
import tarfile
import tempfile

import pytest
import yaml
from ansible_collections.observatory.core.plugins.plugin_utils import alert_rules, site_values

ROOT = pathlib.Path(__file__).parents[2]
GROUP_VARS = ROOT / "group_vars" / "all"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Program -> the project whose archive holds it.
CHECKERS = {"promtool": "prometheus/prometheus", "amtool": "prometheus/alertmanager", "json_exporter": "prometheus-community/json_exporter"}
# The lab builds them; what needs no host does without.
BUILT = {"json_exporter"}
ADDRESSES = {
    "runbook_base_url": "https://observatory.example.org/runbooks",
    "dashboard_base_url": "https://observatory.example.org/grafana",
}


def cache_folder() -> pathlib.Path:
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "observatory"


def checker(name: str) -> str:
    """Return the path of a program of CHECKERS, unpacked once from the archive that the lab's mirror has of the version in versions.yml."""
    product = pathlib.PurePath(CHECKERS[name]).name
    version = read_yaml(GROUP_VARS / "versions.yml")[f"{product}_version"]
    archive = f"{product}-{version}.linux-{ARCHITECTURES[platform.machine()]}.tar.gz"
    source = cache_folder() / "lab" / "mirror" / "github.com" / CHECKERS[name] / "releases" / "download" / f"v{version}" / archive
    if not source.is_file() and name in BUILT:
        pytest.skip(f"the lab's mirror has no {archive} yet: python -m lab mirror")
    if not source.is_file():
        pytest.fail(f"No {name}: the lab's mirror has no {archive}. Make it: python -m lab mirror\n(expected at {source})", pytrace=False)
    state = source.stat()
    folder = cache_folder() / "checkers" / f"{archive}-{state.st_size}-{state.st_mtime_ns}"
    target = folder / name
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(source) as content:
            data = content.extractfile(next(entry for entry in content if pathlib.PurePath(entry.name).name == name)).read()
        # Several test processes may unpack at once: each writes its own file, the rename is atomic.
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as handle:
            handle.write(data)
        os.chmod(handle.name, 0o755)
        os.replace(handle.name, target)
    return str(target)


def read_yaml(path: pathlib.Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def shipped_thresholds() -> dict:
    return read_yaml(GROUP_VARS / "thresholds.yml")["observatory_thresholds"]


def make_values(thresholds: dict | None = None) -> site_values.Values:
    """Return what the shipped texts may use, for a site with the shipped values or with other thresholds."""
    context = {"thresholds": thresholds or shipped_thresholds(), "site": "lab", "platform_team": "platform", "service_team": "platform", "groups": {},
               **ADDRESSES}
    return site_values.Values(context)


def load_rules(values: site_values.Values) -> alert_rules.RuleSet:
    versions = {name.removesuffix("_version"): value for name, value in read_yaml(GROUP_VARS / "versions.yml").items()}
    return alert_rules.load([str(ROOT / "alerts")], values, versions=versions, base=str(ROOT))
