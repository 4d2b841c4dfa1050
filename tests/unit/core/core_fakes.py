"""A host in a folder: its file system, systemd, users and the upstream's server, all without privileges."""

import contextlib
import grp
import hashlib
import io
import json
import os
import pathlib
import pwd
import signal
import stat
import tarfile
import time
import urllib.error

from ansible_collections.observatory.core.plugins.module_utils.host import Host, Steps

ME = pwd.getpwuid(os.getuid()).pw_name
MY_GROUP = grp.getgrgid(os.getgid()).gr_name
URL = "https://example.org/v{version}/beacon-{version}.tar.gz"
SUMS = "https://example.org/v{version}/sha256sums.txt"


def archive(files, top="beacon-1.0", mode="w:gz", members=()):
    """Return the bytes of a tar archive: {path below the top folder: text}, and further (TarInfo, bytes) as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        folder = tarfile.TarInfo(top)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        for path, text in files.items():
            info = tarfile.TarInfo(f"{top}/{path}")
            info.size, info.mode = len(text.encode()), 0o755
            tar.addfile(info, io.BytesIO(text.encode()))
        for info, content in members:
            tar.addfile(info, io.BytesIO(content) if content is not None else None)
    return buffer.getvalue()


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Answer(io.BytesIO):
    """What urlopen returns, as far as it is used."""

    def __init__(self, content, length):
        super().__init__(content)
        self.headers = {} if length is None else {"Content-Length": str(length)}


class Upstream:
    """The publisher's server: {address: bytes or the exception that asking for it raises}, and what has been asked."""

    def __init__(self):
        self.pages = {}
        self.asked = []
        self.lengths = {}

    def publish(self, version, content=None):
        content = archive({"beacon": f"#!/bin/sh\necho {version}\n", "doc/README": version}, f"beacon-{version}") if content is None else content
        name = f"beacon-{version}.tar.gz"
        self.pages[f"https://example.org/v{version}/{name}"] = content
        self.pages[f"https://example.org/v{version}/sha256sums.txt"] = f"{sha256(content)}  {name}\n".encode()

    def open(self, address):
        self.asked.append(address)
        page = self.pages.get(address)
        if page is None:
            raise urllib.error.HTTPError(address, 404, "Not Found", {}, None)
        if isinstance(page, Exception):
            raise page
        return Answer(page, self.lengths.get(address, len(page)))

    def asked_for_archives(self):
        return [address for address in self.asked if address.endswith(".tar.gz")]


