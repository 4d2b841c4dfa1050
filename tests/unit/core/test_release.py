"""A release is verified, unpacked beside the others, made current, and can be taken back."""

import json
import os
import tarfile
import urllib.error

import pytest
from ansible_collections.observatory.core.plugins.module_utils import release
from ansible_collections.observatory.core.plugins.module_utils.host import Failure
from ansible_collections.observatory.core.plugins.module_utils.release import Release, check_members, find_checksum, mirrored
from core_fakes import SUMS, URL, archive, full_disk, member, sha256

HASH, OTHER, LONG = "a" * 64, "b" * 64, "c" * 128
HOME = "/opt/observatory/beacon"
ARCHIVE_2 = "https://example.org/v2.0/beacon-2.0.tar.gz"


def beacon(target, version="1.0", check=False, **spec):
    """Return the release of a new run."""
    return Release(target.host(check), "beacon", {"version": version, "url": URL, "checksum": SUMS, "creates": ["beacon"], **spec})


def install(target, version="1.0", **spec):
    product = beacon(target, version, **spec)
    return product.prepare(), product.switch()


def names(target):
    """Return what lies in the product's folder: name, or name -> target of a link."""
    return sorted(f"{e.name} -> {os.readlink(e)}" if e.is_symlink() else e.name for e in target.path(HOME).iterdir())


def failure(work):
    with pytest.raises(Failure) as caught:
        work()
    return str(caught.value)


# -- checksum files


@pytest.mark.parametrize(("text", "found"), [
    (f"{OTHER}  beacon-1.0.darwin.tar.gz\n{HASH}  beacon.tar.gz\n", f"sha256:{HASH}"),
    (f"{HASH}\n", f"sha256:{HASH}"),
    (f"{HASH}  ubuntu-build/of-the-same-bytes.tgz\n", f"sha256:{HASH}"),
    (f"{LONG}  beacon.tar.gz\n", f"sha512:{LONG}"),
    (f"{OTHER} *other\n{HASH} *beacon.tar.gz\n", f"sha256:{HASH}"),
    (f"{OTHER}  ./other\n{HASH}  ./beacon.tar.gz\n", f"sha256:{HASH}"),
    (f"{OTHER}  other\n{HASH.upper()}  build/dist/beacon.tar.gz\n", f"sha256:{HASH}"),
    (f"{OTHER}  other\n{HASH}  another\n", None),
    ("<html>not found</html>\n", None),
    ("", None),
    (f"{'z' * 64}  beacon.tar.gz\n", None),
], ids=["list", "bare", "another name", "sha512", "star", "dot", "path, upper case", "not listed", "a web page", "empty", "no hex"])
def test_checksum_files_of_all_publishers_are_read(text, found):
    """A list, one bare hash, and the habits of sha256sum."""
    assert find_checksum(text, "beacon.tar.gz") == found


def test_a_mirror_keeps_the_layout_of_the_upstream():
    """MIRROR/HOST/PATH; no mirror, no change."""
    assert mirrored("https://example.org/a/b.tgz", "http://mirror.lab/") == "http://mirror.lab/example.org/a/b.tgz"
    assert mirrored("https://example.org/a/b.tgz", "") == "https://example.org/a/b.tgz"


# -- shapes of archives


DANGERS = {
    "two tops": ([member("a/x"), member("b/x")], "U: unexpected shape: one top folder is expected in the archive, found a, b"),
    "nothing": ([member(".", tarfile.DIRTYPE)], "U: unexpected shape: one top folder is expected in the archive, found nothing"),
    "one file": ([member("beacon")], "U: unexpected shape: one top folder is expected in the archive, found the file beacon"),
    "absolute": ([member("/etc/passwd")], "U: the archive holds '/etc/passwd', a path outside of it. Do not use it"),
    "parent": ([member("a/../../x")], "U: the archive holds 'a/../../x', a path outside of it. Do not use it"),
    "device": (
        [member("a/null", tarfile.CHRTYPE)],
        "U: the archive holds 'a/null', which is not a file, folder or link. Do not use it",
    ),
    "absolute link": ([member("a/l", tarfile.SYMTYPE, "/etc")], "U: the link 'a/l' points outside of the archive. Do not use it"),
    "link to the parent": ([member("a/l", tarfile.SYMTYPE, "../..")], "U: the link 'a/l' points outside of the archive. Do not use it"),
    # The top folder is taken off: its parent is the product's own folder on the host.
    "link beside the top": ([member("a/l", tarfile.SYMTYPE, "..")], "U: the link 'a/l' points outside of the archive. Do not use it"),
    "hard link": ([member("a/l", tarfile.LNKTYPE, "../x")], "U: the link 'a/l' points outside of the archive. Do not use it"),
    "hard link beside the top": ([member("a/l", tarfile.LNKTYPE, "x")], "U: the link 'a/l' points outside of the archive. Do not use it"),
}


