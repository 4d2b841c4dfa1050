"""Checks one host's variables on the controller, then asks the host itself; see the module of this name."""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import time
import urllib.parse

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.loader import lookup_loader
from ansible_collections.observatory.core.plugins.module_utils.host_probe import SPEC, fingerprints, size_bytes
from ansible_collections.observatory.core.plugins.module_utils.release import mirrored
from ansible_collections.observatory.core.plugins.plugin_utils import cache
from ansible_collections.observatory.core.plugins.plugin_utils.arguments import UNRESOLVED, check, show
from ansible_collections.observatory.core.plugins.plugin_utils.cross_checks import PLATFORM_GROUP, Inventory, cross_check, ports
from ansible_collections.observatory.core.plugins.plugin_utils.finding import Finding
from ansible_collections.observatory.core.plugins.plugin_utils.lean import LeanAction
from ansible_collections.observatory.core.plugins.plugin_utils.overrides import VARIABLE as OVERRIDES
from ansible_collections.observatory.core.plugins.plugin_utils.resolved import Values, Variables
from ansible_collections.observatory.core.plugins.plugin_utils.site_content import (
    DISABLED,
    SITE_THRESHOLDS,
    check_scrape_files,
    from_problems,
    from_refusal,
    rule_files,
    scrape_files,
    value_problems,
)
from ansible_collections.observatory.core.plugins.plugin_utils.specs import SHARED_ROLE, Specs, load_specs

ROLE_OF_EVERY_HOST = "pki"
CLOCK_TOLERANCE_SECONDS = 30
# What a product needs to start and to serve a small site.
# What is left of a heap's product for the rest of its process, as a share of the heap.
BESIDE_HEAP = 0.5
MEMORY_BYTES = {
    "prometheus": 512 << 20,
    "alertmanager": 64 << 20,
    "node_exporter": 32 << 20,
    "blackbox_exporter": 32 << 20,
    "elasticsearch_exporter": 32 << 20,
    "json_exporter": 32 << 20,
    "filebeat": 128 << 20,
    "jaeger": 256 << 20,
    "grafana": 256 << 20,
    "gateway": 32 << 20,
}
# Rules go to the hosts of this group.
RULES_GROUP = "prometheus"
RULES_FOLDER = "alerts"
# A product and the group whose hosts it speaks to.
PEERS = {"prometheus": PLATFORM_GROUP, "alertmanager": "alertmanager"}
PROBED_ARGUMENTS = ("supported", "architectures", "systemd_minimum")
EXIT_CODES_WITHOUT_PYTHON = (126, 127)


