"""The lab's hosts as the tests see them: testinfra over ssh, playbooks, the authority, and what a host looks like."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import testinfra
import yaml
from ansible_collections.observatory.core.plugins.plugin_utils import certificates
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from lab import hosts as lab_hosts
from lab.common import LOGIN, find_lab

ROOT = Path(__file__).resolve().parents[2]
LAB = find_lab(os.environ.get("OBSERVATORY_LAB", "default"))
# A folder, or one file of it where a scenario has fewer products.
INVENTORY = ROOT / os.environ.get("OBSERVATORY_INVENTORY", "inventories/lab")
SITE = ROOT / "inventories/lab"
# On a host, with its own certificate.
CURL = "curl -sS --cacert /etc/observatory/pki/ca.crt --cert /etc/observatory/pki/host.crt --key /etc/observatory/pki/host.key"
# Nobody listens there: a mirror that is gone.
CLOSED_PORT = "http://127.0.0.1:9"
# What a product may leave or change on a host, in one listing: files with their hashes, users, listeners, units, timers, sysctls. Left out is
# what a reboot changes by itself (the records of logins, and the ports of the engine's name server, 127.0.0.11), and what the package
# manager keeps for itself.
SNAPSHOT = r"""
cd /
find etc opt usr/local var/lib var/log run/systemd/system -xdev \
    \( -path 'var/log/[wb]tmp*' -o -path var/lib/systemd -o -path var/log/journal \
       -o -path var/lib/dpkg -o -path var/lib/apt -o -path var/log/apt -o -path etc/mtab \) -prune -o -printf '%y %m %u:%g %p -> %l\n' | sort
