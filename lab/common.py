"""What the parts of the lab share: the cache, progress lines, commands, and the table of labs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "observatory" / "lab"
LOGIN = "ops"
# The container of mirror, mail server and recorded notifications, beside a lab's hosts.
SERVICES = "services"


class LabError(Exception):
    """What is wrong, and what to do."""


@dataclass(frozen=True)
class Lab:
    """A set of hosts in a network of their own. `network` is the first three numbers of a /24."""

    name: str
    network: str
    suite: str
    hosts: tuple[str, ...]
    second_network: bool = False
    """Whether the hosts have a network of 127.* addresses too; lab/hosts.py says what for."""

    def address(self, host: str) -> str:
        """Return a host's address; `services` has .10, hosts follow in order."""
        return f"{self.network}.{10 + (SERVICES, *self.hosts).index(host)}"

    def second_address(self, host: str) -> str:
        """Return a host's address in the second network: 127.213.4.11 beside 10.213.4.11."""
        return "127." + self.address(host).partition(".")[2]

    @property
    def bridge(self) -> str:
        return f"observatory-{self.name}"

    def container(self, host: str) -> str:
        return f"observatory-{self.name}-{host}"


LABS = {
    lab.name: lab
    for lab in (
        Lab("demo", "10.213.0", "trixie", ("hub", "app1")),
        Lab("default", "10.213.1", "trixie", ("hub", "app1")),
        Lab("debian12", "10.213.2", "bookworm", ("hub", "app1")),
        Lab("bench", "10.213.3", "trixie", ("hub", "app1", "app2", "app3", "app4")),
        Lab("cluster", "10.213.4", "trixie", ("es1", "es2", "es3", "es4"), second_network=True),
        Lab("oncall", "10.213.5", "trixie", ("hub", "app1")),
        # For trying something beside all of these.
        *(Lab(f"try{number}", f"10.213.{20 + number}", "trixie", ("hub", "app1")) for number in range(1, 6)),
    )
}


def find_lab(name: str) -> Lab:
    """Return the lab of that name; raises LabError with the names there are."""
    try:
        return LABS[name]
    except KeyError:
        raise LabError(f"there is no lab '{name}'. There are: {', '.join(LABS)}") from None


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Print what begins now, and the seconds that it took."""
    begun = time.monotonic()
    print(f"lab: {what} …", file=sys.stderr, flush=True)
    yield
    print(f"lab: {what}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


@contextmanager
def locked(what: str) -> Iterator[None]:
    """Hold a lock of the cache: clones share it, and only one of them makes what is missing."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f".{what}.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(argv: list[str], *, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command with its output captured; raises LabError with its last lines when it fails."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if check and done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise LabError(f"'{' '.join(argv[:6])} …' failed with exit code {done.returncode}:\n{tail}")
    return done


def docker(*arguments: str, check: bool = True) -> str:
    """Run the engine's client and return its output."""
    return run([docker_program(), *arguments], check=check).stdout.strip()


def docker_program() -> str:
    """Return the client that belongs to the engine: another one may come first on PATH."""
    program = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else shutil.which("docker")
    if not program:
        raise LabError("there is no docker client. Run `python -m lab engine` as root")
    return program


def machine() -> str:
    """Return Go's word for this machine's architecture; raises LabError on one that the publishers do not build for."""
    try:
        return {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    except KeyError:
        raise LabError(f"the lab runs on x86_64 and aarch64, this machine is {os.uname().machine}") from None


def digest(*parts: str) -> str:
    """Return a short hash of texts: the key under which what was made from them is kept."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Archive:
    """The Debian archive that this machine uses, whichever that is."""

    uri: str

    @classmethod
    def of_this_machine(cls) -> Archive:
        """Read it from the machine's own apt sources; raises LabError on a machine without any."""
        targets = run(["apt-get", "indextargets", "--format", "$(REPO_URI)|$(LABEL)|$(COMPONENT)", "Created-By: Packages"]).stdout
        return cls(archive_among(targets))

    @property
    def source_options(self) -> str:
        """The options of a line in sources.list: the key that Debian signs with."""
        keyrings = [path for path in KEYRINGS if os.path.exists(path)]
        return f"[signed-by={keyrings[0]}]" if keyrings else ""


KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")


def archive_among(targets: str) -> str:
    """Return the address of Debian's archive out of lines `URI|LABEL|COMPONENT` as apt prints them; raises LabError when none is there."""
    lines = [line.split("|") for line in targets.splitlines()]
    main = [(uri.rstrip("/"), label) for uri, label, component in lines if component == "main"]
    # A label is only known once the lists are there; before that the usual path tells.
    for uri, label in main:
        if label == "Debian" or uri.endswith("/debian"):
            return uri
    raise LabError("no Debian archive in this machine's apt sources. Add one to /etc/apt/sources.list.d, run apt-get update")


def install_packages(*names: str) -> None:
    """Install Debian packages on this machine."""
    if os.geteuid() != 0:
        raise LabError(f"{', '.join(names)} must be installed first. Run as root, or install them by hand")
    with progress(f"install {', '.join(names)}"):
        # A source of somebody else's may be out of reach; what counts is whether the packages come.
        run(["apt-get", "update", "-q"], check=False)
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *names], env=environment)


def need(**packages: str) -> None:
    """Install what a machine may lack: program -> its Debian package."""
    missing = [package for program, package in packages.items() if not shutil.which(program.replace("_", "-"))]
    if missing:
        install_packages(*missing)
