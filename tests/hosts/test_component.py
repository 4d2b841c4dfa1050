"""A component on a real host, when all goes well: first run, no change, drift, reload, reboot, the way back, removal."""

from __future__ import annotations

import time

from fleet import CLOSED_PORT, LAB
from toy import APP, HUB, Beacon, State, everything, observe, shell

from lab import hosts as lab_hosts


def answers(message: str) -> State:
    """Wait until beacon answers with a message: a reload takes effect a moment after the signal."""
    deadline = time.monotonic() + 5
    while True:
        state = observe()
        if (state.answer or {}).get("message") == message or time.monotonic() > deadline:
            return state
        time.sleep(0.1)


def test_check_mode_on_a_bare_host_shows_all_and_changes_nothing(runs: Beacon, bare: dict[str, list[str]]) -> None:
    """A first run in check mode says what it would do, and what it cannot check yet; the host stays bare."""
    done = runs.run("--check", "--diff")
    assert done.code == 0, done.output
    assert done.result()["done"] == [
        "user beacon added",
        "/var/lib/beacon made",
        "release 1.0.0 fetched",
        "release 1.0.0 made current",
        "/etc/beacon/beacon.json written",
        "/etc/beacon/conf.d/message.json written",
        "/etc/beacon/password written",
        "/etc/systemd/system/beacon.service written",
        "beacon.service enabled",
        "beacon.service restarted: it was not running",
    ]
    assert '+    "message": "hello"' in done.output
    assert done.result()["warnings"] == [
        "beacon: not checked in this check mode run: beacon check /etc/beacon/beacon.json (its program is not installed yet)"
    ]
    assert everything() == bare[HUB]


def test_check_mode_on_a_bare_host_sees_that_a_version_does_not_exist(runs: Beacon, bare: dict[str, list[str]]) -> None:
    """Check mode asks the publisher's checksum file, so that a wrong version does not wait for the real run."""
    message = runs.fail("--check", version="7.7.7").message()
    assert message == (
        "http://mirror.lab/beacon.example/releases/v7.7.7/sha256sums.txt answered 404: there is no beacon 7.7.7 there. "
        "Check the version and observatory_mirror_url"
    )
    assert everything() == bare[HUB]


def test_first_run_does_what_check_mode_said(runs: Beacon, bare: dict[str, list[str]]) -> None:
    """The words of the real run are those of check mode, and the service answers."""
    predicted = runs.run("--check").result()["done"]
    assert runs.converge().result()["done"] == predicted
    assert observe().version == "1.0.0"


def test_a_run_without_a_change_leaves_everything_identical(beacon: Beacon) -> None:
    """No file, inode, time, process or invocation differs after a second run, and it says so."""
    before = observe()
    done = beacon.converge()
    assert not done.changed and done.result()["done"] == [], done.output
    assert observe() == before


def test_a_run_without_a_change_needs_no_mirror(beacon: Beacon) -> None:
    """The artifact mirror may be down as long as nothing has to be fetched; check mode too."""
    before = observe()
    assert not beacon.converge(mirror=CLOSED_PORT).changed
    assert not beacon.converge("--check", mirror=CLOSED_PORT).changed
    assert observe() == before


def test_a_file_changed_by_hand_is_shown_and_put_back(beacon: Beacon, good: State) -> None:
    """Check mode shows the difference and writes nothing; the run restores content, owner and mode, and restarts."""
    shell("sed -i s/18999/18998/ /etc/beacon/beacon.json; chmod 0600 /etc/beacon/conf.d/message.json")
    edited = observe()
    done = beacon.converge("--check", "--diff")
    assert observe() == edited
    for run in (done, beacon.converge("--diff")):
        assert '-    "port": 18998' in run.output and '+    "port": 18999' in run.output, run.output
        assert run.result()["done"] == [
            "/etc/beacon/beacon.json written",
            "/etc/beacon/conf.d/message.json owner and mode set",
            "beacon.service restarted: /etc/beacon/beacon.json changed",
        ]
    after = observe()
    assert after.shape() == {**edited.shape(), **{path: entry for path, entry in good.shape().items() if path.startswith("/etc/beacon")}}
    assert after.pid != edited.pid