@pytest.mark.parametrize(("members", "message"), DANGERS.values(), ids=DANGERS)
def test_an_archive_that_could_write_elsewhere_is_refused(members, message):
    """By name, before anything is unpacked."""
    assert failure(lambda: check_members(members, "U")) == message


def test_an_archive_may_hold_links_within_itself():
    """Grafana and Elasticsearch ship some."""
    members = [
        member("./a", tarfile.DIRTYPE), member("./a/b/c"),
        member("a/b/l", tarfile.SYMTYPE, "../b/c"), member("a/h", tarfile.LNKTYPE, "./a/b/c"),
    ]
    assert check_members(members, "U") == "a"


def test_links_arrive_below_the_folder_of_the_version(target):
    """The top folder is taken off names and hard links."""
    content = archive({"beacon": "x"}, members=[
        (member("beacon-1.0/soft", tarfile.SYMTYPE, "beacon"), None), (member("beacon-1.0/hard", tarfile.LNKTYPE, "beacon-1.0/beacon"), None),
    ])
    target.upstream.publish("1.0", content)
    install(target)
    folder = target.path(HOME + "/1.0")
    assert sorted(entry.name for entry in folder.iterdir()) == ["beacon", "hard", "soft"]
    assert os.path.samefile(folder / "hard", folder / "beacon")
    assert os.readlink(folder / "soft") == "beacon"


def test_a_chain_of_links_cannot_lead_out(target):
    """Each link looks harmless by its name; together they end above the release."""
    content = archive({"x/y/file": ""}, members=[
        (member("beacon-1.0/x/y/z", tarfile.SYMTYPE, "../.."), None),
        (member("beacon-1.0/out", tarfile.SYMTYPE, "x/y/z/.."), None),
        (member("beacon-1.0/out/evil"), b""),
    ])
    target.upstream.publish("1.0", content)
    assert failure(lambda: install(target)) == (
        "https://example.org/v1.0/beacon-1.0.tar.gz: the archive holds 'out/evil', a path outside of it. Do not use it"
    )
    assert names(target) == []


# -- the life of a release


def test_the_first_release_is_fetched_and_made_current(target):
    """With the files as published, runnable by all, and a manifest."""
    assert install(target) == (True, True)
    assert names(target) == [".1.0.json", "1.0", "current -> 1.0"]
    assert target.read(HOME + "/current/beacon") == "#!/bin/sh\necho 1.0\n"
    assert target.path(HOME + "/1.0/beacon").stat().st_mode & 0o7777 == 0o755
    manifest = json.loads(target.read(HOME + "/.1.0.json"))
    assert (manifest["source"], sorted(manifest["files"])) == ("https://example.org/v1.0/sha256sums.txt", ["beacon", "doc/README"])


def test_a_run_without_a_change_asks_nobody(target):
    """It needs no mirror."""
    install(target)
    before = target.snapshot()
    product = Release(target.host(), "beacon", {"version": "1.0", "url": URL, "checksum": SUMS}, opener=lambda address: pytest.fail(address))
    assert (product.prepare(), product.switch()) == (False, False)
    assert target.snapshot() == before


def test_an_upgrade_keeps_the_previous_release(target):
    """Beside the new one, named by a link."""
    install(target)
    assert install(target, "2.0") == (True, True)
    assert names(target) == [".1.0.json", ".2.0.json", "1.0", "2.0", "current -> 2.0", "previous -> 1.0"]


def test_the_way_back_needs_no_download(target):
    """One variable, one link."""
    install(target)
    install(target, "2.0")
    target.upstream.pages.clear()
    assert install(target, "1.0") == (False, True)
    assert names(target) == [".1.0.json", ".2.0.json", "1.0", "2.0", "current -> 1.0", "previous -> 2.0"]


