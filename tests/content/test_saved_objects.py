"""Kibana's saved objects as the role renders them: every reference leads somewhere, every field is one that is stored, every query parses."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml
from ansible_collections.observatory.core.plugins.module_utils import api_object
from ansible_collections.observatory.core.plugins.module_utils.host import Failure
from shipped import ROOT, read_yaml

sys.path.insert(0, str(ROOT / "lab" / "standins" / "kibana" / "lib"))
sys.path.insert(0, str(ROOT / "tests" / "unit" / "standins" / "kibana"))
from kibana_fakes import FakeElasticsearch, RunningKibana
from kibana_standin import kql, saved_objects

ROLE = ROOT / "roles" / "kibana"
SERVICES = {"shop": {"team": "shop", "logs": {"paths": ["/var/log/shop/*.jsonl"]}}, "quiet": {"team": "shop"}}
# Not in the mapping's list: text of these becomes a keyword as it comes.
OTHER_FIELDS = {"rule.name"}

# As Kibana writes an export: with its own versions and times, and a last line that counts.
EXPORTED = [
    {"type": "dashboard", "id": "shop", "attributes": {"title": "Shop", "panelsJSON": "[]"}, "references": [], "managed": False, "version": "WzEsMV0=",
     "coreMigrationVersion": "8.8.0", "typeMigrationVersion": "10.3.0", "created_at": "2026-11-01T00:00:00.000Z", "updated_at": "2026-11-01T00:00:00.000Z"},
    {"excludedObjects": [], "excludedObjectsCount": 0, "exportedCount": 1, "missingRefCount": 0, "missingReferences": []},
]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Return the role's variables as Ansible evaluates them."""
    folder = tmp_path_factory.mktemp("kibana")
    (folder / "templates").symlink_to(ROLE / "templates")
    play = {
        "hosts": "localhost", "gather_facts": False, "connection": "local", "vars_files": [str(ROLE / "vars" / "main.yml")],
        "vars": {"observatory_services": SERVICES, "kibana_saved_objects_files": [str(folder / "shop.ndjson")]},
        "tasks": [{"ansible.builtin.copy": {
            "content": "{{ {'saved': __kibana_saved_objects, 'views': __kibana_shipped_views + __kibana_service_views, "
                       "'objects': __kibana_objects} | to_json }}",
            "dest": str(folder / "rendered.json"), "mode": "0600",
        }}],
    }
    (folder / "shop.ndjson").write_text("".join(json.dumps(row) + "\n" for row in EXPORTED))
    (folder / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "play.yml"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "rendered.json").read_text())


@pytest.fixture(scope="module")
def objects(rendered):
    return rendered["saved"]


@pytest.fixture(scope="module")
def views(rendered):
    return {view["id"]: view for view in rendered["views"]}


@pytest.fixture(scope="module")
def stored():
    """Return the names of the fields that Elasticsearch's mapping knows."""
    variables = read_yaml(ROOT / "roles" / "elasticsearch" / "vars" / "main.yml")
    listed = set(variables["__elasticsearch_keywords"])
    assert "trace.id" in listed
    text = variables["__elasticsearch_properties"]
    return listed | {name for name in ("@timestamp", "message", "error.message", "event.sequence") if f"'{name}':" in text} | OTHER_FIELDS


def of_type(objects, kind):
    return {row["id"]: row for row in objects if row["type"] == kind}


