"""The toy product on the lab's hosts, as the fault tests use it: run its playbook, and look at a host."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from fleet import LAB, ROOT

from lab import hosts as lab_hosts
from lab.common import LOGIN

HERE = Path(__file__).parent
HUB, APP = "hub", "app1"
OBSERVE = (HERE / "observe.py").read_text()
# Everything that a run may add to a host or change on it. Other products may run there: their data, and their locks, which a reboot
# takes away, are left out. The backups that useradd and userdel keep are theirs, what a killed module leaves in /tmp is Ansible's.
EVERYTHING = r"""
cd /
find etc opt usr/local home tmp -xdev \( -path etc/mtab -o -path 'tmp/systemd-private*' -o -path 'tmp/ansible_*_payload_*' -o -path 'tmp/hsperfdata_*' \
    -o -path 'home/*/.ansible*' -o -path '*/.cache' \) -prune -o -printf '%y %m %u:%g %p %l\n' 2>/dev/null | sort
find var/lib -maxdepth 1 -printf '%y %m %u:%g %p\n' | sort
find var/lib/observatory run/observatory -name '*beacon*' 2>/dev/null | sort
find var/lib/observatory run/observatory -maxdepth 0 -empty 2>/dev/null
find etc opt usr/local var/lib/observatory -xdev -type f ! -name 'passwd-' ! -name 'group-' ! -name 'shadow-' ! -name 'gshadow-' -print0 \
    2>/dev/null | sort -z | xargs -0 sha256sum
getent passwd; getent group
systemctl list-unit-files --no-legend --no-pager | sort
"""
# Removes the release that an upgrade brings, so that the next one is fetched.
FORGET = "cd /opt/observatory/beacon && rm -rf 1.1.0 .1.1.0.json previous"
PASSWORD = "a-password-that-nobody-may-see"
OTHER_PASSWORD = "another-one-that-is-not-for-you"
SSH = (
    "ssh", "-i", str(lab_hosts.SSH_KEY), *lab_hosts.SSH_OPTIONS,
    "-o", "ControlMaster=auto", "-o", "ControlPersist=30s", "-o", "ControlPath=/tmp/observatory-faults-%C",
)


@dataclass
class Run:
    """What came out of ansible-playbook: its exit code, its whole output, and the results in order."""

    code: int
    output: str
    results: list[dict] = field(default_factory=list)

    def result(self, host: str = HUB) -> dict:
        """Return the last answer that a host gave."""
        return [line["result"] for line in self.results if line["host"] == host][-1]

    @property
    def changed(self) -> bool:
        """Whether any host reports a change."""
        return any(line["result"].get("changed") for line in self.results)

    def message(self, host: str = HUB) -> str:
        """Return the message of the failure on a host; the run has to have failed there."""
        failed = [line for line in self.results if line["host"] == host and line["status"] == "failed"]
        assert failed, f"{host} has not failed:\n{self.output}"
        return failed[-1]["result"]["msg"]


@dataclass(frozen=True)
class State:
    """Beacon on one host at one moment."""

    files: dict[str, dict]
    unit: dict[str, str]
    answer: dict | None
    user: list[str]
    temporary: list[str]

    @property
    def pid(self) -> str:
        """The main process."""
        return self.unit["MainPID"]

    @property
    def version(self) -> str | None:
        """The version that answers."""
        return self.answer["version"] if self.answer else None

    @property
    def releases(self) -> list[str]:
        """What lies in the product's folder, directly."""
        base = "/opt/observatory/beacon/"
        return sorted(path[len(base):] for path in self.files if path.startswith(base) and "/" not in path[len(base):])

    @property
    def words(self) -> tuple | None:
        """What beacon answers, its process aside."""
        return (self.answer["version"], self.answer["message"]) if self.answer else None

    def shape(self) -> dict[str, tuple]:
        """Return what has to be the same whichever way the state was reached: inodes, times and so the stamp are left out."""
        return {
            path: (entry["kind"], entry["mode"], "" if path.endswith("/service/beacon.json") else entry["content"])
            for path, entry in self.files.items()
        }


