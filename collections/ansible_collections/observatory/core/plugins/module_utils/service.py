"""A systemd unit, brought to the state that its release and its configuration call for."""

from __future__ import annotations

import glob
import os
import time

from .config_tree import matches
from .host import Failure
from .tls import basic_authorization, client_context

STAMP_SCHEMA = 1
SETTLE_SECONDS = 1.0
YOUNG_SECONDS = 10.0
POLL_SECONDS = 0.1
REQUEST_TIMEOUT_SECONDS = 5
JOURNAL_LINES = 15
MANY_RESTARTS = 3
PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "UnitFileState", "NeedDaemonReload", "ActiveEnterTimestampMonotonic", "InvocationID", "NRestarts", "MainPID",
    "ExecMainStartTimestampMonotonic", "Result", "ExecMainStatus",
)

HEALTH_SPEC = {
    "url": {"type": "str", "required": True},
    "ca": {"type": "str"},
    "cert": {"type": "str"},
    "key": {"type": "str"},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "timeout": {"type": "int", "default": 60},
}
SPEC = {
    "unit": {"type": "str"},
    "restart_on": {"type": "list", "elements": "str", "default": []},
    "reload_on": {"type": "list", "elements": "str", "default": []},
    "health": {"type": "dict", "options": HEALTH_SPEC},
    "rollback": {"type": "str", "choices": ["release", "config", "none"], "default": "none"},
    "restart": {"type": "str", "choices": ["now", "rolling"], "default": "now"},
}


