"""Saved objects and data views over HTTP: what is taken, what is refused and how, and that nothing half written is left."""

from __future__ import annotations

import json

import pytest
from kibana_standin import saved_objects
from kibana_standin.store import Store

INDEX = "kibanaSavedObjectMeta.searchSourceJSON.index"
SOURCE = json.dumps({"query": {"language": "kuery", "query": "log.level : error"}, "filter": [], "indexRefName": INDEX})
TAB = {"columns": ["message"], "sort": [["@timestamp", "desc"]], "kibanaSavedObjectMeta": {"searchSourceJSON": SOURCE}}
VIEW = {"id": "logs", "title": "logs-*", "name": "Logs", "timeFieldName": "@timestamp", "allowNoIndex": True}


def search(name="errors", **changes):
    return {
        "type": "search", "id": name, "typeMigrationVersion": "10.6.0",
        "attributes": {"title": "Errors", "tabs": [{"id": "t", "label": "Errors", "attributes": TAB}], **TAB},
        "references": [{"type": "index-pattern", "id": "logs", "name": INDEX}], **changes,
    }


def dashboard(name="overview", **changes):
    return {"type": "dashboard", "id": name, "typeMigrationVersion": "8.9.0", "attributes": {"title": "Overview", "panelsJSON": "[]"},
            "references": [{"type": "search", "id": "errors", "name": "p:panel_p"}], **changes}


def chart(**changes):
    return {"type": "lens", "id": "chart", "typeMigrationVersion": "8.9.0", "references": [],
            "attributes": {"title": "Chart", "visualizationType": "lnsXY", "state": {"datasourceStates": {"formBased": {"layers": {}}}}}, **changes}


@pytest.fixture
def with_view(kibana):
    assert kibana.ask("POST", "/api/data_views/data_view", {"data_view": VIEW})[0] == 200
    return kibana


# -- data views


def test_a_data_view_is_made_shown_listed_changed_and_deleted(kibana, elasticsearch):
    """With the fields that Elasticsearch has for it."""
    elasticsearch.documents = [{"message": "x"}]
    status, answer, _headers = kibana.ask("POST", "/api/data_views/data_view", {"data_view": VIEW})
    view = answer["data_view"]
    assert (status, {key: view[key] for key in VIEW}) == (200, VIEW)
    assert (view["fields"]["message"]["type"], view["fields"]["message"]["aggregatable"]) == ("string", False)
    assert kibana.ask("GET", "/api/data_views/data_view/logs")[1] == answer
    assert kibana.ask("GET", "/api/data_views")[1] == {
        "data_view": [{"id": "logs", "namespaces": ["default"], "title": "logs-*", "name": "Logs", "timeFieldName": "@timestamp"}]}
    changed = kibana.ask("POST", "/api/data_views/data_view/logs", {"data_view": {"name": "All"}})[1]["data_view"]
    assert (changed["name"], changed["title"]) == ("All", "logs-*")
    assert kibana.ask("DELETE", "/api/data_views/data_view/logs")[0] == 200
    assert kibana.ask("GET", "/api/data_views/data_view/logs")[:2] == (
        404, {"statusCode": 404, "error": "Not Found", "message": "Saved object [index-pattern/logs] not found"})


@pytest.mark.parametrize(("body", "message"), [
    ({"data_view": {"id": "x"}}, "[request body.data_view.title]: expected value of type [string] but got [undefined]"),
    ({"data_view": {"title": "x", "timefieldname": "t"}}, "[request body.data_view.timefieldname]: definition for this key is missing"),
    ({"data_view": {"title": 1}}, "[request body.data_view.title]: a value of type [int] is not expected"),
    ({"dataview": {}}, "[request body.dataview]: definition for this key is missing"),
    ({"data_view": {"title": "other-*", "name": "Logs"}}, "Duplicate data view: Logs"),
])
def test_a_wrong_data_view_is_refused(with_view, body, message):
    """By the name of what is wrong."""
    status, answer, _headers = with_view.ask("POST", "/api/data_views/data_view", body)
    assert (status, answer["message"]) == (400, message)


def test_override_replaces_the_data_view_of_that_name(with_view):
    """Even one with another id: names are unique in Kibana."""
    assert with_view.ask("POST", "/api/data_views/data_view", {"data_view": {**VIEW, "id": "new"}, "override": True})[0] == 200
    assert [view["id"] for view in with_view.ask("GET", "/api/data_views")[1]["data_view"]] == ["new"]


