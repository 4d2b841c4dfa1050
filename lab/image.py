"""The hosts' image: a Debian with systemd and sshd, as a provider's VM has it, and nothing of the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .common import CACHE, LOGIN, Archive, LabError, digest, docker, docker_program, install_packages, locked, progress, run

PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "python3", "ca-certificates", "iproute2", "procps", "sudo", "curl", "openssh-server",
    "openssl", "util-linux",
    # For the container of the notification sinks.
    "python3-aiosmtpd",
)
# Units that make no sense in a container, or that slow its start down.
MASKED = (
    "systemd-resolved.service", "systemd-networkd.service", "systemd-networkd.socket", "systemd-logind.service", "getty@.service",
    "console-getty.service", "systemd-udevd.service", "systemd-udev-trigger.service", "apt-daily.timer", "apt-daily-upgrade.timer",
    "e2scrub_all.timer", "fstrim.timer", "dpkg-db-backup.timer", "systemd-firstboot.service", "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount", "dev-hugepages.mount", "systemd-binfmt.service", "systemd-modules-load.service", "man-db.timer",
    "systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-tpm2-setup.service", "systemd-tpm2-setup-early.service",
)
SETUP = """
set -eu
useradd --create-home --shell /bin/bash {login}
echo '{login} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{login}
chmod 0440 /etc/sudoers.d/{login}
printf 'UseDNS no\\nPasswordAuthentication no\\nPermitRootLogin no\\n' > /etc/ssh/sshd_config.d/lab.conf
systemctl mask {masked} >/dev/null 2>&1
systemctl enable ssh.service >/dev/null 2>&1
systemctl disable ssh.socket >/dev/null 2>&1 || true
echo 'deb [trusted=yes] http://mirror.lab/debian/{suite} ./' > /etc/apt/sources.list
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/* /etc/machine-id
touch /etc/machine-id
mkdir -p /var/log/journal
"""


def name_of(suite: str) -> str:
    """Return the image's name: it carries a hash of the recipe, so that a changed recipe makes a new image."""
    return f"observatory-lab:{suite}-{digest(suite, *PACKAGES, *MASKED, SETUP, *_extra_authorities()[1])}"


def ensure(suite: str) -> str:
    """Return the name of the suite's image, made when the engine does not have it."""
    name = name_of(suite)
    with locked("image"):
        if not docker("images", "--quiet", name, check=False):
            _make(suite, name)
    return name


def _make(suite: str, name: str) -> None:
    with progress(f"image of Debian {suite} (about two minutes)"):
        if not shutil.which("debootstrap"):
            install_packages("debootstrap", "gpgv")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="image-") as folder:
            _build(suite, Path(folder) / "root")
            _load(Path(folder) / "root", name)


def _build(suite: str, root: Path) -> None:
    if os.geteuid() != 0:
        raise LabError("an image can only be made as root")
    script = Path("/usr/share/debootstrap/scripts") / suite
    argv = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(root), Archive.of_this_machine().uri]
    # An older debootstrap does not know a newer suite's name; all of them install alike.
    run(argv if script.exists() else [*argv, "/usr/share/debootstrap/scripts/sid"])
    files, _contents = _extra_authorities()
    if files:
        # A network that inspects TLS: its authority belongs into the hosts too.
        target = root / "usr/local/share/ca-certificates"
        for file in files:
            shutil.copy(file, target)
        run(["chroot", str(root), "update-ca-certificates"])
    run(["chroot", str(root), "sh", "-c", SETUP.format(login=LOGIN, masked=" ".join(MASKED), suite=suite)])


def _load(root: Path, name: str) -> None:
    tar = subprocess.Popen(["tar", "--create", "--directory", str(root), "--numeric-owner", "."], stdout=subprocess.PIPE)
    load = subprocess.run(
        [docker_program(), "import", "--change", 'CMD ["/lib/systemd/systemd"]', "-", name],
        stdin=tar.stdout, capture_output=True, text=True, check=False,
    )
    if tar.wait() != 0 or load.returncode != 0:
        raise LabError(f"the image cannot be loaded into the engine: {load.stderr.strip()}")


def _extra_authorities() -> tuple[list[Path], list[str]]:
    """Return the authorities that this machine's operator has added, and their contents."""
    files = sorted(Path("/usr/local/share/ca-certificates").glob("*.crt"))
    return files, [file.read_text(errors="replace") for file in files]
