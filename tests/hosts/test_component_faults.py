"""A component on a real host, when something goes wrong: the old service goes on answering, and the next run converges."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fleet import CLOSED_PORT
from toy import (
    APP,
    FORGET,
    HUB,
    OTHER_PASSWORD,
    PASSWORD,
    Beacon,
    State,
    background,
    everything,
    finish,
    observe,
    playbook,
    same,
    shell,
)

RELEASES = "http://mirror.lab/beacon.example/releases"
# Looks at every process until its input ends, and prints the commands and environments that hold a word of its input's first line.
WATCH_PROCESSES = r"""
import glob, select, sys
words = sys.stdin.buffer.readline().split()
print("watching", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as handle:
                text = handle.read()
        except OSError:
            continue
        if any(word in text for word in words):
            print(path, text)
"""


def assert_untouched(before: State, after: State) -> None:
    """The same process answers, from the same files, and nothing was left beside them but whole releases."""
    assert after.answer == before.answer and after.answer is not None
    assert after.unit == before.unit
    assert after.temporary == []
    # What the next run is going to make is recorded before it is made, and a release that has come whole may wait for it.
    aside = ("/opt/observatory/beacon/", "/var/lib/observatory/component/")
    shapes = [{path: entry for path, entry in state.shape().items() if not path.startswith(aside)} for state in (before, after)]
    assert shapes[0] == shapes[1]
    link = "/opt/observatory/beacon/current"
    assert after.files[link] == before.files[link]
    assert set(after.releases) <= {*before.releases, "1.1.0", ".1.1.0.json"}


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.9.1", f"{RELEASES}/v1.9.1/beacon-1.9.1.linux-amd64.tar.gz: wrong checksum. Expected sha256:{'0' * 64}, got sha256:"),
        ("1.9.2", f"{RELEASES}/v1.9.2/beacon-1.9.2.linux-amd64.tar.gz: not a readable tar archive: "),
        ("1.9.3", f"{RELEASES}/v1.9.3/beacon-1.9.3.linux-amd64.tar.gz: unexpected shape: one top folder is expected in the archive, found "),
        ("1.9.4", f"{RELEASES}/v1.9.4/beacon-1.9.4.linux-amd64.tar.gz: "),
        ("1.9.5", f"{RELEASES}/v1.9.5/beacon-1.9.5.linux-amd64.tar.gz: unexpected shape: the archive lacks beacon"),
        ("1.9.6", f"{RELEASES}/v1.9.6/beacon-1.9.6.linux-amd64.tar.gz: the transfer broke off after "),
    ],
    ids=["wrong checksum", "truncated", "two top folders", "path outside", "program missing", "cut off"],
)
def test_a_bad_archive_changes_nothing(beacon: Beacon, version: str, words: str) -> None:
    """Whatever is wrong with the download, the message says what, and no part of it stays."""
    before = observe()
    message = beacon.fail(version=version).message()
    assert message.startswith(words.replace("amd64", shell("uname -m").strip().replace("x86_64", "amd64").replace("aarch64", "arm64")))
    assert_untouched(before, observe())


def test_of_two_hosts_the_one_with_the_good_archive_is_served(beacon: Beacon) -> None:
    """One play, one host gets an archive with a wrong checksum: that one fails and keeps its version, the other is served."""
    beacon.converge(hosts=APP)
    before = observe(APP)
    wanted = {"beacon": "{{ by_host[inventory_hostname] }}", "by_host": {HUB: {"version": "1.1.0"}, APP: {"version": "1.9.1"}}}
    done = playbook("beacon.yml", {"beacon_hosts": f"{HUB},{APP}", **wanted}, record=beacon.record)
    assert done.code == 2
    assert "wrong checksum" in done.message(APP)
    assert done.result(HUB)["changed"] is True
    assert observe(HUB).version == "1.1.0"
    assert_untouched(before, observe(APP))


def test_the_mirror_is_gone(beacon: Beacon) -> None:
    """A version that is not on the host yet cannot come: said with the address and where to look."""
    before = observe()
    done = beacon.fail(mirror=CLOSED_PORT, version="2.0.0", message="never to be seen")
    assert done.message() == (
        f"{CLOSED_PORT}/beacon.example/releases/v2.0.0/sha256sums.txt cannot be reached ([Errno 111] Connection refused), "
        "and beacon 2.0.0 is not installed yet. Check observatory_mirror_url and the network"
    )
    assert_untouched(before, observe())


@contextmanager
def small_disk(folder: str) -> Iterator[None]:
    """Put a folder on a file system of 16 MiB and 300 inodes for a while, with what it holds."""
    shell(
        f"set -e; rm -rf /var/tmp/copy; cp -a {folder} /var/tmp/copy; set -- $(stat -c '%a %u %g' {folder}); "
        f"mount -t tmpfs -o size=16m,nr_inodes=300,mode=$1,uid=$2,gid=$3 tmpfs {folder}; cp -a /var/tmp/copy/. {folder}; rm -r /var/tmp/copy"
    )
    try:
        yield
    finally:
        shell(f"umount -l {folder}")


def fill(folder: str) -> None:
    """Use up the last byte and the last inode of the folder's file system."""
    shell(f"cd {folder}; head -c 17M /dev/zero > .filler; touch $(seq -f .filler.%g 400); true", check=False)
    assert shell(f"touch {folder}/.filler.more 2>&1; true").endswith("No space left on device\n")


@pytest.mark.parametrize(
    ("folder", "wanted", "words"),
    [
        (
            "/opt/observatory/beacon",
            {"version": "1.1.0", "message": "new"},
            "beacon 1.1.0 cannot be unpacked below /opt/observatory/beacon: No space left on device",
        ),
        (
            "/etc/beacon",
            {"parts": {"new.json": {"message": "new"}}, "message": "newer"},
            "/etc/beacon/beacon.json: cannot be written: No space left on device. Nothing was changed",
        ),
        (
            "/var/lib/beacon",
            {"directories": [{"path": "/var/lib/beacon/spool", "owner": "beacon", "group": "beacon"}], "message": "new"},
            "/var/lib/beacon/spool: cannot be made: No space left on device",
        ),
        ("/var/lib/observatory", {"version": "1.1.0", "message": "new"}, "/var/lib/observatory/config/beacon.json: cannot be written: No space left"),
    ],
    ids=["releases", "configuration", "data", "records"],
)
def test_a_full_disk(beacon: Beacon, folder: str, wanted: dict, words: str) -> None:
    """The run fails and says which path; the old service goes on, no half-written file stays, and with space it converges."""
    shell(FORGET)
    # The release's folder is swept by each run: what fills the disk has to lie deeper.
    filled = folder + "/1.0.0" if folder.startswith("/opt") else folder
    with small_disk(folder):
        # The copies have other inodes; the run takes them for changes, as it should.
        beacon.converge()
        fill(filled)
        before = observe()
        message = beacon.fail(**wanted).message()
        assert words in message, message
        assert_untouched(before, observe())
        shell(f"rm -f {filled}/.filler*")
        beacon.converge(**wanted)
        assert observe().version == wanted.get("version", "1.0.0")
        assert not beacon.converge(**wanted).changed
    shell("rm -rf /var/lib/beacon/spool")


def test_an_interrupted_upgrade_leaves_the_old_version_running(beacon: Beacon) -> None:
    """A run that dies between the unpacking and the switch: the old process goes on, the new release waits for the next run."""
    # Both times without the release on the host, so that the steps have the same numbers.
    shell(FORGET)
    steps = beacon.converge(version="1.1.0").result()["steps"]
    beacon.converge()
    shell(FORGET)
    before = observe()
    assert "Traceback" not in beacon.killed(steps.index("keep the previous release"), version="1.1.0").output
    after = observe()
    assert_untouched(before, after)
    assert "1.1.0" in after.releases
    done = beacon.converge(version="1.1.0", mirror=CLOSED_PORT)
    assert done.result()["done"] == ["release 1.1.0 made current", "beacon.service restarted: /opt/observatory/beacon/current changed"]


@pytest.mark.parametrize("versions", [("1.0.0", "1.1.0"), ("1.1.0", "1.1.0")], ids=["different versions", "one version"])
def test_two_controllers_at_once(beacon: Beacon, versions: tuple[str, str]) -> None:
    """Two runs at the same time do one after the other what each would do alone; the last one counts."""
    started = [beacon.start(version=version, message=version) for version in versions]
    done = [finish(*one) for one in started]
    assert [run.code for run in done] == [0, 0], done[0].output + done[1].output
    after = observe()
    assert after.version == after.answer["message"] and after.version in versions
    assert after.temporary == []
    assert not beacon.converge(version=after.version, message=after.version).changed


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"], ids=["same version", "with an upgrade"])
def test_an_invalid_configuration_changes_nothing(beacon: Beacon, version: str) -> None:
    """The product's own checker sees the whole tree before anything moves, and its words are shown."""
    before = observe()
    for check in ((), ("--check",)):
        message = beacon.fail(*check, version="1.0.0" if check else version, config={"colour": "red"}).message()
        assert message == (
            "beacon check /etc/beacon/beacon.json refuses the new configuration; nothing was changed. Its words:\n"
            "/etc/beacon/beacon.json: unknown key 'colour'"
        )
        assert_untouched(before, observe())


@pytest.mark.parametrize(
    ("reference", "problem"),
    [("/etc/beacon/absent", "does not exist"), ("/etc/shadow", "beacon cannot read")],
    ids=["missing", "unreadable"],
)
def test_a_file_that_the_configuration_refers_to(beacon: Beacon, reference: str, problem: str) -> None:
    """A file that is not there, or that the service's user cannot read, is found before the service finds it."""
    before = observe()
    message = beacon.fail(config={"password_file": reference}, references=[reference]).message()
    assert message == f"the configuration refers to {reference}, which {problem}. Nothing was changed"
    assert_untouched(before, observe())


def test_a_rendered_file_that_its_reader_could_not_read(beacon: Beacon) -> None:
    """The same for a file of the tree itself, by the mode that it would have."""
    before = observe()
    message = beacon.fail(references=["/etc/beacon/conf.d/secret.json"], files=[
        {"path": "/etc/beacon/conf.d/secret.json", "content": "{}\n", "mode": "0600"},
    ]).message()
    assert message == (
        "the configuration refers to /etc/beacon/conf.d/secret.json, which is rendered as 0600 root:root, which beacon cannot read. "
        "Nothing was changed"
    )
    assert_untouched(before, observe())


def assert_restored(before: State, after: State) -> None:
    """The old version and configuration are back and healthy, in a new process."""
    assert after.words == before.words
    assert after.pid != before.pid
    aside = ("/opt/observatory/beacon/", "/var/lib/observatory/")
    shapes = [{path: entry for path, entry in state.shape().items() if not path.startswith(aside)} for state in (before, after)]
    assert shapes[0] == shapes[1]
    assert after.temporary == []


def test_a_release_that_crashes_gives_way_to_the_old_one(beacon: Beacon) -> None:
    """`rollback: release`: release and configuration are put back, the service is healthy, and the run fails with the journal's tail."""
    before = observe()
    done = beacon.fail(version="2.0.0", message="new")
    lines = done.message().splitlines()
    assert lines[:2] == ["beacon.service keeps ending and being restarted by systemd", "Last lines of its journal:"]
    assert "beacon 2.0.0 crashes as it was told to" in lines
    assert lines[-1] == "The previous configuration and release 1.0.0 was put back, and beacon.service is healthy again"
    assert done.result()["changed"] is True
    assert_restored(before, observe())
    assert not beacon.converge().changed
    assert not any(name.strip(".").startswith("2.0.0") for name in observe().releases)


def test_a_configuration_that_crashes_gives_way_to_the_old_one(beacon: Beacon) -> None:
    """`rollback: config`: a configuration that the checker accepts and the start does not."""
    before = observe()
    lines = beacon.fail(config={"crash": True}, parts={"new.json": {"message": "new"}}, rollback="config").message().splitlines()
    assert lines[0] == "beacon.service keeps ending and being restarted by systemd"
    assert "beacon 1.0.0 crashes as it was told to" in lines
    assert lines[-1] == "The previous configuration was put back, and beacon.service is healthy again"
    assert_restored(before, observe())
    assert not beacon.converge().changed


def test_a_release_that_migrates_its_data_is_not_taken_back(beacon: Beacon) -> None:
    """`rollback: config` leaves the new release in place, and says that the service does not work."""
    lines = beacon.fail(version="2.0.0", message="new", rollback="config").message().splitlines()
    assert "The previous configuration was put back, but beacon.service keeps ending and being restarted by systemd" in lines
    assert observe().files["/opt/observatory/beacon/current"]["content"] == "2.0.0"
    beacon.converge(mirror=CLOSED_PORT)


def test_without_rollback_the_next_good_run_converges(beacon: Beacon) -> None:
    """`rollback: none` leaves what was declared; the way back is the next run."""
    lines = beacon.fail(config={"crash": True}, rollback="none").message().splitlines()
    assert lines[-1] == "Nothing was restored (rollback: none)"
    assert observe().answer is None
    beacon.converge(rollback="none")
    assert observe().version == "1.0.0"


def test_a_first_release_that_crashes_can_be_removed(beacon: Beacon, bare: dict[str, list[str]]) -> None:
    """On a host without an earlier state nothing can be put back, which the message says; `absent` clears it all."""
    beacon.converge(hosts=APP, state="absent", remove_data=True)
    message = beacon.fail(hosts=APP, version="2.0.0").message(APP)
    assert message.splitlines()[-1] == "Nothing was restored (rollback: release, and there is no earlier state)"
    beacon.converge(hosts=APP, state="absent", remove_data=True)
    assert everything(APP) == bare[APP]


def test_no_secret_is_to_be_seen(beacon: Beacon) -> None:
    """A password that is new on the host, and the one before it: in no output, log, command line, environment or readable file."""
    began = shell("date +%s").strip()
    words = [word.encode() for word in (PASSWORD, OTHER_PASSWORD)]
    words += [base64.b64encode(word)[:-4] for word in words]
    watcher = background(WATCH_PROCESSES)
    watcher.stdin.write(" ".join(word.decode() for word in words) + "\n")
    watcher.stdin.flush()
    assert watcher.stdout.readline() == "watching\n"
    done = [
        beacon.run("-vvvv", "--diff", "--check", password=OTHER_PASSWORD),
        beacon.run("-vvvv", "--diff", password=OTHER_PASSWORD),
        beacon.run("-vvvv", "--diff", password=PASSWORD, config={"colour": "red"}),
        beacon.run("-vvvv", "--diff", password=PASSWORD, config={"crash": True}),
        # A file that was secret does not become visible by being declared as an open one.
        beacon.run("-vvvv", "--diff", password="public", open_password=True),
    ]
    caught = watcher.communicate()[0]
    assert [run.code for run in done] == [0, 0, 2, 2, 0], [run.output[-3000:] for run in done]
    assert caught == ""
    journal = shell(f"journalctl --since @{began} --output export --no-pager")
    # The runs are in it: sudo tells of each.
    assert "COMMAND=" in journal
    readable = shell(
        f"grep -rlF -e {PASSWORD} -e {OTHER_PASSWORD} /etc /opt /var /run /tmp /home /usr/local 2>/dev/null; true", root=False
    )
    assert readable == ""
    for word in words:
        assert word.decode() not in journal
        for run in done:
            assert word.decode() not in run.output
    assert "(secret: the new content)" in done[1].output
    for payload in re.findall(r"payload['\"]?[:=] *['\"]?(\w+)", "".join(run.output for run in done)):
        assert payload == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


def test_a_symbolic_link_in_the_way_is_replaced_and_its_target_stays(beacon: Beacon, good: State) -> None:
    """A link in place of a file is not followed: what it points at keeps its content, a dangling one makes nothing."""
    shell(
        "echo untouched > /var/tmp/target; ln -sf /var/tmp/target /etc/beacon/conf.d/message.json; "
        "rm /etc/beacon/password; ln -s /var/tmp/nowhere /etc/beacon/password"
    )
    done = beacon.converge("--diff")
    assert "/etc/beacon/conf.d/message.json written" in done.result()["done"]
    assert same(observe(), good)
    assert shell("cat /var/tmp/target; ls /var/tmp/nowhere 2>/dev/null; rm /var/tmp/target") == "untouched\n"


def test_a_folder_in_the_way_is_an_error(beacon: Beacon) -> None:
    """A folder with somebody's files is not removed."""
    shell("rm /etc/beacon/conf.d/message.json; mkdir /etc/beacon/conf.d/message.json; touch /etc/beacon/conf.d/message.json/file")
    try:
        assert beacon.fail(message="new").message() == "/etc/beacon/conf.d/message.json: a folder is in the way of this file. Move it away"
        assert shell("ls /etc/beacon/conf.d/message.json") == "file\n"
        assert observe().temporary == []
    finally:
        shell("rm -rf /etc/beacon/conf.d/message.json")


def test_a_read_only_file_is_replaced(beacon: Beacon, good: State) -> None:
    """Mode 0444 protects nothing from a rename, and the declared mode comes back."""
    shell("echo '{}' > /etc/beacon/conf.d/message.json; chmod 0444 /etc/beacon/conf.d/message.json")
    beacon.converge()
    assert same(observe(), good)


def test_an_immutable_file_is_an_error_and_the_others_are_put_back(beacon: Beacon) -> None:
    """Half a tree is not left: what had been moved into place before the file that resists goes back."""
    path = "/etc/beacon/beacon.json"
    if "i" not in shell(f"chattr +i {path} && lsattr {path}", check=False).split(" ")[0]:
        pytest.skip("this host's file system, or a container without CAP_LINUX_IMMUTABLE, has no immutable files")
    try:
        before = observe()
        message = beacon.fail(message="new", config={"crash": False}).message()
        assert message == (
            f"beacon: {path}: cannot be replaced: Operation not permitted (immutable? see lsattr). The previous state was put back"
        )
        assert_untouched(before, observe())
    finally:
        shell(f"chattr -i {path}")


def test_a_mount_in_the_way_is_an_error_and_the_others_are_put_back(beacon: Beacon) -> None:
    """A file that cannot be replaced because something is mounted on it: the same as an immutable one, and containers can have it."""
    path = "/etc/beacon/beacon.json"
    shell(f"cp -a {path} /var/tmp/mounted && mount --bind /var/tmp/mounted {path}")
    try:
        before = observe()
        message = beacon.fail(message="new", config={"crash": False}).message()
        assert message == f"beacon: {path}: cannot be replaced: Device or resource busy. The previous state was put back"
        assert_untouched(before, observe())
    finally:
        shell(f"umount {path}; rm /var/tmp/mounted")


def test_a_login_user_who_does_not_become_root(beacon: Beacon) -> None:
    """Without become the run says what is missing, and changes nothing."""
    before = observe()
    message = beacon.fail(become=False, message="new").message()
    assert message.endswith("this needs root. Set become: true, and give the login user sudo rights")
    assert_untouched(before, observe())


def test_the_hosts_are_left_as_they_were(runs: Beacon, bare: dict[str, list[str]]) -> None:
    """After all of these faults a removal still leaves both hosts as they were before the first run."""
    runs.converge(hosts=f"{HUB},{APP}", state="absent", remove_data=True)
    assert {host: everything(host) for host in (HUB, APP)} == bare