def test_versions_before_the_previous_one_are_swept(target):
    """By the run after the switch at the latest."""
    target.upstream.publish("3.0")
    for version in ("1.0", "2.0", "3.0", "3.0"):
        install(target, version)
    assert names(target) == [".2.0.json", ".3.0.json", "2.0", "3.0", "current -> 3.0", "previous -> 2.0"]


def test_undo_takes_the_switch_back(target):
    """Current and previous are as before, also when there was none."""
    first = beacon(target)
    first.prepare()
    assert first.undo() is False
    first.switch()
    assert (first.undo(), first.undo()) == (True, False)
    assert names(target) == [".1.0.json", "1.0"]
    install(target)
    second = beacon(target, "2.0")
    second.prepare()
    second.switch()
    second.undo()
    assert names(target) == [".1.0.json", ".2.0.json", "1.0", "2.0", "current -> 1.0"]


@pytest.mark.parametrize("damage", ["size", "time", "gone", "manifest"])
def test_a_damaged_release_is_repaired(target, damage):
    """Size alone would miss a flipped byte."""
    install(target)
    path = target.path(HOME + "/1.0/beacon")
    if damage == "size":
        path.write_text("broken")
    elif damage == "time":
        os.utime(path, (1, 1))
    elif damage == "gone":
        path.unlink()
    else:
        target.path(HOME + "/.1.0.json").write_text('{"schema": 1')
    assert install(target) == (True, False)
    assert target.read(HOME + "/current/beacon") == "#!/bin/sh\necho 1.0\n"
    assert names(target) == [".1.0.json", "1.0", "current -> 1.0"]
    assert install(target) == (False, False)


def test_leftovers_of_a_killed_run_are_swept(target):
    """By a run with nothing to do, and by one that downloads, on a host with one release and with none."""
    leftovers = [".stage-1.0/beacon", ".download-1.0", ".old-1.0/beacon", ".current.observatory-new", "..1.0.json.observatory-new", "0.9/beacon"]
    for _run in ("download", "nothing to do"):
        for leftover in leftovers:
            target.put(f"{HOME}/{leftover}")
        install(target)
        assert names(target) == [".1.0.json", "1.0", "current -> 1.0"]


@pytest.mark.parametrize("upgrade", [False, True])
def test_a_run_killed_at_any_step_is_completed_by_the_next(target, tmp_path, upgrade):
    """And until then `current` leads to a whole release, or to none."""
    def work(host):
        product = Release(host, "beacon", {"version": "2.0", "url": URL, "checksum": SUMS, "creates": ["beacon"]}, opener=target.upstream.open)
        product.prepare()
        product.switch()

    number = 0
    while True:
        for entry in list(target.path(HOME).iterdir()) if target.path(HOME).exists() else []:
            release.remove_quietly(str(entry))
        if upgrade:
            install(target)
        killed = target.killed_at(number, work)
        if target.path(HOME + "/current").is_symlink():
            assert target.path(HOME + "/current/beacon").exists()
        work(target.host())
        wanted = [".1.0.json", ".2.0.json", "1.0", "2.0", "current -> 2.0", "previous -> 1.0"] if upgrade else [".2.0.json", "2.0", "current -> 2.0"]
        assert names(target) == wanted
        if not killed:
            break
        number += 1
    assert number == (7 if upgrade else 6)


def test_check_mode_asks_for_the_checksum_alone_and_writes_nothing(target):
    """So a version that does not exist is found before the run."""
    before = target.snapshot()
    product = beacon(target, check=True)
    assert (product.prepare(), product.switch(), product.fetched) == (True, True, True)
    assert target.upstream.asked == ["https://example.org/v1.0/sha256sums.txt"]
    assert target.snapshot() == before


def test_a_pinned_checksum_needs_no_checksum_file(target):
    """sha256 and sha512; a change of the declaration fetches again."""
    content = target.upstream.pages[ARCHIVE_2]
    install(target, "2.0", checksum=f"sha256:{sha256(content)}")
    assert target.upstream.asked == [ARCHIVE_2]
    assert install(target, "2.0", checksum=f"sha256:{sha256(content)}") == (False, False)


# -- what goes wrong


