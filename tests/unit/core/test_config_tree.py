"""A tree of files is checked as a whole, then moved into place; a failure changes nothing."""

import json
import os
import pathlib
import stat

import pytest
from ansible_collections.observatory.core.plugins.module_utils import config_tree, host
from ansible_collections.observatory.core.plugins.module_utils.config_tree import ConfigTree
from ansible_collections.observatory.core.plugins.module_utils.host import Failure, RecordFailure
from core_fakes import ME, MY_GROUP, full_disk, sha256

MAIN, RULE, TOKEN, UNIT = "/etc/beacon/main.yml", "/etc/beacon/rules/a.yml", "/etc/beacon/token", "/etc/systemd/system/beacon.service"
STATE = "/var/lib/observatory"


def entry(path, content, mode="0644", secret=False, owner=ME, group=MY_GROUP):
    return {"path": path, "content": content, "mode": mode, "secret": secret, "owner": owner, "group": group}


def files(**changes):
    """Return the usual tree; a change names a file by MAIN=…, RULE=…; None leaves it out."""
    contents = {"MAIN": "rules: [rules/*.yml]\n", "RULE": "rule 1\n", "TOKEN": "s3cret\n", "UNIT": "[Service]\n", **changes}
    paths = {"MAIN": MAIN, "RULE": RULE, "TOKEN": TOKEN, "UNIT": UNIT}
    return [
        entry(paths[key], text, mode="0600" if key == "TOKEN" else "0644", secret=key == "TOKEN")
        for key, text in contents.items() if text is not None
    ]


def tree(target, check=False, current="", planned=(), **spec):
    return ConfigTree(target.host(check), "beacon", {"files": files(), **spec}, current=current, planned_users=planned)


def bring(target, **spec):
    """One whole run; return what it has written, adjusted and removed."""
    result = config_tree.apply(target.host(), {"name": "beacon", "config": {"files": files(), **spec}})
    return result["done"]


def failure(work):
    with pytest.raises(Failure) as caught:
        work()
    return str(caught.value)


def mode(target, path):
    return f"{stat.S_IMODE(os.lstat(target.path(path)).st_mode):04o}"


def staged(target):
    """Return what waits beside its place, and pictures for checkers: nothing, after any run."""
    return [path for path in target.snapshot() if path.endswith(host.TEMPORARY_SUFFIX) or ".stage" in path or ".check-" in path]


# -- what a run does


def test_the_first_run_writes_the_tree(target):
    """Contents, modes, folders, and a record of them that root alone can read."""
    assert bring(target) == [f"{path} written" for path in (MAIN, RULE, TOKEN, UNIT)]
    assert [target.read(path) for path in (MAIN, RULE, TOKEN)] == ["rules: [rules/*.yml]\n", "rule 1\n", "s3cret\n"]
    assert [mode(target, path) for path in (MAIN, TOKEN, "/etc/beacon/rules", STATE + "/config")] == ["0644", "0600", "0755", "0700"]
    record = json.loads(target.read(STATE + "/config/beacon.json"))
    assert (record["files"], record["folders"]) == (
        [MAIN, RULE, TOKEN, UNIT], ["/etc", "/etc/beacon", "/etc/beacon/rules", "/etc/systemd", "/etc/systemd/system"],
    )
    assert mode(target, STATE + "/config/beacon.json") == "0600"
    assert staged(target) == []


def test_a_second_run_changes_nothing(target):
    """Not even an inode or the record's time."""
    def times():
        return {path: (os.lstat(target.path(path)).st_ino, os.lstat(target.path(path)).st_mtime_ns) for path in target.snapshot()
                if not path.startswith("/run")}

    bring(target)
    before = times()
    assert bring(target) == []
    assert times() == before


