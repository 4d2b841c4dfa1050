"""A product as a whole: user, folders, release, configuration and service in one transaction."""

from __future__ import annotations

import base64
import json
import os
import zlib

from . import account, config_tree, packages, release, service
from .host import RUN_DIR, STATE_DIR, Failure, RecordFailure

SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "packages": {"type": "list", "elements": "str", "default": []},
    "user": {"type": "dict", "options": account.USER_SPEC},
    "directories": {"type": "list", "elements": "dict", "default": [], "options": account.DIRECTORY_SPEC},
    "release": {"type": "dict", "options": release.SPEC},
    "config": {"type": "dict", "options": config_tree.SPEC},
    "service": {"type": "dict", "options": service.SPEC},
    "remove_data": {"type": "bool", "default": False},
}


def pack(declaration):
    """Return a declaration as one argument: compressed, so that rendered trees travel in one trip."""
    return base64.b64encode(zlib.compress(json.dumps(declaration).encode(), 6)).decode()


def unpack(payload):
    """Return the declaration that `pack` was given."""
    return json.loads(zlib.decompress(base64.b64decode(payload)))


class Component:
    """Brings a declaration (SPEC, with rendered files) to a host; `result` is the module's answer."""

    def __init__(self, host, declaration):
        self.host = host
        self.name = declaration["name"]
        self.declaration = declaration
        self.result = {"changed": False, "done": [], "diff": []}

    def apply(self):
        """Return the result; raises Failure, whose message says what was restored."""
        with self.host.lock(self.name):
            if self.declaration.get("state") == "absent":
                self._remove()
            else:
                self._ensure()
        self.result["changed"] = bool(self.result["done"])
        self.result["steps"] = self.host.steps.reached
        return self.result

    def _ensure(self):
        declaration = self.declaration
        user = declaration.get("user")
        self._remember()
        self._note(*packages.ensure(self.host, self.name, declaration.get("packages") or []))
        planned = {user["name"]} if user and account.user_is_missing(user["name"]) else set()
        if user:
            self._done(account.ensure_user(self.host, user))
        self._done(account.ensure_directories(self.host, declaration.get("directories") or []))

        product = release.Release(self.host, self.name, declaration["release"]) if declaration.get("release") else None
        if product and product.prepare():
            self._done(["release {0} fetched".format(product.version)])

        tree = self._tree(product, planned)
        if tree:
            tree.sweep()
            tree.plan()
            if not self.host.check:
                tree.stage()
            try:
                tree.validate()
            except BaseException:
                tree.discard()
                raise
        self._commit(product, tree)
        if tree and tree.unchecked:
            self._note([], ["not checked in this check mode run: {0}".format("; ".join(tree.unchecked))])

    def _commit(self, product, tree):
        before = product.installed_version() if product else None
        try:
            if product and product.switch():
                self._done(["release {0} made current".format(product.version)])
                self.result["diff"].append(_line(product.current, before, product.version))
            if tree:
                tree.commit()
                self._done(["{0} written".format(path) for path in tree.written])
                self._done(["{0} owner and mode set".format(path) for path in tree.adjusted])
                self._done(["{0} removed".format(path) for path in tree.removed])
                self.result["diff"] += tree.diff()
        except (OSError, Failure) as error:
            raise Failure("{0}: {1}. {2}".format(self.name, error, self._undo(product, tree)))
        # Only now: what the unit depends on is the release that is current.
        unit = self._service(product)
        if not unit:
            return
        predicted = set(tree.changed_paths) if tree else set()
        if self.host.check and product and (product.fetched or product.will_switch()):
            predicted.add(product.current)
        unit.plan(predicted)
        if unit.enable:
            self._done(["{0} enabled".format(unit.unit)])
        if unit.restart_due:
            self.result["restart_due"] = unit.reason
        elif unit.action:
            self._done(["{0} {1}ed: {2}".format(unit.unit, unit.action, unit.reason)])
            self.result["diff"].append(_line(unit.unit, None, "{0} ({1})".format(unit.action, unit.reason)))
        try:
            unit.apply()
        except RecordFailure as error:
            # The product is healthy: nothing to take back. Without a stamp the next run looks at the process anew.
            raise Failure("{0}. {1} is up to date all the same".format(error, unit.unit), changed=True)
        except Failure as error:
            raise Failure(self._roll_back(error, product, tree, unit, before), changed=True)

    def _roll_back(self, error, product, tree, unit, before):
        """Go back as `rollback` says; return the whole message."""
        message = [str(error)]
        if error.details.get("journal"):
            message.append("Last lines of its journal:\n" + error.details["journal"])
        mode = (self.declaration["service"] or {}).get("rollback", "none")
        had_state = bool(before) or (product is None and tree is not None and tree.had_files())
        if mode == "none" or not had_state:
            message.append("Nothing was restored (rollback: {0}{1})".format(mode, "" if had_state else ", and there is no earlier state"))
            return "\n".join(message)
        restored = []
        try:
            if tree and tree.undo():
                restored.append("configuration")
            if mode == "release" and product and product.undo():
                restored.append("release {0}".format(before))
        except (OSError, Failure) as second:
            message.append("The previous state cannot be put back: {0}".format(second))
            return "\n".join(message)
        if not restored:
            message.append("There was no change to take back")
            return "\n".join(message)
        again = self._service(product)
        try:
            again.plan()
            again.reload_units, again.action, again.reason = True, "restart", "rollback"
            again.apply()
            message.append("The previous {0} was put back, and {1} is healthy again".format(" and ".join(restored), again.unit))
        except Failure as second:
            message.append("The previous {0} was put back, but {1}".format(" and ".join(restored), second))
        return "\n".join(message)

    def _undo(self, product, tree):
        """Take back what `_commit` has done; return how that went, as a sentence."""
        problems = []
        for part in (tree, product):
            try:
                if part:
                    part.undo()
            except (OSError, Failure) as error:
                problems.append(str(error))
        return "Not all of it could be taken back: {0}".format("; ".join(problems)) if problems else "The previous state was put back"

    def _tree(self, product, planned):
        spec = self.declaration.get("config")
        if not spec:
            return None
        spec = dict(spec)
        if not spec.get("reader") and self.declaration.get("user"):
            spec["reader"] = self.declaration["user"]["name"]
        return config_tree.ConfigTree(self.host, self.name, spec, current=product.folder if product else "", planned_users=planned)

    def _service(self, product):
        spec = self.declaration.get("service")
        if not spec:
            return None
        extra = [product.current, "{0}/.{1}.json".format(product.home, product.installed_version() or product.version)] if product else []
        return service.Service(self.host, self.name, spec, extra=extra)

    def _remember(self):
        """Record what removal needs to know, before anything is made."""
        if self.host.check:
            return
        user = self.declaration.get("user")
        record = self.host.read_state("component", self.name)
        made = record.get("user") or (user["name"] if user and account.user_is_missing(user["name"]) else None)
        unit = self.declaration.get("service")
        directories = {entry["path"]: entry for entry in record.get("directories", [])}
        directories.update({entry["path"]: entry for entry in self.declaration.get("directories") or []})
        wanted = {
            "user": made,
            "unit": (unit.get("unit") or self.name) if unit else None,
            "directories": [directories[path] for path in sorted(directories)],
        }
        if wanted != record:
            self.host.steps.reach("remember the component")
            self.host.write_state("component", self.name, wanted)

    def _remove(self):
        record = self.host.read_state("component", self.name)
        if record.get("unit") and service.remove(self.host, record["unit"], self.name):
            self._done(["{0} stopped and disabled".format(record["unit"])])
        files = config_tree.remove(self.host, self.name)
        self._done(["{0} removed".format(path) for path in files])
        if any(path.startswith("/etc/systemd/") for path in files) and not self.host.check:
            self.host.must(["systemctl", "daemon-reload"], "systemd cannot read its units")
        if release.remove(self.host, self.name):
            self._done(["{0}/{1} removed".format(release.RELEASES_DIR, self.name)])
        self._note(*packages.give_back(self.host, self.name))
        removed, kept = account.remove_directories(self.host, record.get("directories", []), self.declaration.get("remove_data"))
        self._done(["{0} removed".format(path) for path in removed])
        self.result["kept"] = kept
        if record.get("user") and not kept and account.remove_user(self.host, record["user"]):
            self._done(["user {0} removed".format(record["user"])])
        if self.host.check:
            return
        if kept:
            # What is kept still needs its owner, and the record by which a later removal finds both.
            self.host.write_state("component", self.name, dict(record, unit=None, directories=[
                entry for entry in record["directories"] if entry["path"] in kept
            ]))
        else:
            self.host.drop_state("component", self.name)
        self._leave_no_trace()

    def _leave_no_trace(self):
        """Remove the project's own folders when this was the last component."""
        lock = self.host.path("{0}/{1}.lock".format(RUN_DIR, self.name))
        if os.path.exists(lock):
            os.unlink(lock)
        packages.leave_no_trace(self.host)
        state = self.host.path(STATE_DIR)
        folders = [os.path.join(state, kind) for kind in ("component", "config", "release", "service")]
        for folder in folders + [state, self.host.path(release.RELEASES_DIR), self.host.path(RUN_DIR)]:
            try:
                os.rmdir(folder)
            except OSError:
                continue

    def _done(self, words):
        self.result["done"] += words

    def _note(self, words, warnings):
        self._done(words)
        if warnings:
            self.result.setdefault("warnings", []).extend("{0}: {1}".format(self.name, text) for text in warnings)


def _line(header, before, after):
    return {
        "before_header": header, "after_header": header,
        "before": "{0}\n".format(before) if before else "", "after": "{0}\n".format(after),
    }