def test_a_file_that_is_rendered_no_longer_is_removed(beacon: Beacon) -> None:
    """A part that the declaration has dropped goes, and the service reloads; other files of the tree keep their inodes."""
    beacon.converge(parts={"extra.json": {"message": "from the extra part"}})
    before = answers("from the extra part")
    done = beacon.converge("--diff")
    assert "/etc/beacon/conf.d/extra.json removed" in done.result()["done"]
    assert '-{"message": "from the extra part"}' in done.output
    after = answers("hello")
    assert "/etc/beacon/conf.d/extra.json" not in after.files
    kept = "/etc/beacon/conf.d/message.json"
    assert after.files[kept] == before.files[kept]


def test_strangers_in_an_owned_folder_are_removed_and_kept_paths_stay(beacon: Beacon) -> None:
    """What nobody declared goes from an owned folder, links included and their targets not; `keep` is never touched."""
    shell(
        "cd /etc/beacon/conf.d; echo '{}' > stranger.json; ln -s /etc/hostname link.json; echo '{}' > local-a.json; "
        "echo '{}' > /etc/beacon/beside.json"
    )
    try:
        before = observe()
        done = beacon.converge()
        after = observe()
        assert {path for path in before.files if path not in after.files} == {
            "/etc/beacon/conf.d/stranger.json", "/etc/beacon/conf.d/link.json",
        }
        assert after.files["/etc/beacon/conf.d/local-a.json"] == before.files["/etc/beacon/conf.d/local-a.json"]
        assert "/etc/beacon/conf.d/stranger.json removed" in done.result()["done"]
        assert shell("cat /etc/hostname").strip() == HUB
        assert not beacon.converge().changed
    finally:
        shell("rm /etc/beacon/conf.d/local-a.json /etc/beacon/beside.json")
        beacon.converge()


def test_a_reload_keeps_the_process(beacon: Beacon) -> None:
    """A change of what is read at a reload reaches the running process, which stays the same."""
    before = observe()
    done = beacon.converge(message="reloaded")
    after = answers("reloaded")
    assert done.result()["done"][-1] == "beacon.service reloaded: /etc/beacon/conf.d/message.json changed"
    assert after.answer == {"version": "1.0.0", "message": "reloaded", "pid": int(before.pid)}
    assert after.unit["InvocationID"] == before.unit["InvocationID"]
    assert not beacon.converge(message="reloaded").changed


def test_an_edit_that_was_loaded_by_hand_is_put_back_and_reloaded(beacon: Beacon) -> None:
    """Somebody edits a file and reloads: the file's content alone would not tell that the process runs with something else."""
    before = observe()
    shell("sed -i s/hello/edited/ /etc/beacon/conf.d/message.json; systemctl reload beacon")
    assert answers("edited").answer["message"] == "edited"
    done = beacon.converge()
    assert done.result()["done"] == [
        "/etc/beacon/conf.d/message.json written", "beacon.service reloaded: /etc/beacon/conf.d/message.json changed",
    ]
    assert answers("hello").pid == before.pid


def test_a_stopped_or_disabled_service_is_brought_back(beacon: Beacon) -> None:
    """A unit that somebody has stopped and disabled is enabled and started."""
    shell("systemctl disable --now --quiet beacon")
    done = beacon.converge()
    assert done.result()["done"] == ["beacon.service enabled", "beacon.service restarted: it was not running"]
    after = observe()
    assert (after.version, after.unit["UnitFileState"]) == ("1.0.0", "enabled")