class ActionModule(LeanAction):
    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        started = time.monotonic()
        arguments = self._task.args
        host = task_vars["inventory_hostname"]
        roles = arguments.get("roles") or _roles_folder(task_vars["playbook_dir"])
        specs = load_specs(roles, cache=cache.folder("specs"))
        products = _products(specs, task_vars.get("group_names") or [])
        defaults = {name: option["default"] for name, option in specs.options.items() if option.get("default") is not None}
        variables = Variables(task_vars, self._templar, self._loader, defaults=defaults)

        platform = bool(task_vars["groups"].get(PLATFORM_GROUP))
        resolved, findings = _resolve(variables, specs, products)
        # Without a host there is nothing to set up: what the variables lack would only hide that.
        if platform:
            findings += check(resolved, variables.where, specs, roles=products, site=_site(task_vars))
        findings = [dataclasses.replace(finding, hosts=(host,)) for finding in findings]
        findings += _cross(variables, resolved, specs, products)
        files = []
        # What is wrong with the form of the overrides has been said, and without them the rules are other ones.
        if _is_first(task_vars, RULES_GROUP) and not any(finding.variable.startswith(OVERRIDES) for finding in findings):
            found, files = self._content(variables, resolved, os.path.join(os.path.dirname(os.path.abspath(roles)), RULES_FOLDER))
            findings += found
        wrong = {re.split(r"[.\[]", finding.variable)[0] for finding in findings}
        wishes = _wishes(variables, Values(resolved, variables, specs.of(products), without=wrong), specs, products, wrong)
        wishes["site_files"] = [{"kind": file.kind, "content": file.content} for file in files]
        wishes.update({name: arguments[name] for name in PROBED_ARGUMENTS if name in arguments})
        controller_seconds = time.monotonic() - started

        facts = {}
        if platform:
            facts, probed, refusals = self._probe(wishes, task_vars, int(arguments.get("clock_tolerance", CLOCK_TOLERANCE_SECONDS)))
            findings += [Finding(**{**found, "where": _where_of(variables, found), "hosts": (host,)}) for found in probed]
            findings += [from_refusal(refusal, files[refusal["index"]]) for refusal in refusals]
        result.update(
            changed=False,
            findings=[finding.as_dict() for finding in findings],
            facts=facts,
            controller_seconds=round(controller_seconds, 4),
        )
        return result

    def _content(self, variables, resolved, shipped):
        """Return (findings, files for Prometheus' own checker) of what the site says about alerts and keeps in files of its own."""
        inventory = str(variables.raw.get("inventory_dir") or "")
        folder = os.path.join(inventory, RULES_FOLDER)
        findings = check_scrape_files(inventory, variables.place) if inventory else []
        files = scrape_files(inventory, variables.place) if inventory and not findings else []
        if not os.path.isdir(folder) and not resolved.get(OVERRIDES):
            values = (resolved.get(name) for name in ("observatory_thresholds", SITE_THRESHOLDS, DISABLED))
            return findings + from_problems(value_problems(shipped, *values), variables.where), files
        lookup = lookup_loader.get("observatory.core.alert_rules", loader=self._loader, templar=variables.templar)
        try:
            files += rule_files(lookup.run([], variables=variables.raw)[0], folder)
        except AnsibleError as error:
            problems = getattr(error.__context__, "problems", None)
            findings += from_problems(problems, variables.where) if problems else [Finding(_one_line(error))]
        return findings, files

    def _probe(self, wishes, task_vars, tolerance):
        """Return (facts, findings as mappings, refused files) of the host; that it cannot be asked is a finding."""
        sent = time.time()
        try:
            arguments = ArgumentSpecValidator(SPEC).validate(wishes).validated_parameters
            answer = self._execute_module(module_name=self._task.action, module_args=arguments, task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            return {}, [_unreachable(error, task_vars)], []
        except AnsibleError as error:
            return {}, [_finding("The host cannot be asked", hint=_one_line(error))], []
        if answer.get("failed") or answer.get("unreachable") or "facts" not in answer:
            return {}, [_no_answer(answer, task_vars)], []
        facts, findings = answer["facts"], answer["findings"]
        findings += check_clock(facts["time"], sent, time.time(), tolerance)
        return facts, findings, answer["refusals"]


# -- what is there -------------------------------------------------------------------------------------------------------------


def _roles_folder(base):
    """Return the project's roles: beside the playbook, or beside the folder that it lies in."""
    for path in (os.path.join(base, "roles"), os.path.join(base, "..", "roles")):
        if os.path.isdir(path):
            return path
    raise AnsibleError(f"There is no roles folder at {base} or above it. Set the option roles to where the argument specs are.")


def _products(specs: Specs, groups) -> tuple:
    """Return the roles that a host's groups bring, and those that every host has."""
    return tuple(role for role in specs.roles if role in groups or (role == ROLE_OF_EVERY_HOST and PLATFORM_GROUP in groups))


def _site(task_vars):
    value = task_vars.get("observatory_site")
    return value if isinstance(value, str) and re.match(r"^[\w-]+$", value) else ""


def _resolve(variables: Variables, specs: Specs, products):
    """Return (all names with their values, findings). Only what this host's roles read is resolved.

    Another role's variable may use what exists on other hosts alone; a name that no role knows is shown as it was written.
    """
    wanted = specs.of(products)
    resolved = {}
    for name in variables.raw:
        resolved[name] = variables.resolve(name, wanted[name]) if name in wanted else variables.raw[name]
    return resolved, variables.findings


def _cross(variables: Variables, resolved, specs: Specs, products):
    raw = variables.raw
    sources = ", ".join(variables.place(str(source)) for source in raw.get("ansible_inventory_sources") or [])
    inventory = Inventory(
        host=raw["inventory_hostname"],
        products=products,
        groups={name: list(members) for name, members in raw["groups"].items()},
        variables=Values(resolved, variables, specs.of(products)),
        specs=specs,
        where=variables.where,
        sources=sources,
        site=_site(raw),
        first=_is_first(raw, PLATFORM_GROUP) or not raw["groups"].get(PLATFORM_GROUP),
        # The clock that certificates are issued by (the lookup of that name).
        now=datetime.datetime.fromtimestamp(float(os.environ.get("OBSERVATORY_NOW") or time.time()), datetime.UTC),
    )
    return cross_check(inventory)


def _is_first(raw, group):
    """Say whether a host is the first of a group in this play: what concerns the site as a whole is looked at once."""
    members = set(raw["groups"].get(group) or [])
    return next((host for host in raw.get("ansible_play_hosts_all") or [] if host in members), None) == raw["inventory_hostname"]


def _where_of(variables: Variables, found):
    return variables.where((found["variable"],)) if found.get("variable") else ""


# -- what to look for ------------------------------------------------------------------------------------------------------------


def _wishes(variables: Variables, known, specs: Specs, products, wrong):
    """Return the module's arguments. What depends on a variable with a finding is left out: it has been said already."""
    inventory = Inventory(variables.raw["inventory_hostname"], products, {}, known, specs, variables.where)
    trusted = known.get("observatory_authority_trusted")
    authorities = [known.get("observatory_authority_certificate"), *(trusted if isinstance(trusted, list) else [])]
    return {
        "ports": [
            {"port": port, "unit": _unit(specs, specs.options[name]["role"]), "variable": name}
            for name, port in sorted(ports(inventory).items())
            if 0 < port < 65536
        ],
        "disks": [entry for role in products for entry in _disks(specs, role, known)],
        "memory": [entry for role in products for entry in _memory(role, known)],
        "names": list(_names(variables, known, specs, products)),
        "releases": [entry for role in products for entry in _releases(variables, specs, role, known, wrong)],
        "authority_fingerprints": [found for text in authorities if isinstance(text, str) for found in fingerprints(text)],
    }


def _unit(specs: Specs, role):
    service = specs.components.get(role, {}).get("service")
    unit = service.get("unit") if isinstance(service, dict) else None
    return unit if isinstance(unit, str) and "{{" not in unit else role


def _memory(role, known):
    """Yield what a product takes: by the size of its heap where it has one."""
    variable = f"{role}_heap_size"
    heap = size_bytes(known.get(variable))
    if heap:
        yield {"product": role, "bytes": int(heap * (1 + BESIDE_HEAP)), "variable": variable, "given": show(known[variable])}
    elif role in MEMORY_BYTES:
        yield {"product": role, "bytes": MEMORY_BYTES[role]}


def _disks(specs: Specs, role, known):
    component = specs.components.get(role)
    directories = component.get("directories") if isinstance(component, dict) else None
    folders = [entry["path"] for entry in directories or [] if isinstance(entry, dict) and entry.get("data") and "{{" not in entry["path"]]
    variable = next((name for name in (f"{role}_retention_size", f"{role}_queue_size") if known.get(name)), "")
    size = size_bytes(known.get(variable))
    for folder in folders[:1]:
        yield {"path": folder, "bytes": size or 0, "variable": variable if size else "", "given": show(known[variable]) if size else ""}


def _names(variables: Variables, known, specs: Specs, products):
    """Yield the names that the host's products will ask for: mail relay, peers, and addresses of what they send to."""
    for name, option in specs.of(products).items():
        if option["role"] == SHARED_ROLE or not name.endswith("_smarthost"):
            continue
        value = known.get(name)
        if isinstance(value, str) and value:
            yield {"name": value.rpartition(":")[0] or value, "variable": name, "given": show(value)}
    for entry in known.get("prometheus_remote_write") or [] if "prometheus" in products else []:
        server = urllib.parse.urlsplit(entry.get("url", "")).hostname if isinstance(entry, dict) else None
        if server:
            yield {"name": server, "variable": "prometheus_remote_write", "given": show(entry["url"])}
    yield from ({"name": name, "variable": "observatory_address", "given": show(name)} for name in sorted(_peers(variables, products)))


def _peers(variables: Variables, products):
    """Return the names (addresses need no look-up) under which a host reaches the others of the site."""
    groups = variables.raw["groups"]
    peers = {host for product, group in PEERS.items() if product in products for host in groups.get(group) or []}
    addresses = (variables.raw["hostvars"][host].get("observatory_address") for host in peers - {variables.raw["inventory_hostname"]})
    return {str(address) for address in addresses if address and not re.match(r"^[\d.]+$|:", str(address))}


def _releases(variables: Variables, specs: Specs, role, known, wrong):
    """Yield what has to be had to install a role's release, from the role's own declaration."""
    component = specs.components.get(role)
    release = component.get("release") if isinstance(component, dict) else None
    if not isinstance(release, dict):
        return
    version_variable = f"{role}_version"
    if {version_variable, "observatory_mirror_url"} & wrong:
        return
    rendered = variables.render(release)
    if rendered is UNRESOLVED or not isinstance(rendered.get("version"), str):
        return
    checksum, mirror = str(rendered.get("checksum", "")), rendered.get("mirror") or ""
    address = checksum if checksum.startswith(("http://", "https://")) else str(rendered["url"])
    yield {
        "product": role,
        "version": rendered["version"],
        "url": mirrored(address.replace("{version}", rendered["version"]), mirror),
        "arch": rendered.get("arch") or {},
        "variable": version_variable,
        "source": "observatory_mirror_url" if mirror else "",
        "given": mirror,
        **_steps(specs, role, known),
    }


def _steps(specs: Specs, role, known):
    """Return what an upgrade or a step back of a product has to heed, when a release migrates the data so that no older one reads it."""
    service = specs.components[role].get("service")
    if not isinstance(service, dict) or service.get("rollback") != "config":
        return {}
    hours = known.get(f"{role}_upgrade_snapshot_hours")
    return {
        "data": next((entry["path"] for entry in _disks(specs, role, known)), ""),
        "snapshots": str(known.get(f"{role}_snapshot_path") or "") if hours else "",
        "snapshot_hours": hours if isinstance(hours, int) else 0,
    }


# -- what came back ------------------------------------------------------------------------------------------------------------


def check_clock(then, sent, received, tolerance):
    """The host read its clock between two moments of the controller's, so that the way there and back counts for nothing."""
    off = then - sent if then < sent else max(0.0, then - received)
    if abs(off) <= tolerance:
        return []
    way = "behind" if off < 0 else "ahead of"
    hint = f"at most {tolerance} s are allowed; start a time service on the host (systemd-timesyncd, chrony)"
    return [_finding(f"The host's clock is {abs(off):.0f} s {way} the controller's", hint=hint)]


def _finding(text, variable="", given="", hint=""):
    return {"text": text, "variable": variable, "given": given, "hint": hint}


def _one_line(error):
    return " ".join(str(getattr(error, "message", None) or error).split())[:200]


def _unreachable(error, task_vars):
    address = task_vars.get("ansible_host")
    given = show(str(address)) if isinstance(address, str) and "{{" not in address else ""
    # What ssh said, without Ansible's sentence before it.
    words = re.split(r"(?:over|via) ssh: ", _one_line(error))[-1]
    return _finding("The host cannot be reached", "ansible_host", given, words)


def _no_answer(answer, task_vars):
    words = _one_line(answer.get("module_stderr") or answer.get("msg") or "no answer")
    interpreter = task_vars.get("ansible_python_interpreter")
    missing = answer.get("rc") in EXIT_CODES_WITHOUT_PYTHON or "interpreter" in str(answer.get("msg", "")) or "python3: not found" in words
    if missing:
        hint = "install python3 (3.9 or newer) on the host, or set ansible_python_interpreter to where it is"
        return _finding("Python is missing on the host", "ansible_python_interpreter", show(interpreter or "/usr/bin/python3"), hint)
    if answer.get("unreachable"):
        return _unreachable(words, task_vars)
    return _finding("The host cannot be asked", hint=words)