class Machine:
    """Commands with an effect: systemd's answers, users, and programs by name.

    Its memory is a file, so that it outlives a process that is killed. The unit of a test is called beacon.
    """

    def __init__(self, folder):
        self._memory = folder / "machine.json"
        self.calls = []
        # program -> function(argv, options) -> (exit code, text)
        self.programs = {}
        # What the next restarts come to: a list of states, the last one stays.
        self.write({"active": "inactive", "enabled": "disabled", "load": "not-found", "invocation": 0, "restarts": 0,
                    "started": 0.0, "reload_needed": "no", "users": [], "crash": False, "journal": ""})

    def read(self):
        return json.loads(self._memory.read_text())

    def write(self, state):
        self._memory.write_text(json.dumps(state))

    def set(self, **values):
        self.write({**self.read(), **values})

    def start(self, ago=0.0):
        """The unit runs, in a process of its own, since `ago` seconds."""
        state = self.read()
        state.update(active="active", load="loaded", invocation=state["invocation"] + 1, started=time.monotonic() - ago)
        self.write(state)

    def commands(self):
        """Return what was run except reading, as lines."""
        return [" ".join(argv) for argv in self.calls if argv[:2] != ["systemctl", "show"] and argv[0] != "journalctl"]

    def probes(self):
        return [argv for argv in self.calls if argv[:2] == ["systemctl", "show"]]

    def __call__(self, argv, timeout=None, cwd=None, env=None):
        self.calls.append(list(argv))
        program = self.programs.get(os.path.basename(argv[0])) or getattr(self, "_" + os.path.basename(argv[0]), None)
        if program is None:
            return 127, f"{argv[0]}: not found"
        return program(argv, {"cwd": cwd})

    def _systemctl(self, argv, _options):
        state, verb = self.read(), argv[1]
        if verb == "show":
            lines = {
                "LoadState": state["load"], "ActiveState": state["active"], "UnitFileState": state["enabled"],
                "NeedDaemonReload": state["reload_needed"], "InvocationID": f"{state['invocation']:032x}", "NRestarts": state["restarts"],
                "MainPID": 1000 + state["invocation"], "ExecMainStartTimestampMonotonic": int(state["started"] * 1e6), "Result": "exit-code",
            }
            if state["crash"]:
                # Each look finds one more attempt of systemd.
                self.set(restarts=state["restarts"] + 1)
            return 0, "".join(f"{key}={value}\n" for key, value in lines.items())
        if verb == "daemon-reload":
            state.update(load="loaded", reload_needed="no")
        elif verb == "enable":
            state.update(enabled="enabled")
        elif verb == "disable":
            state.update(enabled="disabled", active="inactive")
        elif verb == "reset-failed":
            state.update(restarts=0)
        elif verb == "restart":
            state.update(invocation=state["invocation"] + 1, started=time.monotonic(), active="activating" if state["crash"] else "active")
        self.write(state)
        return 0, ""

    def _journalctl(self, _argv, _options):
        return 0, self.read()["journal"]

    def _useradd(self, argv, _options):
        self.set(users=[*self.read()["users"], argv[-1]])
        return 0, ""

    def _usermod(self, _argv, _options):
        return 0, ""

    def _userdel(self, argv, _options):
        self.set(users=[name for name in self.read()["users"] if name != argv[-1]])
        return 0, ""


class Target:
    """One host in a folder. Each `host()` is a new run on it."""

    def __init__(self, folder):
        self.root = folder / "root"
        (self.root / "run").mkdir(parents=True)
        self.machine = Machine(folder)
        self.upstream = Upstream()

    def host(self, check=False, steps=None):
        return Host(root=str(self.root), check=check, runner=self.machine, steps=steps)

    def path(self, path):
        return pathlib.Path(self.root, path.lstrip("/"))

    def put(self, path, text="", mode=0o644):
        """Write a file, as a person would by hand."""
        real = self.path(path)
        real.parent.mkdir(parents=True, exist_ok=True)
        real.write_text(text)
        real.chmod(mode)
        return real

    def read(self, path):
        return self.path(path).read_text()

    def snapshot(self, *ignored):
        """Return {path: (mode, content or link target)} of everything below the root, folders included."""
        found = {}
        for parent, folders, names in os.walk(self.root):
            for name in folders + names:
                real = os.path.join(parent, name)
                path = "/" + os.path.relpath(real, self.root)
                if path.startswith(ignored):
                    continue
                status = os.lstat(real)
                if stat.S_ISLNK(status.st_mode):
                    found[path] = ("link", os.readlink(real))
                else:
                    content = None if stat.S_ISDIR(status.st_mode) else pathlib.Path(real).read_bytes()
                    found[path] = (f"{stat.S_IMODE(status.st_mode):04o}", content)
        return found

    def killed_at(self, number, work):
        """Run `work(host)` in a process that is killed at its step of this number; return whether it was."""
        child = os.fork()
        if child == 0:
            try:
                work(self.host(steps=Steps(kill_at=number)))
                os._exit(0)
            except BaseException:
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return True
        assert os.WEXITSTATUS(status) == 0, f"the run failed at step {number} of an earlier one"
        return False


@contextlib.contextmanager
def full_disk(monkeypatch, module, name, when=lambda *args: True):
    """Let a function of a module find no space; `when(*args)` picks its calls."""
    original = getattr(module, name)

    def without_space(*args, **options):
        if when(*args):
            raise OSError(28, "No space left on device")
        return original(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, without_space)
        yield
