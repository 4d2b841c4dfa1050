"""A product is one transaction: user, folders, release, configuration and service, forward, back, and without a trace."""

import grp
import os
import pathlib
import pwd

import pytest
from ansible_collections.observatory.core.plugins.module_utils import account, config_tree, host, release, service
from ansible_collections.observatory.core.plugins.module_utils.component import Component, pack, unpack
from ansible_collections.observatory.core.plugins.module_utils.host import Failure
from core_fakes import ME, MY_GROUP, SUMS, URL, full_disk

MAIN, UNIT, DATA = "/etc/beacon/main.yml", "/etc/systemd/system/beacon.service", "/var/lib/beacon"
CURRENT = "/opt/observatory/beacon/current"


@pytest.fixture
def beacon(target, monkeypatch):
    """A host whose product is healthy unless its configuration says `bad` or its release is 6.6."""
    for folder in ("/etc", "/etc/systemd/system", "/opt", "/var/lib"):
        target.path(folder).mkdir(parents=True, exist_ok=True)
    target.upstream.publish("6.6")

    def probe(run, health):
        current = os.readlink(target.path(CURRENT))
        return "it says no" if "bad" in target.read(MAIN) or current == "6.6" else None

    monkeypatch.setattr(service, "_probe", probe)
    target.machine.programs["beacon"] = lambda argv, options: (
        (1, "line 1: refused\n") if b"refused" in pathlib.Path(argv[2]).read_bytes() else (0, "")
    )
    return target


def declaration(version="1.0", text="good\n", rollback="release", **changes):
    entries = [
        {"path": path, "content": content, "mode": "0644", "owner": ME, "group": MY_GROUP, "secret": False}
        for path, content in ((MAIN, text), (UNIT, "[Service]\nExecStart=/opt\n"))
    ]
    return {
        "name": "beacon", "state": "present", "user": {"name": "beacon-user", "groups": []},
        "directories": [
            {"path": DATA, "owner": ME, "group": MY_GROUP, "mode": "0750", "data": True},
            {"path": "/var/log/beacon", "owner": ME, "group": MY_GROUP, "mode": "0755", "data": False},
        ],
        "release": {"version": version, "url": URL, "checksum": SUMS, "creates": ["beacon"]},
        "config": {"files": entries, "own": [], "keep": [], "references": [], "validate": ["{current}/beacon check {root}" + MAIN]},
        "service": {"restart_on": [], "reload_on": [MAIN], "health": {"url": "http://localhost/", "timeout": 0}, "rollback": rollback},
        **changes,
    }


def bring(target, check=False, **options):
    return Component(target.host(check), declaration(**options)).apply()


def failure(work):
    with pytest.raises(Failure) as caught:
        work()
    return str(caught.value)


def files(target):
    """Return what counts for the product: no records, no locks."""
    return target.snapshot("/run", "/var/lib/observatory")


# -- forward


def test_the_first_run_does_everything_in_order(beacon):
    """What can fail comes before what a service would notice."""
    result = bring(beacon)
    assert result == {
        "changed": True,
        "done": [
            "user beacon-user added", f"{DATA} made", "/var/log/beacon made", "release 1.0 fetched", "release 1.0 made current",
            f"{MAIN} written", f"{UNIT} written", "beacon.service enabled", "beacon.service restarted: it was not running",
        ],
        "diff": [
            {"before_header": CURRENT, "after_header": CURRENT, "before": "", "after": "1.0\n"},
            {"before_header": MAIN, "after_header": MAIN, "before": "", "after": "good\n"},
            {"before_header": UNIT, "after_header": UNIT, "before": "", "after": "[Service]\nExecStart=/opt\n"},
            {"before_header": "beacon.service", "after_header": "beacon.service", "before": "", "after": "restart (it was not running)\n"},
        ],
        "steps": [
            "remember the component", "add the user", f"make {DATA}", "make /var/log/beacon", "fetch", "unpack",
            "forget the old manifest", "put the release in place", "record the release",
            "record the union", f"stage {MAIN}", f"stage {UNIT}", "validate", "flip",
            f"rename {MAIN}", f"rename {UNIT}", "record the tree",
            "daemon-reload", "enable", "restart", "wait for health", "stamp",
        ],
    }
    assert beacon.machine.commands() == [
        "useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin --user-group beacon-user",
        f"{beacon.path('/opt/observatory/beacon/1.0')}/beacon check {beacon.path('/run/observatory/beacon.stage')}{MAIN}",
        "systemctl daemon-reload", "systemctl enable --quiet beacon.service", "systemctl reset-failed beacon.service",
        "systemctl restart beacon.service",
    ]


