"""A versioned archive: verified, unpacked beside the others, made current by an atomic link."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import time

from .host import Failure, make_directories, remove_quietly, replace_link, stage_file

RELEASES_DIR = "/opt/observatory"
MANIFEST_SCHEMA = 1
DOWNLOAD_TIMEOUT_SECONDS = 30
DOWNLOAD_ATTEMPTS = 3
BLOCK_BYTES = 1 << 20
CHECKSUM_PATTERN = re.compile(r"^(sha256|sha512):([0-9a-f]{64}|[0-9a-f]{128})$")
HASH_OF_LENGTH = {64: "sha256", 128: "sha512"}
VERSION_PATTERN = re.compile(r"^[0-9A-Za-z][0-9A-Za-z.+~_-]*$")

SPEC = {
    "version": {"type": "str", "required": True},
    "url": {"type": "str", "required": True},
    "checksum": {"type": "str", "required": True},
    "mirror": {"type": "str", "default": ""},
    "arch": {"type": "dict", "default": {}},
    "creates": {"type": "list", "elements": "str", "default": []},
}


def mirrored(url, mirror):
    """Return where `url` lies on a mirror that keeps the upstream's layout: MIRROR/HOST/PATH."""
    if not mirror:
        return url
    return "{0}/{1}".format(mirror.rstrip("/"), url.split("://", 1)[-1])


def find_checksum(text, file_name):
    """Return `algorithm:hex` for `file_name` out of a checksum file, or None.

    Accepts `HASH  NAME` lines (also `*NAME`, `./NAME`, a path before the name) and a file that holds one hash:
    some publishers write no name, or the name of another build of the same bytes.
    """
    entries = []
    for line in text.splitlines():
        fields = line.split()
        if fields and len(fields[0]) in HASH_OF_LENGTH and re.match(r"^[0-9a-fA-F]+$", fields[0]):
            entries.append((fields[0].lower(), os.path.basename(fields[1].lstrip("*")) if len(fields) > 1 else ""))
    for value, name in entries:
        if name == file_name:
            return "{0}:{1}".format(HASH_OF_LENGTH[len(value)], value)
    if len(entries) == 1:
        return "{0}:{1}".format(HASH_OF_LENGTH[len(entries[0][0])], entries[0][0])
    return None


def check_members(members, url):
    """Return the one top folder of an archive's members; raises Failure on any shape that could write elsewhere."""
    tops, loose = set(), set()
    for member in members:
        name = os.path.normpath(member.name)
        top = name.split("/", 1)[0]
        if name == ".":
            continue
        if name.startswith(("/", "../")) or name == "..":
            raise Failure("{0}: the archive holds '{1}', a path outside of it. Do not use it".format(url, member.name))
        if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
            raise Failure("{0}: the archive holds '{1}', which is not a file, folder or link. Do not use it".format(url, member.name))
        if member.issym() or member.islnk():
            base = os.path.dirname(name) if member.issym() else ""
            target = os.path.normpath(os.path.join(base, member.linkname))
            # Unpacking takes the top folder off, so that what is beside it is outside too.
            if member.linkname.startswith("/") or target.split("/", 1)[0] != top:
                raise Failure("{0}: the link '{1}' points outside of the archive. Do not use it".format(url, member.name))
        if name == top and not member.isdir():
            loose.add("the file " + name)
        else:
            tops.add(top)
    if loose or len(tops) != 1:
        found = ", ".join(sorted(tops | loose)) or "nothing"
        raise Failure("{0}: unexpected shape: one top folder is expected in the archive, found {1}".format(url, found))
    return tops.pop()


def fingerprint(folder):
    """Return {relative path: [size, mtime in ns]} of all files below a folder: enough to see damage at no cost."""
    entries = {}
    for parent, _folders, files in os.walk(folder):
        for name in files:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            entries[os.path.relpath(path, folder)] = [status.st_size, status.st_mtime_ns]
    return entries


