"""The files of a product: staged, checked as a whole by the product's own checker, then moved into place."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import grp
import hashlib
import json
import os
import pwd
import shlex
import stat

from .host import RUN_DIR, Failure, make_directories, remove_quietly, stage_file, temporary_name

MANIFEST_SCHEMA = 1
DIFF_LIMIT_BYTES = 256 * 1024
SECRET_DIFF = "(secret: the content is not shown)\n"

PERMISSION_SPEC = {
    "path": {"type": "str", "required": True},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str"},
    "secret": {"type": "bool"},
}
SPEC = {
    "templates": {"type": "str", "default": "templates"},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": dict(PERMISSION_SPEC, content={"type": "str", "required": True}),
    },
    "permissions": {"type": "list", "elements": "dict", "default": [], "options": PERMISSION_SPEC},
    "own": {"type": "list", "elements": "str", "default": []},
    "keep": {"type": "list", "elements": "str", "default": []},
    "validate": {"type": "list", "elements": "str", "default": []},
    "references": {"type": "list", "elements": "str", "default": []},
    "reader": {"type": "str"},
}


def matches(path, patterns):
    """Whether a path equals one of the patterns, matches it as a glob, or lies below it as a folder."""
    return any(fnmatch.fnmatchcase(path, pattern) or path.startswith(pattern.rstrip("/") + "/") for pattern in patterns)


def text_diff(path, before, after, secret):
    """Return one entry of a module's `diff` (before and after are bytes or None)."""
    entry = {"before_header": path, "after_header": path, "before": "", "after": ""}
    for key, content in (("before", before), ("after", after)):
        if content is None:
            continue
        if secret:
            entry[key] = SECRET_DIFF
        elif len(content) > DIFF_LIMIT_BYTES or b"\0" in content:
            entry[key] = "(sha256 {0}, {1} bytes)\n".format(hashlib.sha256(content).hexdigest(), len(content))
        else:
            entry[key] = content.decode("utf-8", "replace")
    if secret and before is not None and after is not None:
        entry["before"], entry["after"] = "(secret: the old content)\n", "(secret: the new content)\n"
    return entry