def test_a_second_run_changes_nothing(beacon):
    """No step, no command but one question to systemd, no download."""
    bring(beacon)
    bring(beacon)
    before = beacon.snapshot()
    beacon.machine.calls.clear()
    beacon.upstream.pages.clear()
    assert bring(beacon) == {"changed": False, "done": [], "diff": [], "steps": []}
    assert len(beacon.machine.calls) == 1
    assert beacon.snapshot() == before


def test_check_mode_tells_the_same_and_writes_nothing(beacon):
    """On a bare host, and for a change."""
    def plans(**options):
        before = beacon.snapshot()
        plan = bring(beacon, check=True, **options)
        assert beacon.snapshot() == before
        return plan

    first = plans()
    assert first["warnings"] == ["beacon: not checked in this check mode run: beacon check /etc/beacon/main.yml (its program is not installed yet)"]
    assert beacon.machine.commands() == []
    whole = bring(beacon)
    assert (first["done"], first["diff"]) == (whole["done"], whole["diff"])
    for change in ({"text": "better\n"}, {"version": "2.0"}, {"version": "2.0", "text": "better\n"}):
        plan, whole = plans(**change), bring(beacon, **change)
        assert (plan["done"], plan["diff"]) == (whole["done"], whole["diff"])
        bring(beacon)


def test_a_reload_file_reloads_and_a_release_restarts(beacon):
    """Each once."""
    bring(beacon)
    assert bring(beacon, text="better\n")["done"] == [f"{MAIN} written", f"beacon.service reloaded: {MAIN} changed"]
    assert bring(beacon, text="better\n", version="2.0")["done"] == [
        "release 2.0 fetched", "release 2.0 made current", f"beacon.service restarted: {CURRENT} changed",
    ]
    assert bring(beacon, text="better\n", version="2.0")["done"] == []


def test_a_repaired_release_restarts_the_service(beacon):
    """The running process has the damaged file open, or has read it."""
    bring(beacon)
    beacon.path(CURRENT + "/beacon").write_text("damaged")
    assert bring(beacon)["done"] == ["release 1.0 fetched", "beacon.service restarted: /opt/observatory/beacon/.1.0.json changed"]


def test_a_rolling_restart_is_reported_and_not_done(beacon):
    """A following play does it, one host at a time."""
    rolling = {**declaration(version="2.0")["service"], "restart": "rolling"}
    bring(beacon, service=rolling)
    beacon.machine.calls.clear()
    result = bring(beacon, version="2.0", service=rolling)
    assert (result["restart_due"], result["done"]) == (f"{CURRENT} changed", ["release 2.0 fetched", "release 2.0 made current"])
    assert "systemctl restart beacon.service" not in beacon.machine.commands()


def test_a_component_may_be_configuration_alone(beacon):
    """As the certificates of the pki role."""
    only = {"release": None, "service": None, "user": None, "directories": []}
    only["config"] = {**declaration()["config"], "validate": []}
    assert bring(beacon, **only)["done"] == [f"{MAIN} written", f"{UNIT} written"]
    assert bring(beacon, **only)["done"] == []


def test_a_declaration_travels_as_one_argument():
    """Whatever text is in it."""
    assert unpack(pack({"name": "ä\n{{ x }}"})) == {"name": "ä\n{{ x }}"}


# -- users and folders


def test_a_user_joins_the_groups_that_it_is_not_in(beacon):
    """An existing user is used as it is."""
    mine = grp.getgrgid(pwd.getpwnam(ME).pw_gid).gr_name
    run = beacon.host()
    assert account.ensure_user(run, {"name": ME, "groups": [mine]}) == []
    assert account.ensure_user(run, {"name": ME, "groups": [mine, "no-such-group"]}) == [f"user {ME} joined no-such-group"]
    assert beacon.machine.commands() == [f"usermod --append --groups no-such-group {ME}"]
    beacon.machine.programs["usermod"] = lambda argv, options: (6, "usermod: group 'no-such-group' does not exist\n")
    assert failure(lambda: account.ensure_user(run, {"name": ME, "groups": ["no-such-group"]})) == (
        f"user {ME} cannot join no-such-group: 'usermod --append --groups no-such-group {ME}' failed with exit code 6: "
        "usermod: group 'no-such-group' does not exist"
    )


