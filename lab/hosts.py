"""The hosts: containers that boot systemd, each with an address and a name, in a network of their lab."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import engine, image, mirror
from .common import CACHE, LABS, LOGIN, SERVICES, Lab, LabError, digest, docker, docker_program, locked, need, progress, run

BOOT_SECONDS = 90
STOP_SECONDS = 60
MAIL_PORT = 587
SERVICE_NAMES = ("mirror.lab", "mail.lab", "sink.lab")
FOLDER = Path(__file__).parent
SSH_KEY = CACHE / "ssh" / "id_ed25519"
# The hosts are made anew all the time, each with a new key of its own.
SSH_OPTIONS = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
SMTP_PASSWORD = CACHE / "smtp_password"
MAIL_AUTHORITY = CACHE / "mail-ca.pem"
# What systemd needs in a container; --privileged would ask for more than some machines have.
SYSTEMD_FLAGS = (
    "--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_PTRACE", "--security-opt", "seccomp=unconfined",
    "--security-opt", "apparmor=unconfined", "--cgroupns", "host", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw",
    "--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec", "-e", "container=docker",
)

# Several Elasticsearch nodes start on a network address only where a process may have 65535 files open and 262144 memory maps, and no container
# can raise what the machine allows. On 127.* addresses they do not look. So the hosts of a lab with a cluster get such addresses too: the kernel
# is told to let them out, and in the table that it asks first, where they are.
SECOND_NETWORK_FLAGS = ("--sysctl", "net.ipv4.conf.all.route_localnet=1")


def up(lab: Lab) -> None:
    """Bring the lab up, and wait until every host can be used; what runs already is left as it is."""
    engine.ensure()
    name = image.ensure(lab.suite)
    mirror.ensure()
    with locked("keys"):
        _make_keys()
    _make_network(lab)
    with progress(f"hosts {', '.join(lab.hosts)} of the lab '{lab.name}'"):
        _start_services(lab, name)
        fresh = {host: _start_host(lab, host, name) for host in lab.hosts}
        for host in lab.hosts:
            _wait(lab, host, bare=fresh[host])
        _wait_for_services(lab)


def _make_network(lab: Lab) -> None:
    if docker("network", "ls", "--quiet", "--filter", f"name=^{lab.bridge}$"):
        return
    done = run([docker_program(), "network", "create", "--subnet", f"{lab.network}.0/24", lab.bridge], check=False)
    if "overlaps" in done.stderr:
        raise LabError(
            f"the lab '{lab.name}' needs {lab.network}.0/24, which another network of the engine has. "
            "Find it (docker network inspect $(docker network ls -q)) and remove it, or change the lab's network in lab/common.py"
        )
    if done.returncode != 0:
        raise LabError(f"the network of the lab '{lab.name}' cannot be made: {done.stderr.strip()}")


def down(lab: Lab) -> None:
    """Remove the lab's containers and network."""
    if not engine.answers():
        return
    for container in _containers(lab):
        docker("rm", "--force", "--volumes", container)
    docker("network", "rm", lab.bridge, check=False)


def clean() -> None:
    """Remove all labs and all images."""
    if not engine.answers():
        return
    for lab in LABS.values():
        down(lab)
    for name in docker("images", "--format", "{{.Repository}}:{{.Tag}}", "observatory-lab").split():
        docker("rmi", name, check=False)


def status() -> str:
    """Return a line for each container of the labs."""
    return docker("ps", "--all", "--filter", "label=observatory.lab", "--format", "table {{.Names}}\t{{.Status}}\t{{.Image}}")


def reboot(lab: Lab, host: str) -> None:
    """Restart a host, and wait until it can be used."""
    if host == SERVICES:
        docker("restart", "--time", "1", lab.container(_known(lab, host)))
        _wait_for_services(lab)
        return
    power_off(lab, host)
    power_on(lab, host)


