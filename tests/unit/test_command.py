"""The command `observatory`: obs' words, and Ansible's output taken apart."""

from __future__ import annotations

import pytest

from observatory import __main__ as command


@pytest.mark.parametrize(("words", "obs"), [
    (["ack", "HostDown", "host=app1", "--comment", "on it"], ["ack", "HostDown", "host=app1", "--comment", "on it", "--author", "ann"]),
    (["ack", "HostDown", "--comment", "x", "--author", "joe"], ["ack", "HostDown", "--comment", "x", "--author", "joe"]),
    (["alerts", "history", "--since", "7d"], ["history", "--since", "7d"]),
    (["alert", "test", "--team", "shop", "--channel", "slack"], ["alert-test", "--team", "shop", "--channel", "slack"]),
])
def test_a_command_is_one_of_obs(words, obs):
    assert command.translate(words, "ann") == obs


def test_an_unknown_command_is_told_what_there_is(capsys):
    with pytest.raises(SystemExit):
        command.main(["alerts", "list"])
    assert "expected ack, alerts history, alert test" in capsys.readouterr().err


def test_an_unknown_site_is_named(capsys):
    with pytest.raises(SystemExit):
        command.main(["--site", "nowhere", "ack", "X"])
    assert "inventories/nowhere does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(("output", "code", "text"), [
    ("hub | CHANGED | rc=0 >>\nacknowledged until x\nsilence 1\n", 0, "acknowledged until x\nsilence 1\n"),
    ("hub | FAILED | rc=1 >>\nobs: no alert of X fiesnon-zero return code\n", 1, "obs: no alert of X fies\n"),
    ("hub | CHANGED | rc=0 >>\n", 0, ""),
    ('hub | UNREACHABLE! => {\n    "msg": "no route"\n}\n', 1, 'error: hub cannot be asked: { "msg": "no route" }\n'),
])
def test_what_ansible_prints_is_taken_apart(output, code, text):
    assert command.answer(output) == (code, text)