def source(search):
    return json.loads(search["attributes"]["tabs"][0]["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])


def test_the_objects_are_those_that_the_documentation_names(objects):
    """Fixed ids: links to them stay."""
    assert {kind: sorted(of_type(objects, kind)) for kind in ("search", "lens", "dashboard")} == {
        "search": ["observatory-alert-history", "observatory-errors", "observatory-host-log", "observatory-trace", "observatory-unparsed"],
        "lens": [
            "observatory-alert-events", "observatory-alerts-by-name", "observatory-alerts-over-time", "observatory-errors-by-service",
            "observatory-volume-by-dataset", "observatory-volume-by-level",
        ],
        "dashboard": ["observatory-alerts", "observatory-logs-overview"],
    }
    assert len(objects) == 13


def test_a_service_with_logs_has_a_data_view(views):
    """And one without has none."""
    assert {name: view["title"] for name, view in views.items() if name.startswith("observatory-service-")} == {"observatory-service-shop": "logs-shop-*"}
    assert len({view["name"] for view in views.values()}) == len(views), "Kibana replaces a data view of the same name"


def test_every_reference_leads_to_an_object(objects, views):
    """Within the role: a page with a hole looks like lost data."""
    known = {("index-pattern", name) for name in views} | {(row["type"], row["id"]) for row in objects}
    dangling = [(row["id"], reference) for row in objects for reference in row["references"] if (reference["type"], reference["id"]) not in known]
    assert dangling == []


def test_every_panel_has_its_reference_and_its_own_place(objects):
    """A panel finds its content by a name, and none lies upon another."""
    for dashboard in of_type(objects, "dashboard").values():
        panels = json.loads(dashboard["attributes"]["panelsJSON"])
        references = {reference["name"]: reference for reference in dashboard["references"]}
        assert {f"{panel['panelIndex']}:{panel['panelRefName']}" for panel in panels} == set(references)
        taken = set()
        for panel in panels:
            grid = panel["gridData"]
            assert panel["type"] == references[f"{panel['panelIndex']}:{panel['panelRefName']}"]["type"]
            assert grid["x"] + grid["w"] <= 48, panel["panelIndex"]
            cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
            assert not cells & taken, f"{dashboard['id']}: {panel['panelIndex']} lies upon another"
            taken |= cells


def test_every_chart_is_whole(objects):
    """Each column is in the order, each accessor is a column, and the layer is the one that the reference names."""
    for chart in of_type(objects, "lens").values():
        state = chart["attributes"]["state"]
        (layer, form), = state["datasourceStates"]["formBased"]["layers"].items()
        assert sorted(form["columns"]) == sorted(form["columnOrder"])
        assert [reference["name"] for reference in chart["references"]] == [f"indexpattern-datasource-layer-{layer}"]
        drawn = state["visualization"]
        if chart["attributes"]["visualizationType"] == "lnsXY":
            drawn, = drawn["layers"]
            used = [drawn["xAccessor"], drawn["splitAccessor"], *drawn["accessors"]]
        else:
            used = [column["columnId"] for column in drawn["columns"]]
        assert drawn["layerId"] == layer
        assert sorted(used) == sorted(form["columns"])
        assert form["columns"]["split"]["params"]["orderBy"]["columnId"] in form["columns"]


def test_every_field_is_stored(objects, stored):
    """In a column, a chart or a query: a field that nobody writes shows an empty panel."""
    used = set()
    for search in of_type(objects, "search").values():
        used |= {*search["attributes"]["columns"], *(field for field, _order in search["attributes"]["sort"]), *kql.fields(source(search)["query"]["query"])}
    for chart in of_type(objects, "lens").values():
        state = chart["attributes"]["state"]
        used |= kql.fields(state["query"]["query"])
        for layer in state["datasourceStates"]["formBased"]["layers"].values():
            used |= {column["sourceField"] for column in layer["columns"].values()} - {"___records___"}
    assert used - stored == set()
    assert used >= {"trace.id", "log.level", "data_stream.dataset"}


def test_a_search_says_the_same_in_both_of_its_forms(objects):
    """Kibana reads the tabs, older parts of it the fields beside them."""
    for search in of_type(objects, "search").values():
        (tab,) = search["attributes"]["tabs"]
        beside = {key: value for key, value in search["attributes"].items() if key not in ("title", "description", "tabs")}
        assert tab["attributes"] == beside
        assert source(search)["indexRefName"] == search["references"][0]["name"]


def test_kibana_would_take_the_objects(objects, views):
    """As far as the lab's stand-in knows their forms: also in that of 9.6 and later, in which a search keeps its tabs alone."""
    later = {**saved_objects.TYPES, "search": saved_objects.Type("10.13.0", {"title": str}, {"description": str, "tabs": list}, "discoverApp")}
    for types in (saved_objects.TYPES, later):
        store = {("index-pattern", name): {"id": name} for name in views}

        def get(kind, name, store=store):
            return store.get((kind, name))

        def put(row, store=store):
            store[row["type"], row["id"]] = row

        answer = saved_objects.import_objects(objects, True, get, put, types)
        assert (answer["success"], answer["successCount"]) == (True, len(objects)), answer


def test_what_is_ignored_is_compared_elsewhere_or_kibanas_own(rendered):
    """The fields of a search that its tabs hold too; a dashboard's are all compared."""
    wanted = {entry["name"]: entry for entry in rendered["objects"]}
    assert list(wanted)[-4:] == ["saved searches", "charts", "dashboards", "objects of shop.ndjson"]
    assert wanted["dashboards"]["ignore"] == ["*.typeMigrationVersion", "*.coreMigrationVersion", "*.managed"]
    beside = {key for row in wanted["saved searches"]["body"] for key in row["attributes"]} - {"title", "description", "tabs"}
    assert {f"*.attributes.{key}" for key in beside} == set(wanted["saved searches"]["ignore"]) - set(wanted["dashboards"]["ignore"])
    assert wanted["charts"]["read"]["body"]["objects"] == [{"type": "lens", "id": row["id"]} for row in wanted["charts"]["body"]]


@pytest.fixture
def kibana(tmp_path):
    with FakeElasticsearch() as elasticsearch:
        values = {"elasticsearch.hosts": [elasticsearch.url], "elasticsearch.serviceAccountToken": "the-token"}
        with RunningKibana(tmp_path, values) as server:
            yield server


def task(kibana, rendered):
    """Return the arguments of the role's second task."""
    (arguments,) = (entry["observatory.core.api_object"] for entry in read_yaml(ROLE / "tasks" / "main.yml") if "observatory.core.api_object" in entry)
    return {"timeout": 5, **arguments, "url": kibana.url, "password": "right", "objects": rendered["objects"]}


@pytest.mark.parametrize("newest", ["10.12.0", "10.13.0"])
def test_the_task_fills_kibana_once(kibana, rendered, monkeypatch, newest):
    """A second run changes nothing, also where a newer Kibana has rewritten the searches."""
    attributes = {"description": str, "tabs": list} if newest == "10.13.0" else saved_objects.TYPES["search"].allowed
    monkeypatch.setitem(saved_objects.TYPES, "search", saved_objects.Type(newest, {"title": str}, attributes, "discoverApp"))
    arguments = task(kibana, rendered)
    planned = api_object.apply(arguments, check=True)
    first = api_object.apply(arguments)
    assert first["done"] == planned["done"] == [
        "data view Logs: all created", "data view Logs: hosts created", "data view Logs: platform created", "data view Logs: alert history created",
        "data view Logs: not understood created", "data view Logs: service shop created", "saved searches created", "charts created", "dashboards created",
        "objects of shop.ndjson created",
    ]
    assert first["warnings"] == []
    assert api_object.apply(arguments) == {"changed": False, "done": [], "diff": [], "warnings": []}


def test_what_somebody_has_changed_is_put_back_and_what_is_his_own_stays(kibana, rendered):
    """Our objects are ours by their ids; a data view of a service that is gone goes."""
    arguments = task(kibana, rendered)
    api_object.apply(arguments)
    overview = kibana.store.get("dashboard", "observatory-logs-overview")
    kibana.store.put({**overview, "attributes": {**overview["attributes"], "panelsJSON": "[]"}})
    kibana.store.delete("lens", "observatory-alert-events")
    for name in ("observatory-service-old", "mine"):
        kibana.ask("POST", "/api/data_views/data_view", {"data_view": {"id": name, "title": "logs-x-*", "name": name, "allowNoIndex": True}})
    done = api_object.apply(arguments)["done"]
    assert done == ["charts created", "dashboards updated", "data view observatory-service-old deleted"]
    assert kibana.store.get("index-pattern", "mine") and not kibana.store.get("index-pattern", "observatory-service-old")
    assert api_object.apply(arguments)["done"] == []


def test_objects_that_kibana_refuses_fail_the_task_with_its_words(kibana, rendered):
    """A search on a data view that nobody has made."""
    arguments = task(kibana, rendered)
    arguments["objects"] = [entry for entry in arguments["objects"] if entry["name"] == "saved searches"]
    with pytest.raises(Failure) as caught:
        api_object.apply(arguments)
    assert "saved searches: POST /api/saved_objects/_import?overwrite=true is refused (200)" in str(caught.value)
    assert '"missing_references"' in str(caught.value) and "Nothing was changed" in str(caught.value)
