"""The distribution's packages that a product needs: installed without starting what they bring, given back when nobody needs them."""

from __future__ import annotations

import os
import re
import time

from .host import STATE_DIR, Failure, remove_quietly

KIND = "package"
LOCK = "packages"
# What unattended-upgrades may take on a slow machine.
LOCK_TIMEOUT_SECONDS = 300
COMMAND_TIMEOUT_SECONDS = 1200
LOCK_POLL_SECONDS = 3
SHOWN_LINES = 12
ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "APT_LISTCHANGES_FRONTEND": "none",
    # It would restart services that are none of ours.
    "NEEDRESTART_SUSPEND": "1",
}
APT_GET = [
    "apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout={0}".format(LOCK_TIMEOUT_SECONDS), "-o", "Dpkg::Use-Pty=0",
    "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold",
]
INSTALL = ["--no-install-recommends", "--no-remove", "install"]
INSTALLED = "installed"
# Anything else is a package that a run which was killed has left half way.
AT_REST = (INSTALLED, "not-installed", "config-files", "")
LISTS_LACK_IT = ("Unable to locate package", "has no installation candidate", "is not available")
LISTS_ARE_OLD = ("Failed to fetch", "Unable to fetch")
LOCKED = "Could not get lock"
INTERRUPTED = "dpkg --configure -a"
INSTALLS = re.compile(r"^Inst (\S+) (\[)?", re.MULTILINE)
REMOVES = re.compile(r"^(?:Remv|Purg) (\S+)", re.MULTILINE)


def ensure(host, component, wanted):
    """Have the packages installed; return (what was or would be done, warnings).

    A package that was there before is used as it is, and never removed. One that is brought here leaves its own service off.
    """
    done, warnings = give_back(host, component, keep=wanted)
    if not wanted:
        return done, warnings
    known = _statuses(host, wanted)
    missing = [name for name in wanted if known.get(name) != INSTALLED]
    records = {name: host.read_state(KIND, name) for name in wanted}
    due = [name for name in wanted if name in missing or (records[name] and not _is_right(records[name], component))]
    if due and not host.check:
        with host.lock(LOCK):
            for name in due:
                _bring(host, component, name, known.get(name, ""))
    return done + ["package {0} installed".format(name) for name in missing], warnings


def give_back(host, component, keep=()):
    """Remove the packages that were brought for the component and that nobody else needs; return (done, warnings)."""
    done, warnings = [], []
    for name in sorted(_names(host, component) - set(keep)):
        record = host.read_state(KIND, name)
        others = [other for other in record["components"] if other != component]
        if others:
            if not host.check:
                host.steps.reach("leave package {0} to {1}".format(name, ", ".join(others)))
                host.write_state(KIND, name, dict(record, components=others))
            continue
        reason = _reason_to_stay(host, name, record)
        going = _going(host, name, record) if not reason else []
        if not reason and not going and _statuses(host, [name]).get(name) == INSTALLED:
            reason = "other packages depend on it"
        if reason:
            warnings.append("package {0} stays: {1}".format(name, reason))
        elif going:
            if not host.check:
                host.steps.reach("remove package {0}".format(name))
                with host.lock(LOCK):
                    _must(host, ["purge" if record["purge"] else "remove"] + going, "package {0} cannot be removed".format(name))
            done.append("package {0} removed".format(name))
        if not host.check:
            host.steps.reach("forget package {0}".format(name))
            host.drop_state(KIND, name)
    return done, warnings


def leave_no_trace(host):
    """Remove the folder of the records and the lock when nothing is recorded any more."""
    if os.path.isdir(host.path(_folder())):
        if os.listdir(host.path(_folder())):
            return
        os.rmdir(host.path(_folder()))
    remove_quietly(host.path("/run/observatory/{0}.lock".format(LOCK)))


def _bring(host, component, name, status):
    record = host.read_state(KIND, name)
    if record and record.get("finished") and status == INSTALLED:
        host.steps.reach("share package {0}".format(name))
        host.write_state(KIND, name, dict(record, components=sorted(set(record["components"]) | {component})))
        return
    if not record or record.get("finished"):
        record = {
            "components": sorted(set(record.get("components", [])) | {component}),
            "brought": sorted(set(_brings(host, name)) | set(record.get("brought", []))),
            # What a person left when removing the package by hand stays a person's.
            "purge": record.get("purge", status != "config-files"),
            "unit": _own_unit(host, name),
            "finished": False,
        }
        host.steps.reach("record package {0}".format(name))
        host.write_state(KIND, name, record)
    unit = record["unit"]
    if unit:
        host.steps.reach("hold back {0}".format(unit))
        host.must(["systemctl", "mask", "--runtime", "--quiet", unit], "{0} cannot be kept from starting".format(unit))
    if status not in AT_REST:
        host.steps.reach("finish what dpkg was doing")
        _configure(host)
    host.steps.reach("install package {0}".format(name))
    _install(host, name)
    if unit:
        host.steps.reach("leave {0} off".format(unit))
        host.must(["systemctl", "unmask", "--runtime", "--quiet", unit], "{0} cannot be unmasked".format(unit))
        # It may have brought no service at all.
        host.run(["systemctl", "disable", "--now", "--quiet", unit])
    host.steps.reach("package {0} is there".format(name))
    host.write_state(KIND, name, dict(record, components=sorted(set(record["components"]) | {component}), finished=True))


