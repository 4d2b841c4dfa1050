"""The mirror's archives look like the publishers'."""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

from lab.archives import repack, write_checksums


def product(folder: Path, umask: int = 0o022) -> Path:
    """Make what a product's archive holds."""
    before = os.umask(umask)
    try:
        folder.mkdir(parents=True)
        (folder / "conf").mkdir()
        (folder / "conf" / "product.yml").write_text("a: 1\n")
        (folder / "product").write_text("#!/bin/sh\n")
        (folder / "product").chmod(0o755 & ~umask)
    finally:
        os.umask(before)
    return folder


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    """Neither times nor the umask of the machine that packs show in an archive."""
    first, second = tmp_path / "1.tar.gz", tmp_path / "2.tar.gz"
    repack(product(tmp_path / "a"), first, "product-1.0.0")
    other = product(tmp_path / "b", umask=0o077)
    os.utime(other / "product", (0, 0))
    repack(other, second, "product-1.0.0")
    assert first.read_bytes() == second.read_bytes()


def test_an_archive_has_one_top_folder_and_belongs_to_root(tmp_path: Path) -> None:
    """Modes are those of programs, folders and files; nothing else is in it, and no half archive stays behind."""
    target = tmp_path / "out" / "product-1.0.0.tar.gz"
    repack(product(tmp_path / "a"), target, "product-1.0.0")
    with tarfile.open(target) as tar:
        entries = [(entry.name, oct(entry.mode), entry.uid, entry.gname) for entry in tar.getmembers()]
    assert entries == [
        ("product-1.0.0", "0o755", 0, "root"),
        ("product-1.0.0/conf", "0o755", 0, "root"),
        ("product-1.0.0/conf/product.yml", "0o644", 0, "root"),
        ("product-1.0.0/product", "0o755", 0, "root"),
    ]
    assert [path.name for path in target.parent.iterdir()] == ["product-1.0.0.tar.gz"]


def test_the_checksum_file_has_the_publishers_form(tmp_path: Path) -> None:
    """A line for each archive: hash, two spaces, name; nothing about other files; a false hash where one is asked for."""
    for name in ("b.tar.gz", "a.tar.gz", "notes.txt"):
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path, wrong=frozenset({"b.tar.gz"}))
    right = hashlib.sha256(b"a.tar.gz").hexdigest()
    assert (tmp_path / "sha256sums.txt").read_text() == f"{right}  a.tar.gz\n{'0' * 64}  b.tar.gz\n"