def test_folders_are_made_and_put_right(beacon):
    """Mode by mode; a file in the way and an unknown owner are told."""
    def ensure(path, mode="0750", owner=ME):
        return account.ensure_directories(beacon.host(), [{"path": path, "owner": owner, "group": MY_GROUP, "mode": mode}])

    assert ensure("/srv/a/b") == ["/srv/a/b made"]
    assert beacon.path("/srv/a/b").stat().st_mode & 0o7777 == 0o750
    assert beacon.path("/srv/a").stat().st_mode & 0o7777 == 0o755
    assert ensure("/srv/a/b") == []
    assert ensure("/srv/a/b", "0700") == ["/srv/a/b owner and mode set"]
    beacon.put("/srv/file")
    assert failure(lambda: ensure("/srv/file")) == "/srv/file: a file is in the way of this folder. Move it away"
    assert failure(lambda: ensure("/srv/c", owner="no-such-user")) == f"/srv/c: there is no user no-such-user or group {MY_GROUP} on this host"
    assert failure(lambda: ensure("/srv/file/c")) == "/srv/file/c: cannot be made: File exists"


# -- what goes wrong, and what is restored


def test_a_refused_configuration_changes_nothing(beacon):
    """The old release runs with the old files; the new one lies ready."""
    bring(beacon)
    before = files(beacon)
    assert failure(lambda: bring(beacon, version="2.0", text="refused\n")) == (
        "beacon check /etc/beacon/main.yml refuses the new configuration; nothing was changed. Its words:\nline 1: refused"
    )
    after = files(beacon)
    assert {path: value for path, value in after.items() if "2.0" not in path} == before
    assert after["/opt/observatory/beacon/current"] == ("link", "1.0")


HOPELESS = "beacon.service is not healthy after 0 seconds: it says no\nLast lines of its journal:\npanic\n"


@pytest.mark.parametrize(("rollback", "change", "message", "release_after", "text_after"), [
    ("release", {"version": "6.6", "text": "new\n"},
     "The previous configuration and release 1.0 was put back, and beacon.service is healthy again", "1.0", "good\n"),
    ("release", {"version": "6.6"}, "The previous release 1.0 was put back, and beacon.service is healthy again", "1.0", "good\n"),
    ("release", {"text": "bad\n"}, "The previous configuration was put back, and beacon.service is healthy again", "1.0", "good\n"),
    ("config", {"version": "2.0", "text": "bad\n"},
     "The previous configuration was put back, and beacon.service is healthy again", "2.0", "good\n"),
    ("config", {"version": "6.6", "text": "new\n"},
     "The previous configuration was put back, but beacon.service is not healthy after 0 seconds: it says no", "6.6", "good\n"),
    ("config", {"version": "6.6"}, "There was no change to take back", "6.6", "good\n"),
    ("none", {"version": "6.6", "text": "bad\n"}, "Nothing was restored (rollback: none)", "6.6", "bad\n"),
], ids=["both", "release alone", "configuration alone", "configuration of a new release", "in vain", "nothing to take back", "none"])
def test_a_failed_start_restores_what_the_declaration_says(beacon, rollback, change, message, release_after, text_after):
    """And the message says all of it: what is wrong, the journal, what was done."""
    bring(beacon, rollback=rollback)
    beacon.machine.set(journal="panic\n")
    with pytest.raises(Failure) as caught:
        bring(beacon, rollback=rollback, **change)
    assert (str(caught.value), caught.value.details) == (HOPELESS + message, {"changed": True})
    assert (os.readlink(beacon.path(CURRENT)), beacon.read(MAIN)) == (release_after, text_after)
    # The state before is a state as any other: the run with its declaration has nothing to do.
    if "healthy again" in message:
        assert bring(beacon, rollback=rollback, version=release_after)["done"] == []


def test_a_first_start_that_fails_has_nothing_to_restore(beacon):
    """The files stay, for a person to look at."""
    beacon.machine.set(journal="panic")
    assert failure(lambda: bring(beacon, text="bad\n")) == HOPELESS + "Nothing was restored (rollback: release, and there is no earlier state)"


