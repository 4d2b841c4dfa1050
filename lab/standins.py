"""Archives of the stand-ins for Logstash and Kibana: the publisher's layout around programs of the lab."""

from __future__ import annotations

import os
from pathlib import Path

from .archives import hash_of, is_made, mark, repack, write_checksum
from .common import digest

FOLDER = Path(__file__).parent / "standins"
HOME = Path("artifacts.elastic.co/downloads")
# Product -> versions; a second one is for upgrades.
VERSIONS = {"logstash": ("9.5.0",), "kibana": ("9.5.0",)}


def ensure(mirror: Path) -> None:
    """Pack those that the mirror lacks, or has of another content."""
    for product, versions in VERSIONS.items():
        source = FOLDER / product
        files = sorted(path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        if not files:
            continue
        key = digest(*(f"{path.relative_to(source)} {hash_of(path, 'sha256')}" for path in files))
        for version in versions:
            target = mirror / HOME / product / f"{product}-{version}-linux-{os.uname().machine}.tar.gz"
            if not is_made(target, key):
                repack(source, target, f"{product}-{version}")
                write_checksum(target, "sha512")
                mark(target, key)
