"""What a host is and whether it can take what the inventory gives it. Reads only; findings are plain mappings.

Standard library and Python 3.9 syntax: this runs on the targets. `root` moves all paths below a recorded tree in unit tests.
"""

from __future__ import annotations

import base64
import contextlib
import glob
import hashlib
import os
import platform
import re
import socket
import subprocess
import threading
import time

AUTHORITY_FILE = "/etc/observatory/pki/ca.crt"
RELEASES_FOLDER = "/opt/observatory"
DOWNLOAD_TIMEOUT_SECONDS = 5
RESOLVE_TIMEOUT_SECONDS = 5
# Room for archives while they are unpacked, when a release has to be installed.
RELEASES_BYTES = 512 * 1024 * 1024

_TCP_LISTEN = "0A"
_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_UNITS = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40, "PB": 2**50, "EB": 2**60}


def _entries(**names):
    return {"type": "list", "elements": "dict", "default": [], "options": names}


_TEXT = {"type": "str", "default": ""}
_NEEDED = {"type": "str", "required": True}
_NUMBER = {"type": "int", "required": True}

SPEC = {
    "supported": {"type": "dict", "default": {"debian": ["12", "13"]}},
    "architectures": {"type": "list", "elements": "str", "default": ["x86_64", "aarch64"]},
    "systemd_minimum": {"type": "int", "default": 247},
    "ports": _entries(port=_NUMBER, unit=_NEEDED, variable=_NEEDED),
    "disks": _entries(path=_NEEDED, bytes=_NUMBER, variable=_TEXT, given=_TEXT),
    "memory": _entries(product=_NEEDED, bytes=_NUMBER, variable=_TEXT, given=_TEXT),
    "names": _entries(name=_NEEDED, variable=_NEEDED, given=_TEXT),
    "releases": _entries(
        product=_NEEDED, version=_NEEDED, url=_NEEDED, arch={"type": "dict", "default": {}}, variable=_TEXT, source=_TEXT, given=_TEXT,
        data=_TEXT, snapshots=_TEXT, snapshot_hours={"type": "int", "default": 0},
    ),
    "site_files": _entries(kind={**_NEEDED, "choices": ["rules", "scrape"]}, content=_NEEDED),
    "authority_fingerprints": {"type": "list", "elements": "str", "default": []},
}


def finding(text, variable="", given="", hint=""):
    return {"text": text, "variable": variable, "given": given, "hint": hint}


def size_bytes(text):
    """Return the bytes of a size such as 10GB (Prometheus' units, powers of 1024); None when it is not one."""
    match = re.match(r"^(\d+(?:\.\d+)?)\s*([KMGTPE]?B)$", str(text))
    return int(float(match.group(1)) * _UNITS[match.group(2)]) if match else None


def size_text(count):
    """Return bytes as people read them, in the units of `size_bytes`: 35.2 GB."""
    unit = "B"
    for unit in _UNITS:
        if count < 1024 or unit == "EB":
            break
        count /= 1024.0
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def fingerprints(text):
    """Return the SHA-256 of each certificate in a PEM text, in hex."""
    found = []
    for body in _CERTIFICATE.findall(text or ""):
        with contextlib.suppress(ValueError):
            found.append(hashlib.sha256(base64.b64decode("".join(body.split()))).hexdigest())
    return found


