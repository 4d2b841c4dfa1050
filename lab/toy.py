"""Archives of beacon, the toy product that the fault tests install: good ones, and one for each way in which an archive can be bad."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from pathlib import Path

from .archives import new_archive, repack, write_checksums
from .common import CACHE, digest

PROGRAM = Path(__file__).parent / "beacon" / "beacon"
HOME = Path("beacon.example/releases")
# 2.0.0 is whole, but its program exits at once.
GOOD = ("1.0.0", "1.1.0", "2.0.0")
WRONG_CHECKSUM, TRUNCATED, TWO_FOLDERS, CLIMBING, WITHOUT_PROGRAM = "1.9.1", "1.9.2", "1.9.3", "1.9.4", "1.9.5"
# A whole archive; lab/services.py breaks its transfer off.
CUT_OFF = "1.9.6"
VERSIONS = (*GOOD, WRONG_CHECKSUM, TRUNCATED, TWO_FOLDERS, CLIMBING, WITHOUT_PROGRAM, CUT_OFF)


def ensure(mirror: Path, machine: str) -> None:
    """Make the archives below the mirror, unless they are made of this very program."""
    home = mirror / HOME
    stamp = home / ".key"
    key = digest(machine, *(path.read_text() for path in (PROGRAM, Path(__file__), Path(__file__).with_name("archives.py"))))
    if stamp.exists() and stamp.read_text() == key:
        return
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="beacon-") as name:
        made = Path(name) / "made"
        for version in VERSIONS:
            make(version, made / f"v{version}", machine)
        (made / stamp.name).write_text(key)
        # Hosts may be fetching: the old ones go when the new ones are whole.
        if home.exists():
            home.rename(Path(name) / "old")
        home.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, home)


def make(version: str, folder: Path, machine: str) -> Path:
    """Make one version's archive and its checksum file; return the archive's path."""
    top = f"beacon-{version}.linux-{machine}"
    target = folder / f"{top}.tar.gz"
    with tempfile.TemporaryDirectory(prefix="beacon-") as name:
        program = Path(name) / ("beakon" if version == WITHOUT_PROGRAM else "beacon")
        program.write_text(PROGRAM.read_text().replace("@VERSION@", version))
        program.chmod(0o755)
        repack(Path(name), target, top)
    if version == TRUNCATED:
        target.write_bytes(target.read_bytes()[:200])
    elif version == TWO_FOLDERS:
        _add(target, "second-folder/file")
    elif version == CLIMBING:
        _add(target, f"{top}/../../outside")
    write_checksums(folder, wrong=frozenset({target.name}) if version == WRONG_CHECKSUM else frozenset())
    return target


def _add(archive: Path, name: str) -> None:
    """Add a file that no good archive would hold."""
    with tarfile.open(archive) as tar:
        entries = [(entry, tar.extractfile(entry).read() if entry.isfile() else b"") for entry in tar.getmembers()]
    stray = tarfile.TarInfo(name)
    stray.size = 5
    with new_archive(archive) as tar:
        for entry, content in [*entries, (stray, b"stray")]:
            tar.addfile(entry, io.BytesIO(content))
