"""A unit is restarted or reloaded exactly when it is due, and a run is green only when the product answers."""

import http.server
import os
import threading

import pytest
from ansible_collections.observatory.core.plugins.module_utils import service
from ansible_collections.observatory.core.plugins.module_utils.host import Failure
from ansible_collections.observatory.core.plugins.module_utils.service import Service

UNIT, MAIN, RULE, BINARY = "/etc/systemd/system/beacon.service", "/etc/beacon/main.yml", "/etc/beacon/rules/a.yml", "/opt/beacon/current"
SPEC = {"restart_on": [MAIN], "reload_on": ["/etc/beacon/rules/*", "/etc/beacon/*.yml"], "health": {"url": "http://localhost/", "timeout": 0}}


@pytest.fixture
def files(target):
    """The files of the unit are in place."""
    for path in (UNIT, MAIN, RULE):
        target.put(path, "1")
    target.put("/opt/beacon/1.0/beacon")
    target.path(BINARY).symlink_to("1.0")
    return target


def beacon(target, check=False, probe=lambda host, health: None, **spec):
    return Service(target.host(check), "beacon", {**SPEC, **spec}, extra=[BINARY], probe=probe)


def bring(target, **options):
    """One run; return (action, reason)."""
    unit = beacon(target, **options)
    unit.plan()
    unit.apply()
    return unit.action, unit.reason


def running(target):
    """The unit has been started by a run, and a second one has found nothing to do."""
    bring(target)
    assert bring(target) == (None, "")
    target.machine.calls.clear()


def failure(work):
    with pytest.raises(Failure) as caught:
        work()
    return caught.value


def replace(target, path, text):
    """Put another file in the place, as a run does: the same content makes no difference."""
    target.put(path + ".new", text).rename(target.path(path))


# -- what is due


def test_a_unit_that_systemd_does_not_know_is_read_enabled_and_started(files):
    """The first run."""
    assert bring(files) == ("restart", "it was not running")
    assert files.machine.commands() == [
        "systemctl daemon-reload", "systemctl enable --quiet beacon.service", "systemctl reset-failed beacon.service",
        "systemctl restart beacon.service",
    ]
    assert bring(files) == (None, "")


def test_a_run_without_a_change_asks_systemd_once_and_the_product_once(files):
    """And writes nothing."""
    running(files)
    before, probes = files.snapshot(), []
    assert bring(files, probe=lambda host, health: probes.append(health["url"])) == (None, "")
    assert (len(files.machine.calls), probes) == (1, ["http://localhost/"])
    assert files.snapshot() == before


CHANGES = {
    "restart file": (lambda target: replace(target, MAIN, "2"), "restart", MAIN),
    "unit file": (lambda target: replace(target, UNIT, "2"), "restart", UNIT),
    "drop-in": (lambda target: target.put(UNIT + ".d/limits.conf"), "restart", UNIT + ".d/limits.conf"),
    "release": (lambda target: (target.path(BINARY).unlink(), target.path(BINARY).symlink_to("2.0")), "restart", BINARY),
    "reload file": (lambda target: replace(target, RULE, "2"), "reload", RULE),
    "new reload file": (lambda target: target.put("/etc/beacon/rules/b.yml"), "reload", "/etc/beacon/rules/b.yml"),
    "removed reload file": (lambda target: target.path(RULE).unlink(), "reload", RULE),
    "both": (lambda target: (replace(target, RULE, "2"), replace(target, MAIN, "2")), "restart", MAIN),
    # Put back by a run after a hand edit and a reload by hand: the same bytes, but not what the process has read.
    "same content, new file": (lambda target: replace(target, RULE, "1"), "reload", RULE),
    "mode alone": (lambda target: target.path(MAIN).chmod(0o600), None, None),
    "another file": (lambda target: target.put("/etc/beacon/other.txt"), None, None),
    "a folder": (lambda target: target.path("/etc/beacon/rules/sub").mkdir(), None, None),
}


