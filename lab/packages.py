"""Debian packages that roles install: a small archive in the mirror, the only one that the hosts know."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from . import builder, image
from .archives import hash_of, is_made, mark
from .common import CACHE, LABS, Archive, digest, run

PACKAGES = ("nginx",)
FORMAT = "1"
# Run on a bare host's image: what is fetched is what a host lacks.
FETCH = (
    "echo 'deb {uri} {suite} main' > /etc/apt/sources.list",
    "apt-get update -q",
    "apt-get install -q -y --no-install-recommends --download-only {packages}",
    "cp /var/cache/apt/archives/*.deb /out/",
)


def ensure(mirror: Path) -> None:
    """Make the archives that the mirror lacks, one a suite of the labs."""
    for suite in sorted({lab.suite for lab in LABS.values()}):
        home = mirror / "debian" / suite
        index = home / "Packages"
        key = digest(FORMAT, suite, image.name_of(suite), *PACKAGES, *FETCH)
        if is_made(index, key):
            continue
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="packages-") as name:
            made = Path(name) / "made"
            made.mkdir()
            words = {"uri": Archive.of_this_machine().uri, "suite": suite, "packages": " ".join(PACKAGES)}
            script = [line.format(**words) for line in FETCH]
            builder.run_in(image.ensure(suite), script, made, f"packages {', '.join(PACKAGES)} of Debian {suite}")
            _write_index(made)
            # Hosts may be fetching: the old ones go when the new ones are whole.
            if home.exists():
                home.rename(Path(name) / "old")
            home.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(made, home)
        mark(index, key)


def _write_index(folder: Path) -> None:
    """Write Packages and Release, as `dpkg-scanpackages` and `apt-ftparchive` do, which not every machine has."""
    entries = []
    for package in sorted(folder.glob("*.deb")):
        control = run(["dpkg-deb", "--field", str(package)]).stdout.rstrip()
        entries.append(f"{control}\nFilename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {hash_of(package, 'sha256')}\n")
    index = folder / "Packages"
    index.write_text("\n".join(entries))
    (folder / "Release").write_text(f"Suite: lab\nSHA256:\n {hash_of(index, 'sha256')} {index.stat().st_size} Packages\n")