def test_a_plan_tells_what_differs_and_shows_it(target):
    """Changed, new, stale, and mode, each as its own kind; secrets are never shown."""
    bring(target, files=[*files(), entry("/etc/beacon/old-token", "0ld", mode="0600", secret=True), entry("/etc/beacon/old", "gone\n")])
    target.put(MAIN, "by hand\n")
    target.path(RULE).chmod(0o600)
    target.put(TOKEN, "other s3cret\n", mode=0o600)
    target.put("/etc/beacon/rules/stray.yml", "stray\n")
    plan = tree(target, own=["/etc/beacon/rules"])
    assert plan.plan() is True
    assert (plan.written, plan.adjusted) == ([MAIN, TOKEN], [RULE])
    assert plan.removed == ["/etc/beacon/old", "/etc/beacon/old-token", "/etc/beacon/rules/stray.yml"]
    assert plan.changed_paths == set(plan.written + plan.removed)
    shown = {item["before_header"]: (item["before"], item["after"]) for item in plan.diff()}
    assert shown == {
        MAIN: ("by hand\n", "rules: [rules/*.yml]\n"),
        TOKEN: ("(secret: the old content)\n", "(secret: the new content)\n"),
        "/etc/beacon/old": ("gone\n", ""),
        "/etc/beacon/old-token": ("(secret: the content is not shown)\n", ""),
        "/etc/beacon/rules/stray.yml": ("stray\n", ""),
        RULE: (f"mode 0600 owner {ME}:{MY_GROUP}\n", f"mode 0644 owner {ME}:{MY_GROUP}\n"),
    }


def test_a_file_that_was_secret_before_is_not_shown_either(target):
    """The declaration may have become careless; the old content is a secret all the same."""
    bring(target)
    opened = [*files(TOKEN=None), entry(TOKEN, "public now\n")]
    plan = tree(target, files=opened)
    plan.plan()
    assert plan.diff() == [{
        "before_header": TOKEN, "after_header": TOKEN, "before": "(secret: the old content)\n", "after": "(secret: the new content)\n",
    }]


def test_large_and_binary_contents_are_shown_by_their_checksum(target):
    """A dashboard of megabytes is no use in a terminal."""
    target.put(MAIN, "a\0b")
    plan = tree(target, files=[entry(MAIN, "x" * (config_tree.DIFF_LIMIT_BYTES + 1))])
    plan.plan()
    assert plan.diff() == [{
        "before_header": MAIN, "after_header": MAIN,
        "before": f"(sha256 {sha256(b'a' + bytes(1) + b'b')}, 3 bytes)\n", "after": f"(sha256 {sha256(b'x' * 262145)}, 262145 bytes)\n",
    }]