def _brings(host, name):
    """Return the packages that installing `name` adds, itself included; gets the lists first where they do not know it."""
    code, text = _apt(host, ["--simulate"] + INSTALL + [name])
    if code != 0 and any(words in text for words in LISTS_LACK_IT):
        host.steps.reach("get the lists of packages")
        updated, words = _apt(host, ["update"])
        code, text = _apt(host, ["--simulate"] + INSTALL + [name])
        if code != 0 and updated != 0:
            text = words
    if code != 0:
        raise Failure("package {0} cannot be installed: {1}".format(name, _shown(text)))
    return sorted({found.partition(":")[0] for found, upgrade in INSTALLS.findall(text) if not upgrade} | {name})


def _install(host, name):
    code, text = _apt(host, INSTALL + [name])
    if code != 0 and any(words in text for words in LISTS_ARE_OLD):
        # The archive has a newer one than the lists say.
        _apt(host, ["update"])
        code, text = _apt(host, INSTALL + [name])
    if code != 0:
        raise Failure("package {0} cannot be installed: {1}".format(name, _shown(text)))


def _going(host, name, record):
    """Return what a removal takes: the package and what came with it, as far as nobody else needs it. [] when the package has to stay."""
    there = _statuses(host, record["brought"])
    if there.get(name) != INSTALLED:
        return []
    automatic = set(host.must(["apt-mark", "showauto"], "apt's own record cannot be read").split())
    going = [name]
    if _removes(host, going) - set(record["brought"]):
        return []
    for other in record["brought"]:
        if other != name and there.get(other) == INSTALLED and other in automatic and not _removes(host, going + [other]) - set(record["brought"]):
            going.append(other)
    return going


def _removes(host, names):
    code, text = _apt(host, ["--simulate", "remove"] + names)
    if code != 0:
        raise Failure("package {0} cannot be removed: {1}".format(names[0], _shown(text)))
    return {found.partition(":")[0] for found in REMOVES.findall(text)}


def _reason_to_stay(host, name, record):
    """Return why somebody else uses the package by now, or nothing."""
    unit = record["unit"]
    if not record.get("finished") or not unit:
        return ""
    state = _unit_state(host, unit)
    if state.get("ActiveState") in ("active", "activating", "reloading"):
        return "{0} runs, which Observatory does not use".format(unit)
    if state.get("UnitFileState") == "enabled":
        return "{0} is enabled, which Observatory does not use".format(unit)
    return ""


def _own_unit(host, name):
    """Return the unit of the package's name, which its installation would start; "" when a person has one of that name already."""
    unit = name + ".service"
    return unit if _unit_state(host, unit).get("LoadState") == "not-found" else ""


def _unit_state(host, unit):
    text = host.must(["systemctl", "show", unit, "--property=LoadState,ActiveState,UnitFileState"], "systemd does not answer")
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _configure(host):
    code, text = host.run(["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"], timeout=COMMAND_TIMEOUT_SECONDS, env=ENVIRONMENT)
    if code != 0:
        raise Failure("dpkg was interrupted before and cannot finish: {0}".format(_shown(text)))


def _must(host, arguments, purpose):
    code, text = _apt(host, arguments)
    if code != 0:
        raise Failure("{0}: {1}".format(purpose, _shown(text)))


def _apt(host, arguments):
    """Run apt-get, waiting for those that hold its locks and finishing what was interrupted; return (exit code, text)."""
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    configured = False
    while True:
        code, text = host.run(APT_GET + arguments, timeout=COMMAND_TIMEOUT_SECONDS, env=ENVIRONMENT)
        if code == 127:
            raise Failure("this host has no apt-get. Only Debian and its kin can install packages here")
        if code != 0 and INTERRUPTED in text and not configured:
            configured = True
            _configure(host)
        # The lock of the lists is one that apt-get does not wait for by itself.
        elif code != 0 and LOCKED in text and time.monotonic() < deadline:
            time.sleep(LOCK_POLL_SECONDS)
        else:
            return code, text


def _statuses(host, names):
    """Return {package: dpkg's word for its state}, those that dpkg has heard of."""
    code, text = host.run(["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\\n"] + list(names))
    if code == 127:
        raise Failure("packages {0} are needed, and this host has no dpkg. Only Debian and its kin are supported".format(", ".join(names)))
    found = {}
    for line in text.splitlines():
        name, _space, status = line.partition(" ")
        # One package may be there in several architectures.
        if name in names and found.get(name) != INSTALLED:
            found[name] = status
    return found


def _is_right(record, component):
    return record.get("finished") and component in record.get("components", [])


def _names(host, component):
    """Return the packages that are recorded for the component."""
    try:
        files = os.listdir(host.path(_folder()))
    except OSError:
        return set()
    names = {file[: -len(".json")] for file in files if file.endswith(".json")}
    return {name for name in names if component in host.read_state(KIND, name).get("components", [])}


def _folder():
    return "{0}/{1}".format(STATE_DIR, KIND)


def _shown(text):
    """Return what apt says is wrong, or the end of what it said."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if line.startswith(("E:", "dpkg: error", "W: Failed"))]
    return "\n".join((wrong or lines)[-SHOWN_LINES:]) or "it printed nothing"