class ConfigTree:
    """`plan`, then `stage` and `validate` change nothing that a service sees; `commit` does, `undo` takes it back.

    spec: {files: [{path, content, mode, owner, group, secret}], own, keep, validate, references, reader}, contents
    rendered. `release` words for the checkers: where `{current}` is.
    """

    def __init__(self, host, name, spec, current="", planned_users=()):
        self.host = host
        self.name = name
        self.files = {entry["path"]: entry for entry in spec.get("files", [])}
        self.own = [path.rstrip("/") for path in spec.get("own", [])]
        self.keep = spec.get("keep", [])
        self.checkers = spec.get("validate", [])
        self.references = spec.get("references", [])
        self.reader = spec.get("reader")
        self.current = current
        self.planned_users = planned_users
        self.record = host.read_state("config", name)
        self.written, self.removed, self.adjusted = [], [], []
        self.unchecked = []
        self._staged = {}
        self._before = {}
        self._created_folders = []
        self._touched = []
        self._recorded = dict(self.record)
        for path in self.files:
            if not path.startswith("/") or os.path.normpath(path) != path:
                raise Failure("{0}: '{1}' is not an absolute, normal path".format(name, path))

    def plan(self):
        """Compare with the disk; return whether anything differs."""
        for path, entry in sorted(self.files.items()):
            real = self.host.path(path)
            before = self._read(real)
            if before is not None and stat.S_ISDIR(before[1].st_mode):
                raise Failure("{0}: a folder is in the way of this file. Move it away".format(path))
            # What is no file is replaced even where its content reads the same (empty): its mode would be a link's target's.
            if before is None or not stat.S_ISREG(before[1].st_mode) or before[0] != entry["content"].encode():
                self.written.append(path)
            elif self._mode_differs(entry, before[1]):
                self.adjusted.append(path)
            else:
                continue
            self._before[path] = before
        for path in sorted(self._stale()):
            self._before[path] = self._read(self.host.path(path))
            self.removed.append(path)
        return bool(self.written or self.adjusted or self.removed)

    @property
    def changed_paths(self):
        return set(self.written) | set(self.removed)

    def diff(self):
        """Return the entries for the module's `diff`, secrets hidden."""
        entries = []
        for path in self.written + self.removed:
            before = self._before[path]
            after = self.files[path]["content"].encode() if path in self.files else None
            secret = self._is_secret(path, before)
            entries.append(text_diff(path, before[0] if before else None, after, secret))
        for path in self.adjusted:
            status = self._before[path][1]
            entry = self.files[path]
            entries.append({
                "before_header": path, "after_header": path,
                "before": "mode {0:04o} owner {1}:{2}\n".format(stat.S_IMODE(status.st_mode), _user(status.st_uid), _group(status.st_gid)),
                "after": "mode {0} owner {1}:{2}\n".format(entry["mode"], entry["owner"], entry["group"]),
            })
        return entries

    def stage(self):
        """Write every changed file beside its place; on any error (a full disk) all of them are removed again.

        What is going to be there is recorded first: a run that is killed leaves no file and no folder that nobody knows of.
        """
        if not self.changed_paths:
            return
        self._created_folders = self._missing_folders()
        self.host.steps.reach("record the union")
        self._write_record(
            files=sorted(set(self.record.get("files", [])) | set(self.files)),
            folders=sorted(set(self.record.get("folders", [])) | set(self._created_folders)),
            validated=None,
        )
        try:
            for path in self.written:
                entry = self.files[path]
                real = self.host.path(path)
                self.host.steps.reach("stage " + path)
                make_directories(os.path.dirname(real))
                self._staged[path] = stage_file(real, entry["content"].encode(), int(entry["mode"], 8), *self._owner(entry))
        except OSError as error:
            self.discard()
            raise Failure("{0}: cannot be written: {1}. Nothing was changed".format(path, error.strerror or error))
        except BaseException:
            self.discard()
            raise

    def discard(self):
        """Remove what `stage` has written."""
        for temporary in self._staged.values():
            remove_quietly(temporary)
        self._staged = {}
        for folder in reversed(self._created_folders):
            _rmdir_quietly(self.host.path(folder))
        self._created_folders = []
        if self._recorded != self.record:
            # The record of the union is right too, so that a disk without room for another one is no further problem.
            with contextlib.suppress(Failure):
                self._write_record(**self.record)

    def validate(self):
        """Run the checkers over the whole staged tree, and look at the files that it refers to.

        Raises Failure with the checker's words. In check mode a checker that is not installed yet is listed in
        `unchecked` instead.
        """
        self._check_references()
        digest = self._digest()
        if not self.checkers or (digest == self.record.get("validated") and not self.changed_paths):
            return
        # Check mode holds no lock: it has a picture of its own, beside the one of a run that may be at work.
        word = "check-{0}".format(os.getpid()) if self.host.check else "stage"
        root = self.host.path("{0}/{1}.{2}".format(RUN_DIR, self.name, word))
        remove_quietly(root)
        self.host.steps.reach("validate")
        try:
            try:
                os.makedirs(root, mode=0o700)
                self._picture(root)
            except OSError as error:
                raise Failure("the tree cannot be laid out for its checkers below {0}: {1}. Nothing was changed".format(
                    RUN_DIR, error.strerror or error
                ))
            for checker in self.checkers:
                self._run_checker(checker, root)
        finally:
            remove_quietly(root)
            if self.host.check:
                _rmdir_quietly(self.host.path(RUN_DIR))

    def commit(self):
        """Move the staged files into place, remove the stale ones, and remember both."""
        if self.host.check:
            return
        for path in sorted(self.written, key=_references_first):
            self.host.steps.reach("rename " + path)
            try:
                os.replace(self._staged[path], self.host.path(path))
            except OSError as error:
                hint = " (immutable? see lsattr)" if error.errno == errno.EPERM else ""
                raise Failure("{0}: cannot be replaced: {1}{2}".format(path, error.strerror, hint))
            del self._staged[path]
            self._touched.append(path)
        for path in self.adjusted:
            entry, real = self.files[path], self.host.path(path)
            self.host.steps.reach("adjust " + path)
            self._touched.append(path)
            os.chown(real, *self._owner(entry))
            os.chmod(real, int(entry["mode"], 8))
        for path in self.removed:
            self.host.steps.reach("remove " + path)
            remove_quietly(self.host.path(path))
            self._touched.append(path)
        folders = self._prune_folders(self._recorded.get("folders", []))
        final = {"files": sorted(self.files), "folders": folders, "validated": self._digest()}
        if any(self._recorded.get(key) != value for key, value in final.items()):
            self.host.steps.reach("record the tree")
            self._write_record(**final)

    def undo(self):
        """Put back every file that `commit` has touched; return whether there was any. Raises Failure naming those that resist."""
        problems = []
        for path in reversed(self._touched):
            try:
                self._put_back(path)
            except OSError as error:
                problems.append("{0} cannot be put back: {1}".format(path, error.strerror or error))
        self.discard()
        if problems:
            raise Failure("; ".join(problems))
        return bool(self._touched)

    def _put_back(self, path):
        real, before = self.host.path(path), self._before[path]
        if before is None:
            remove_quietly(real)
            return
        content, status, link = before
        owner, mode = (status.st_uid, status.st_gid), stat.S_IMODE(status.st_mode)
        if path in self.adjusted:
            os.chown(real, *owner)
            os.chmod(real, mode)
            return
        make_directories(os.path.dirname(real))
        if link is not None:
            remove_quietly(real)
            os.symlink(link, real)
        else:
            os.replace(stage_file(real, content, mode, *owner), real)

    def had_files(self):
        """Whether an earlier run had put a tree in place (so that there is something to go back to)."""
        return bool(self.record.get("files"))

    def sweep(self):
        """Remove what a run that was killed has left; not in check mode, which holds no lock: the files may be in use."""
        if self.host.check:
            return
        remove_quietly(self.host.path("{0}/{1}.stage".format(RUN_DIR, self.name)))
        for path in set(self.files) | set(self.record.get("files", [])):
            temporary = temporary_name(self.host.path(path))
            if os.path.lexists(temporary):
                remove_quietly(temporary)

    def _read(self, real):
        """Return (content, lstat, link target or None), or None when nothing is there. Links are never followed."""
        try:
            status = os.lstat(real)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISLNK(status.st_mode):
            return b"", status, os.readlink(real)
        if not stat.S_ISREG(status.st_mode):
            return b"", status, None
        with open(real, "rb") as handle:
            return handle.read(), status, None

    def _mode_differs(self, entry, status):
        if stat.S_IMODE(status.st_mode) != int(entry["mode"], 8):
            return True
        try:
            return (status.st_uid, status.st_gid) != self._owner(entry)
        except Failure:
            return True

    def _owner(self, entry):
        try:
            return pwd.getpwnam(entry["owner"]).pw_uid, grp.getgrnam(entry["group"]).gr_gid
        except KeyError:
            if self.host.check and self.planned_users:
                return -1, -1
            raise Failure("{0}: there is no user {1} or group {2} on this host".format(entry["path"], entry["owner"], entry["group"]))

    def _is_secret(self, path, before):
        """A file that others could not read before, or may not read now, is not shown."""
        entry = self.files.get(path)
        if entry is not None and entry.get("secret"):
            return True
        return before is not None and not before[1].st_mode & stat.S_IROTH

    def _stale(self):
        stale = {path for path in self.record.get("files", []) if path not in self.files and not matches(path, self.keep)}
        for folder in self.own:
            for parent, folders, names in os.walk(self.host.path(folder)):
                linked = [name for name in folders if os.path.islink(os.path.join(parent, name))]
                for name in names + linked:
                    path = self._logical(os.path.join(parent, name))
                    if path not in self.files and not matches(path, self.keep) and not _is_temporary(path, self.files):
                        stale.add(path)
        return {path for path in stale if _is_file(self.host.path(path))}

    def _logical(self, real):
        return real if self.host.root == "/" else "/" + os.path.relpath(real, self.host.root)

    def _picture(self, root):
        """Lay out the tree as it is going to be below `root`, for the checkers."""
        for path, entry in self.files.items():
            target = root + path
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
                handle.write(entry["content"])
        for folder in self.own:
            os.makedirs(root + folder, mode=0o700, exist_ok=True)
            for parent, _folders, names in os.walk(self.host.path(folder)):
                for name in names:
                    path = self._logical(os.path.join(parent, name))
                    if path not in self.files and matches(path, self.keep):
                        os.makedirs(os.path.dirname(root + path), mode=0o700, exist_ok=True)
                        os.symlink(os.path.join(parent, name), root + path)

    def _run_checker(self, checker, root):
        words = shlex.split(checker)
        argv = [word.replace("{root}", root).replace("{current}", self.host.path(self.current)) for word in words]
        # Its program, and what it takes of the release.
        needed = argv[:1] + [path for word, path in zip(words, argv) if word.startswith("{current}")]
        if self.host.check and any(os.path.isabs(path) and not os.path.exists(path) for path in needed):
            self.unchecked.append("{0} (its program is not installed yet)".format(self._readable(checker)))
            return
        code, text = self.host.run(argv, cwd=root)
        if code != 0:
            # What a checker found right is no help in finding what is wrong.
            lines = [line for line in text.replace(root, "").splitlines() if line.strip() and "SUCCESS" not in line]
            words = "\n".join(lines) or "it printed nothing"
            raise Failure(
                "{0} refuses the new configuration; nothing was changed. Its words:\n{1}".format(self._readable(checker), words),
                checker=self._readable(checker),
            )

    @staticmethod
    def _readable(checker):
        return checker.replace("{root}", "").replace("{current}/", "")

    def _check_references(self):
        """Each file that the configuration names has to exist and be readable by the service's user."""
        for path in self.references:
            entry = self.files.get(path)
            if entry is not None:
                problem = None if self._declared_readable(entry) else "is rendered as {mode} {owner}:{group}, which {0} cannot read".format(
                    self.reader, **entry
                )
            else:
                problem = self._readable_on_disk(path)
            if problem:
                raise Failure("the configuration refers to {0}, which {1}. Nothing was changed".format(path, problem))

    def _declared_readable(self, entry):
        mode = int(entry["mode"], 8)
        if not self.reader or self.reader == "root" or mode & stat.S_IROTH:
            return True
        if entry["owner"] == self.reader:
            return bool(mode & stat.S_IRUSR)
        return bool(mode & stat.S_IRGRP) and entry["group"] in _groups_of(self.reader)

    def _readable_on_disk(self, path):
        real = self.host.path(path)
        if not os.path.exists(real):
            return "does not exist"
        if self.reader and self.reader != "root" and os.geteuid() == 0 and not _can_read_as(self.reader, real):
            if self.host.check and self.reader in self.planned_users:
                self.unchecked.append("whether {0} can read {1} (the user does not exist yet)".format(self.reader, path))
                return None
            return "{0} cannot read".format(self.reader)
        return None

    def _digest(self):
        text = json.dumps([sorted((p, e["content"]) for p, e in self.files.items()), self.checkers, self._checker_identity()])
        return hashlib.sha256(text.encode()).hexdigest()

    def _checker_identity(self):
        return os.path.realpath(self.host.path(self.current)) if self.current else ""

    def _write_record(self, files=(), folders=(), validated=None, **_schema):
        """Record the tree; one without files and folders is no record."""
        if not files and not folders:
            self.host.drop_state("config", self.name)
            self._recorded = {}
            return
        record = {"schema": MANIFEST_SCHEMA, "files": list(files), "folders": list(folders), "validated": validated}
        self.host.write_state("config", self.name, record)
        self._recorded = record

    def _missing_folders(self):
        """Return the folders that have to be made for the files to be written, outermost first."""
        parents = {parent for path in self.written for parent in _parents(path)}
        return sorted(parent for parent in parents if not os.path.isdir(self.host.path(parent)))

    def _prune_folders(self, folders):
        """Remove folders that were made for files which are gone; return those that stay."""
        needed = {parent for path in self.files for parent in _parents(path)} | set(self.own)
        staying = []
        for folder in sorted(folders, key=len, reverse=True):
            if folder in needed or not _rmdir_quietly(self.host.path(folder)):
                staying.append(folder)
        return sorted(staying)