def shell(command: str, host: str = HUB, *, root: bool = True, check: bool = True) -> str:
    """Run a command on a host and return its output."""
    words = f"sudo sh -c {shlex.quote(command)}" if root else command
    done = subprocess.run([*SSH, f"{LOGIN}@{LAB.address(host)}", words], capture_output=True, text=True, timeout=120, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def background(program: str, host: str = HUB) -> subprocess.Popen[str]:
    """Start a Python program on a host, as root; it reads its standard input after the program's own text."""
    words = f"sudo python3 -c {shlex.quote(program)}"
    return subprocess.Popen([*SSH, f"{LOGIN}@{LAB.address(host)}", words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def observe(host: str = HUB) -> State:
    """Return what beacon has on a host."""
    return State(**json.loads(shell(f"python3 -c {shlex.quote(OBSERVE)}", host)))


def everything(host: str = HUB) -> list[str]:
    """Return a listing of all that a run may change on a host."""
    return shell(EVERYTHING, host).splitlines()


def playbook(name: str, variables: dict, *flags: str, record: Path, **environment: str) -> Run:
    """Run a playbook of this folder with variables, to its end."""
    process, path = start_playbook(name, variables, *flags, record=record, **environment)
    return finish(process, path)


def start_playbook(name: str, variables: dict, *flags: str, record: Path, **environment: str) -> tuple[subprocess.Popen[str], Path]:
    """Start a playbook of this folder; `finish` waits for it."""
    path = record / f"{time.monotonic_ns()}.jsonl"
    path.touch()
    env = dict(
        os.environ, OBSERVATORY_LAB_NETWORK=LAB.network, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_CALLBACK_PLUGINS=str(HERE / "callbacks"),
        ANSIBLE_CALLBACKS_ENABLED="record", ANSIBLE_STDOUT_CALLBACK="default", OBSERVATORY_RECORD=str(path), **environment,
    )
    # In a file: a secret on this machine's command line would be the test's own leak.
    given = path.with_suffix(".json")
    given.write_text(json.dumps(variables))
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventories/lab", str(HERE / name), "-e", f"@{given}", *flags]
    return subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True), path


def finish(process: subprocess.Popen[str], path: Path) -> Run:
    """Wait for a playbook that `start_playbook` has begun."""
    output = process.communicate(timeout=600)[0]
    return Run(process.returncode, output, [json.loads(line) for line in path.read_text().splitlines()])


class Beacon:
    """Runs beacon's playbook: keyword arguments are what differs from the good state."""

    def __init__(self, record: Path):
        self.record = record

    def variables(self, hosts: str, become: bool, wanted: dict) -> dict:
        """Return the extra variables of a run; `parts` are given as file name -> text or data."""
        if "parts" in wanted:
            wanted = {**wanted, "parts": [
                {"path": f"/etc/beacon/conf.d/{name}", "content": part if isinstance(part, str) else json.dumps(part) + "\n"}
                for name, part in wanted["parts"].items()
            ]}
        return {"beacon_hosts": hosts, "beacon_become": become, "beacon": wanted}

    def run(self, *flags: str, hosts: str = HUB, become: bool = True, **wanted: object) -> Run:
        """Run it, whatever comes out."""
        return playbook("beacon.yml", self.variables(hosts, become, wanted), *flags, record=self.record)

    def start(self, *flags: str, hosts: str = HUB, **wanted: object) -> tuple[subprocess.Popen[str], Path]:
        """Start a run; `finish` waits for it."""
        return start_playbook("beacon.yml", self.variables(hosts, True, wanted), *flags, record=self.record)

    def killed(self, step: int, **wanted: object) -> Run:
        """Run it with SIGKILL at a step."""
        variables = {**self.variables(HUB, True, wanted), "beacon_kill_at": step}
        return playbook("beacon.yml", variables, record=self.record)

    def converge(self, *flags: str, hosts: str = HUB, **wanted: object) -> Run:
        """Run it; it has to succeed."""
        done = self.run(*flags, hosts=hosts, **wanted)
        assert done.code == 0, done.output
        return done

    def fail(self, *flags: str, hosts: str = HUB, become: bool = True, **wanted: object) -> Run:
        """Run it; it has to fail, with a message and not with a traceback."""
        done = self.run(*flags, hosts=hosts, become=become, **wanted)
        assert done.code == 2, done.output
        assert "Traceback" not in done.output, done.output
        return done


def same(state: State, good: State) -> bool:
    """Whether a host has what the good state has; kept releases aside."""
    aside = ("/opt/observatory/beacon/", "/var/lib/observatory/")
    shapes = [{path: entry for path, entry in one.shape().items() if not path.startswith(aside)} for one in (state, good)]
    stamp = "/var/lib/observatory/service/beacon.json"
    return shapes[0] == shapes[1] and state.version == "1.0.0" and stamp in state.files and not state.temporary
