"""What preflight finds on a host, on a recorded tree of /proc and /etc; every finding's text in full."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from ansible_collections.observatory.core.plugins.module_utils import host_probe
from ansible_collections.observatory.core.plugins.module_utils.host_probe import Machine, size_bytes, size_text

OS_RELEASE = 'PRETTY_NAME="{name}"\nID={id}\nVERSION_ID="{version}"\n'
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:2382 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1
   1: 0100007F:238D 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4343 1
"""
PEM = "-----BEGIN CERTIFICATE-----\naGVs\nbG8=\n-----END CERTIFICATE-----\n"


@pytest.fixture
def host(tmp_path):
    """A Debian 13 host with 2 GB of memory on which Prometheus (9090) runs as process 77."""
    write = {
        "etc/os-release": OS_RELEASE.format(name="Debian GNU/Linux 13 (trixie)", id="debian", version="13"),
        "proc/meminfo": "MemTotal:        2097152 kB\nMemFree: 1 kB\n",
        "proc/1/comm": "systemd\n",
        "proc/net/tcp": TCP,
        "proc/77/comm": "prometheus\n",
        "proc/77/cgroup": "0::/system.slice/prometheus.service\n",
    }
    for path, text in write.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "proc/77/fd").mkdir()
    (tmp_path / "proc/77/fd/3").symlink_to("socket:[4242]")
    (tmp_path / "proc/77/fd/4").symlink_to("/dev/null")
    machine = Machine(str(tmp_path), machine="x86_64", run=lambda argv: "systemd 257 (257.8-1)\n")
    machine.tree = tmp_path
    return machine


def texts(findings):
    return [[found["text"], found["given"], found["hint"]] for found in findings]


def wishes(**changed):
    return {
        "supported": {"debian": ["12", "13"]},
        "architectures": ["x86_64", "aarch64"],
        "systemd_minimum": 247,
        "ports": [],
        "disks": [],
        "memory": [],
        "names": [],
        "releases": [],
        "authority_fingerprints": [],
        **changed,
    }


def test_a_good_host_has_facts_and_no_finding(host):
    """All that the inventory asks for is there."""
    entry = {"path": "/var/lib/prometheus", "bytes": 1, "variable": "prometheus_retention_size", "given": '"1B"'}
    facts, findings = host_probe.probe(
        host, wishes(disks=[entry], ports=[{"port": 9090, "unit": "prometheus", "variable": "prometheus_port"}]), user=0
    )
    assert findings == []
    assert facts.pop("time") > 0
    assert facts.pop("python")
    assert facts.pop("disk_free_bytes").keys() == {"/var/lib/prometheus"}
    assert facts == {
        "machine": "x86_64",
        "os": "debian 13",
        "os_name": "Debian GNU/Linux 13 (trixie)",
        "memory_bytes": 2 << 30,
        "systemd": 257,
    }


@pytest.mark.parametrize(
    ("system", "shown"),
    [
        ({"id": "debian", "version": "11", "name": "Debian 11"}, "Debian 11"),
        ({"id": "fedora", "version": "42", "name": "Fedora 42"}, "Fedora 42"),
    ],
)
def test_an_unsupported_system_is_found(host, system, shown):
    """An unknown distribution and an old version of a known one."""
    (host.tree / "etc/os-release").write_text(OS_RELEASE.format(**system))
    assert texts(host_probe.check_system(host, {"debian": ["12", "13"]}, ["x86_64"])) == [
        ["The operating system is not supported", shown, "supported: Debian 12 and 13"]
    ]


def test_a_host_without_os_release_is_found(host):
    (host.tree / "etc/os-release").unlink()
    assert [found["given"] for found in host_probe.check_system(host, {"debian": ["13"]}, ["x86_64"])] == ["an unknown system"]


def test_an_unsupported_architecture_is_found(host):
    host.machine = "i686"
    assert texts(host_probe.check_system(host, {"debian": ["13"]}, ["x86_64", "aarch64"])) == [
        ["The architecture is not supported", "i686", "supported: x86_64, aarch64"]
    ]


