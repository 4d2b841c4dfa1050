"""Elasticsearch as its publisher packs it: the real core with security, out of the test distribution, with Debian's Java in its jdk/ folder.

The test distribution lacks modules that are under the publisher's own terms; lab/elasticsearch_plugin restores the little that clients of
a node ask for. README says what is therefore not proven.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from . import builder
from .archives import hash_of, is_made, mark, repack, write_checksum
from .common import CACHE, LabError, digest, progress

# Version -> hash of the zip. The second one is for upgrades.
VERSIONS = {"9.5.0": "c06bd4ef7691da91052cada7bb255b2d7c48a1422820a8db0e3e3a1ed0dde4e8d380cdbadeb7029cc56167b9ad3a6d89f6b8edbc48d4b8685d1ab24a7ab17dd5"}
MAVEN = "https://repo1.maven.org/maven2"
ZIP = "org/elasticsearch/distribution/integ-test-zip/elasticsearch/{version}/elasticsearch-{version}.zip"
HOME = Path("artifacts.elastic.co/downloads/elasticsearch")
PLUGIN = Path(__file__).parent / "elasticsearch_plugin"
FORMAT = "1"


def ensure(mirror: Path) -> None:
    """Make the archives that the mirror lacks."""
    arch = os.uname().machine
    for version, expected in VERSIONS.items():
        target = mirror / HOME / f"elasticsearch-{version}-linux-{arch}.tar.gz"
        key = digest(FORMAT, version, expected, arch, *(file.read_text() for file in sorted(PLUGIN.iterdir())))
        if not is_made(target, key):
            with tempfile.TemporaryDirectory(dir=CACHE, prefix="elasticsearch-") as name:
                home = _unpacked(version, expected, Path(name))
                _complete(home, version)
                with progress(f"pack Elasticsearch {version}"):
                    repack(home, target, home.name)
                    write_checksum(target, "sha512")
            mark(target, key)


def _unpacked(version: str, expected: str, folder: Path) -> Path:
    archive = folder / "elasticsearch.zip"
    # A repository manager of the machine's operator serves the same paths.
    url = f"{os.environ.get('MAVEN_MIRROR_URL', MAVEN).rstrip('/')}/{ZIP.format(version=version)}"
    with progress(f"fetch Elasticsearch {version} (130 MB)"):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer, archive.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except (urllib.error.URLError, OSError) as error:
            raise LabError(f"{url}: {error}. Another repository of Maven's layout: MAVEN_MIRROR_URL") from None
    found = hash_of(archive, "sha512")
    if found != expected:
        raise LabError(f"{url} has the hash {found}, pinned is {expected} (lab/elasticsearch.py). Do not use it until you know why")
    with zipfile.ZipFile(archive) as packed:
        for entry in packed.infolist():
            path = Path(packed.extract(entry, folder))
            mode = entry.external_attr >> 16 & 0o777
            if mode and path.is_file():
                path.chmod(mode)
    archive.unlink()
    return folder / f"elasticsearch-{version}"


def _complete(home: Path, version: str) -> None:
    """Add Java and the lab's plugin."""
    out = home / ".made"
    out.mkdir()
    script = [
        # Links lead into /etc; some to packages that are not installed. Left out is what a server does not run.
        "cd /usr/lib/jvm/java-21-openjdk-* && rm -rf demo include jmods man && find . -xtype l -delete && cp -rL . /out/jdk",
        "mkdir /tmp/classes && cd /tmp && cat > LabPlugin.java <<'END'",
        (PLUGIN / "LabPlugin.java").read_text().rstrip(),
        "END",
        "javac --release 21 -proc:none -cp '/out/lib/*' -d /tmp/classes LabPlugin.java",
        "jar --create --date=2020-01-01T00:00:00Z --file /out/observatory-lab.jar -C /tmp/classes .",
    ]
    shutil.copytree(home / "lib", out / "lib")
    builder.build(script, out, f"Elasticsearch's plugin for {version}")
    (out / "jdk").rename(home / "jdk")
    plugin = home / "plugins" / "observatory-lab"
    plugin.mkdir(parents=True)
    shutil.move(out / "observatory-lab.jar", plugin)
    descriptor = (PLUGIN / "plugin-descriptor.properties").read_text().replace("@VERSION@", version)
    (plugin / "plugin-descriptor.properties").write_text(descriptor)
    shutil.rmtree(out)