@pytest.mark.parametrize(("change", "action", "path"), CHANGES.values(), ids=CHANGES)
def test_a_changed_file_calls_for_what_it_was_declared_for(files, change, action, path):
    """Once: the run after it finds nothing to do."""
    running(files)
    change(files)
    assert bring(files) == (action, f"{path} changed" if path else "")
    assert files.machine.commands() == {
        "restart": ["systemctl reset-failed beacon.service", "systemctl restart beacon.service"], "reload": ["systemctl reload beacon.service"],
        None: [],
    }[action]
    assert bring(files) == (None, "")


def test_systemd_is_told_when_it_says_that_a_unit_has_changed(files):
    """A drop-in that a person has written."""
    running(files)
    files.machine.set(reload_needed="yes")
    bring(files)
    assert files.machine.commands() == ["systemctl daemon-reload"]


@pytest.mark.parametrize("state", ["inactive", "failed", "activating"])
def test_a_unit_that_does_not_run_is_started(files, state):
    """Whatever it has come to."""
    running(files)
    files.machine.set(active=state)
    assert bring(files) == ("restart", "it was not running")


def test_a_unit_that_is_not_enabled_is_enabled_without_a_restart(files):
    """Else it would be missing after the next boot."""
    running(files)
    files.machine.set(enabled="disabled")
    unit = beacon(files)
    assert (unit.plan(), unit.action, unit.enable) == (True, None, True)
    unit.apply()
    assert files.machine.commands() == ["systemctl enable --quiet beacon.service"]
    for state in ("static", "enabled-runtime", "generated"):
        files.machine.set(enabled=state)
        unit.plan()
        assert unit.enable is False


def test_a_process_that_another_has_started_is_adopted_when_it_is_younger_than_its_files(files):
    """A reboot of the host causes no restart; the run after knows it."""
    running(files)
    files.machine.start()
    assert bring(files) == (None, "")
    assert files.machine.commands() == []
    replace(files, RULE, "1")
    assert bring(files) == ("reload", f"{RULE} changed")


def test_a_process_without_a_stamp_that_is_older_than_a_file_has_not_read_it(files):
    """Restart or reload, as for a change."""
    files.machine.start(ago=60)
    for path in (UNIT, MAIN):
        assert bring(files)[0] == "restart"
        files.machine.start(ago=60)
        target = files.path(path)
        target.unlink()
    files.path(BINARY).unlink()
    assert bring(files) == ("reload", f"{RULE} is newer than the process")


def test_a_stamp_of_another_schema_counts_as_none(files):
    """A newer version of the collection may watch other things."""
    running(files)
    run = files.host()
    run.write_state("service", "beacon", {**run.read_state("service", "beacon"), "schema": 0})
    files.machine.set(started=files.machine.read()["started"] - 60)
    assert bring(files)[0] == "restart"


def test_check_mode_predicts_from_the_files_that_would_change(files):
    """It changes nothing and asks no product."""
    running(files)
    before = files.snapshot()
    for path, action in ((RULE, "reload"), (MAIN, "restart"), ("/etc/other", None)):
        unit = beacon(files, check=True, probe=lambda host, health: pytest.fail("asked"))
        assert (unit.plan([path]), unit.action, unit.reason) == (bool(action), action, f"{path} changed" if action else "")
        unit.apply()
    assert files.machine.commands() == []
    assert files.snapshot() == before


def test_a_rolling_restart_is_only_reported_until_it_is_done(files):
    """Each run says so; a unit that does not run is started at once."""
    assert bring(files, restart="rolling") == ("restart", "it was not running")
    replace(files, MAIN, "2")
    files.machine.calls.clear()
    for _run in range(2):
        unit = beacon(files, restart="rolling")
        unit.plan()
        unit.apply()
        assert (unit.restart_due, unit.reason) == (True, f"{MAIN} changed")
    assert files.machine.commands() == []
    assert bring(files) == ("restart", f"{MAIN} changed")


# -- whether it works