class Machine:
    """The facts that the checks need, each read from where the kernel or the distribution keeps it."""

    def __init__(self, root="/", machine=None, run=None):
        self._root = root
        self.machine = machine or platform.machine()
        self._run = run or _output

    def path(self, path):
        return os.path.join(self._root, path.lstrip("/"))

    def read(self, path):
        """Return a file's text; empty when it cannot be read."""
        try:
            with open(self.path(path), encoding="utf-8", errors="replace") as stream:
                return stream.read()
        except OSError:
            return ""

    def os_release(self):
        """Return the id, the version and the full name of the distribution."""
        text = self.read("/etc/os-release") or self.read("/usr/lib/os-release")
        values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        values = {name: value.strip().strip("\"'") for name, value in values.items()}
        return {
            "id": values.get("ID", ""),
            "version": values.get("VERSION_ID", ""),
            "name": values.get("PRETTY_NAME", "") or values.get("ID", "") or "an unknown system",
        }

    def memory_bytes(self):
        match = re.search(r"^MemTotal:\s+(\d+) kB", self.read("/proc/meminfo"), re.MULTILINE)
        return int(match.group(1)) * 1024 if match else 0

    def init(self):
        """Return the name of process 1 and the version of systemd (0 when it is not there)."""
        match = re.match(r"systemd (\d+)", self._run(["systemctl", "--version"]))
        return self.read("/proc/1/comm").strip(), int(match.group(1)) if match else 0

    def listeners(self, ports):
        """Return {port: {process, unit}} for those of the ports that some process listens on."""
        inodes = {}
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in self.read(table).splitlines()[1:]:
                fields = line.split()
                port = int(fields[1].rpartition(":")[2], 16)
                if fields[3] == _TCP_LISTEN and port in ports:
                    inodes[f"socket:[{fields[9]}]"] = port
        found = {port: {"process": "an unknown process", "unit": ""} for port in inodes.values()}
        if inodes:
            for descriptor in glob.glob(self.path("/proc/[0-9]*/fd/*")):
                try:
                    port = inodes.get(os.readlink(descriptor))
                except OSError:
                    continue
                if port:
                    process = os.path.basename(os.path.dirname(os.path.dirname(descriptor)))
                    unit = re.findall(r"/([^/\n]+)\.service", self.read(f"/proc/{process}/cgroup"))
                    name = self.read(f"/proc/{process}/comm").strip()
                    found[port] = {"process": f"{name} (process {process})", "unit": unit[-1] if unit else ""}
        return found

    def space(self, path):
        """Return (bytes available, bytes used by the folder itself, device) for a folder that need not exist yet."""
        path = self.path(path)
        used = 0
        for folder, _folders, names in os.walk(path):
            for name in names:
                # A database removes files while it is looked at.
                with contextlib.suppress(OSError):
                    used += os.lstat(os.path.join(folder, name)).st_blocks * 512
        while not os.path.exists(path):
            path = os.path.dirname(path)
        state = os.statvfs(path)
        return state.f_bavail * state.f_frsize, used, os.stat(path).st_dev

    def current_release(self, product):
        """Return the version that runs, "" for none."""
        try:
            return os.path.basename(os.readlink(self.path(os.path.join(RELEASES_FOLDER, product, "current"))))
        except OSError:
            return ""

    def is_empty(self, folder):
        try:
            return not os.listdir(self.path(folder))
        except OSError:
            return True

    def newest(self, folder):
        """Return the time of the youngest file of a folder, 0 without any."""
        try:
            return max((entry.stat().st_mtime for entry in os.scandir(self.path(folder)) if entry.is_file()), default=0)
        except OSError:
            return 0

    def has_release(self, entry):
        return os.path.isdir(self.path(os.path.join(RELEASES_FOLDER, entry["product"], entry["version"])))


def _output(argv):
    try:
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10, check=False).stdout.decode()
    except (OSError, subprocess.SubprocessError):
        return ""


# -- checks: each takes the machine and its part of the wishes, and yields findings -------------------------------------------


def check_system(machine, supported, architectures):
    release = machine.os_release()
    versions = supported.get(release["id"])
    if versions is None or (versions and release["version"].split(".")[0] not in versions):
        wanted = ", ".join("{} {}".format(name.capitalize(), " and ".join(numbers)) for name, numbers in sorted(supported.items()))
        yield finding("The operating system is not supported", given=release["name"], hint=f"supported: {wanted}")
    if machine.machine not in architectures:
        hint = "supported: {}".format(", ".join(architectures))
        yield finding("The architecture is not supported", given=machine.machine, hint=hint)


def check_root(user):
    if user != 0:
        hint = "set ansible_become: true, or log in as root; the login user needs sudo without a password or --ask-become-pass"
        yield finding("The tasks do not run as root", given=f"user id {user}", hint=hint)


def check_init(machine, minimum):
    name, version = machine.init()
    if name != "systemd":
        yield finding(
            "systemd is not the init process",
            given=name or "nothing",
            hint="the products run as systemd units; use a host that boots with it",
        )
    elif version < minimum:
        yield finding("systemd is too old", given=str(version), hint=f"the units need systemd {minimum} or newer")


