"""The toy product: its checker's words, its behaviour as a service, and the archives that are bad in one way each."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from pathlib import Path

import pytest

from lab import toy

BEACON = [sys.executable, str(toy.PROGRAM)]


def check(path: Path) -> tuple[int, str]:
    done = subprocess.run([*BEACON, "check", str(path)], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_good_configuration_passes_with_what_it_includes(tmp_path: Path) -> None:
    """Includes are relative to the file that names them, so that a staged tree can be checked."""
    write(tmp_path / "conf.d/message.json", {"message": "hello"})
    assert check(write(tmp_path / "beacon.json", {"port": 1, "include": ["conf.d/message.json"]})) == (0, "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"prot": 2}, "{file}: unknown key 'prot'"),
        ({"port": "1"}, "{file}: port must be a number"),
        ({"port": True}, "{file}: port must be a number"),
        ({"port": 1, "crash": 1}, "{file}: crash must be true or false"),
        ({"port": 1, "include": ["gone.json"]}, "{file}: includes {folder}/gone.json, which does not exist"),
        ({"message": "x"}, "{file}: port is missing"),
        ([], "{file}: must be an object"),
        ("{", "{file}: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ],
)
def test_a_bad_configuration_is_refused_with_the_files_name(tmp_path: Path, content: object, message: str) -> None:
    """What a product's own checker would say."""
    file = write(tmp_path / "beacon.json", content)
    assert check(file) == (1, message.format(file=file, folder=tmp_path) + "\n")


def test_a_fault_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    """Not the file that includes it."""
    part = write(tmp_path / "conf.d/message.json", {"message": 1})
    assert check(write(tmp_path / "beacon.json", {"port": 1, "include": ["conf.d/message.json"]})) == (1, f"{part}: message must be a text\n")


def test_a_reload_takes_the_new_message_and_keeps_the_old_one_when_the_new_is_bad(tmp_path: Path) -> None:
    """The process stays the same through both."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = write(tmp_path / "beacon.json", {"port": port, "message": "one", "data_dir": str(tmp_path)})
    with subprocess.Popen([*BEACON, "serve", str(file)], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert answer(port, "one") == {"version": "@VERSION@", "message": "one", "pid": process.pid}
            write(file, {"port": port, "message": "two"})
            os.kill(process.pid, signal.SIGHUP)
            assert answer(port, "two")["pid"] == process.pid
            write(file, {"port": port, "message": 3})
            os.kill(process.pid, signal.SIGHUP)
            assert process.stderr.readline() == f"not reloaded: {file}: message must be a text\n"
            assert answer(port, "two")["pid"] == process.pid
        finally:
            process.kill()


def answer(port: int, message: str) -> dict:
    """Return what beacon says, once it says that message."""
    said: dict = {}
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as response:
                said = json.load(response)
        except OSError:
            pass
        if said.get("message") == message:
            return said
        time.sleep(0.05)
    raise AssertionError(f"beacon says {said}, not {message}")


def test_a_service_told_to_crash_exits_with_a_word(tmp_path: Path) -> None:
    """The word is what a failing run has to show out of the journal."""
    file = write(tmp_path / "beacon.json", {"port": 1, "crash": True})
    done = subprocess.run([*BEACON, "serve", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "beacon @VERSION@ crashes as it was told to\n")


def checksum_fits(archive: Path) -> bool:
    """Whether sha256sum itself is content with the checksum file."""
    return subprocess.run(["sha256sum", "--check", "--status", "sha256sums.txt"], cwd=archive.parent, check=False).returncode == 0


def names(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        return tar.getnames()


@pytest.mark.parametrize("version", [*toy.GOOD, toy.CUT_OFF])
def test_good_archives_hold_one_folder_with_the_program(tmp_path: Path, version: str) -> None:
    """Their program says its version. The transfer of the last one is what the lab breaks."""
    archive = toy.make(version, tmp_path, "amd64")
    assert names(archive) == [f"beacon-{version}.linux-amd64", f"beacon-{version}.linux-amd64/beacon"]
    assert checksum_fits(archive)
    with tarfile.open(archive) as tar:
        assert f'VERSION = "{version}"' in tar.extractfile(f"beacon-{version}.linux-amd64/beacon").read().decode()


def test_an_archive_with_a_wrong_checksum_is_whole_otherwise(tmp_path: Path) -> None:
    """Only the checksum can tell."""
    archive = toy.make(toy.WRONG_CHECKSUM, tmp_path, "amd64")
    assert not checksum_fits(archive)
    assert len(names(archive)) == 2


def test_a_truncated_archive_has_a_fitting_checksum(tmp_path: Path) -> None:
    """Only unpacking can tell."""
    archive = toy.make(toy.TRUNCATED, tmp_path, "amd64")
    assert checksum_fits(archive)
    with pytest.raises((EOFError, tarfile.ReadError)):
        names(archive)


@pytest.mark.parametrize(
    ("version", "stray"), [(toy.TWO_FOLDERS, "second-folder/file"), (toy.CLIMBING, f"beacon-{toy.CLIMBING}.linux-amd64/../../outside")]
)
def test_an_archive_of_an_unexpected_shape_has_one_file_too_many(tmp_path: Path, version: str, stray: str) -> None:
    """The rest of it is good."""
    archive = toy.make(version, tmp_path, "amd64")
    assert checksum_fits(archive)
    assert names(archive) == [f"beacon-{version}.linux-amd64", f"beacon-{version}.linux-amd64/beacon", stray]


def test_an_archive_without_the_program_has_another_file(tmp_path: Path) -> None:
    """As when a publisher renames it."""
    assert names(toy.make(toy.WITHOUT_PROGRAM, tmp_path, "amd64"))[1:] == [f"beacon-{toy.WITHOUT_PROGRAM}.linux-amd64/beakon"]