def test_a_user_who_is_not_root_is_found():
    assert texts(host_probe.check_root(1000)) == [
        [
            "The tasks do not run as root",
            "user id 1000",
            "set ansible_become: true, or log in as root; the login user needs sudo without a password or --ask-become-pass",
        ]
    ]
    assert list(host_probe.check_root(0)) == []


def test_another_init_and_an_old_systemd_are_found(host):
    assert texts(host_probe.check_init(host, 258)) == [["systemd is too old", "257", "the units need systemd 258 or newer"]]
    (host.tree / "proc/1/comm").write_text("tini\n")
    assert texts(host_probe.check_init(host, 247)) == [
        ["systemd is not the init process", "tini", "the products run as systemd units; use a host that boots with it"]
    ]


def test_a_port_of_another_process_is_found_and_ones_own_is_not(host):
    """The message says who holds it; a connected socket (state 01) is no listener."""
    wanted = [
        {"port": 9090, "unit": "prometheus", "variable": "prometheus_port"},
        {"port": 9101, "unit": "node_exporter", "variable": "node_exporter_port"},
    ]
    assert list(host_probe.check_ports(host, wanted)) == []
    wanted[0]["unit"] = "alertmanager"
    assert texts(host_probe.check_ports(host, wanted)) == [
        [
            "prometheus_port: port 9090 is taken by prometheus (process 77) of the unit prometheus",
            "9090",
            "stop it, or choose another port",
        ]
    ]
    (host.tree / "proc/77/cgroup").write_text("0::/user.slice\n")
    assert texts(host_probe.check_ports(host, wanted))[0][0] == "prometheus_port: port 9090 is taken by prometheus (process 77)"


def test_ports_are_left_alone_where_their_holders_cannot_be_seen(host):
    """Only root sees who holds a port; a user without sudo is told that, and not that our own units are strangers."""
    wanted = [{"port": 9090, "unit": "other", "variable": "prometheus_port"}]
    _facts, findings = host_probe.probe(host, wishes(ports=wanted), user=1000)
    assert [found["text"] for found in findings] == ["The tasks do not run as root"]