def check_ports(machine, ports):
    held = machine.listeners({entry["port"] for entry in ports})
    for entry in ports:
        holder = held.get(entry["port"])
        if holder and holder["unit"] != entry["unit"]:
            by = "{} of the unit {}".format(holder["process"], holder["unit"]) if holder["unit"] else holder["process"]
            yield finding(
                "{}: port {} is taken by {}".format(entry["variable"], entry["port"], by),
                entry["variable"],
                str(entry["port"]),
                "stop it, or choose another port",
            )


def check_disks(machine, disks, missing_releases):
    """Folders on one file system share its space."""
    wanted = [*disks, {"path": RELEASES_FOLDER, "bytes": RELEASES_BYTES, "variable": ""}] if missing_releases else disks
    shared = {}
    for entry in wanted:
        available, used, device = machine.space(entry["path"])
        state = shared.setdefault(device, {"free": available, "entries": []})
        # What a data folder holds is part of what it will hold; a release comes beside those that are there.
        state["free"] += 0 if entry["path"] == RELEASES_FOLDER else used
        state["entries"].append(entry)
    for state in shared.values():
        needed = sum(entry["bytes"] for entry in state["entries"])
        if needed <= state["free"]:
            continue
        first = max(state["entries"], key=lambda entry: (bool(entry["variable"]), entry["bytes"]))
        paths = ", ".join(entry["path"] for entry in state["entries"])
        text = f"too little disk for {paths}: {size_text(state['free'])} are free, {size_text(needed)} needed"
        prefix = f"{first['variable']}: " if first["variable"] else "There is "
        hint = "lower it, or give the host a larger disk" if first["variable"] else "make room, or give the host a larger disk"
        yield finding(prefix + text, first["variable"], first.get("given", ""), hint)


def check_memory(machine, entries):
    total = machine.memory_bytes()
    needed = sum(entry["bytes"] for entry in entries)
    if total and needed > total:
        products = ", ".join("{} {}".format(entry["product"], size_text(entry["bytes"])) for entry in entries)
        hint = f"needed: {size_text(needed)} ({products})"
        heaps = [entry for entry in entries if entry.get("variable") and entry["bytes"] * 2 > needed]
        if heaps:
            yield finding(f"The host has {size_text(total)} of memory, too little for {heaps[0]['variable']}", heaps[0]["variable"], heaps[0]["given"], hint)
        else:
            yield finding("The host has too little memory", given=size_text(total), hint=hint)


def check_names(names, resolve=None):
    """Ask for all names at once: a dead name server must not hold the run for each of them."""
    resolve = resolve or (lambda name: socket.getaddrinfo(name, None))
    missing = {}

    def ask(entry):
        try:
            resolve(entry["name"])
        except OSError as error:
            missing[entry["name"]] = error.strerror or str(error)
        else:
            missing.pop(entry["name"], None)

    threads = [threading.Thread(target=ask, args=(entry,), daemon=True) for entry in names]
    for entry in names:
        missing[entry["name"]] = f"no answer within {RESOLVE_TIMEOUT_SECONDS} s"
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + RESOLVE_TIMEOUT_SECONDS
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    for entry in names:
        if entry["name"] in missing:
            yield finding(
                "{}: the name {} does not resolve on the host ({})".format(entry["variable"], entry["name"], missing[entry["name"]]),
                entry["variable"],
                entry.get("given", ""),
                "correct the name, or add it to the name server or the host's /etc/hosts",
            )


def check_authority(machine, known):
    """A host that trusts none of the inventory's authorities belongs to another site, or the site's secrets were made anew.

    During a rotation both sides have two: one in common is enough.
    """
    found = fingerprints(machine.read(AUTHORITY_FILE))
    if known and found and not set(found) & set(known):
        yield finding(
            "observatory_authority_certificate is not the authority that this host knows",
            "observatory_authority_certificate",
            f"SHA-256 {known[0][:16]}..., on the host {found[0][:16]}...",
            f"restore the site's secrets file, or remove {AUTHORITY_FILE} on the host to move it to this site",
        )


# They refuse the data of any newer release; the others do so of a newer minor one.
STRICT_ABOUT_PATCHES = ("elasticsearch", "kibana")


