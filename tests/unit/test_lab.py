"""The parts of the lab that need no engine: its table, its archives, and the toy product."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from lab import mirror
from lab.common import LABS, LabError, find_lab

BEACON = Path(__file__).resolve().parents[2] / "lab/beacon/beacon"


def beacon(verb: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, BEACON, verb, path], capture_output=True, text=True, check=False)


def test_labs_do_not_share_networks_or_names():
    assert len({lab.network for lab in LABS.values()}) == len(LABS)
    addresses = [lab.address(host) for lab in LABS.values() for host in lab.hosts] + [lab.services_address for lab in LABS.values()]
    assert len(set(addresses)) == len(addresses)
    assert find_lab("demo").address("hub") == "10.213.0.11"
    assert find_lab("demo").container("app1") == "observatory-demo-app1"


def test_unknown_lab_is_named_with_those_there_are():
    with pytest.raises(LabError, match=r"there is no lab 'dmeo'. There are: demo, default, debian12, bench"):
        find_lab("dmeo")


def test_every_product_has_upstreams_path():
    paths = {str(product.path) for product in mirror.PRODUCTS}
    machine = mirror.machine()
    assert f"github.com/prometheus/prometheus/releases/download/v3.5.3/prometheus-3.5.3.linux-{machine}.tar.gz" in paths
    assert len(paths) == len(mirror.PRODUCTS)


@pytest.mark.parametrize(
    ("debian", "upstream"), [("3.5.3+ds1-2", "3.5.3"), ("0.33.1-5", "0.33.1"), ("1:1.11.1-1", "1.11.1"), ("1.9.0-1+b4", "1.9.0")]
)
def test_upstream_version_of_a_debian_version(debian, upstream):
    assert mirror._upstream(debian) == upstream


def test_repacked_archive_has_one_top_folder_and_the_same_bytes_each_time(tmp_path):
    content = tmp_path / "content"
    (content / "conf").mkdir(parents=True)
    (content / "program").write_text("#!/bin/sh\n")
    (content / "program").chmod(0o755)
    (content / "conf/file").write_text("a: 1\n")
    for name in ("one", "two"):
        mirror.repack(content, tmp_path / name / "product.tar.gz", "product-1.0")
        (content / "program").touch()
    first, second = ((tmp_path / name / "product.tar.gz").read_bytes() for name in ("one", "two"))
    assert first == second
    with tarfile.open(tmp_path / "one/product.tar.gz") as tar:
        assert tar.getnames() == ["product-1.0", "product-1.0/conf", "product-1.0/conf/file", "product-1.0/program"]
        assert tar.getmember("product-1.0/program").mode == 0o755
    assert list((tmp_path / "one").iterdir()) == [tmp_path / "one/product.tar.gz"]


def test_checksum_file_lists_every_archive_as_the_publishers_do(tmp_path):
    for name in ("a.tar.gz", "b.tar.gz"):
        (tmp_path / name).write_bytes(name.encode())
    mirror.write_checksums(tmp_path, wrong=frozenset({"b.tar.gz"}))
    expected = f"{hashlib.sha256(b'a.tar.gz').hexdigest()}  a.tar.gz\n{'0' * 64}  b.tar.gz\n"
    assert (tmp_path / "sha256sums.txt").read_text() == expected


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"port": 1, "massage": "x"}, "beacon.json: unknown key 'massage'"),
        ({"port": "80"}, "beacon.json: port has the wrong type"),
        ({"port": True}, "beacon.json: port has the wrong type"),
        ({"port": 1, "include": ["gone.json"]}, "beacon.json: includes gone.json, which does not exist"),
        ("{", "beacon.json: "),
    ],
)
def test_beacon_refuses_a_wrong_configuration(tmp_path, config, message):
    path = tmp_path / "beacon.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    done = beacon("check", path)
    assert done.returncode == 1
    assert message in done.stderr


def test_beacon_reads_what_it_includes(tmp_path):
    (tmp_path / "part.json").write_text('{"message": "included"}')
    (tmp_path / "beacon.json").write_text('{"port": 1, "include": ["part.json"]}')
    assert beacon("check", tmp_path / "beacon.json").returncode == 0
