"""The machine under change: its file root, check mode, lock, commands, and the record of the steps taken."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time

STATE_DIR = "/var/lib/observatory"
RUN_DIR = "/run/observatory"
COMMAND_TIMEOUT_SECONDS = 120
LOCK_TIMEOUT_SECONDS = 120
TEMPORARY_SUFFIX = ".observatory-new"
# Fault injection for the tests: the process kills itself when it reaches the step of this number.
KILL_AT_VARIABLE = "OBSERVATORY_KILL_AT"


class Failure(Exception):
    """What is wrong, where, and what to do; `details` become keys of the module's result."""

    def __init__(self, message, **details):
        super().__init__(message)
        self.details = details


class RecordFailure(Failure):
    """What was done could not be recorded; the host is otherwise as declared."""


class Steps:
    """The ordered record of what a run has begun; each entry is one point at which it may be interrupted."""

    def __init__(self, kill_at=None):
        self.reached = []
        self._kill_at = kill_at

    @classmethod
    def from_environment(cls):
        number = os.environ.get(KILL_AT_VARIABLE, "")
        return cls(int(number) if number.isdigit() else None)

    def reach(self, name):
        """Record that `name` begins now."""
        if self._kill_at == len(self.reached):
            os.kill(os.getpid(), signal.SIGKILL)
        self.reached.append(name)


class Host:
    """Paths are given as on the target; `root` moves them below another folder in unit tests."""

    def __init__(self, root="/", check=False, steps=None, runner=None):
        self.root = root
        self.check = check
        self.steps = steps or Steps()
        self._runner = runner or _run

    def path(self, path):
        """Return the real path of a target's absolute path."""
        return path if self.root == "/" else os.path.join(self.root, path.lstrip("/"))

    def run(self, argv, timeout=COMMAND_TIMEOUT_SECONDS, **options):
        """Run a command; return (exit code, stdout and stderr as one text). A missing program gives exit code 127."""
        return self._runner(argv, timeout=timeout, **options)

    def must(self, argv, purpose):
        """Run a command that has to succeed; raises Failure with its words."""
        code, text = self.run(argv)
        if code != 0:
            raise Failure("{0}: '{1}' failed with exit code {2}: {3}".format(purpose, " ".join(argv), code, text.strip()))
        return text

    @contextlib.contextmanager
    def lock(self, name):
        """Hold the component's lock, so that two controllers cannot interleave. Check mode takes none: it writes nothing."""
        if self.check:
            yield
            return
        folder = self.path(RUN_DIR)
        os.makedirs(folder, mode=0o755, exist_ok=True)
        path = os.path.join(folder, name + ".lock")
        deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
        while True:
            with open(path, "a") as handle:
                # A run that removed the component has removed its lock too: only the one that is still there counts.
                if _try_lock(handle) and _is_same_file(handle, path):
                    yield
                    return
            if time.monotonic() > deadline:
                raise Failure(
                    "another run has worked on {0} for {1} seconds. Wait for it, or end it; its lock is {2}/{0}.lock".format(
                        name, LOCK_TIMEOUT_SECONDS, RUN_DIR
                    )
                )
            time.sleep(0.1)

    def state_path(self, kind, name):
        return "{0}/{1}/{2}.json".format(STATE_DIR, kind, name)

    def read_state(self, kind, name):
        """Return what an earlier run recorded, or {}: a missing or damaged record is no record."""
        try:
            with open(self.path(self.state_path(kind, name)), encoding="utf-8") as handle:
                state = json.load(handle)
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def write_state(self, kind, name, state):
        """Record `state` (JSON) durably; readable by root alone, since it tells what is installed. Raises RecordFailure."""
        path = self.path(self.state_path(kind, name))
        text = json.dumps(state, indent=1, sort_keys=True) + "\n"
        try:
            make_directories(os.path.dirname(path), mode=0o700)
            os.replace(stage_file(path, text.encode(), mode=0o600), path)
        except OSError as error:
            raise RecordFailure("{0}: cannot be written: {1}".format(self.state_path(kind, name), error.strerror or error))

    def drop_state(self, kind, name):
        remove_quietly(self.path(self.state_path(kind, name)))


def _try_lock(handle):
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same_file(handle, path):
    try:
        return os.path.samestat(os.fstat(handle.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def make_directories(path, mode=0o755):
    """Create a folder and its missing parents; return those created, outermost first."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        os.mkdir(folder, mode)
        os.chmod(folder, mode)
    return list(reversed(missing))


def temporary_name(path):
    """Return the name beside `path` under which its next content waits: known, so that a later run can sweep it."""
    return os.path.join(os.path.dirname(path), "." + os.path.basename(path) + TEMPORARY_SUFFIX)


def stage_file(path, content, mode, uid=None, gid=None):
    """Write `content` (bytes) durably beside `path` and return the temporary name, to be renamed by the caller.

    Raises OSError; nothing is left behind then.
    """
    temporary = temporary_name(path)
    remove_quietly(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            if uid is not None:
                os.fchown(handle.fileno(), uid, gid)
            os.fchmod(handle.fileno(), mode)
            handle.flush()
            os.fsync(handle.fileno())
    except BaseException:
        remove_quietly(temporary)
        raise
    return temporary


def replace_link(link, target):
    """Point the symbolic link at `target` atomically."""
    temporary = temporary_name(link)
    remove_quietly(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, link)


def remove_quietly(path):
    """Remove a file, link or folder if it is there."""
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        pass


def _run(argv, timeout, cwd=None, env=None):
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    environment.update(env or {})
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=timeout, cwd=cwd, env=environment, check=False,
        )
    except FileNotFoundError:
        return 127, "{0}: not found".format(argv[0])
    except subprocess.TimeoutExpired:
        return 124, "no answer within {0} seconds".format(timeout)
    return done.returncode, done.stdout.decode("utf-8", "replace")