def check_steps(machine, releases, now=None):
    """A release that migrates its data has no way back: an older one is refused, and a newer one without a fresh snapshot where it has some."""
    for entry in releases:
        current, wanted = machine.current_release(entry["product"]), entry["version"]
        if not entry.get("data") or not current or machine.is_empty(entry["data"]):
            continue
        depth = 3 if entry["product"] in STRICT_ABOUT_PATCHES else 2
        step = (_numbers(wanted)[:depth] > _numbers(current)[:depth]) - (_numbers(wanted)[:depth] < _numbers(current)[:depth])
        if step < 0:
            text = "{}: {} {} cannot read the data of {}, which the host has".format(entry["variable"], entry["product"], wanted, current)
            hint = f"stay at {current}, or move {entry['data']} away and restore a snapshot from before the upgrade"
            yield finding(text, entry["variable"], wanted, hint)
        elif step > 0 and entry.get("snapshot_hours"):
            age = ((now or time.time()) - machine.newest(entry["snapshots"])) / 3600 if entry["snapshots"] else None
            if age is None or age > entry["snapshot_hours"]:
                told = "there is none" if age is None or age > 1e5 else f"the newest is {age:.0f} hours old"
                text = "{}: the step from {} cannot be taken back without a fresh snapshot, and {}".format(entry["variable"], current, told)
                hint = "take one first (docs/operate/{0}.md); {0}_upgrade_snapshot_hours says how old it may be".format(entry["product"])
                yield finding(text, entry["variable"], wanted, hint)


def _numbers(version):
    return [int(part) if part.isdigit() else 0 for part in re.split(r"[.-]", version)]


def check_releases(machine, releases, head=None):
    """Only what is not installed yet is asked for: a run without changes needs no mirror. A dead server is asked once."""
    head = head or head_status
    dead = {}
    for entry in releases:
        url = entry["url"].replace("{arch}", entry["arch"].get(machine.machine, machine.machine))
        server = url.split("/")[2]
        if server not in dead:
            status, reason = head(url)
            if status is None:
                dead[server] = reason
        if server in dead:
            if dead[server]:
                variable = entry["source"]
                text = "{}: {} cannot be reached from the host ({})".format(variable or "The download", server, dead[server])
                given = entry["given"] or url
                yield finding(text, variable, given, "correct the address, or open the way to it: releases have to be installed from there")
                dead[server] = ""
        elif status >= 400:
            variable = entry["variable"]
            yield finding(
                "{}: {} {} is not to be had".format(variable, entry["product"], entry["version"]),
                variable,
                entry["version"],
                f"{url} answers {status}; choose a version that is published there",
            )


def head_status(url):
    """Return (status, "") of a HEAD request, or (None, reason) when no answer comes."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "observatory-preflight"})
    try:
        with urllib.request.urlopen(request, timeout=DOWNLOAD_TIMEOUT_SECONDS) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return None, getattr(reason, "strerror", None) or str(reason)


def probe(machine, wishes, user=None):
    """Return (facts, findings) for a host. `wishes` has the module's options."""
    findings = []
    user = os.geteuid() if user is None else user
    system = machine.os_release()
    findings.extend(check_system(machine, wishes["supported"], wishes["architectures"]))
    findings.extend(check_root(user))
    findings.extend(check_init(machine, wishes["systemd_minimum"]))
    # Only root sees who holds a port: anyone else would take our own units for strangers.
    if user == 0:
        findings.extend(check_ports(machine, wishes["ports"]))
    missing = [entry for entry in wishes["releases"] if not machine.has_release(entry)]
    findings.extend(check_disks(machine, wishes["disks"], missing))
    findings.extend(check_memory(machine, wishes["memory"]))
    findings.extend(check_authority(machine, wishes["authority_fingerprints"]))
    findings.extend(check_names(wishes["names"]))
    steps = list(check_steps(machine, wishes["releases"]))
    refused = {found["variable"] for found in steps}
    findings.extend(steps)
    findings.extend(check_releases(machine, [entry for entry in missing if entry["variable"] not in refused]))
    facts = {
        "machine": machine.machine,
        "os": "{} {}".format(system["id"], system["version"]).strip(),
        "os_name": system["name"],
        "memory_bytes": machine.memory_bytes(),
        "disk_free_bytes": {entry["path"]: machine.space(entry["path"])[0] for entry in wishes["disks"]},
        "systemd": machine.init()[1],
        "python": platform.python_version(),
        "time": time.time(),
    }
    return facts, findings