FAILURES = {
    "wrong checksum": (
        {"checksum": f"sha256:{HASH}"}, {},
        f"{ARCHIVE_2}: wrong checksum. Expected sha256:{HASH}, got sha256:ARCHIVE. Nothing was installed",
    ),
    "no checksum": (
        {"checksum": "d41d8cd98f00b204e9800998ecf8427e"}, {},
        "beacon: checksum must be sha256:<64 hex digits>, sha512:<128 hex digits> or the URL of a checksum file, "
        "got 'd41d8cd98f00b204e9800998ecf8427e'",
    ),
    "not in the checksum file": (
        {}, {"https://example.org/v2.0/sha256sums.txt": f"{HASH}  a\n{OTHER}  b\n".encode()},
        "https://example.org/v2.0/sha256sums.txt lists no checksum for beacon-2.0.tar.gz",
    ),
    "unknown version": (
        {"version": "9.9"}, {},
        "https://example.org/v9.9/sha256sums.txt answered 404: there is no beacon 9.9 there. Check the version and observatory_mirror_url",
    ),
    "unknown to the mirror": (
        {"mirror": "http://mirror.lab"}, {},
        "http://mirror.lab/example.org/v2.0/sha256sums.txt answered 404: there is no beacon 2.0 there. "
        "Check the version and observatory_mirror_url",
    ),
    "unreachable": (
        {}, {"https://example.org/v2.0/sha256sums.txt": urllib.error.URLError("Name or service not known")},
        "https://example.org/v2.0/sha256sums.txt cannot be reached (Name or service not known), and beacon 2.0 is not installed yet. "
        "Check observatory_mirror_url and the network",
    ),
    "server error": (
        {}, {ARCHIVE_2: urllib.error.HTTPError(ARCHIVE_2, 503, "Service Unavailable", {}, None)},
        f"{ARCHIVE_2} cannot be reached (Service Unavailable), and beacon 2.0 is not installed yet. "
        "Check observatory_mirror_url and the network",
    ),
    "missing program": (
        {"creates": ["beacon", "beaconctl", "doc/README", "lib/x"]}, {},
        f"{ARCHIVE_2}: unexpected shape: the archive lacks beaconctl, lib/x",
    ),
}


@pytest.mark.parametrize(("spec", "pages", "message"), FAILURES.values(), ids=FAILURES)
def test_a_release_that_cannot_be_had_leaves_the_old_one(target, spec, pages, message):
    """One sentence with the address, and nothing on the disk."""
    install(target)
    before = target.snapshot()
    message = message.replace("ARCHIVE", sha256(target.upstream.pages[ARCHIVE_2]))
    target.upstream.pages.update(pages)
    assert failure(lambda: install(target, **{"version": "2.0", **spec})) == message
    assert target.snapshot() == before
    assert install(target) == (False, False)


def damaged(mode):
    """Return an archive of four large files with damage in the middle."""
    content = bytearray(archive({f"beacon{number or ''}": os.urandom(50000).hex() for number in range(4)}, "beacon-2.0", mode))
    for position in range(len(content) // 2, len(content) // 2 + 1000):
        content[position] ^= 0xFF
    return bytes(content)


@pytest.mark.parametrize(("content", "words"), [
    (damaged("w:gz"), ""),
    (damaged("w:xz"), "Corrupt input data"),
    (archive({"beacon": "x", "doc": "x"}, "beacon-2.0", "w")[:1536], "damaged after 2 members"),
    (b"<html>Please sign in</html>", "file could not be opened successfully"),
    (archive({"beacon": "x" * 100000}, "beacon-2.0", "w")[:-60000], "unexpected end of data"),
    (archive({"beacon": os.urandom(9000).hex()}, "beacon-2.0")[:-3000], ""),
    (archive({"beacon": os.urandom(9000).hex()}, "beacon-2.0")[:3000] + b"x" * 3000, ""),
    (archive({"beacon": os.urandom(9000).hex()}, "beacon-2.0", "w:xz")[:3000] + b"x" * 3000, ""),
], ids=["damage in gzip", "damage in xz", "cut between members", "web page", "cut tar", "cut gzip", "damaged gzip", "damaged xz"])
def test_what_is_no_archive_is_refused_whatever_its_checksum(target, content, words):
    """Each library has its own way of saying so."""
    install(target)
    before = target.snapshot()
    target.upstream.publish("2.0", content)
    message = failure(lambda: install(target, "2.0"))
    assert message.startswith(f"{ARCHIVE_2}: not a readable tar archive: {words}")
    assert target.snapshot() == before


def test_a_short_transfer_is_told_with_its_numbers(target):
    """A proxy that gives up looks like this."""
    size = len(target.upstream.pages[ARCHIVE_2])
    target.upstream.lengths[ARCHIVE_2] = size + 1000
    assert failure(lambda: install(target, "2.0")) == f"{ARCHIVE_2}: the transfer broke off after {size} of {size + 1000} bytes"
    assert names(target) == []


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), __import__("http.client").client.IncompleteRead(b"")])
def test_a_broken_transfer_is_told(target, error):
    """Whether the length was announced or not."""
    def broken(address):
        answer = target.upstream.open(address)
        if address == ARCHIVE_2:
            answer.read = lambda size: (_ for _ in ()).throw(error)
        return answer

    product = Release(target.host(), "beacon", {"version": "2.0", "url": URL, "checksum": SUMS}, opener=broken)
    assert failure(product.prepare) == f"{ARCHIVE_2}: the transfer broke off after 0 bytes: {error}"
    assert names(target) == []


