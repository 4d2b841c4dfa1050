"""Packages of the distribution: brought without starting anything, shared, given back, and never taken from a person."""

import os

import pytest
from ansible_collections.observatory.core.plugins.module_utils import packages
from ansible_collections.observatory.core.plugins.module_utils.component import Component
from ansible_collections.observatory.core.plugins.module_utils.host import Failure

ARCHIVE = {"nginx": ["nginx-common"], "nginx-common": [], "libnginx-mod-geo": ["nginx"]}
BROUGHT = {"nginx": "installed", "nginx-common": "installed"}
UNIT = "nginx.service"


class Apt:
    """dpkg, apt-get and systemd's view of nginx; what they know lies in the machine's memory, which outlives a kill."""

    def __init__(self, machine):
        self.machine = machine
        machine.set(states={}, auto=[], listed=True, unit={}, masked=False, ran=[])
        self.calls = []
        # What the next calls of apt-get say instead, one after the other.
        self.says = []
        machine.programs.update({
            "dpkg-query": self._query, "apt-get": self._apt, "apt-mark": self._mark, "dpkg": self._configure, "systemctl": self._systemctl,
        })

    @property
    def states(self):
        return {name: state for name, state in self.machine.read()["states"].items() if state != "not-installed"}

    def have(self, *names, auto=(), **states):
        """Packages are there, as if a person had installed them."""
        known = self.machine.read()
        known["states"].update(dict.fromkeys(names, "installed"), **states)
        known["auto"] = [*known["auto"], *auto]
        if "nginx-common" in names:
            known["unit"] = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}
        self.machine.write(known)

    def unit(self, **state):
        self.machine.set(unit={**self.machine.read()["unit"], **state})

    def _query(self, argv, _options):
        known = self.machine.read()["states"]
        lines = [f"{name} {known[name]}" if name in known else f"dpkg-query: no packages found matching {name}" for name in argv[3:]]
        return int(any(name not in known for name in argv[3:])), "\n".join(lines) + "\n"

    def _mark(self, argv, _options):
        assert argv[1:] == ["showauto"]
        return 0, "\n".join(self.machine.read()["auto"])

    def _configure(self, argv, _options):
        assert argv[-2:] == ["--configure", "-a"]
        known = self.machine.read()
        known["states"] = {name: "installed" if state == "half-configured" else state for name, state in known["states"].items()}
        self.machine.write(known)
        self.calls.append("dpkg --configure -a")
        return 0, ""

    def _apt(self, argv, options):
        words = [word for word in argv[len(packages.APT_GET):] if word not in ("--no-install-recommends", "--no-remove")]
        self.calls.append("apt-get " + " ".join(words))
        if self.says:
            said = self.says.pop(0)
            if said:
                return said
        simulated = words[0] == "--simulate"
        verb, names = words[simulated], words[simulated + 1:]
        known = self.machine.read()
        if verb == "update":
            known["listed"] = True
            self.machine.write(known)
            return 0, ""
        if verb == "install":
            if not known["listed"] or any(name not in ARCHIVE for name in names):
                return 100, f"Reading package lists...\nE: Unable to locate package {names[0]}\n"
            adding = [name for name in (*names, *(other for name in names for other in ARCHIVE[name])) if known["states"].get(name) != "installed"]
            if not simulated:
                known["states"].update(dict.fromkeys(adding, "installed"))
                known["auto"] = [*known["auto"], *(name for name in adding if name not in names)]
                if "nginx-common" in adding:
                    known["unit"] = {"LoadState": "loaded", "ActiveState": "inactive" if known["masked"] else "active", "UnitFileState": "enabled"}
                    known["ran"] = [*known["ran"], *([] if known["masked"] else [UNIT])]
                self.machine.write(known)
            return 0, "".join(f"Inst {name} (1.26 lab [amd64])\n" for name in adding)
        going, before = set(names), None
        while going != before:
            before = set(going)
            going |= {name for name, needs in ARCHIVE.items() if known["states"].get(name) == "installed" and going & set(needs)}
        if not simulated:
            known["states"].update(dict.fromkeys(going, "not-installed" if verb == "purge" else "config-files"))
            self.machine.write(known)
        return 0, "".join(f"Remv {name} [1.26]\n" for name in sorted(going))

    def _systemctl(self, argv, _options):
        known, verb = self.machine.read(), argv[1]
        if verb == "show":
            unit = known["unit"] or {"LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""}
            return 0, "".join(f"{key}={value}\n" for key, value in unit.items())
        assert argv[-1] == UNIT
        if verb == "mask":
            known["masked"] = True
        elif verb == "unmask":
            known["masked"] = False
        elif verb == "disable" and known["unit"]:
            known["unit"].update(ActiveState="inactive", UnitFileState="disabled")
        self.machine.write(known)
        self.calls.append(" ".join(argv[:2]))
        return 0, ""


@pytest.fixture
def apt(target, monkeypatch):
    monkeypatch.setattr(packages, "LOCK_POLL_SECONDS", 0)
    return Apt(target.machine)


def bring(target, name="front", wanted=("nginx",), check=False):
    return Component(target.host(check), {"name": name, "packages": list(wanted)}).apply()


def take_off(target, name="front", check=False):
    return Component(target.host(check), {"name": name, "state": "absent"}).apply()


def unit_state(target):
    return target.machine.read()["unit"]


def test_a_missing_package_is_installed_and_its_service_never_runs(target, apt):
    result = bring(target)
    assert result["done"] == ["package nginx installed"]
    assert result["steps"] == [
        "remember the component", "record package nginx", "hold back nginx.service", "install package nginx",
        "leave nginx.service off", "package nginx is there",
    ]
    assert apt.states == BROUGHT
    assert target.machine.read()["ran"] == []
    assert unit_state(target) == {"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"}
    assert target.machine.read()["masked"] is False


def test_a_second_run_asks_dpkg_once_and_changes_nothing(target, apt):
    bring(target)
    before = target.snapshot()
    target.machine.calls.clear()
    assert bring(target) == {"changed": False, "done": [], "diff": [], "steps": []}
    assert [argv[0] for argv in target.machine.calls] == ["dpkg-query"]
    assert target.snapshot() == before


def test_check_mode_tells_the_same_and_runs_only_questions(target, apt):
    before = target.snapshot()
    plan = bring(target, check=True)
    assert target.snapshot() == before
    assert apt.calls == []
    assert plan["done"] == bring(target)["done"]


def test_the_lists_are_fetched_only_when_they_lack_the_package(target, apt):
    bring(target)
    assert "apt-get update" not in apt.calls
    take_off(target)
    target.machine.set(listed=False)
    result = bring(target)
    assert "get the lists of packages" in result["steps"]
    assert apt.calls.count("apt-get update") == 1


def test_old_lists_are_fetched_again_when_the_archive_has_moved_on(target, apt):
    apt.says = [None, (100, "E: Failed to fetch http://mirror/nginx_1.24.deb  404  Not Found\n"), None, None]
    bring(target)
    assert apt.calls.count("apt-get update") == 1
    assert apt.states == BROUGHT


@pytest.mark.parametrize("calls_before", [0, 1, 2])
def test_a_lock_that_another_apt_holds_is_waited_for(target, apt, calls_before):
    apt.says = [None] * calls_before + [(100, "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)\n")] * 3
    target.machine.set(listed=calls_before != 1)
    bring(target)
    assert apt.states == BROUGHT


def test_dpkg_that_was_interrupted_is_finished_first(target, apt):
    apt.says = [(100, "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.\n")]
    bring(target)
    assert apt.calls[1] == "dpkg --configure -a"
    assert apt.states == BROUGHT


def test_what_apt_says_is_in_the_message(target, apt):
    with pytest.raises(Failure) as caught:
        bring(target, wanted=["ngnix"])
    assert str(caught.value) == "package ngnix cannot be installed: E: Unable to locate package ngnix"


def test_lists_that_cannot_be_fetched_are_named_as_the_cause(target, apt):
    apt.says = [(100, "E: Unable to locate package nginx\n"), (100, "E: The repository 'http://mirror sid Release' has no Release file\n"),
                (100, "E: Unable to locate package nginx\n")]
    with pytest.raises(Failure) as caught:
        bring(target)
    assert str(caught.value) == "package nginx cannot be installed: E: The repository 'http://mirror sid Release' has no Release file"


def test_a_system_without_dpkg_is_told_so(target, apt):
    del target.machine.programs["dpkg-query"]
    with pytest.raises(Failure) as caught:
        bring(target)
    assert str(caught.value) == "packages nginx are needed, and this host has no dpkg. Only Debian and its kin are supported"


# -- what was there before


def test_a_package_that_was_there_is_used_as_it_is_and_stays(target, apt):
    apt.have("nginx", "nginx-common")
    assert bring(target)["done"] == []
    assert take_off(target)["done"] == []
    assert apt.states == BROUGHT
    assert unit_state(target)["ActiveState"] == "active"
    assert apt.calls == []


def test_a_unit_of_the_packages_name_that_a_person_made_is_left_alone(target, apt):
    apt.unit(LoadState="loaded", ActiveState="active", UnitFileState="enabled")
    steps = bring(target)["steps"]
    assert "hold back nginx.service" not in steps
    assert "leave nginx.service off" not in steps


def test_the_configuration_that_a_removal_by_hand_had_left_is_not_purged(target, apt):
    apt.have(nginx="config-files")
    bring(target)
    take_off(target)
    assert apt.states["nginx"] == "config-files"


# -- removal


def test_removal_takes_the_package_and_what_came_with_it(target, apt):
    bring(target)
    result = take_off(target)
    assert result["done"] == ["package nginx removed"]
    assert apt.states == {}
    assert apt.calls[-1] == "apt-get purge nginx nginx-common"
    assert not target.path("/var/lib/observatory").exists()
    assert not target.path("/run/observatory").exists()


def test_removal_in_check_mode_tells_the_same_and_removes_nothing(target, apt):
    bring(target)
    before = target.snapshot()
    plan = take_off(target, check=True)
    assert target.snapshot() == before
    assert apt.states == BROUGHT
    assert plan["done"] == take_off(target)["done"]


def test_a_package_that_two_components_use_goes_with_the_last_one(target, apt):
    bring(target)
    assert bring(target, name="gateway")["steps"] == ["remember the component", "share package nginx"]
    assert take_off(target)["done"] == []
    assert apt.states == BROUGHT
    assert take_off(target, name="gateway")["done"] == ["package nginx removed"]
    assert apt.states == {}


def test_a_component_that_names_the_package_no_longer_gives_it_back(target, apt):
    bring(target)
    assert bring(target, wanted=[])["done"] == ["package nginx removed"]
    assert apt.states == {}


def test_a_package_that_another_one_needs_by_now_stays(target, apt):
    bring(target)
    apt.have("libnginx-mod-geo")
    result = take_off(target)
    assert result["warnings"] == ["front: package nginx stays: other packages depend on it"]
    assert set(apt.states) == {"nginx", "nginx-common", "libnginx-mod-geo"}
    assert not target.path("/var/lib/observatory").exists()


@pytest.mark.parametrize(("state", "words"), [
    ({"ActiveState": "active"}, "nginx.service runs, which Observatory does not use"),
    ({"UnitFileState": "enabled"}, "nginx.service is enabled, which Observatory does not use"),
])
def test_a_package_whose_own_service_a_person_uses_by_now_stays(target, apt, state, words):
    bring(target)
    apt.unit(**state)
    assert take_off(target)["warnings"] == [f"front: package nginx stays: {words}"]
    assert apt.states == BROUGHT


def test_what_a_person_has_marked_as_wanted_stays(target, apt):
    bring(target)
    target.machine.set(auto=[])
    take_off(target)
    assert apt.states == {"nginx-common": "installed"}


def test_a_package_that_is_gone_already_is_only_forgotten(target, apt):
    bring(target)
    target.machine.set(states={})
    assert take_off(target)["done"] == []
    assert not target.path("/var/lib/observatory").exists()


# -- killed


def test_killed_at_each_step_the_next_run_finishes_and_a_removal_leaves_nothing(target, apt):
    number = 0
    while target.killed_at(number, lambda host: Component(host, {"name": "front", "packages": ["nginx"]}).apply()):
        bring(target)
        assert apt.states == BROUGHT, number
        assert target.machine.read()["masked"] is False
        assert target.machine.read()["ran"] == []
        assert unit_state(target)["UnitFileState"] == "disabled"
        take_off(target)
        assert apt.states == {}
        apt.machine.set(unit={})
        number += 1
    assert number == 6


def test_killed_at_each_step_of_a_removal_the_next_one_finishes(target, apt):
    bring(target)
    number = 0
    while target.killed_at(number, lambda host: Component(host, {"name": "front", "state": "absent"}).apply()):
        take_off(target)
        assert apt.states == {}, number
        assert not target.path("/var/lib/observatory").exists()
        apt.machine.set(unit={})
        bring(target)
        number += 1
    assert number == 2


def test_a_package_left_half_way_is_configured(target, apt):
    bring(target)
    apt.machine.set(states={"nginx": "half-configured", "nginx-common": "installed"})
    steps = bring(target)["steps"]
    assert "finish what dpkg was doing" in steps
    assert apt.states == BROUGHT
    assert os.listdir(target.path("/var/lib/observatory/package")) == ["nginx.json"]
    take_off(target)
    assert apt.states == {}
