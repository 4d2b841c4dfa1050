"""SIGKILL at every step of a run: the list of steps is the code's own, so that a new step is tested at once."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass

import pytest
from toy import APP, FORGET, HUB, OBSERVE, OTHER_PASSWORD, Beacon, Run, State, everything, playbook

# What is declared, what was before it, what is done on the host before a run that is killed, and the runs that are killed: the way
# there, completed by the next run; the way there, `abandoned`: the next run is given what was before; the way back.
CHANGES = {
    "upgrade": (
        {"version": "1.1.0", "parts": {"added.json": {"message": "new"}}},
        {"parts": {"old.json": {"message": "old"}}},
        FORGET,
        ("abandoned", "there"),
    ),
    "reload": ({"message": "new", "password": OTHER_PASSWORD}, {}, "true", ("there",)),
    "install": ({}, {"state": "absent", "remove_data": True}, "true", ("abandoned", "there", "back")),
}


@dataclass
class Leg:
    """One run that was interrupted, and the two after it."""

    name: str
    step: int
    begun: dict
    killed: State
    ended: State | None = None
    repeated: dict | None = None


def legs(run: Run, host: str, first: int, every: int, ways: int) -> list[Leg]:
    """Return what happened on a host, out of the results in their order: the host's first step, and the distance to its next."""
    found: list[Leg] = []
    last: dict = {}
    for line in run.results:
        if line["host"] != host:
            continue
        if line["task"].startswith("See killed "):
            step = first + len(found) // ways * every
            found.append(Leg(line["task"].split()[-1], step, last, State(**json.loads(line["result"]["stdout"]))))
        elif line["task"].startswith("See converged "):
            found[-1].ended = State(**json.loads(line["result"]["stdout"]))
        elif line["task"].startswith("beacon : "):
            last = line["result"]
            if found and found[-1].ended and not found[-1].repeated:
                found[-1].repeated = last
    return found


def differences(state: State, wanted: State, *, kept: bool) -> list[str]:
    """Return the paths that differ; with `kept` a release that is kept beside the current one may be there or not."""
    shapes = [
        {path: entry for path, entry in one.shape().items() if not (kept and re.match(r"/opt/observatory/beacon/(previous|\.?1\.1\.0)", path))}
        for one in (state, wanted)
    ]
    return sorted(path for path in {*shapes[0], *shapes[1]} if shapes[0].get(path) != shapes[1].get(path))


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_killed_at_any_step_is_completed_or_taken_back_by_the_next(
    beacon: Beacon, bare: dict[str, list[str]], capsys: pytest.CaptureFixture[str], change: str
) -> None:
    """SIGKILL at each step that the code itself lists: the service goes on answering, and the next run reaches the whole state.

    The next run goes on to the new state, or back to the old one; both leave what a run without a kill leaves, and nothing else.
    """
    *declared, clean, names = CHANGES[change]
    there, back = (beacon.variables("", True, wanted)["beacon"] for wanted in declared)
    hosts = (HUB, APP)
    beacon.converge(hosts=",".join(hosts), **declared[1])
    ways = [
        {"leg": name, "killed": True, "begin": back if name == "back" else there, "end": there if name == "there" else back} for name in names
    ]
    if names[-1] != "back":
        ways.append({"leg": "back", "killed": False, "end": back})
    variables = {"beacon_hosts": ",".join(hosts), "clean": clean, "observe": f"python3 -c {shlex.quote(OBSERVE)}", "ways": ways}
    # No run has a step of this number: this one shows what runs without a kill do.
    whole = playbook("killed.yml", {**variables, "rounds": 1, "first_step": 1000}, record=beacon.record)
    assert whole.code == 0, whole.output
    expected = {leg.name: leg for leg in legs(whole, HUB, 1000, 0, len(names))}
    steps = {name: leg.begun["steps"] for name, leg in expected.items()}
    # One more than there are: the last run is not killed any longer.
    rounds = -(-(max(map(len, steps.values())) + 1) // len(hosts))
    done = playbook("killed.yml", {**variables, "rounds": rounds, "first_step": 0}, record=beacon.record)
    assert done.code == 0, done.output
    seen = [leg for number, host in enumerate(hosts) for leg in legs(done, host, number, len(hosts), len(names))]
    for leg in seen:
        where = f"{leg.name}, killed at step {leg.step}: {dict(enumerate(steps[leg.name])).get(leg.step)}"
        assert ("steps" in leg.begun) == (leg.step >= len(steps[leg.name])), f"{where}: {leg.begun}"
        assert change == "install" or leg.killed.answer, f"{where}: nothing answers"
        end = expected[leg.name].ended
        assert differences(leg.ended, end, kept=leg.name == "abandoned") == [], where
        assert (leg.ended.user, leg.ended.words) == (end.user, end.words), where
        assert (leg.ended.temporary, leg.ended.unit["NeedDaemonReload"]) == ([], "no"), where
        assert leg.repeated["changed"] is False, f"{where}: {leg.repeated}"
    for name, list_of_steps in steps.items():
        assert {leg.step for leg in seen if leg.name == name} >= set(range(len(list_of_steps) + 1)), name
    if change == "install":
        assert {host: everything(host) for host in hosts} == bare
    with capsys.disabled():
        print(f"\n{change}: killed at each of " + ", ".join(f"{len(list_of_steps)} steps {name}" for name, list_of_steps in steps.items()))