def power_off(lab: Lab, host: str) -> None:
    """Shut a host down; raises LabError when it hangs."""
    container = lab.container(_known(lab, host))
    # What systemd takes for an order to power off; the SIGTERM of `docker restart` only makes it start itself anew.
    docker("kill", "--signal", "SIGRTMIN+3", container)
    try:
        run([docker_program(), "wait", container], timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        hangs = f"python -m lab exec {lab.name} {host} systemctl list-jobs"
        raise LabError(f"{host} has not powered off within {STOP_SECONDS} s. What hangs: {hangs}") from None


def power_on(lab: Lab, host: str) -> None:
    """Start a host that is off, and wait until it can be used."""
    docker("start", lab.container(_known(lab, host)))
    _wait(lab, host, bare=False)


def cut(lab: Lab, host: str) -> None:
    """Take a host off its network."""
    docker("network", "disconnect", lab.bridge, lab.container(_known(lab, host)))


def join(lab: Lab, host: str) -> None:
    """Put a host back on its network, with the address that it had."""
    docker("network", "connect", "--ip", lab.address(_known(lab, host)), *_aliases(host, "--alias"), lab.bridge, lab.container(host))
    if lab.second_network and host != SERVICES:
        docker("exec", lab.container(host), "sh", "-c", _second_network(lab, host))


def _second_network(lab: Lab, host: str) -> str:
    """Return the commands that give a host its address in the second network."""
    address = lab.second_address(host)
    network = address.rpartition(".")[0]
    return f"ip address replace {address}/24 dev eth0 && ip route replace table local unicast {network}.0/24 dev eth0 src {address}"


def _aliases(host: str, option: str) -> list[str]:
    """Return the options that give a container its names in the lab's network."""
    return [argument for name in (SERVICE_NAMES if host == SERVICES else (host,)) for argument in (option, name)]


def execute(lab: Lab, host: str, argv: list[str]) -> int:
    """Run a command on a host as root and return its exit code."""
    return subprocess.run([docker_program(), "exec", "-i", lab.container(_known(lab, host)), *argv], check=False).returncode


def _known(lab: Lab, host: str) -> str:
    if host not in (*lab.hosts, SERVICES):
        raise LabError(f"the lab '{lab.name}' has no host '{host}'. It has: {', '.join((*lab.hosts, SERVICES))}")
    if not docker("ps", "--all", "--quiet", "--filter", f"name=^{lab.container(host)}$"):
        raise LabError(f"{host} of the lab '{lab.name}' is not up. Bring it up: python -m lab up {lab.name}")
    return host


def _containers(lab: Lab) -> list[str]:
    return docker("ps", "--all", "--quiet", "--filter", f"label=observatory.lab={lab.name}").split()


def _is_current(lab: Lab, host: str, recipe: str) -> bool:
    """Whether a container made by the same recipe runs, started or joined when need be; one of another recipe is removed."""
    container = lab.container(host)
    found = run([docker_program(), "inspect", container], check=False)
    if found.returncode != 0:
        return False
    state = json.loads(found.stdout)[0]
    if state["Config"]["Labels"].get("observatory.recipe") == recipe:
        if not state["State"]["Running"]:
            docker("start", container)
        if lab.bridge not in state["NetworkSettings"]["Networks"]:
            join(lab, host)
        return True
    docker("rm", "--force", "--volumes", container)
    return False


def _start_host(lab: Lab, host: str, image_name: str) -> bool:
    """Start a host; return whether it is a new, bare one."""
    container, address = lab.container(host), lab.address(host)
    flags, command = [*SYSTEMD_FLAGS], []
    if lab.second_network:
        flags += SECOND_NETWORK_FLAGS
        # At each start, before systemd takes over.
        command = ["sh", "-c", _second_network(lab, host) + "; exec /lib/systemd/systemd"]
    if mirror.wanted():
        flags += ["-v", f"{mirror.ALERTMANAGER_TEMPLATES}:/usr/share/prometheus/alertmanager:ro"]
    recipe = digest(image_name, address, *flags, *command)
    if _is_current(lab, host, recipe):
        return False
    names = [argument for name in SERVICE_NAMES for argument in ("--add-host", f"{name}:{lab.address(SERVICES)}")]
    docker(
        "run", "--detach", "--name", container, "--hostname", host, "--network", lab.bridge, "--ip", address,
        *_aliases(host, "--network-alias"), "--label", f"observatory.lab={lab.name}", "--label", f"observatory.recipe={recipe}",
        *names, *flags, image_name, *command,
    )
    _authorize(container)
    return True


def _authorize(container: str) -> None:
    script = f"install -d -m 700 -o {LOGIN} -g {LOGIN} ~{LOGIN}/.ssh && cat > ~{LOGIN}/.ssh/authorized_keys && chown {LOGIN}: ~{LOGIN}/.ssh/*"
    subprocess.run(
        [docker_program(), "exec", "-i", container, "sh", "-c", script],
        input=SSH_KEY.with_suffix(".pub").read_text(), text=True, check=True, capture_output=True,
    )


def _start_services(lab: Lab, image_name: str) -> None:
    container = lab.container(SERVICES)
    program = FOLDER / "services.py"
    recipe = digest(image_name, program.read_text(), str(mirror.MIRROR), SMTP_PASSWORD.read_text(), MAIL_AUTHORITY.read_text())
    if _is_current(lab, SERVICES, recipe):
        return
    mirror.MIRROR.mkdir(parents=True, exist_ok=True)
    docker(
        "create", "--name", container, "--hostname", SERVICES, "--network", lab.bridge, "--ip", lab.address(SERVICES),
        *_aliases(SERVICES, "--network-alias"), "--label", f"observatory.lab={lab.name}", "--label", f"observatory.recipe={recipe}",
        "-v", f"{mirror.MIRROR}:/srv/mirror:ro", "-v", f"{SMTP_PASSWORD}:/run/smtp_password:ro",
        "-v", f"{MAIL_AUTHORITY}:/run/mail.crt:ro", "-v", f"{MAIL_AUTHORITY.with_suffix('.key')}:/run/mail.key:ro",
        image_name, "python3", "/services.py",
    )
    docker("cp", str(program), f"{container}:/services.py")
    docker("start", container)


def _wait(lab: Lab, host: str, *, bare: bool) -> None:
    """Wait until systemd has finished its start and the login works; raises LabError with what hangs.

    A bare host has no failed unit. One in use may have: to repair that is what the next run of site.yml is for.
    """
    container, deadline = lab.container(host), time.monotonic() + BOOT_SECONDS
    state, up_states = "", ("running",) if bare else ("running", "degraded")
    while time.monotonic() < deadline and not (bare and state == "degraded"):
        state = run([docker_program(), "exec", container, "systemctl", "is-system-running"], check=False).stdout.strip()
        if state in up_states and _login_works(lab.address(host)):
            if state == "degraded":
                print(f"lab: {host} is up; failed units: {_failed_units(container)}", file=sys.stderr, flush=True)
            return
        time.sleep(0.3)
    raise LabError(
        f"{host} of the lab '{lab.name}' does not come up (systemd: {state or 'no answer'}, failed units: {_failed_units(container)}). "
        f"Look: docker logs {container}; make it anew: python -m lab reset {lab.name}"
    )


def _failed_units(container: str) -> str:
    argv = [docker_program(), "exec", container, "systemctl", "list-units", "--failed", "--no-legend", "--plain"]
    return ", ".join(line.split()[0] for line in run(argv, check=False).stdout.splitlines() if line) or "none"


def _wait_for_services(lab: Lab) -> None:
    """Wait until the services' container answers; raises LabError with what it has printed."""
    address, deadline = lab.address(SERVICES), time.monotonic() + BOOT_SECONDS / 3
    # No proxy lies between this machine and its own containers.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        try:
            opener.open(f"http://{address}/received?since={time.time():.0f}", timeout=2).close()
            socket.create_connection((address, MAIL_PORT), timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    said = run([docker_program(), "logs", "--tail", "8", lab.container(SERVICES)], check=False)
    raise LabError(f"mirror and mail server of the lab '{lab.name}' do not answer at {address}:\n{said.stdout}{said.stderr}")


def _login_works(address: str) -> bool:
    argv = ["ssh", "-i", str(SSH_KEY), *SSH_OPTIONS, "-o", "BatchMode=yes", "-o", "ConnectTimeout=2", f"{LOGIN}@{address}", "true"]
    return run(argv, check=False).returncode == 0


def _make_keys() -> None:
    """Make what only this machine's labs know: the login's key, the mail server's password and certificate."""
    need(ssh_keygen="openssh-client", openssl="openssl")
    if not SSH_KEY.exists():
        SSH_KEY.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "observatory-lab", "-f", str(SSH_KEY)])
    if not SMTP_PASSWORD.exists():
        descriptor = os.open(SMTP_PASSWORD, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(secrets.token_urlsafe(24))
    if not MAIL_AUTHORITY.exists():
        run([
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650",
            "-subj", "/CN=mail.lab", "-addext", "subjectAltName=DNS:mail.lab",
            "-keyout", str(MAIL_AUTHORITY.with_suffix(".key")), "-out", str(MAIL_AUTHORITY),
        ])