def test_a_server_that_comes_back_is_asked_again(target):
    """Three times, with a pause between."""
    answers = [urllib.error.URLError("reset"), OSError("timed out")]

    def flaky(address):
        if answers:
            raise answers.pop(0)
        return target.upstream.open(address)

    product = Release(target.host(), "beacon", {"version": "1.0", "url": URL, "checksum": SUMS}, opener=flaky)
    assert product.prepare() is True
    assert target.slept == [1, 2]


@pytest.mark.parametrize("place", ["download", "unpack", "manifest"])
def test_a_full_disk_leaves_nothing_behind(target, monkeypatch, place):
    """The old release stays whole and current, the next run with space converges."""
    install(target)
    before = target.snapshot()
    broken = {
        "download": (Release, "_fetch", lambda product, download: open(download, "wb").close() is None),
        "unpack": (tarfile.TarFile, "makefile", lambda *args: True),
        "manifest": (release, "stage_file", lambda *args: True),
    }[place]
    with full_disk(monkeypatch, *broken):
        message = failure(lambda: install(target, "2.0"))
    assert message == "beacon 2.0 cannot be unpacked below /opt/observatory/beacon: No space left on device"
    assert target.snapshot() == before
    assert install(target, "2.0") == (True, True)


def test_a_repair_that_finds_a_full_disk_leaves_the_damaged_release_in_place(target, monkeypatch):
    """`current` must not dangle."""
    install(target)
    target.path(HOME + "/1.0/beacon").write_text("damaged")
    with full_disk(monkeypatch, release, "stage_file"):
        failure(lambda: install(target))
    assert target.read(HOME + "/current/beacon") == "damaged"
    assert names(target) == [".1.0.json", "1.0", "current -> 1.0"]


def test_versions_and_architectures_are_checked_first(target, monkeypatch):
    """Before anything is asked for."""
    assert failure(lambda: beacon(target, "../../etc")) == "beacon: '../../etc' is not a version"
    machine = os.uname().machine
    assert beacon(target, url="https://x/{version}-{arch}.tgz", arch={machine: "amd64"}).url == "https://x/1.0-amd64.tgz"
    assert beacon(target, url="https://x/{version}-{arch}.tgz").url == f"https://x/1.0-{machine}.tgz"
    assert failure(lambda: beacon(target, arch={"vax": "vax", "m68k": "m68k"})) == (
        f"beacon has no release for the architecture {machine}. Known: m68k, vax"
    )


def test_remove_takes_all_versions(target):
    """In check mode it only says so."""
    install(target)
    install(target, "2.0")
    assert release.remove(target.host(check=True), "beacon") is True
    assert release.remove(target.host(), "beacon") is True
    assert not target.path(HOME).exists()
    assert release.remove(target.host(), "beacon") is False


def test_the_module_tells_the_folder_and_the_version_before(target):
    """What the module `release` returns."""
    spec = {"version": "1.0", "url": URL, "checksum": SUMS}
    release.apply(target.host(), "beacon", spec)
    assert release.apply(target.host(), "beacon", {**spec, "version": "2.0"}) == {
        "changed": True, "folder": HOME + "/2.0", "previous_version": "1.0",
        "diff": [{"before": "1.0\n", "after": "2.0\n", "before_header": HOME + "/current"}],
    }