def test_this_machines_own_listener_is_found():
    """Against the real /proc: a socket opened here carries this process' name."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        held = Machine().listeners({port})
    assert str(os.getpid()) in held[port]["process"]


def test_data_that_does_not_fit_is_found(host, monkeypatch):
    """Folders on one file system share its space; what a folder holds already counts as free."""
    folder = host.tree / "var/lib/prometheus"
    folder.mkdir(parents=True)
    (folder / "block").write_bytes(b"x" * 8192)
    available, used, device = host.space("/var/lib/prometheus")
    assert (used, device) == (8192, host.space("/var/lib/other/deep")[2])
    assert available > 0
    spaces = {
        "/var/lib/prometheus": (8 << 30, 2 << 30, 1),
        "/var/lib/alertmanager": (8 << 30, 0, 1),
        "/opt/observatory": (8 << 30, 9 << 30, 1),
    }
    monkeypatch.setattr(host, "space", spaces.__getitem__)
    size = {"path": "/var/lib/prometheus", "bytes": 10 << 30, "variable": "prometheus_retention_size", "given": '"10GB"'}
    other = {"path": "/var/lib/alertmanager", "bytes": 1 << 30, "variable": "", "given": ""}
    assert list(host_probe.check_disks(host, [size], missing_releases=[])) == []
    assert texts(host_probe.check_disks(host, [size, other], missing_releases=[])) == [
        [
            "prometheus_retention_size: too little disk for /var/lib/prometheus, /var/lib/alertmanager: 10.0 GB are free, 11.0 GB needed",
            '"10GB"',
            "lower it, or give the host a larger disk",
        ]
    ]
    spaces["/opt/observatory"] = (16 << 20, 9 << 30, 2)
    assert texts(host_probe.check_disks(host, [size], missing_releases=["x"])) == [
        [
            "There is too little disk for /opt/observatory: 16.0 MB are free, 512.0 MB needed",
            "",
            "make room, or give the host a larger disk",
        ]
    ]


def test_too_little_memory_is_found(host):
    needs = [{"product": "prometheus", "bytes": 2 << 30}, {"product": "alertmanager", "bytes": 64 << 20}]
    assert list(host_probe.check_memory(host, needs[:1])) == []
    assert texts(host_probe.check_memory(host, needs)) == [
        ["The host has too little memory", "2.0 GB", "needed: 2.1 GB (prometheus 2.0 GB, alertmanager 64.0 MB)"]
    ]


def test_a_heap_that_is_too_large_is_named(host):
    heap = {"product": "elasticsearch", "bytes": 6 << 30, "variable": "elasticsearch_heap_size", "given": '"4GB"'}
    (found,) = host_probe.check_memory(host, [{"product": "alertmanager", "bytes": 64 << 20}, heap])
    assert (found["text"], found["variable"], found["given"]) == (
        "The host has 2.0 GB of memory, too little for elasticsearch_heap_size", "elasticsearch_heap_size", '"4GB"'
    )


STEP = {"product": "elasticsearch", "variable": "elasticsearch_version", "data": "/data", "snapshots": "/snapshots", "snapshot_hours": 24}


@pytest.fixture
def store(host):
    """The host, with Elasticsearch 9.5.0, its data, and a snapshot of the second 10000."""
    (host.tree / "opt/observatory/elasticsearch").mkdir(parents=True)
    (host.tree / "opt/observatory/elasticsearch/current").symlink_to("9.5.0")
    for folder in ("data/nodes", "snapshots"):
        (host.tree / folder).mkdir(parents=True)
    (host.tree / "snapshots/index.latest").write_text("")
    os.utime(host.tree / "snapshots/index.latest", (10000, 10000))
    return host


@pytest.mark.parametrize(("version", "hours", "words"), [
    ("9.5.0", 100, ""),
    ("9.10.1", 23, ""),
    ("9.10.1", 25, "the step from 9.5.0 cannot be taken back without a fresh snapshot, and the newest is 25 hours old"),
    ("9.4.12", 1, "elasticsearch 9.4.12 cannot read the data of 9.5.0, which the host has"),
])
def test_a_step_that_cannot_be_taken_back_is_found(store, version, hours, words):
    """An older release never reads the data of a newer one; a newer one wants a snapshot first."""
    found = list(host_probe.check_steps(store, [{**STEP, "version": version}], now=10000 + hours * 3600))
    assert [entry["text"] for entry in found] == ([f"elasticsearch_version: {words}"] if words else [])


def test_a_patch_may_be_taken_back_where_the_product_can(store):
    (store.tree / "opt/observatory/prometheus").mkdir(parents=True)
    (store.tree / "opt/observatory/prometheus/current").symlink_to("3.5.3")
    entry = {"product": "prometheus", "variable": "prometheus_version", "data": "/data"}
    assert list(host_probe.check_steps(store, [{**entry, "version": "3.5.2"}])) == []
    assert len(list(host_probe.check_steps(store, [{**entry, "version": "3.4.9"}]))) == 1
    assert len(list(host_probe.check_steps(store, [{**STEP, "version": "9.4.9"}]))) == 1


def test_a_step_without_any_snapshot_is_found_and_one_without_data_is_free(store):
    (store.tree / "snapshots/index.latest").unlink()
    (found,) = host_probe.check_steps(store, [{**STEP, "version": "9.6.0"}])
    assert found["text"].endswith("and there is none")
    assert list(host_probe.check_steps(store, [{**STEP, "version": "9.6.0", "snapshot_hours": 0}])) == []
    (store.tree / "data/nodes").rmdir()
    assert list(host_probe.check_steps(store, [{**STEP, "version": "9.4.0"}])) == []


def test_a_name_that_does_not_resolve_is_found(monkeypatch):
    """Known names pass, an unknown one and one without an answer are said, together."""
    never = threading.Event()
    monkeypatch.setattr(host_probe, "RESOLVE_TIMEOUT_SECONDS", 0.2)

    def resolve(name):
        if name == "slow.example":
            never.wait(5)
        if name == "gone.example":
            raise socket.gaierror(-2, "Name or service not known")

    names = [{"name": f"{name}.example", "variable": "alertmanager_smtp_smarthost", "given": f'"{name}"'} for name in ("good", "gone", "slow")]
    hint = "correct the name, or add it to the name server or the host's /etc/hosts"
    assert texts(host_probe.check_names(names, resolve)) == [
        ["alertmanager_smtp_smarthost: the name gone.example does not resolve on the host (Name or service not known)", '"gone"', hint],
        ["alertmanager_smtp_smarthost: the name slow.example does not resolve on the host (no answer within 0.2 s)", '"slow"', hint],
    ]
    never.set()


def test_another_sites_authority_is_found(host):
    """A host without a certificate is a new one; one with another certificate belongs to someone else."""
    own = hashlib.sha256(b"hello").hexdigest()
    assert list(host_probe.check_authority(host, [own])) == []
    (host.tree / "etc/observatory/pki").mkdir(parents=True)
    (host.tree / "etc/observatory/pki/ca.crt").write_text(PEM)
    assert list(host_probe.check_authority(host, ["a" * 64, own])) == []
    assert list(host_probe.check_authority(host, [])) == []
    assert texts(host_probe.check_authority(host, ["a" * 64])) == [
        [
            "observatory_authority_certificate is not the authority that this host knows",
            f"SHA-256 aaaaaaaaaaaaaaaa..., on the host {own[:16]}...",
            "restore the site's secrets file, or remove /etc/observatory/pki/ca.crt on the host to move it to this site",
        ]
    ]


def release(product, version, source="observatory_mirror_url"):
    url = f"http://mirror.example/{product}-{version}.{{arch}}.txt"
    return {
        "product": product,
        "version": version,
        "url": url,
        "arch": {"x86_64": "amd64"},
        "variable": f"{product}_version",
        "source": source,
        "given": "http://mirror.example",
    }


def test_what_is_installed_needs_no_mirror(host):
    """A dead mirror does not matter to a run that downloads nothing."""
    (host.tree / "opt/observatory/prometheus/3.5.3").mkdir(parents=True)
    _facts, findings = host_probe.probe(host, wishes(releases=[release("prometheus", "3.5.3")]), user=0)
    assert findings == []


def test_a_dead_mirror_is_asked_once(host):
    """Three products need one server: one finding, one wait."""
    asked = []

    def head(url):
        asked.append(url)
        return None, "Connection refused"

    entries = [release("alertmanager", "0.33.1"), release("node_exporter", "1.11.1")]
    assert texts(host_probe.check_releases(host, entries, head)) == [
        [
            "observatory_mirror_url: mirror.example cannot be reached from the host (Connection refused)",
            "http://mirror.example",
            "correct the address, or open the way to it: releases have to be installed from there",
        ]
    ]
    assert asked == ["http://mirror.example/alertmanager-0.33.1.amd64.txt"]


def test_an_unknown_version_is_found(host):
    assert texts(host_probe.check_releases(host, [release("prometheus", "9.9.9")], lambda url: (404, ""))) == [
        [
            "prometheus_version: prometheus 9.9.9 is not to be had",
            "9.9.9",
            "http://mirror.example/prometheus-9.9.9.amd64.txt answers 404; choose a version that is published there",
        ]
    ]
    assert list(host_probe.check_releases(host, [release("prometheus", "9.9.9")], lambda url: (200, ""))) == []


def test_head_tells_an_answer_from_none():
    """A real server: found, not found, and a closed port."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200 if self.path == "/there" else 404)
            self.end_headers()

        def log_message(self, *arguments):
            """Stay quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    assert host_probe.head_status(address + "/there") == (200, "")
    assert host_probe.head_status(address + "/gone") == (404, "")
    server.shutdown()
    server.server_close()
    assert host_probe.head_status(address + "/there") == (None, "Connection refused")


@pytest.mark.parametrize(
    ("text", "count"), [("10GB", 10 << 30), ("512MB", 512 << 20), ("1.5KB", 1536), ("7B", 7), ("", None), ("10 GiB", None), (None, None)]
)
def test_sizes_are_read_in_prometheus_units(text, count):
    assert size_bytes(text) == count


def test_sizes_are_written_as_they_are_read():
    assert [size_text(count) for count in (7, 1536, 10 << 30)] == ["7 B", "1.5 KB", "10.0 GB"]


def test_a_missing_program_is_no_output():
    assert host_probe._output(["/does/not/exist"]) == ""
