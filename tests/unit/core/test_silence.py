"""Silences of a maintenance, against an Alertmanager of the test."""

from __future__ import annotations

import json

import pytest
from ansible_collections.observatory.core.plugins.module_utils import silence
from ansible_collections.observatory.core.plugins.module_utils.host import Failure

GIVEN = {"url": "https://x", "state": "present", "hosts": ["app1"], "services": [], "duration": "2h", "author": "ann", "reason": "new kernel"}


class Api:
    def __init__(self, state="active"):
        self.asked, self.state = [], state

    def __call__(self, method, path, body, absent=None):
        self.asked.append((method, path, body))
        return json.dumps({"silenceID": "abc", "status": {"state": self.state}})


def test_hosts_and_services_have_a_silence_each_with_who_and_why():
    api = Api()
    result = silence.apply({**GIVEN, "hosts": ["db.1", "app1"], "services": ["shop"]}, now=0, ask=api)
    assert [body["matchers"] for _m, _p, body in api.asked] == [
        [{"name": "host", "value": r"app1|db\.1", "isRegex": True, "isEqual": True}],
        [{"name": "service_name", "value": "shop", "isRegex": True, "isEqual": True}],
    ]
    assert api.asked[0][2]["createdBy"] == "ann" and api.asked[0][2]["comment"] == "maintenance: new kernel"
    assert (api.asked[0][2]["startsAt"], api.asked[0][2]["endsAt"]) == ("1970-01-01T00:00:00Z", "1970-01-01T02:00:00Z")
    assert result["silences"][0] == {"id": "abc", "what": "hosts app1, db.1", "until": "1970-01-01T02:00:00Z"}


def test_check_mode_asks_nothing():
    api = Api()
    result = silence.apply(GIVEN, check=True, now=0, ask=api)
    assert api.asked == [] and result["changed"] and result["silences"][0]["id"] is None


@pytest.mark.parametrize(("change", "words"), [
    ({"reason": " "}, "reason is missing"), ({"author": None}, "author is missing"), ({"duration": "soon"}, "duration is 'soon'"),
    ({"duration": "0m"}, "duration is '0m'"), ({"hosts": []}, "neither hosts nor services"),
])
def test_what_makes_no_silence(change, words):
    with pytest.raises(Failure, match=words):
        silence.apply({**GIVEN, **change}, now=0, ask=Api())


def test_a_silence_is_lifted_once():
    api = Api()
    lift = {**GIVEN, "state": "absent", "id": "abc"}
    assert silence.apply(lift, ask=api)["changed"] is True
    assert [entry[0] for entry in api.asked] == ["GET", "DELETE"]
    assert silence.apply(lift, ask=Api("expired"))["changed"] is False
    asked = Api()
    assert silence.apply(lift, check=True, ask=asked)["changed"] is True and [entry[0] for entry in asked.asked] == ["GET"]


def test_which_silence_has_to_be_said():
    with pytest.raises(Failure, match="id is missing"):
        silence.apply({**GIVEN, "state": "absent"}, ask=Api())