class Service:
    """`plan` decides between nothing, reload and restart; `apply` does it and waits until the product is healthy.

    extra: further paths whose change calls for a restart (the release's link and manifest).
    predicted: paths that check mode would have changed.
    """

    def __init__(self, host, name, spec, extra=(), probe=None):
        self.host = host
        self.name = name
        self.unit = spec.get("unit") or name
        if "." not in self.unit:
            self.unit += ".service"
        self.unit_file = "/etc/systemd/system/" + self.unit
        self.restart_patterns = list(spec.get("restart_on") or []) + [self.unit_file, self.unit_file + ".d/*"] + list(extra)
        self.reload_patterns = list(spec.get("reload_on") or [])
        self.health = spec.get("health")
        self.rolling = spec.get("restart") == "rolling"
        self._probe = probe or _probe
        self.stamp = host.read_state("service", name)
        self.state = {}
        self.action = None
        self.reason = ""
        self.enable = False
        self.reload_units = False

    def show(self):
        """Return the unit's properties, as systemd knows them now."""
        code, text = self.host.run(["systemctl", "show", self.unit, "--property=" + ",".join(PROPERTIES)])
        if code != 0:
            raise Failure("systemctl show {0}: {1}".format(self.unit, text.strip()))
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def plan(self, predicted=()):
        """Decide what is due, after the release and the configuration are in place; return whether anything is."""
        self.state = self.show()
        units_changed = any(path == self.unit_file or path.startswith(self.unit_file + ".d/") for path in predicted)
        self.reload_units = self.state.get("NeedDaemonReload") == "yes" or units_changed or self.state.get("LoadState") == "not-found"
        self.enable = self.state.get("UnitFileState") not in ("enabled", "static", "enabled-runtime", "generated")
        self.action, self.reason = self._decide(predicted)
        return bool(self.action or self.enable)

    def apply(self):
        """Do what `plan` has decided and wait for health; raises Failure with the journal's tail.

        With `restart: rolling` a restart of a running unit is only reported as due.
        """
        if self.host.check:
            return
        if self.reload_units:
            self.host.steps.reach("daemon-reload")
            self.host.must(["systemctl", "daemon-reload"], "systemd cannot read its units")
        if self.enable:
            self.host.steps.reach("enable")
            self.host.must(["systemctl", "enable", "--quiet", self.unit], "{0} cannot be enabled".format(self.unit))
        if self.restart_due:
            return
        begun = time.time()
        if self.action == "restart":
            self.restart(begun)
        elif self.action == "reload":
            self.host.steps.reach("reload")
            self._do("reload", begun)
        elif not self._young():
            # The common case of a run without a change: one request proves that the product answers.
            if self.health is None or self._probe(self.host, self.health) is None:
                self._write_stamp()
                return
            begun = self._started()
        self.wait_until_healthy(begun)
        self._write_stamp()

    @property
    def restart_due(self):
        """Whether a restart is due that a rolling play has to do."""
        return self.rolling and self.action == "restart" and self.state.get("ActiveState") == "active"

    def restart(self, begun):
        self.host.steps.reach("restart")
        # A unit that has hit its start limit refuses to start for minutes otherwise.
        self.host.run(["systemctl", "reset-failed", self.unit])
        # From here on an interruption has to end in another restart.
        self.host.drop_state("service", self.name)
        self._do("restart", begun)

    def wait_until_healthy(self, begun):
        """Wait until the product answers, then until its process has stayed the same for a second."""
        self.host.steps.reach("wait for health")
        timeout = (self.health or {}).get("timeout", 60)
        deadline = time.monotonic() + timeout
        problem = "it never became active"
        restarts_before = 0 if self.action == "restart" else int(self.state.get("NRestarts") or 0)
        while True:
            state = self.show()
            if state.get("ActiveState") == "failed":
                self._fail("has failed (result: {0})".format(state.get("Result")), begun)
            if state.get("ActiveState") == "active":
                problem = self._probe(self.host, self.health) if self.health else None
                if problem is None and self._settled(state):
                    return
                problem = problem or "its process keeps ending"
            if int(state.get("NRestarts") or 0) - restarts_before >= MANY_RESTARTS:
                self._fail("keeps ending and being restarted by systemd", begun)
            if time.monotonic() > deadline:
                self._fail("is not healthy after {0} seconds: {1}".format(timeout, problem), begun)
            time.sleep(POLL_SECONDS)

    def journal(self, begun):
        """Return the last lines that the unit wrote since `begun` (epoch seconds)."""
        argv = ["journalctl", "--unit", self.unit, "--since", "@{0:.0f}".format(begun - 1)]
        code, text = self.host.run(argv + ["--lines", str(JOURNAL_LINES), "--output", "cat", "--no-pager"])
        return text.strip() if code == 0 else ""

    def _decide(self, predicted):
        if self.state.get("ActiveState") not in ("active", "reloading"):
            return "restart", "it was not running"
        for action, patterns in (("restart", self.restart_patterns), ("reload", self.reload_patterns)):
            for path in sorted(predicted):
                if self.host.check and matches(path, patterns):
                    return action, path + " changed"
        watched = self._watched()
        if self.stamp.get("schema") == STAMP_SCHEMA and self.stamp.get("invocation") == self.state.get("InvocationID"):
            for action in ("restart", "reload"):
                changed = _first_difference(self.stamp[action], watched[action])
                if changed:
                    return action, changed + " changed"
            return None, ""
        # Started by someone else (a reboot, a person): right if the process is younger than every file that it reads.
        started = self._started()
        for action in ("restart", "reload"):
            for path, (_inode, _size, _mtime, changed) in sorted(watched[action].items()):
                if changed / 1e9 >= started:
                    return action, path + " is newer than the process"
        return None, ""

    def _watched(self):
        """Return {action: {path: [inode, size, mtime ns, ctime ns]}} of all files that the unit depends on."""
        result = {}
        for action, patterns in (("restart", self.restart_patterns), ("reload", self.reload_patterns)):
            entries = {}
            for pattern in patterns:
                for real in glob.glob(self.host.path(pattern)):
                    status = os.lstat(real)
                    path = real if self.host.root == "/" else "/" + os.path.relpath(real, self.host.root)
                    entries[path] = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
                    if os.path.isdir(real) and not os.path.islink(real):
                        del entries[path]
            result[action] = entries
        result["reload"] = {path: value for path, value in result["reload"].items() if path not in result["restart"]}
        return result

    def _started(self):
        """Return when the main process began, or a unit without one such as a timer, in epoch seconds."""
        begun = int(self.state.get("ExecMainStartTimestampMonotonic") or 0) or int(self.state.get("ActiveEnterTimestampMonotonic") or 0)
        age = time.monotonic() - begun / 1e6
        return time.time() - age

    def _young(self):
        """Whether a process that we did not start is so young that it may be one of a crash loop."""
        known = self.stamp.get("invocation") == self.state.get("InvocationID")
        return not known and time.time() - self._started() < YOUNG_SECONDS

    def _settled(self, before):
        time.sleep(SETTLE_SECONDS)
        after = self.show()
        return after.get("ActiveState") == "active" and all(
            before.get(key) == after.get(key) for key in ("InvocationID", "NRestarts", "MainPID")
        )

    def _do(self, verb, begun):
        code, text = self.host.run(["systemctl", verb, self.unit], timeout=(self.health or {}).get("timeout", 60) + 30)
        if code != 0:
            self._fail("cannot {0}: {1}".format(verb, text.strip().splitlines()[0] if text.strip() else "exit code {0}".format(code)), begun)

    def _fail(self, problem, begun):
        self.host.drop_state("service", self.name)
        raise Failure("{0} {1}".format(self.unit, problem), journal=self.journal(begun))

    def _write_stamp(self):
        state = self.show() if self.action else self.state
        stamp = {"schema": STAMP_SCHEMA, "unit": self.unit, "invocation": state.get("InvocationID")}
        stamp.update(self._watched())
        if stamp != self.stamp:
            self.host.steps.reach("stamp")
            self.host.write_state("service", self.name, stamp)


