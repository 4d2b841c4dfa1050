"""A running container engine: the machine's own, or Debian's, started here."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from .common import CACHE, LabError, docker_program, install_packages, locked, progress, run

START_SECONDS = 60
DAEMON = "/usr/sbin/dockerd"
PID_FILE = Path("/run/docker.pid")


def answers() -> bool:
    """Whether an engine answers."""
    try:
        return run([docker_program(), "info"], check=False).returncode == 0
    except LabError:
        return False


def ensure() -> None:
    """Make sure that an engine runs; raises LabError when it cannot be started."""
    if answers():
        return
    with locked("engine"):
        if not answers():
            _install()
            _start()


def _install() -> None:
    if not os.path.exists(DAEMON):
        install_packages("docker.io", "iptables")
    if not os.path.exists("/usr/bin/docker"):
        # Since Debian 13 the client is a package of its own, which docker.io only recommends.
        install_packages("docker-cli")


def _start() -> None:
    if os.geteuid() != 0:
        raise LabError("no container engine runs, and only root can start one. Start it, or run as root")
    with progress("start the container engine"):
        if os.path.isdir("/run/systemd/system"):
            run(["systemctl", "start", "docker.service"])
            _wait(None, "journalctl -u docker")
            return
        _forget_a_dead_one()
        log = CACHE / "dockerd.log"
        with log.open("ab") as output:
            # In a session of its own: it outlives this command, and serves the next ones. It keeps its number in PID_FILE itself.
            process = subprocess.Popen([DAEMON], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        _wait(process, str(log))


def _wait(process: subprocess.Popen[bytes] | None, log: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if (process and process.poll() is not None) or time.monotonic() > deadline:
            tail = "\n".join(Path(log).read_text(errors="replace").splitlines()[-8:]) if process else ""
            raise LabError(f"the container engine does not start. See {log}\n{tail}".strip())
        time.sleep(0.3)


def _forget_a_dead_one() -> None:
    """Remove the number of an engine that was killed: when another process has it by now, the engine would not start."""
    try:
        name = Path(f"/proc/{int(PID_FILE.read_text())}/comm").read_text().strip()
    except (OSError, ValueError):
        name = ""
    if name != "dockerd":
        PID_FILE.unlink(missing_ok=True)