class Release:
    """`prepare` brings the wanted version onto the disk, `switch` makes it current; `undo` takes the switch back."""

    def __init__(self, host, name, spec, opener=None):
        self.host = host
        self.name = name
        self.version = spec["version"]
        if not VERSION_PATTERN.match(self.version):
            raise Failure("{0}: '{1}' is not a version".format(name, self.version))
        machine = os.uname().machine
        arch = spec.get("arch") or {}
        if arch and machine not in arch:
            raise Failure(
                "{0} has no release for the architecture {1}. Known: {2}".format(name, machine, ", ".join(sorted(arch)))
            )
        words = {"version": self.version, "arch": arch.get(machine, machine)}
        self.url = _fill(spec["url"], words)
        self.file_name = self.url.rsplit("/", 1)[-1]
        self._mirror = spec.get("mirror") or ""
        self.checksum = _fill(spec["checksum"], words)
        self.creates = spec.get("creates") or []
        self.home = "{0}/{1}".format(RELEASES_DIR, name)
        self.folder = "{0}/{1}".format(self.home, self.version)
        self.current = self.home + "/current"
        self.previous = self.home + "/previous"
        self.manifest = "{0}/.{1}.json".format(self.home, self.version)
        self._open = opener or _open_url
        self._undo = None
        self.fetched = False

    def installed_version(self):
        """Return the version that `current` points at, or None."""
        return self._link_version(self.current)

    def is_complete(self):
        """Whether the wanted version lies on the disk as it was unpacked, and as it is declared now."""
        try:
            with open(self.host.path(self.manifest), encoding="utf-8") as handle:
                manifest = json.load(handle)
        except (OSError, ValueError):
            return False
        folder = self.host.path(self.folder)
        if manifest.get("schema") != MANIFEST_SCHEMA or self.checksum not in (manifest.get("checksum"), manifest.get("source")):
            return False
        for relative, (size, mtime) in manifest["files"].items():
            try:
                status = os.lstat(os.path.join(folder, relative))
            except OSError:
                return False
            if (status.st_size, status.st_mtime_ns) != (size, mtime):
                return False
        return True

    def prepare(self):
        """Bring the wanted version onto the disk beside the current one; return whether that was (or would be) needed."""
        if self.is_complete():
            if not self.host.check:
                self._sweep()
            return False
        self.fetched = True
        if self.host.check:
            self._resolve_checksum()
            return True
        home = self.host.path(self.home)
        stage = os.path.join(home, ".stage-" + self.version)
        download = os.path.join(home, ".download-" + self.version)
        try:
            make_directories(home)
            self._sweep()
            self.host.steps.reach("fetch")
            digest = self._fetch(download)
            self.host.steps.reach("unpack")
            os.mkdir(stage, 0o755)
            self._unpack(download, stage)
            remove_quietly(download)
            self._settle(stage, digest)
        except OSError as error:
            raise Failure("{0} {1} cannot be unpacked below {2}: {3}".format(self.name, self.version, self.home, error.strerror or error))
        finally:
            remove_quietly(stage)
            remove_quietly(download)
        return True

    def will_switch(self):
        return self.installed_version() != self.version

    def switch(self):
        """Make the wanted version current; the one before stays as `previous`. Return whether that was needed."""
        if not self.will_switch():
            return False
        if self.host.check:
            return True
        before, previous = self.installed_version(), self._link_version(self.previous)
        self._undo = (before, previous)
        if before:
            self.host.steps.reach("keep the previous release")
            replace_link(self.host.path(self.previous), before)
        self.host.steps.reach("flip")
        replace_link(self.host.path(self.current), self.version)
        return True

    def undo(self):
        """Point `current` and `previous` back to where they were before `switch`."""
        if not self._undo:
            return False
        for link, version in zip((self.current, self.previous), self._undo):
            if version:
                replace_link(self.host.path(link), version)
            else:
                remove_quietly(self.host.path(link))
        self._undo = None
        return True

    def _link_version(self, link):
        try:
            version = os.readlink(self.host.path(link))
        except OSError:
            return None
        return version if os.path.isdir(os.path.join(self.host.path(self.home), version)) else None

    def _settle(self, stage, digest):
        folder, manifest = self.host.path(self.folder), self.host.path(self.manifest)
        record = {
            "schema": MANIFEST_SCHEMA, "version": self.version, "checksum": digest, "source": self.checksum,
            "url": self.url, "files": fingerprint(stage),
        }
        # Written before anything is moved: from there on nothing needs space.
        staged = stage_file(manifest, json.dumps(record).encode(), 0o644)
        # The manifest goes first and comes last: a version without one is not trusted, and a new one is a cause to restart.
        self.host.steps.reach("forget the old manifest")
        remove_quietly(manifest)
        if os.path.lexists(folder):
            self.host.steps.reach("set the damaged release aside")
            os.rename(folder, os.path.join(os.path.dirname(folder), ".old-" + self.version))
        self.host.steps.reach("put the release in place")
        os.rename(stage, folder)
        self.host.steps.reach("record the release")
        os.replace(staged, manifest)
        remove_quietly(os.path.join(os.path.dirname(folder), ".old-" + self.version))

    def _sweep(self):
        """Remove what a killed run left, and versions that are neither wanted nor current nor previous."""
        home = self.host.path(self.home)
        keep = {self.version, self.installed_version(), self._link_version(self.previous)} - {None}
        for entry in os.listdir(home):
            if entry in ("current", "previous") or entry in keep:
                continue
            version = entry[1:-5] if entry.startswith(".") and entry.endswith(".json") else None
            if version in keep:
                continue
            # A running process may still have a file of a version open: unlinking is safe for it.
            remove_quietly(os.path.join(home, entry))

    def _resolve_checksum(self):
        """Return the pinned `algorithm:hex`, asking the publisher's checksum file where the declaration names one."""
        if CHECKSUM_PATTERN.match(self.checksum):
            return self.checksum
        if "://" not in self.checksum:
            raise Failure(
                "{0}: checksum must be sha256:<64 hex digits>, sha512:<128 hex digits> or the URL of a checksum file, got '{1}'".format(
                    self.name, self.checksum
                )
            )
        address = mirrored(self.checksum, self._mirror)
        with self._ask(address) as answer:
            text = _read(answer, 1 << 20, address, 0).decode("utf-8", "replace")
        found = find_checksum(text, self.file_name)
        if not found:
            raise Failure("{0} lists no checksum for {1}".format(address, self.file_name))
        return found

    def _ask(self, address):
        for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
            try:
                return self._open(address)
            except OSError as error:
                code = getattr(error, "code", None)
                if code is not None and 400 <= code < 500:
                    raise Failure(
                        "{0} answered {1}: there is no {2} {3} there. Check the version and observatory_mirror_url".format(
                            address, code, self.name, self.version
                        )
                    )
                if attempt == DOWNLOAD_ATTEMPTS:
                    reason = getattr(error, "reason", error)
                    raise Failure(
                        "{0} cannot be reached ({1}), and {2} {3} is not installed yet. Check observatory_mirror_url and the network".format(
                            address, reason, self.name, self.version
                        )
                    )
                time.sleep(attempt)

    def _fetch(self, download):
        wanted = self._resolve_checksum()
        address = mirrored(self.url, self._mirror)
        digest = hashlib.new(wanted.split(":", 1)[0])
        received = 0
        with self._ask(address) as answer, open(download, "wb") as handle:
            length = answer.headers.get("Content-Length")
            while True:
                block = _read(answer, BLOCK_BYTES, address, received)
                if not block:
                    break
                received += len(block)
                digest.update(block)
                handle.write(block)
        if length is not None and received != int(length):
            raise Failure("{0}: the transfer broke off after {1} of {2} bytes".format(address, received, length))
        found = "{0}:{1}".format(digest.name, digest.hexdigest())
        if found != wanted:
            raise Failure("{0}: wrong checksum. Expected {1}, got {2}. Nothing was installed".format(address, wanted, found))
        return found

    def _unpack(self, download, stage):
        # Imported here: a run without a download does not pay for it.
        import tarfile

        # Newer Pythons warn when no filter is named; the members have been checked by then.
        options = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
        address = mirrored(self.url, self._mirror)
        try:
            with tarfile.open(download) as archive:
                members = archive.getmembers()
                # tarfile takes a damaged header for the end of the archive: what comes after it would be missing in silence.
                archive.fileobj.seek(archive.offset)
                if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError("damaged after {0} members".format(len(members)))
                top = check_members(members, address)
                for member in members:
                    name = os.path.normpath(member.name)
                    if name in (".", top):
                        continue
                    member.name = name[len(top) + 1:]
                    if member.islnk():
                        member.linkname = os.path.normpath(member.linkname)[len(top) + 1:]
                    member.uid = member.gid = 0
                    member.uname = member.gname = "root"
                    member.mode = (member.mode & 0o755) | stat.S_IRUSR | stat.S_IWUSR
                    _check_place(member, stage, address)
                    archive.extract(member, stage, numeric_owner=True, **options)
        except Failure:
            raise
        except Exception as error:
            # Each compression library has errors of its own for damage; a full disk is an OSError with a number, and none of theirs.
            if getattr(error, "errno", None) is not None:
                raise
            words = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
            raise Failure("{0}: not a readable tar archive: {1}".format(address, words))
        absent = [name for name in self.creates if not os.path.lexists(os.path.join(stage, name))]
        if absent:
            raise Failure("{0}: unexpected shape: the archive lacks {1}".format(address, ", ".join(absent)))