def test_the_default_data_view_stays_unless_forced(kibana):
    """As somebody may have chosen it."""
    assert kibana.ask("GET", "/api/data_views/default")[1] == {"data_view_id": ""}
    for name, force, after in (("a", False, "a"), ("b", False, "a"), ("b", True, "b")):
        assert kibana.ask("POST", "/api/data_views/default", {"data_view_id": name, "force": force})[1] == {"acknowledged": True}
        assert kibana.ask("GET", "/api/data_views/default")[1] == {"data_view_id": after}


# -- import


def test_objects_are_imported_exported_and_found_again(with_view):
    """What comes out is what went in, and what Kibana adds; what is referred to comes first."""
    status, answer, _headers = with_view.load([dashboard(), search(managed=True)])
    assert (status, answer["success"], answer["successCount"]) == (200, True, 2)
    assert answer["successResults"][1] == {
        "type": "search", "id": "errors", "meta": {"title": "Errors", "icon": "discoverApp"}, "managed": True, "overwrite": True}
    wanted = {"objects": [{"type": "dashboard", "id": "overview"}, {"type": "search", "id": "errors"}]}
    status, text, headers = with_view.ask("POST", "/api/saved_objects/_export", wanted)
    rows = [json.loads(line) for line in text.splitlines()]
    assert (status, headers["Content-Type"], [row.get("id") for row in rows]) == (200, "application/ndjson", ["errors", "overview", None])
    assert rows[2] == {"excludedObjects": [], "excludedObjectsCount": 0, "exportedCount": 2, "missingRefCount": 0, "missingReferences": []}
    assert (rows[0]["attributes"], rows[0]["managed"], rows[0]["typeMigrationVersion"]) == (search()["attributes"], True, "10.12.0")
    assert {"version", "updated_at", "created_at"} <= set(rows[0])
    assert with_view.ask("GET", "/api/saved_objects/search/errors")[1]["attributes"] == search()["attributes"]
    found = with_view.ask("POST", "/api/saved_objects/_bulk_get", [{"type": "search", "id": "errors"}, {"type": "search", "id": "none"}])[1]["saved_objects"]
    assert [row.get("error", {}).get("statusCode") for row in found] == [None, 404]
    assert with_view.ask("GET", "/api/saved_objects/_find?type=dashboard")[1]["total"] == 1
    assert with_view.ask("DELETE", "/api/saved_objects/dashboard/overview")[:2] == (200, {})
    assert with_view.ask("DELETE", "/api/saved_objects/dashboard/overview")[0] == 404


def test_an_export_can_follow_references_and_leave_out_its_count(with_view):
    """As the options say."""
    with_view.load([search(), dashboard()])
    body = {"objects": [{"type": "dashboard", "id": "overview"}], "includeReferencesDeep": True, "excludeExportDetails": True}
    text = with_view.ask("POST", "/api/saved_objects/_export", body)[1]
    assert [json.loads(line)["id"] for line in text.splitlines()] == ["logs", "errors", "overview"]


@pytest.mark.parametrize(("body", "message"), [
    ({}, "Either `type` or `objects` are required."),
    ({"objects": [{"type": "search", "id": "none"}]}, "Error fetching objects to export"),
    ({"objects": [{"type": "poem", "id": "x"}]}, "Trying to export object(s) with non-exportable types: poem:x"),
    ({"type": "poem"}, "Trying to export non-exportable type(s) with non-exportable types: poem"),
    ({"type": "search", "objects": [{"type": "search", "id": "x"}]}, 'Can\'t specify both "types" and "objects" properties when exporting'),
    ({"type": "search", "deep": True}, "[request body.deep]: definition for this key is missing"),
])
def test_a_wrong_export_is_refused(kibana, body, message):
    """One missing object refuses all of them, and names itself."""
    status, answer, _headers = kibana.ask("POST", "/api/saved_objects/_export", body)
    assert (status, answer["message"]) == (400, message)


def test_unknown_types_are_refused_and_the_others_taken(with_view):
    """As in Kibana: nobody could resolve it."""
    answer = with_view.load([search(), {"type": "poem", "id": "x", "attributes": {"title": "Rose"}}])[1]
    assert (answer["success"], answer["successCount"]) == (False, 1)
    assert answer["errors"] == [{"id": "x", "type": "poem", "title": "Rose", "meta": {"title": "Rose"}, "error": {"type": "unsupported_type"}}]


def test_missing_references_are_named_and_nothing_is_taken(kibana):
    """Of data views and searches; Kibana looks at no others."""
    answer = kibana.load([search(), chart(references=[{"type": "tag", "id": "none", "name": "t"}])])[1]
    assert (answer["success"], answer["successCount"]) == (False, 0)
    assert answer["errors"] == [{
        "id": "errors", "type": "search", "title": "Errors", "meta": {"title": "Errors"},
        "error": {"type": "missing_references", "references": [{"type": "index-pattern", "id": "logs"}]},
    }]
    assert kibana.ask("GET", "/api/saved_objects/lens/chart")[0] == 404