def test_a_start_is_over_when_the_product_answers(files):
    """It is asked until then."""
    answers = ["refused", "503", None]
    assert bring(files, probe=lambda host, health: answers.pop(0), health={"url": "http://x/", "timeout": 60}) == ("restart", "it was not running")
    assert answers == []


def test_a_product_that_does_not_answer_in_time_is_a_failure_with_its_journal(files):
    """The last words since this start."""
    files.machine.set(journal="level=error msg=\"cannot bind\"\n")
    error = failure(lambda: bring(files, probe=lambda host, health: "http://localhost/ answers 503"))
    assert (str(error), error.details) == (
        "beacon.service is not healthy after 0 seconds: http://localhost/ answers 503", {"journal": 'level=error msg="cannot bind"'},
    )
    journal = next(argv for argv in files.machine.calls if argv[0] == "journalctl")
    assert journal[:4] + journal[5:] == [
        "journalctl", "--unit", "beacon.service", "--since", "--lines", "15", "--output", "cat", "--no-pager",
    ]


def test_a_crash_loop_is_a_failure_long_before_the_time_is_up(files):
    """Three attempts of systemd are enough."""
    files.machine.set(crash=True, journal="panic")
    error = failure(lambda: bring(files, health={"url": "http://x/", "timeout": 600}))
    assert (str(error), error.details) == ("beacon.service keeps ending and being restarted by systemd", {"journal": "panic"})


def test_a_process_that_answers_once_and_ends_is_no_success(files, monkeypatch):
    """Its process has to stay the same for a while."""
    monkeypatch.setattr(service.time, "sleep", lambda seconds: files.machine.start())
    assert str(failure(lambda: bring(files))) == "beacon.service is not healthy after 0 seconds: its process keeps ending"


def test_a_unit_that_has_failed_is_told_with_systemds_result(files):
    """Without waiting for the time to be up."""
    def restart(argv, options):
        if argv[1] == "restart":
            files.machine.set(active="failed")
            return 0, ""
        return files.machine._systemctl(argv, options)

    files.machine.programs["systemctl"] = restart
    assert str(failure(lambda: bring(files))) == "beacon.service has failed (result: exit-code)"


@pytest.mark.parametrize("verb", ["restart", "reload"])
def test_systemds_refusal_is_shown(files, verb):
    """Its first line says what, the second only where to look."""
    running(files)
    replace(files, MAIN if verb == "restart" else RULE, "2")
    words = "Job failed.\nSee systemctl status\n"
    files.machine.programs["systemctl"] = lambda argv, options: (1, words) if argv[1] == verb else files.machine._systemctl(argv, options)
    assert str(failure(lambda: bring(files))) == f"beacon.service cannot {verb}: Job failed."
    words = ""
    assert str(failure(lambda: bring(files))) == f"beacon.service cannot {verb}: exit code 1"


def test_an_unhealthy_product_is_a_failure_without_a_change_too(files):
    """A run is green only when the product answers."""
    running(files)
    assert str(failure(lambda: bring(files, probe=lambda host, health: "refused"))) == (
        "beacon.service is not healthy after 0 seconds: refused"
    )


def test_a_failed_start_is_begun_again_by_the_next_run(files):
    """The stamp goes before the restart, so an interruption has the same effect."""
    running(files)
    replace(files, MAIN, "2")
    stamps = []

    def restart(argv, options):
        if argv[1] == "restart":
            stamps.append(files.host().read_state("service", "beacon"))
            files.machine.set(active="failed")
            return 0, ""
        return files.machine._systemctl(argv, options)

    files.machine.programs["systemctl"] = restart
    failure(lambda: bring(files))
    assert stamps == [{}]
    files.machine.programs.clear()
    assert bring(files) == ("restart", "it was not running")