def test_only_the_mode_is_adjusted_where_only_the_mode_differs(target):
    """The file itself, its inode included, stays."""
    bring(target)
    inode = os.stat(target.path(MAIN)).st_ino
    target.path(MAIN).chmod(0o600)
    assert bring(target) == [f"{MAIN} owner and mode set"]
    assert (mode(target, MAIN), os.stat(target.path(MAIN)).st_ino) == ("0644", inode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_owner_is_adjusted(target):
    """A file that somebody took is given back."""
    bring(target)
    os.chown(target.path(MAIN), 65534, 65534)
    assert bring(target) == [f"{MAIN} owner and mode set"]
    assert os.stat(target.path(MAIN)).st_uid == 0


@pytest.mark.parametrize("content", ["rules: [rules/*.yml]\n", ""], ids=["text", "empty"])
def test_a_link_in_the_way_is_replaced_and_not_followed(target, content):
    """Whoever can place a link must not choose what root overwrites, nor whose mode it sets."""
    victim = target.put("/etc/passwd", "root", mode=0o640)
    target.path("/etc/beacon").mkdir()
    target.path(MAIN).symlink_to(victim)
    assert f"{MAIN} written" in bring(target, files=files(MAIN=content))
    assert (victim.read_text(), mode(target, "/etc/passwd")) == ("root", "0640")
    assert (target.path(MAIN).is_symlink(), target.read(MAIN), mode(target, MAIN)) == (False, content, "0644")


@pytest.mark.parametrize("content", ["rules: [rules/*.yml]\n", ""], ids=["text", "empty"])
@pytest.mark.parametrize("check", [False, True], ids=["run", "check mode"])
def test_a_folder_in_the_way_is_left_to_a_person(target, content, check):
    """It may hold anything. Check mode says so too."""
    target.put(MAIN + "/precious", "data")
    before = target.snapshot("/run")
    message = failure(lambda: config_tree.apply(target.host(check), {"name": "beacon", "config": {"files": files(MAIN=content)}}))
    assert message == "/etc/beacon/main.yml: a folder is in the way of this file. Move it away"
    assert {path: value for path, value in target.snapshot("/run").items() if not path.startswith("/var")} == before


def test_a_read_only_file_is_replaced(target):
    """`chmod a-w` is no protection against the declaration."""
    target.put(MAIN, "mine", mode=0o400)
    bring(target)
    assert (target.read(MAIN), mode(target, MAIN)) == ("rules: [rules/*.yml]\n", "0644")


def test_stale_files_go_and_kept_ones_stay(target):
    """By the record everywhere, by sight in owned folders; their folders go when they are empty."""
    bring(target, files=[*files(), entry("/etc/beacon/conf.d/x/old.yml", "old")])
    target.put("/etc/beacon/rules/stray.yml")
    target.put("/etc/beacon/rules/local/keep.yml")
    target.put("/etc/beacon/unowned.yml")
    target.path("/etc/beacon/rules/link").symlink_to("/etc")
    assert bring(target, own=["/etc/beacon/rules/"], keep=["/etc/beacon/rules/local/*"]) == [
        "/etc/beacon/conf.d/x/old.yml removed", "/etc/beacon/rules/link removed", "/etc/beacon/rules/stray.yml removed",
    ]
    assert sorted(path for path in target.snapshot() if path.startswith("/etc/beacon")) == [
        "/etc/beacon", MAIN, "/etc/beacon/rules", RULE, "/etc/beacon/rules/local", "/etc/beacon/rules/local/keep.yml", TOKEN,
        "/etc/beacon/unowned.yml",
    ]


def test_a_folder_where_a_stale_file_was_is_not_removed(target):
    """A person has made it since; what the record knows is a file."""
    bring(target, files=[*files(), entry("/etc/beacon/old", "old")])
    target.path("/etc/beacon/old").unlink()
    target.put("/etc/beacon/old/precious", "data")
    assert bring(target) == []
    assert target.read("/etc/beacon/old/precious") == "data"
    assert config_tree.remove(target.host(), "beacon") == [MAIN, RULE, TOKEN, UNIT]
    assert target.read("/etc/beacon/old/precious") == "data"


def test_references_are_renamed_before_what_refers_to_them_and_units_last(target):
    """A reload in between must find what it names."""
    run = target.host()
    config_tree.apply(run, {"name": "beacon", "config": {"files": files()}})
    assert run.steps.reached == [
        "record the union", f"stage {MAIN}", f"stage {RULE}", f"stage {TOKEN}", f"stage {UNIT}",
        f"rename {RULE}", f"rename {MAIN}", f"rename {TOKEN}", f"rename {UNIT}", "record the tree",
    ]


def test_paths_are_absolute_and_plain(target):
    """A path that leads elsewhere is refused."""
    for path in ("etc/x", "/etc/../x", "/etc//x"):
        assert failure(lambda path=path: tree(target, files=[entry(path, "")])) == f"beacon: '{path}' is not an absolute, normal path"


def test_an_unknown_owner_is_named(target):
    """Before anything is written."""
    message = failure(lambda: bring(target, files=[entry(MAIN, "x", owner="no-such-user")]))
    assert message == f"{MAIN}: there is no user no-such-user or group {MY_GROUP} on this host"
    assert staged(target) == [] and not target.path(MAIN).exists()


def test_check_mode_knows_that_a_user_is_going_to_be_made(target):
    """On a bare host its files are simply written."""
    plan = tree(target, check=True, planned=["no-such-user"], files=[entry(MAIN, "x", owner="no-such-user", group="no-such-user")])
    assert (plan.plan(), plan.written) == (True, [MAIN])


# -- checkers


def test_a_checker_sees_the_whole_tree_as_it_is_going_to_be(target):
    """New, unchanged and kept files; not what is about to go. Nobody else can read it."""
    bring(target)
    target.put("/etc/beacon/rules/kept.yml", "kept")
    target.put("/etc/beacon/rules/stray.yml", "stray")
    seen = {}

    def look(argv, options):
        root = argv[1]
        for parent, _folders, names in os.walk(root):
            for name in names:
                path = os.path.join(parent, name)
                seen[path[len(root):]] = pathlib.Path(path).read_text()
        seen["mode"] = f"{stat.S_IMODE(os.stat(root).st_mode):04o}"
        seen["words"] = [word.replace(str(target.root), "") for word in argv]
        seen["cwd"] = options["cwd"] == root
        return 0, ""

    target.machine.programs["check"] = look
    config = {"files": files(RULE="rule 2\n"), "own": ["/etc/beacon/rules"], "keep": ["/etc/beacon/rules/kept.yml"],
              "validate": ["{current}/check {root} --name 'two words'"]}
    config_tree.apply(target.host(), {"name": "beacon", "current": "/opt/observatory/beacon/1.0", "config": config})
    assert seen == {
        MAIN: "rules: [rules/*.yml]\n", RULE: "rule 2\n", TOKEN: "s3cret\n", UNIT: "[Service]\n", "/etc/beacon/rules/kept.yml": "kept",
        "mode": "0700", "cwd": True,
        "words": ["/opt/observatory/beacon/1.0/check", "/run/observatory/beacon.stage", "--name", "two words"],
    }
    assert staged(target) == []


@pytest.mark.parametrize("check", [False, True], ids=["run", "check mode"])
def test_a_refusal_shows_the_checkers_words_and_changes_nothing(target, check):
    """With the target's paths, not those of the staging place."""
    bring(target)
    before = target.snapshot("/run")
    target.machine.programs["check"] = lambda argv, options: (1, f"{argv[1]}: line 1: no such key\n")
    checker = {"files": files(MAIN="bad\n", RULE=None, TOKEN="x"), "validate": ["check {root}/etc/beacon/main.yml"]}
    assert failure(lambda: config_tree.apply(target.host(check), {"name": "beacon", "config": checker})) == (
        "check /etc/beacon/main.yml refuses the new configuration; nothing was changed. Its words:\n"
        "/etc/beacon/main.yml: line 1: no such key"
    )
    assert target.snapshot("/run") == before
    assert staged(target) == []


def test_a_checker_that_fails_in_silence_is_told(target):
    """An empty reason would read like a bug of ours."""
    target.machine.programs["check"] = lambda argv, options: (1, "\n")
    assert failure(lambda: bring(target, validate=["check {root}"])) == (
        "check  refuses the new configuration; nothing was changed. Its words:\nit printed nothing"
    )


def test_a_checker_that_is_not_installed_yet_is_listed_in_check_mode(target):
    """A run without check mode fails there."""
    spec = {"name": "beacon", "current": "/opt/observatory/beacon/1.0", "config": {"files": files(), "validate": ["{current}/check {root}/etc"]}}
    assert config_tree.apply(target.host(check=True), spec)["warnings"] == [
        "beacon: not checked in this check mode run: check /etc (its program is not installed yet)"
    ]
    assert failure(lambda: config_tree.apply(target.host(), spec)).endswith("check: not found")


def test_a_tree_is_checked_again_when_the_checker_is_another(target):
    """An upgrade may refuse what the old version took; a run without a change checks nothing."""
    calls = []
    target.machine.programs["check"] = lambda argv, options: (calls.append(argv[0].replace(str(target.root), "")), (0, ""))[1]

    def run(version):
        config = {"files": files(), "validate": ["{current}/check"]}
        config_tree.apply(target.host(), {"name": "beacon", "current": f"/opt/observatory/beacon/{version}", "config": config})

    for version in ("1.0", "1.0", "2.0", "2.0"):
        run(version)
    assert calls == ["/opt/observatory/beacon/1.0/check", "/opt/observatory/beacon/2.0/check"]


# -- files that the configuration names


def test_a_missing_reference_is_told(target):
    """The checkers do not look."""
    assert failure(lambda: bring(target, references=["/etc/beacon/password"])) == (
        "the configuration refers to /etc/beacon/password, which does not exist. Nothing was changed"
    )
    assert not target.path(MAIN).exists() and staged(target) == []


@pytest.mark.parametrize(("token", "reader", "message"), [
    ({"mode": "0600"}, "no-such-user", "is rendered as 0600 {me}:{group}, which no-such-user cannot read"),
    ({"mode": "0200"}, ME, "is rendered as 0200 {me}:{group}, which {me} cannot read" if ME != "root" else None),
    ({"mode": "0600"}, ME, None),
    ({"mode": "0604"}, "no-such-user", None),
    ({"mode": "0640"}, ME, None),
    ({"mode": "0600"}, "root", None),
    ({"mode": "0600"}, None, None),
], ids=["another's", "write only", "own", "all may", "group", "root", "no reader"])
def test_a_rendered_reference_has_to_be_readable_by_the_service(target, token, reader, message):
    """By the modes that it is going to have."""
    spec = {"files": [*files(TOKEN=None), entry(TOKEN, "s", **token)], "references": [TOKEN], "reader": reader}
    if message is None:
        assert bring(target, **spec)
    else:
        assert failure(lambda: bring(target, **spec)) == (
            f"the configuration refers to {TOKEN}, which {message.format(me=ME, group=MY_GROUP)}. Nothing was changed"
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try with another user's eyes")
def test_a_reference_on_the_disk_is_tried_with_the_services_eyes(target):
    """The kernel's answer, folders and links included."""
    os.chmod(target.root.parent.parent, 0o755)
    os.chmod(target.root.parent, 0o755)
    target.put("/srv/password", "p", mode=0o600)
    spec = {"references": ["/srv/password"], "reader": "nobody"}
    message = "the configuration refers to /srv/password, which nobody cannot read. Nothing was changed"
    assert failure(lambda: bring(target, **spec)) == message
    plan = tree(target, check=True, planned=["nobody"], **spec)
    plan.validate()
    assert plan.unchecked == ["whether nobody can read /srv/password (the user does not exist yet)"]


# -- faults


@pytest.mark.parametrize("place", ["record", "first file", "last file", "picture"])
def test_a_full_disk_leaves_nothing_behind(target, monkeypatch, place):
    """The old files are there, nothing waits beside them, the next run with space converges."""
    bring(target)
    before = target.snapshot("/run")
    wanted = [*files(MAIN="new\n", RULE="new\n"), entry("/etc/beacon/new/deep/x.yml", "new\n")]
    where = {
        "record": (host, "stage_file", lambda path, *args, **options: "/var/lib" in path),
        "first file": (config_tree, "stage_file", lambda path, *args: path.endswith("main.yml")),
        "last file": (config_tree, "stage_file", lambda path, *args: path.endswith("a.yml")),
        "picture": (ConfigTree, "_picture", lambda *args: True),
    }
    with full_disk(monkeypatch, *where[place]):
        message = failure(lambda: bring(target, files=wanted, validate=["true"]))
    assert message == {
        "record": "/var/lib/observatory/config/beacon.json: cannot be written: No space left on device",
        "first file": f"{MAIN}: cannot be written: No space left on device. Nothing was changed",
        "last file": f"{RULE}: cannot be written: No space left on device. Nothing was changed",
        "picture": "the tree cannot be laid out for its checkers below /run/observatory: No space left on device. Nothing was changed",
    }[place]
    assert target.snapshot("/run") == before
    assert staged(target) == []
    assert len(bring(target, files=wanted)) == 3


def changing_tree(target):
    """Bring a tree with a link and a stale file; return the spec that changes, adjusts, adds and removes."""
    bring(target, files=[*files(UNIT=None), entry("/etc/beacon/old/stale", "stale\n", mode="0640"), entry("/etc/beacon/mode", "m")])
    target.path("/etc/beacon/mode").chmod(0o601)
    target.path(RULE).unlink()
    target.path(RULE).symlink_to("/nowhere")
    return {"files": [*files(MAIN="new\n", UNIT=None), entry("/etc/beacon/mode", "m"), entry("/etc/beacon/new/deep/x.yml", "new\n")]}


def test_undo_puts_everything_back(target):
    """Contents, modes, links, removed files, made folders, and the record."""
    spec = changing_tree(target)
    before = target.snapshot("/run")
    plan = tree(target, **spec)
    plan.plan()
    plan.stage()
    plan.commit()
    assert target.snapshot("/run") != before
    assert plan.undo() is True
    assert target.snapshot("/run") == before
    assert len(bring(target, **spec)) == 5


def test_undo_of_the_first_tree_leaves_a_bare_host(target):
    """Nothing but the folders of the project's own records."""
    before = target.snapshot("/var")
    plan = tree(target)
    plan.plan()
    plan.stage()
    plan.commit()
    plan.undo()
    assert target.snapshot("/var") == before
    assert target.host().read_state("config", "beacon") == {}


def test_undo_without_a_commit_only_discards(target):
    """It says that there was nothing to put back."""
    bring(target)
    plan = tree(target, files=files(MAIN="new\n"))
    plan.plan()
    plan.stage()
    assert (plan.undo(), staged(target), target.read(MAIN)) == (False, [], "rules: [rules/*.yml]\n")


def test_a_file_that_cannot_be_replaced_takes_the_others_back(target, monkeypatch):
    """For example an immutable one; nothing waits beside it afterwards."""
    spec = changing_tree(target)
    before = target.snapshot("/run")
    original = os.replace

    def refuse(source, destination):
        if destination == str(target.path(MAIN)):
            raise PermissionError(1, "Operation not permitted")
        original(source, destination)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        message = failure(lambda: bring(target, **spec))
    assert message == f"{MAIN}: cannot be replaced: Operation not permitted (immutable? see lsattr)"
    assert target.snapshot("/run") == before
    assert staged(target) == []


def test_undo_names_what_resists_and_puts_the_rest_back(target, monkeypatch):
    """A disk that has filled up meanwhile."""
    spec = changing_tree(target)
    plan = tree(target, **spec)
    plan.plan()
    plan.stage()
    plan.commit()
    with full_disk(monkeypatch, config_tree, "stage_file", lambda path, *args: path.endswith("main.yml")):
        assert failure(plan.undo) == f"{MAIN} cannot be put back: No space left on device"
    assert target.read("/etc/beacon/old/stale") == "stale\n"
    assert target.path(RULE).is_symlink()


@pytest.mark.parametrize("first", [True, False], ids=["first run", "change"])
def test_a_run_killed_at_any_step_is_completed_by_the_next(target, first):
    """SIGKILL at each step of the run's own list: afterwards the tree is as if nothing had happened."""
    def work(run):
        config_tree.apply(run, {"name": "beacon", "config": spec})

    target.machine.programs["check"] = lambda argv, options: (0, "")
    reached, number = True, 0
    whole = None
    while reached:
        for path in ("/etc", "/var"):
            host.remove_quietly(str(target.path(path)))
        spec = {"files": files()} if first else changing_tree(target)
        spec = {**spec, "validate": ["check {root}"], "own": ["/etc/beacon/rules"]}
        if whole is None:
            run = target.host()
            work(run)
            whole, steps = target.snapshot("/run"), run.steps.reached
            continue
        reached = target.killed_at(number, work)
        work(target.host())
        assert target.snapshot("/run") == whole, f"killed at step {number}"
        assert staged(target) == []
        number += 1
    assert number - 1 == len(steps) == 11


def test_a_killed_run_leaves_no_file_that_nobody_knows_of(target):
    """What it has put in place goes when the next declaration does not have it."""
    number, reached = 0, True
    while reached:
        for path in ("/etc", "/var"):
            host.remove_quietly(str(target.path(path)))
        reached = target.killed_at(number, lambda run: config_tree.apply(run, {"name": "beacon", "config": {"files": files()}}))
        bring(target, files=[entry("/etc/beacon/other", "x")])
        assert sorted(path for path in target.snapshot() if path.startswith("/etc")) == ["/etc", "/etc/beacon", "/etc/beacon/other"], number
        number += 1


def test_a_record_that_cannot_be_written_is_a_failure_of_its_own_kind(target, monkeypatch):
    """The caller can tell it from a product that does not work."""
    with full_disk(monkeypatch, host, "stage_file"), pytest.raises(RecordFailure):
        target.host().write_state("config", "beacon", {})


def test_remove_takes_the_files_and_the_folders_made_for_them(target):
    """What others have put there stays."""
    target.path("/etc").mkdir()
    bring(target)
    target.put("/etc/beacon/foreign", "x")
    before = target.snapshot()
    assert config_tree.remove(target.host(check=True), "beacon") == [MAIN, RULE, TOKEN, UNIT]
    assert target.snapshot() == before
    assert config_tree.remove(target.host(), "beacon") == [MAIN, RULE, TOKEN, UNIT]
    assert sorted(path for path in target.snapshot() if path.startswith("/etc")) == ["/etc", "/etc/beacon", "/etc/beacon/foreign"]
    assert config_tree.remove(target.host(), "beacon") == []