def test_a_rollback_that_is_impossible_is_told(beacon, monkeypatch):
    """With the first cause first."""
    bring(beacon)
    beacon.machine.set(journal="panic")
    with full_disk(monkeypatch, config_tree, "stage_file", lambda path, content, *rest: content == b"good\n"):
        message = failure(lambda: bring(beacon, text="bad\n"))
    assert message == HOPELESS + f"The previous state cannot be put back: {MAIN} cannot be put back: No space left on device"


def test_a_file_that_cannot_be_replaced_takes_the_release_back(beacon, monkeypatch):
    """The service has noticed nothing."""
    bring(beacon)
    before, calls = files(beacon), len(beacon.machine.commands())
    original = os.replace

    def refuse(source, destination):
        if destination == str(beacon.path(MAIN)):
            raise PermissionError(1, "Operation not permitted")
        original(source, destination)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        message = failure(lambda: bring(beacon, version="2.0", text="better\n"))
    assert message == (
        f"beacon: {MAIN}: cannot be replaced: Operation not permitted (immutable? see lsattr). The previous state was put back"
    )
    assert {path: value for path, value in files(beacon).items() if "2.0" not in path} == before
    assert [line for line in beacon.machine.commands()[calls:] if line.startswith("systemctl")] == []


@pytest.mark.parametrize(("place", "message"), [
    ((host, "/var/lib/observatory/component"), "/var/lib/observatory/component/beacon.json: cannot be written: No space left on device"),
    ((release, "/opt"), "beacon 2.0 cannot be unpacked below /opt/observatory/beacon: No space left on device"),
    ((config_tree, MAIN), f"{MAIN}: cannot be written: No space left on device. Nothing was changed"),
    ((host, "/var/lib/observatory/config"), "/var/lib/observatory/config/beacon.json: cannot be written: No space left on device"),
], ids=["component's record", "release", "configuration", "tree's record"])
def test_a_full_disk_leaves_the_service_alone(beacon, monkeypatch, place, message):
    """The next run with space converges."""
    bring(beacon)
    before, calls = files(beacon), len(beacon.machine.commands())
    change = {"version": "2.0", "text": "better\n", "directories": []}
    change["directories"] = [*declaration()["directories"], {"path": "/var/lib/more", "owner": ME, "group": MY_GROUP, "mode": "0755", "data": True}]
    with full_disk(monkeypatch, place[0], "stage_file", lambda path, *args, **rest: place[1] in path):
        assert failure(lambda: bring(beacon, **change)) == message
    assert {path: value for path, value in files(beacon).items() if "2.0" not in path and "more" not in path} == before
    assert not [line for line in beacon.machine.commands()[calls:] if line.startswith("systemctl")]
    assert bring(beacon, **change)["done"][-1] == f"beacon.service restarted: {CURRENT} changed"


def test_a_stamp_that_cannot_be_written_takes_nothing_back(beacon, monkeypatch):
    """The product is healthy; the run fails all the same, since the next one has to look again."""
    bring(beacon)
    with full_disk(monkeypatch, host, "stage_file", lambda path, *args, **rest: "/service/" in path):
        message = failure(lambda: bring(beacon, text="better\n"))
    assert message == (
        "/var/lib/observatory/service/beacon.json: cannot be written: No space left on device. beacon.service is up to date all the same"
    )
    assert beacon.read(MAIN) == "better\n"


@pytest.mark.parametrize("first", [True, False], ids=["first run", "upgrade"])
def test_a_run_killed_at_any_step_is_completed_by_the_next(beacon, first):
    """SIGKILL at each step of the run's own list; afterwards files are whole, the service has been started with them."""
    wanted = {} if first else {"version": "2.0", "text": "better\n"}
    whole, steps, number, reached = None, None, 0, True
    while reached:
        for path in ("/etc/beacon", UNIT, "/opt/observatory", "/var/lib/observatory", DATA, "/var/log"):
            host.remove_quietly(str(beacon.path(path)))
        beacon.machine.set(active="inactive", load="not-found", enabled="disabled", users=[])
        if not first:
            bring(beacon)
        if whole is None:
            steps = bring(beacon, **wanted)["steps"]
            whole = files(beacon)
            continue
        started = beacon.machine.read()["invocation"]
        reached = beacon.killed_at(number, lambda run: Component(run, declaration(**wanted)).apply())
        bring(beacon, **wanted)
        state = beacon.machine.read()
        assert {path: value for path, value in files(beacon).items() if not path.endswith(".json")} == {
            path: value for path, value in whole.items() if not path.endswith(".json")
        }, f"killed at step {number}"
        assert (state["active"], state["enabled"], state["users"]) == ("active", "enabled", ["beacon-user"])
        assert started < state["invocation"] <= started + 2
        assert bring(beacon, **wanted)["done"] == [], f"killed at step {number}"
        number += 1
    assert number - 1 == len(steps)