find etc opt usr/local -xdev -type f ! -path 'etc/*-' -print0 | sort -z | xargs -0 sha256sum
getent passwd | sort; getent group | sort
ss -Hlntu | awk '{print $1, $5}' | grep -v ' 127\.0\.0\.11:' | sort -u
systemctl list-unit-files --no-legend --no-pager | sort
systemctl list-timers --all --no-legend --no-pager | awk '{print $(NF-1)}' | sort
sysctl -a 2>/dev/null | grep -E '^vm\.(max_map|swappi|overcommit)|^net\.core\.(somax|rmem|wmem)_' | sort
"""


@cache
def products(name: str) -> tuple[str, ...]:
    """Return what runs on a host, by the inventory: the groups that it is in, and the front of those that need one. `obs` is a command."""
    files = [INVENTORY] if INVENTORY.is_file() else sorted(INVENTORY.glob("*.yml"))
    groups: dict[str, set[str]] = {}
    for file in files:
        for group, content in yaml.safe_load(file.read_text())["observatory"]["children"].items():
            groups.setdefault(group, set()).update(content["hosts"])
    found = [group for group, hosts in groups.items() if name in hosts and group != "obs"]
    return tuple(found + ["front"] * bool({"grafana", "kibana", "jaeger"} & set(found)))


@cache
def host(name: str) -> testinfra.host.Host:
    """Return a host of the lab; commands run as root by sudo."""
    return testinfra.get_host(
        f"ssh://{LOGIN}@{LAB.address(name)}",
        ssh_identity_file=str(lab_hosts.SSH_KEY),
        ssh_extra_args=" ".join(lab_hosts.SSH_OPTIONS) + " -o ControlMaster=auto -o ControlPersist=60s -o ControlPath=/tmp/observatory-tests-%C",
        sudo=True,
    )


def snapshot(name: str) -> str:
    """Return everything about a host that a component may change."""
    result = host(name).run(f"sh -c '{SNAPSHOT.replace(chr(39), chr(39) + chr(92) + chr(39) + chr(39))}'")
    assert result.rc == 0, result.stderr
    return result.stdout


def playbook(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook on the lab's inventory, as an operator does."""
    program = Path(sys.executable).with_name("ansible-playbook")
    # Molecule's own settings (colours, paths) are not the operator's.
    env = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "MOLECULE_"))}
    env.update(OBSERVATORY_LAB_NETWORK=LAB.network, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1", **environment)
    return subprocess.run(
        [program, "-i", INVENTORY, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=900, check=False
    )


def changed(output: str) -> dict[str, int]:
    """Return host -> number of changed tasks, out of a run's recap."""
    return {name: int(count) for name, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", output, re.MULTILINE)}


def converge(*arguments: str, expect_change: bool | None = None) -> str:
    """Run site.yml, which has to succeed; return its output."""
    done = playbook("site.yml", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    if expect_change is not None:
        assert bool(sum(changed(done.stdout).values())) is expect_change, done.stdout
    return done.stdout


def unit(name: str, product: str, key: str) -> str:
    """Return one property of a product's unit, as systemd knows it."""
    return host(name).check_output(f"systemctl show {product}.service --property={key} --value")


def secrets() -> dict[str, str]:
    """Return the lab's secrets."""
    return yaml.safe_load((SITE / "group_vars/all/secrets.yml").read_text())


@contextmanager
def identity(service: str, host_name: str = "hub", kind: str = "valid") -> Iterator[tuple[str, str]]:
    """Lend (certificate file, key file) of a service on a host: a valid one, one of a `foreign` authority, or an `expired` one."""
    authority = (secrets()["observatory_authority_certificate"], secrets()["observatory_authority_key"])
    if kind == "foreign":
        authority = certificates.new_authority("Some other site authority", time.time())
    made = certificates.issue(*authority, site="lab", host=host_name, service=service, now=time.time())
    text = _expired(made.certificate, authority[1]) if kind == "expired" else made.certificate
    with tempfile.TemporaryDirectory() as folder:
        paths = (Path(folder) / "certificate", Path(folder) / "key")
        for path, content in zip(paths, (text, made.key), strict=True):
            path.write_text(content)
        yield str(paths[0]), str(paths[1])


def _expired(certificate: str, authority_key: str) -> str:
    """Return the same certificate as it would be had it ended yesterday, signed by the authority."""
    original = x509.load_pem_x509_certificate(certificate.encode())
    yesterday = datetime.now(UTC) - timedelta(days=1)
    builder = (
        x509.CertificateBuilder(original.issuer, original.subject, original.public_key(), original.serial_number)
        .not_valid_before(yesterday - timedelta(hours=1))
        .not_valid_after(yesterday)
    )
    for extension in original.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    key = serialization.load_pem_private_key(authority_key.encode(), None)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def ask(name: str, port: int, path: str, files: tuple[str, str] | None) -> int | str:
    """Send GET to a listener with a client certificate or none; return the status code, or `refused` when TLS ends it."""
    answer = _exchange(name, port, f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode(), files)
    return int(answer.split()[1]) if answer else "refused"


def greet(name: str, port: int, protocol: str, files: tuple[str, str] | None) -> str:
    """Begin to talk to a listener that looks at no role names; return `open` when it answers, else `refused`."""
    if "gRPC" in protocol:
        # HTTP/2's first words and an empty SETTINGS frame (RFC 9113, 3.4).
        return "open" if _exchange(name, port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), files, "h2") else "refused"
    if "Beats" in protocol:
        # A window of no events (Lumberjack, version 2): it is waited for the first one. Who is refused is told so at once.
        return "refused" if _exchange(name, port, b"2W" + bytes(4), files, patience=1) == b"" else "open"
    return "refused" if ask(name, port, "/", files) in ("refused", 403) else "open"


def client_context(files: tuple[str, str] | None = None) -> ssl.SSLContext:
    """Return a client's TLS context: it trusts the site's authority, and shows a certificate (file, key file) where one is given."""
    context = ssl.create_default_context(cadata=secrets()["observatory_authority_certificate"])
    if files:
        context.load_cert_chain(*files)
    return context


def _exchange(name: str, port: int, words: bytes, files: tuple[str, str] | None, *protocols: str, patience: float = 10) -> bytes | None:
    """Return the first bytes of a listener's answer; b"" when TLS ends the connection, None when it says nothing."""
    context = client_context(files)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    try:
        with (
            socket.create_connection((LAB.address(name), port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname=name) as secured,
        ):
            secured.settimeout(patience)
            secured.sendall(words)
            return secured.recv(64)
    except TimeoutError:
        return None
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return b""


def serial(name: str, port: int) -> str:
    """Return the serial number of the certificate that a listener shows."""
    command = f"openssl s_client -connect {LAB.address(name)}:{port} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False).stdout.strip()


def prometheus(query: str) -> list[dict]:
    """Return the result of a PromQL query, asked on the hub with the host's own certificate."""
    import json
    import urllib.parse

    text = host("hub").check_output(f"{CURL} 'https://localhost:9090/api/v1/query?query={urllib.parse.quote(query)}'")
    return json.loads(text)["data"]["result"]


def wait_for(what: str, condition, seconds: float = 60) -> None:
    """Wait until `condition()` is true; fails naming `what`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} seconds"
        time.sleep(0.5)