def test_a_drop_in_by_hand_is_loaded_by_a_restart(beacon: Beacon) -> None:
    """A drop-in counts: the next run reloads systemd's units and restarts, once."""
    folder = "/etc/systemd/system/beacon.service.d"
    shell(f"mkdir {folder}; printf '[Service]\\nNice=5\\n' > {folder}/nice.conf")
    try:
        assert "restarted" in beacon.converge().result()["done"][-1]
        assert shell("systemctl show beacon --property=Nice --value").strip() == "5"
        assert not beacon.converge().changed
    finally:
        shell(f"rm -r {folder}")
        beacon.converge()


def test_an_upgrade_and_the_way_back_without_a_download(beacon: Beacon) -> None:
    """An upgrade is one variable, and so is the way back, which works with the mirror gone."""
    done = beacon.converge("--diff", version="1.1.0")
    after = observe()
    assert done.result()["done"] == [
        "release 1.1.0 fetched", "release 1.1.0 made current", "beacon.service restarted: /opt/observatory/beacon/current changed",
    ]
    assert after.version == "1.1.0"
    assert after.releases == [".1.0.0.json", ".1.1.0.json", "1.0.0", "1.1.0", "current", "previous"]
    assert not beacon.converge(version="1.1.0").changed

    done = beacon.converge(mirror=CLOSED_PORT)
    back = observe()
    assert done.result()["done"][0] == "release 1.0.0 made current" and len(done.result()["done"]) == 2
    assert back.version == "1.0.0"
    assert back.files["/opt/observatory/beacon/previous"]["content"] == "1.1.0"


def test_a_damaged_release_is_repaired_and_the_service_restarted(beacon: Beacon) -> None:
    """A program of the right version with wrong bytes is fetched again, and the process that ran it is replaced."""
    shell("echo '# damage' >> /opt/observatory/beacon/1.0.0/beacon")
    before = observe()
    done = beacon.converge()
    after = observe()
    assert done.result()["done"][0] == "release 1.0.0 fetched" and "restarted" in done.result()["done"][-1]
    assert after.pid != before.pid and after.version == "1.0.0"
    assert "# damage" not in shell("cat /opt/observatory/beacon/1.0.0/beacon")
    assert not beacon.converge().changed


def test_a_reboot_restarts_nothing_more(beacon: Beacon) -> None:
    """After a reboot the service comes up by itself; the run after it adopts the process as it is."""
    before = observe()
    lab_hosts.reboot(LAB, HUB)
    up = observe()
    assert up.version == "1.0.0"
    assert up.unit["InvocationID"] != before.unit["InvocationID"]
    done = beacon.converge()
    after = observe()
    assert not done.changed, done.output
    assert (after.pid, after.unit["InvocationID"]) == (up.pid, up.unit["InvocationID"])


def test_removal_leaves_the_data_and_nothing_else_and_the_data_when_asked(beacon: Beacon, bare: dict[str, list[str]]) -> None:
    """`absent` keeps data folders and the user that owns them; with remove_data the host is as it was before the first run."""
    shell("echo precious > /var/lib/beacon/data; chown beacon /var/lib/beacon/data")
    before = observe()
    assert beacon.converge("--check", state="absent").changed
    assert observe() == before

    done = beacon.converge(state="absent")
    assert done.result()["kept"] == ["/var/lib/beacon"]
    left = observe()
    assert set(left.files) == {"/var/lib/beacon", "/var/lib/beacon/data", "/var/lib/observatory/component/beacon.json"}
    assert left.user == ["beacon"] and left.unit["LoadState"] == "not-found"
    assert not beacon.converge(state="absent").changed

    assert beacon.converge(state="absent", remove_data=True).changed
    assert everything() == bare[HUB]
    assert not beacon.converge(state="absent", remove_data=True).changed


def test_two_hosts_in_one_play(beacon: Beacon) -> None:
    """Both hosts are served by one run."""
    beacon.converge(hosts=f"{HUB},{APP}")
    assert [observe(host).version for host in (HUB, APP)] == ["1.0.0", "1.0.0"]