# -- back


def test_remove_keeps_the_data_and_the_user_that_owns_it(beacon):
    """And a later removal with the data finds both."""
    bring(beacon)
    beacon.put(DATA + "/block", "years")
    before = beacon.snapshot()
    gone = {"name": "beacon", "state": "absent", "remove_data": False}
    predicted = Component(beacon.host(check=True), gone).apply()
    assert beacon.snapshot() == before
    beacon.machine.calls.clear()
    result = Component(beacon.host(), gone).apply()
    assert result["done"] == predicted["done"] == [
        "beacon stopped and disabled", f"{MAIN} removed", f"{UNIT} removed", "/opt/observatory/beacon removed", "/var/log/beacon removed",
    ]
    assert (result["kept"], predicted["kept"]) == ([DATA], [DATA])
    assert beacon.machine.commands() == [
        "systemctl disable --now --quiet beacon.service", "systemctl reset-failed beacon.service", "systemctl daemon-reload",
    ]
    assert beacon.machine.read()["users"] == ["beacon-user"]
    again = Component(beacon.host(), gone).apply()
    assert (again["done"], again["kept"]) == ([], [DATA])
    result = Component(beacon.host(), {**gone, "remove_data": True}).apply()
    assert (result["done"], result["kept"]) == ([f"{DATA} removed", "user beacon-user removed"], [])


def test_remove_leaves_no_trace(beacon):
    """All is as before the first run; a second removal has nothing to do."""
    beacon.path("/var/log").mkdir()
    before = beacon.snapshot()
    bring(beacon)
    bring(beacon, version="2.0", text="better\n")
    gone = {"name": "beacon", "state": "absent", "remove_data": True}
    Component(beacon.host(), gone).apply()
    assert beacon.snapshot() == before
    assert beacon.machine.read()["users"] == []
    assert Component(beacon.host(), gone).apply()["done"] == []
    assert beacon.snapshot() == before


def test_remove_leaves_a_user_that_was_there_before(beacon):
    """It is not ours."""
    bring(beacon, user={"name": ME, "groups": []})
    assert "user" not in " ".join(Component(beacon.host(), {"name": "beacon", "state": "absent", "remove_data": True}).apply()["done"])


def test_remove_leaves_the_other_components(beacon):
    """Their records and releases."""
    bring(beacon)
    beacon.put("/opt/observatory/other/1.0/other")
    beacon.host().write_state("component", "other", {"unit": "other"})
    Component(beacon.host(), {"name": "beacon", "state": "absent", "remove_data": True}).apply()
    assert beacon.host().read_state("component", "other") == {"unit": "other"}
    assert beacon.path("/opt/observatory/other/1.0/other").exists()


def test_a_removal_killed_at_any_step_is_completed_by_the_next(beacon):
    """Nothing stays that the next one no longer knows of."""
    beacon.path("/var/log").mkdir()
    before = beacon.snapshot()
    gone = {"name": "beacon", "state": "absent", "remove_data": True}
    number, reached = 0, True
    while reached:
        bring(beacon)
        reached = beacon.killed_at(number, lambda run: Component(run, gone).apply())
        beacon.machine.calls.clear()
        Component(beacon.host(), gone).apply()
        assert beacon.snapshot() == before, f"killed at step {number}"
        assert (beacon.machine.read()["users"], beacon.machine.read()["active"]) == ([], "inactive")
        number += 1
    assert number > 5


def test_two_runs_cannot_interleave(beacon, monkeypatch):
    """The second waits, then says who is in the way."""
    monkeypatch.setattr(host, "LOCK_TIMEOUT_SECONDS", 0)
    with beacon.host().lock("beacon"):
        assert failure(lambda: bring(beacon)) == (
            "another run has worked on beacon for 0 seconds. Wait for it, or end it; its lock is /run/observatory/beacon.lock"
        )
        assert bring(beacon, check=True)["changed"] is True
        assert not beacon.path(MAIN).exists()