def test_what_is_there_is_a_conflict_unless_overwritten(with_view):
    """By default nothing is replaced."""
    with_view.load([search()])
    answer = with_view.load([search()], query="")[1]
    assert [error["error"] for error in answer["errors"]] == [{"type": "conflict"}]


@pytest.mark.parametrize(("row", "status", "message"), [
    (search(typeMigrationVersion="10.99.0"), 422,
     'Document "errors" belongs to a more recent version of Kibana [10.99.0] when the last known version is [10.12.0].'),
    (chart(typeMigrationVersion=""), 500, "An internal server error occurred. Check Kibana server logs for details."),
    (dashboard(references=[], attributes={"title": "x", "panelJSON": "[]"}), 400,
     "Failed to validate attributes of dashboard:overview: [attributes.panelJSON]: definition for this key is missing: Bad Request"),
    (dashboard(references=[], attributes={"panelsJSON": "[]"}), 400,
     "Failed to validate attributes of dashboard:overview: [attributes.title]: expected value of type [string] but got [undefined]: Bad Request"),
    (dashboard(references=[], attributes={"title": "x", "timeRestore": "yes"}), 400,
     "Failed to validate attributes of dashboard:overview: [attributes.timeRestore]: a value of type [str] is not expected: Bad Request"),
    (search(attributes={"title": "x", "tabs": [{"id": "t", "label": "t", "attributes": {}}]}), 400,
     "Failed to validate attributes of search:errors: [attributes.tabs.0.attributes.kibanaSavedObjectMeta.searchSourceJSON]: "
     "expected value of type [string] but got [undefined]: Bad Request"),
])
def test_an_object_that_kibana_would_not_take_refuses_the_file(with_view, row, status, message):
    """Nothing of it is written, not even what is right."""
    found, answer, _headers = with_view.load([search("good"), row] if row["id"] != "good" else [row])
    assert (found, answer["message"]) == (status, message)
    assert with_view.ask("GET", "/api/saved_objects/search/good")[0] == 404


@pytest.mark.parametrize(("rows", "changes", "status", "message"), [
    ("{oops\n", {}, 400, "Unexpected token in JSON on line 1: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ([search(), search()], {}, 400, "Non-unique import objects detected: [search:errors]"),
    ([search()], {"name": "objects.json"}, 400, "Invalid file extension .json"),
    ([search()], {"query": "?overwrite=true&createNewCopies=true"}, 400, "cannot use [overwrite] with [createNewCopies]"),
    ([search()], {"query": "?overwrit=true"}, 400, "[request query.overwrit]: definition for this key is missing"),
    ([search()], {"headers": {"Content-Type": "application/json"}}, 415, "Unsupported Media Type"),
    ([search()], {"headers": {"kbn-xsrf": None}}, 400, "Request must contain a kbn-xsrf header."),
])
def test_a_wrong_upload_is_refused(with_view, rows, changes, status, message):
    """Malformed lines, twins, another kind of file or request."""
    found, answer, _headers = with_view.load(rows, **changes)
    assert (found, answer["message"]) == (status, message)


def test_an_older_search_gets_tabs_and_a_newer_kibana_keeps_nothing_else():
    """The steps 6 and 13 of the type, as Kibana's source has them."""
    old = {**search(), "typeMigrationVersion": "10.5.0", "attributes": {"title": "Errors", **TAB}}
    made = saved_objects.migrate(old)["attributes"]
    assert (made["tabs"][0]["attributes"], made["columns"]) == (TAB, ["message"])
    later = {"search": saved_objects.Type("10.13.0", {"title": str}, {"description": str, "tabs": list}, "discoverApp")}
    assert saved_objects.migrate(search(), later)["attributes"] == {"title": "Errors", "tabs": search()["attributes"]["tabs"]}


# -- on disk


def test_objects_outlive_a_restart(tmp_path):
    """And a file that a kill has left half written counts for nothing."""
    store = Store(str(tmp_path))
    first = store.put({"type": "search", "id": "a/b ü", "attributes": {"title": "x"}, "references": [], "managed": False})
    store.put({"type": "search", "id": "gone", "attributes": {}, "references": [], "managed": False})
    assert store.delete("search", "gone")
    (tmp_path / "search:c.json.part").write_text('{"number": 9, "obj')
    again = Store(str(tmp_path))
    assert again.get("search", "a/b ü") == first
    assert [row["id"] for row in again.every("search")] == ["a/b ü"]
    second = again.put({**first, "attributes": {"title": "y"}})
    assert (second["created_at"], second["version"] != first["version"]) == (first["created_at"], True)
    assert list(tmp_path.glob("*.part")) == []