def _check_place(member, stage, url):
    """Refuse a member whose folder is elsewhere: links that each look harmless can lead out of the archive together."""
    parent = os.path.realpath(os.path.dirname(os.path.join(stage, member.name)))
    if parent != os.path.realpath(stage) and not parent.startswith(os.path.realpath(stage) + "/"):
        raise Failure("{0}: the archive holds '{1}', a path outside of it. Do not use it".format(url, member.name))


def remove(host, name):
    """Remove all versions of a product; return whether there was any."""
    home = host.path("{0}/{1}".format(RELEASES_DIR, name))
    if not os.path.lexists(home):
        return False
    if not host.check:
        host.steps.reach("remove the releases")
        shutil.rmtree(home)
    return True


def _fill(text, words):
    for key, value in words.items():
        text = text.replace("{%s}" % key, value)
    return text


def _read(answer, size, address, received):
    """Return the next bytes of an answer; raises Failure when the transfer breaks off."""
    import http.client

    try:
        return answer.read(size)
    except (OSError, http.client.HTTPException) as error:
        raise Failure("{0}: the transfer broke off after {1} bytes: {2}".format(address, received, error))


def _open_url(address):
    # Imported here: it costs 40 ms that a run without a download does not pay.
    import http.client
    import urllib.request

    try:
        return urllib.request.urlopen(address, timeout=DOWNLOAD_TIMEOUT_SECONDS)
    except http.client.HTTPException as error:
        raise OSError(str(error))


def apply(host, name, spec):
    """Install and switch under the product's lock; return the module's result."""
    with host.lock(name):
        product = Release(host, name, spec)
        before = product.installed_version()
        fetched = product.prepare()
        switched = product.switch()
    diff = [{"before": "{0}\n".format(before or ""), "after": "{0}\n".format(product.version), "before_header": product.current}]
    return {"changed": fetched or switched, "folder": product.folder, "previous_version": before or "", "diff": diff if switched else []}
