"""A running container engine: the machine's own, or Debian's, started here."""

from __future__ import annotations

import os
import subprocess
import time

from .common import CACHE, LabError, docker_program, install_packages, progress, run

START_SECONDS = 60


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
    if not os.path.exists("/usr/sbin/dockerd"):
        install_packages("docker.io", "iptables")
    if answers():
        return
    if os.geteuid() != 0:
        raise LabError("no container engine runs, and only root can start one. Start it, or run as root")
    CACHE.mkdir(parents=True, exist_ok=True)
    log = CACHE / "dockerd.log"
    with progress("start the container engine"), log.open("ab") as output:
        # In a session of its own: it outlives this command, and serves the next ones.
        process = subprocess.Popen(
            ["/usr/sbin/dockerd"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        deadline = time.monotonic() + START_SECONDS
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
                raise LabError(f"the container engine does not start. The end of {log}:\n{tail}")
            time.sleep(0.3)