def test_a_run_killed_at_any_step_is_completed_by_the_next(files):
    """Whatever had been done, the process has read the newest files afterwards, and one more run changes nothing."""
    number, reached = 0, True
    while reached:
        files.machine.start(ago=60)
        replace(files, MAIN, str(number))
        before = files.machine.read()["invocation"]
        def work(run):
            unit = Service(run, "beacon", SPEC, probe=lambda host, health: None)
            unit.plan()
            unit.apply()

        reached = files.killed_at(number, work)
        work(files.host())
        assert files.machine.read()["invocation"] > before
        unit = Service(files.host(), "beacon", SPEC)
        unit.plan()
        assert unit.action is None
        number += 1
    assert number > 3


def test_remove_stops_and_disables(files):
    """Check mode only says so; a unit that is gone is no change."""
    running(files)
    assert service.remove(files.host(check=True), "beacon", "beacon") is True
    assert files.machine.commands() == []
    assert service.remove(files.host(), "beacon", "beacon") is True
    assert files.machine.commands() == ["systemctl disable --now --quiet beacon.service", "systemctl reset-failed beacon.service"]
    assert files.host().read_state("service", "beacon") == {}
    assert service.remove(files.host(), "beacon", "beacon") is False


def test_the_module_tells_what_was_done_and_a_failure_holds_the_journal(files, monkeypatch):
    """What the module `service` returns."""
    monkeypatch.setattr(service, "_probe", lambda host, health: None)
    assert service.apply(files.host(), "beacon", SPEC) == {
        "changed": True, "action": "restart", "reason": "it was not running",
        "diff": [{"before": "", "after": "restart (it was not running)\n", "after_header": "beacon.service"}],
    }
    assert service.apply(files.host(), "beacon", SPEC) == {"changed": False, "action": "", "reason": ""}
    replace(files, MAIN, "2")
    assert service.apply(files.host(), "beacon", {**SPEC, "restart": "rolling"})["restart_due"] == f"{MAIN} changed"
    monkeypatch.setattr(service, "_probe", lambda host, health: "refused")
    files.machine.set(journal="panic\n")
    assert str(failure(lambda: service.apply(files.host(), "beacon", SPEC))) == (
        "beacon.service is not healthy after 0 seconds: refused\npanic"
    )


# -- the health question itself


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path.strip("/") or 200))
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as listener:
        threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{listener.server_port}"
        listener.shutdown()


def test_the_health_question_takes_2xx_alone_for_an_answer(server, target):
    """Anything else is told with the address."""
    def ask(path):
        return service._probe(target.host(), {"url": server + path})

    assert [ask(""), ask("/"), ask("/204"), ask("/503"), ask("/301")] == [
        None, None, None, f"{server}/503 answers 503", f"{server}/301 answers 301",
    ]


def test_an_address_that_does_not_answer_is_told(target):
    """With the kernel's reason."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/-/ready"
    assert service._probe(target.host(), {"url": url}) == f"{url}: [Errno 111] Connection refused"
    missing = service._probe(target.host(), {"url": f"https://127.0.0.1:{port}", "ca": "/etc/beacon/ca.crt"})
    assert missing.startswith(f"https://127.0.0.1:{port}: ")


class Guarded(Page):
    def do_GET(self):
        good = self.headers.get("Authorization") == "Basic YWRtaW46czpjcmV0"
        self.send_response(200 if good and self.path == "/health?a=b" else 401)
        self.end_headers()

    def address_string(self):
        return "local"


def test_a_product_behind_a_password_or_a_socket_is_asked_too(target):
    """The socket's path is seen from the host's root."""
    import socketserver

    path = target.host().path("/run/product.sock")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with socketserver.UnixStreamServer(path, Guarded) as listener:
        threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = "unix:/run/product.sock:/health?a=b"
        assert service._probe(target.host(), {"url": url, "user": "admin", "password": "s:cret"}) is None
        assert service._probe(target.host(), {"url": url}) == f"{url} answers 401"
        listener.shutdown()
    os.unlink(path)
    assert service._probe(target.host(), {"url": url}) == f"{url}: [Errno 2] No such file or directory"
