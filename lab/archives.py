"""Archives as the publishers make them: one top folder, a checksum file beside them, the same bytes from the same content."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKSUMS = "sha256sums.txt"
# They are made on each fresh machine and read next door: the seconds count, not the size.
COMPRESSION = 1


@contextmanager
def new_archive(target: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive for writing, without a time in its header; it appears under its name when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with part.open("wb") as raw, gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        yield tar
    part.replace(target)


def repack(source: Path, target: Path, folder: str) -> None:
    """Write the folder `source` as a .tar.gz with one top folder; the same content gives the same bytes."""
    with new_archive(target) as tar:
        for path in [source, *sorted(source.rglob("*"))]:
            relative = path.relative_to(source)
            entry = tar.gettarinfo(str(path), folder if relative == Path() else f"{folder}/{relative}")
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = "root"
            entry.mtime = 0
            # Whatever umask this machine has.
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            if entry.isfile():
                with path.open("rb") as handle:
                    tar.addfile(entry, handle)
            else:
                tar.addfile(entry)


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    return hash_of(path, "sha256")


def hash_of(path: Path, algorithm: str) -> str:
    """Return a file's hash in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def write_checksum(archive: Path, algorithm: str, name: str = "", *, bare: bool = False) -> None:
    """Write one archive's checksum file: by default its name with the algorithm's as suffix; `bare` is the hash alone."""
    line = hash_of(archive, algorithm) + ("" if bare else f"  {archive.name}")
    archive.with_name(name or f"{archive.name}.{algorithm}").write_text(line + "\n")


def is_made(archive: Path, key: str) -> bool:
    """Whether an archive is there, made of the inputs whose hash is `key`."""
    stamp = _stamp(archive)
    return archive.exists() and stamp.exists() and stamp.read_text() == key


def mark(archive: Path, key: str) -> None:
    """Remember what an archive was made of."""
    _stamp(archive).write_text(key)


def _stamp(archive: Path) -> Path:
    return archive.with_name(f".{archive.name}.key")


def write_checksums(folder: Path, wrong: frozenset[str] = frozenset()) -> None:
    """Write the checksum file of all archives in a folder, as the publishers do; `wrong` names get a false hash."""
    lines = [f"{'0' * 64 if path.name in wrong else sha256(path)}  {path.name}\n" for path in sorted(folder.glob("*.tar.gz"))]
    (folder / CHECKSUMS).write_text("".join(lines))