def remove(host, unit, name):
    """Stop and disable the unit; return whether it was running or enabled. Its file is the configuration's."""
    service = Service(host, name, {"unit": unit})
    state = service.show()
    live = state.get("ActiveState") not in ("inactive", "failed") or state.get("UnitFileState") == "enabled"
    if not host.check:
        if live:
            host.steps.reach("stop")
            host.must(["systemctl", "disable", "--now", "--quiet", service.unit], "{0} cannot be stopped".format(service.unit))
        host.run(["systemctl", "reset-failed", service.unit])
        host.drop_state("service", name)
    return live


def _first_difference(before, after):
    """Return a path that was added, removed or replaced. ctime is left out: an attribute alone is no new content.

    A release's manifest, which begins with a dot, comes last: its link says more to a reader.
    """
    for path in sorted(set(before) | set(after), key=lambda path: (os.path.basename(path).startswith("."), path)):
        if (before.get(path) or [])[:3] != (after.get(path) or [])[:3]:
            return path
    return None


def _probe(host, health):
    """Ask the health URL; return None when it answers with 2xx, else what is wrong.

    Spoken by hand, since importing an HTTP library costs more than the whole of a run without a change.
    """
    import socket

    try:
        if health["url"].startswith("unix:"):
            _scheme, name, path = health["url"].split(":", 2)
            address, connection = "localhost", socket.socket(socket.AF_UNIX)
            connection.settimeout(REQUEST_TIMEOUT_SECONDS)
            connection.connect(host.path(name))
        else:
            scheme, _separator, rest = health["url"].partition("://")
            address, slash, path = rest.partition("/")
            path = slash + path or "/"
            name, _colon, port = address.rpartition(":") if ":" in address.rsplit("]", 1)[-1] else (address, "", "")
            name = name.strip("[]")
            connection = socket.create_connection((name, int(port or (443 if scheme == "https" else 80))), timeout=REQUEST_TIMEOUT_SECONDS)
            if scheme == "https":
                connection = _secured(host, health, connection, name)
        with connection:
            lines = ["GET {0} HTTP/1.0".format(path), "Host: " + address, "Connection: close"]
            if health.get("user"):
                lines.append("Authorization: " + basic_authorization(health["user"], health.get("password")))
            connection.sendall("\r\n".join(lines + ["", ""]).encode())
            status = connection.recv(64).split(b" ", 2)
    except (OSError, ValueError) as error:
        return "{0}: {1}".format(health["url"], error)
    if len(status) < 2 or not status[1].isdigit():
        return "{0} does not speak HTTP".format(health["url"])
    return None if status[1].startswith(b"2") else "{0} answers {1}".format(health["url"], status[1].decode())


def _secured(host, health, connection, name):
    context = client_context(*(host.path(health[kind]) if health.get(kind) else None for kind in ("ca", "cert", "key")))
    return context.wrap_socket(connection, server_hostname=name)


def apply(host, name, spec):
    """Bring the unit up under its lock; return the module's result. A failure carries the journal in its message."""
    with host.lock(name):
        service = Service(host, name, dict(spec, unit=name))
        changed = service.plan()
        try:
            service.apply()
        except Failure as error:
            words = [str(error)] + ([error.details["journal"]] if error.details.get("journal") else [])
            raise Failure("\n".join(words), changed=True)
    result = {"changed": changed, "action": service.action or "", "reason": service.reason}
    if service.restart_due:
        result.update(changed=service.enable, restart_due=service.reason)
    if changed:
        result["diff"] = [{"before": "", "after": "{0} ({1})\n".format(service.action or "enable", service.reason), "after_header": service.unit}]
    return result