def remove(host, name):
    """Remove every file of the tree and the folders made for them; return the removed paths."""
    record = host.read_state("config", name)
    present = [path for path in record.get("files", []) if _is_file(host.path(path))]
    if host.check:
        return present
    for path in record.get("files", []):
        host.steps.reach("remove " + path)
        if path in present:
            remove_quietly(host.path(path))
        remove_quietly(temporary_name(host.path(path)))
    remove_quietly(host.path("{0}/{1}.stage".format(RUN_DIR, name)))
    for folder in sorted(record.get("folders", []), key=len, reverse=True):
        _rmdir_quietly(host.path(folder))
    host.drop_state("config", name)
    return present


def _references_first(path):
    """Deeper files (rules, certificates) come before those that refer to them; units last."""
    return (path.startswith("/etc/systemd/"), -path.count("/"), path)


def _is_file(real):
    """Whether a file or link is there. A folder in its place is a person's, and is left alone."""
    return os.path.lexists(real) and (os.path.islink(real) or not os.path.isdir(real))


def _is_temporary(path, files):
    return any(path == temporary_name(known) for known in files)


def _parents(path):
    while path != "/":
        path = os.path.dirname(path)
        yield path


def _rmdir_quietly(path):
    try:
        os.rmdir(path)
        return True
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _groups_of(user):
    names = {group.gr_name for group in grp.getgrall() if user in group.gr_mem}
    try:
        names.add(grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name)
    except KeyError:
        names.add(user)
    return names


def _can_read_as(user, path):
    """Open the file in a child process that has become the user: the kernel's answer, folders and ACLs included."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return False
    child = os.fork()
    if child == 0:
        try:
            os.initgroups(user, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            os.close(os.open(path, os.O_RDONLY))
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _user(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid):
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def apply(host, declaration):
    """Bring `{name, current, config}` into place under its lock; return the module's result."""
    name = declaration["name"]
    with host.lock(name):
        tree = ConfigTree(host, name, declaration["config"], current=declaration.get("current") or "")
        tree.sweep()
        changed = tree.plan()
        if not host.check:
            tree.stage()
        try:
            tree.validate()
            tree.commit()
        except BaseException:
            tree.undo()
            raise
    return {
        "changed": changed,
        "done": ["{0} written".format(path) for path in tree.written]
        + ["{0} owner and mode set".format(path) for path in tree.adjusted]
        + ["{0} removed".format(path) for path in tree.removed],
        "changed_paths": sorted(tree.changed_paths),
        "diff": tree.diff(),
        "warnings": ["{0}: not checked in this check mode run: {1}".format(name, "; ".join(tree.unchecked))] if tree.unchecked else [],
    }
