"""The program that stands in for Ansible's archive: run by a bare Python, as on a host."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.observatory.core.plugins.module_utils.component import SPEC, pack
from ansible_collections.observatory.core.plugins.plugin_utils.lean import LeanAction, program

MODULES = Path(__file__).resolve().parents[3] / "collections/ansible_collections/observatory/core/plugins/modules"


def run(path, arguments):
    """Return (exit code, answer) of a module's program, run without site-packages: Ansible is not there."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-"], input=program(str(path), json.dumps(arguments)), capture_output=True, text=True, check=False
    )
    assert done.stdout.strip(), done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def module(tmp_path):
    def write(body, spec="{}"):
        path = tmp_path / "module.py"
        path.write_text(
            "from ansible.module_utils.basic import AnsibleModule\n"
            f"def main():\n    module = AnsibleModule(argument_spec={spec}, supports_check_mode=True)\n    {body}\n"
            "if __name__ == '__main__':\n    main()\n"
        )
        return path

    return write


def test_an_answer(module):
    assert run(module("module.exit_json(changed=True, got=module.params)"), {"name": "é", "_ansible_verbosity": 0}) == (
        0, {"changed": True, "got": {"name": "é"}}
    )


def test_check_mode_and_diff_arrive(module):
    path = module("module.exit_json(check=module.check_mode, diff=module._diff)")
    assert run(path, {"_ansible_check_mode": True, "_ansible_diff": True})[1] == {"changed": False, "check": True, "diff": True}
    assert run(path, {})[1] == {"changed": False, "check": False, "diff": False}


def test_a_failure(module):
    assert run(module("module.fail_json(msg='no', done=[1])"), {}) == (0, {"changed": False, "failed": True, "msg": "no", "done": [1]})


def test_warnings_are_beside_the_answer(module):
    assert run(module("module.warn('look'), module.exit_json()"), {})[1]["warnings"] == ["look"]


def test_an_error_of_the_module_is_a_failure_with_its_place(module):
    code, answer = run(module("{}['x']"), {})
    assert code == 1
    assert answer["failed"] and answer["msg"] == "KeyError: 'x'"
    assert "module.py" in answer["exception"]


def test_no_answer_holds_a_secret(module):
    spec = (
        "{'password': {'no_log': True}, 'keys': {'no_log': True}, 'objects': {'options': {'secrets': {'no_log': True}, 'name': {}}}, 'user': {}}"
    )
    given = {"password": "hunter2", "keys": ["first-key"], "objects": [{"name": "x", "secrets": {"a": "inner-secret"}}], "user": "admin"}
    answer = run(module("module.fail_json(msg='u:admin p:hunter2', tried=['first-key', {'x': 'inner-secret'}])", spec), given)[1]
    assert "hunter2" not in json.dumps(answer) and "key'" not in json.dumps(answer) and "inner" not in json.dumps(answer)
    assert answer["msg"] == "u:admin p:VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


def _lean_modules():
    actions = MODULES.parent / "action"
    return sorted(path.stem for path in actions.glob("*.py") if "LeanAction" in path.read_text())


def test_the_modules_that_run_often_are_lean():
    assert {"component", "config_tree", "api_object", "preflight"} <= set(_lean_modules())


@pytest.mark.parametrize("name", _lean_modules())
def test_a_module_needs_nothing_of_ansible(name):
    """Started without options, each fails by a missing one, not by an import."""
    answer = run(MODULES / f"{name}.py", {})[1]
    assert answer["failed"]
    assert answer["msg"].startswith("KeyError"), answer


def test_component_answers_in_check_mode(tmp_path):
    from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

    declaration = ArgumentSpecValidator(SPEC).validate(
        {"name": "nothing", "directories": [{"path": str(tmp_path / "data"), "mode": "0750"}]}
    ).validated_parameters
    answer = run(MODULES / "component.py", {"payload": pack(declaration), "_ansible_check_mode": True})[1]
    assert answer["changed"] is True
    assert "data" in json.dumps(answer["done"])
    assert not (tmp_path / "data").exists()


def test_a_host_without_a_known_python_takes_ansibles_own_way():
    action = SimpleNamespace(_templar=SimpleNamespace(template=lambda value: value), _task=SimpleNamespace(delegate_to=None))
    assert LeanAction._interpreter(action, {"ansible_python_interpreter": "/usr/bin/python3"}) == "/usr/bin/python3"
    assert LeanAction._interpreter(action, {"ansible_python_interpreter": "auto_silent"}) is None
