"""The mirror has the publishers' paths, and says where each archive is really from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import mirror
from lab.common import LabError


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, on a machine of a known kind, and no artifact that would be fetched."""
    monkeypatch.setattr(mirror, "CACHE", tmp_path)
    monkeypatch.setattr(mirror, "MIRROR", tmp_path / "mirror")
    monkeypatch.setattr(mirror, "MANIFEST", tmp_path / "mirror" / "manifest.json")
    monkeypatch.setattr(mirror, "machine", lambda: "amd64")
    monkeypatch.setattr(mirror.toy, "ensure", lambda *_arguments: None)
    monkeypatch.setattr("lab.common.CACHE", tmp_path)
    return tmp_path


def only(monkeypatch: pytest.MonkeyPatch, product: mirror.Product) -> None:
    monkeypatch.setattr(mirror, "PRODUCTS", (product,))


def refuse(_product, _apt, _content):
    raise LabError("Debian forky has prometheus-node-exporter 1.13.0-1")


def give(version: str, source: str):
    def make(_product, _apt, content: Path) -> tuple[str, str]:
        for name in ("node_exporter", "NOTICE"):
            (content / name).write_text(name)
        return version, source

    return make


@pytest.mark.parametrize(
    ("debian", "publisher"), [("3.5.3+ds1-6", "3.5.3"), ("1.9.0-1+b4", "1.9.0"), ("2:0.33.1-5", "0.33.1"), ("0.28.0~rc1-2", "0.28.0~rc1")]
)
def test_the_publishers_version_is_read_out_of_debians(debian: str, publisher: str) -> None:
    """Epoch, repacking and Debian's own revision are left out; a release candidate is not the release."""
    assert mirror.upstream_version(debian) == publisher


def test_archives_lie_at_the_publishers_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role only exchanges the address before them."""
    monkeypatch.setattr(mirror, "machine", lambda: "arm64")
    assert [str(product.path(product.version)) for product in mirror.PRODUCTS] == [
        "github.com/prometheus/prometheus/releases/download/v3.5.3/prometheus-3.5.3.linux-arm64.tar.gz",
        "github.com/prometheus/alertmanager/releases/download/v0.33.1/alertmanager-0.33.1.linux-arm64.tar.gz",
        "github.com/prometheus/node_exporter/releases/download/v1.11.1/node_exporter-1.11.1.linux-arm64.tar.gz",
        "github.com/prometheus/node_exporter/releases/download/v1.9.0/node_exporter-1.9.0.linux-arm64.tar.gz",
        "github.com/prometheus/blackbox_exporter/releases/download/v0.28.0/blackbox_exporter-0.28.0.linux-arm64.tar.gz",
        "github.com/prometheus-community/elasticsearch_exporter/releases/download/v1.10.0/elasticsearch_exporter-1.10.0.linux-arm64.tar.gz",
    ]


def test_a_second_run_makes_nothing_until_an_input_changes(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made is known by a hash of all that it depends on."""
    made = []
    only(monkeypatch, mirror.exporter("node_exporter", "1.11.1"))
    monkeypatch.setattr(mirror, "_from_pinned_packages", lambda *arguments: made.append(1) or give("1.11.1", "Debian forky")(*arguments))
    mirror.ensure_packaged()
    mirror.ensure_packaged()
    assert len(made) == 1
    only(monkeypatch, mirror.exporter("node_exporter", "1.11.1", suite="sid"))
    mirror.ensure_packaged()
    assert len(made) == 2


def test_a_version_that_has_gone_is_built_from_its_module(folders: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """The archive has the pinned version, and the manifest says what it was made of."""
    product = mirror.exporter("node_exporter", "1.11.1")
    only(monkeypatch, product)
    monkeypatch.setattr(mirror, "_from_pinned_packages", refuse)
    monkeypatch.setattr(mirror, "_from_module", give("1.11.1", "Go module github.com/prometheus/node_exporter@v1.11.1"))
    mirror.ensure_packaged()
    entry = json.loads((folders / "mirror/manifest.json").read_text())[str(product.path("1.11.1"))]
    assert (entry["archive"], entry["source"]) == (str(product.path("1.11.1")), "Go module github.com/prometheus/node_exporter@v1.11.1")
    assert "lab: node_exporter 1.11.1: Debian forky has prometheus-node-exporter 1.13.0-1\n" in capsys.readouterr().err


def test_another_version_than_the_pinned_one_is_said_on_every_run(folders: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """It lies at its own path: an archive never claims to be a version that it is not."""
    only(monkeypatch, mirror.exporter("node_exporter", "1.11.1"))
    monkeypatch.setattr(mirror, "_from_pinned_packages", refuse)
    monkeypatch.setattr(mirror, "_from_module", refuse)
    monkeypatch.setattr(mirror, "_from_suites_packages", give("1.13.0", "Debian forky"))
    warning = (
        "lab: WARNING: node_exporter 1.11.1 is not to be had. The mirror has github.com/prometheus/node_exporter/releases/download/"
        "v1.13.0/node_exporter-1.13.0.linux-amd64.tar.gz instead: set node_exporter_version in group_vars/all/versions.yml to that version\n"
    )
    mirror.ensure_packaged()
    assert capsys.readouterr().err.endswith(warning)
    mirror.ensure_packaged()
    assert capsys.readouterr().err == warning
    assert not (folders / "mirror/github.com/prometheus/node_exporter/releases/download/v1.11.1").exists()


def test_nothing_is_made_when_the_hosts_fetch_the_publishers_own(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LAB_ARTIFACTS=upstream is for a machine with internet access."""
    monkeypatch.setenv("LAB_ARTIFACTS", "upstream")
    mirror.ensure_packaged()
    assert not (folders / "mirror").exists()
