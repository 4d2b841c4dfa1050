"""Saved objects: which types there are, how older ones are brought up to date, and what import and export answer."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass

CORE_VERSION = "8.8.0"
# Only references to these are looked at by an import, as in Kibana.
CHECKED_REFERENCES = ("index-pattern", "search")
# With one of these nothing at all is imported: a person could resolve them and try again.
RESOLVABLE = ("conflict", "missing_references")
TEXT, TRUTH, LIST, MAPPING, NUMBER = str, bool, list, dict, (int, float)


@dataclass(frozen=True)
class Type:
    """One type: the newest version of its form, what it must have, what it may have."""

    version: str
    needed: dict[str, object]
    allowed: dict[str, object]
    icon: str


SEARCH_TAB = {
    "breakdownField": TEXT, "chartInterval": TEXT, "columns": LIST, "controlGroupJson": TEXT, "density": TEXT, "grid": MAPPING,
    "headerRowHeight": NUMBER, "hideAggregatedPreview": TRUTH, "hideChart": TRUTH, "hideTable": TRUTH, "isTextBasedQuery": TRUTH,
    "kibanaSavedObjectMeta": MAPPING, "refreshInterval": MAPPING, "rowHeight": NUMBER, "rowsPerPage": NUMBER, "sampleSize": NUMBER, "sort": LIST,
    "timeRange": MAPPING, "timeRestore": TRUTH, "usesAdHocDataView": TRUTH, "viewMode": TEXT, "visContext": MAPPING,
}
TYPES = {
    "index-pattern": Type("10.1.0", {"title": TEXT}, {
        "allowHidden": TRUTH, "allowNoIndex": TRUTH, "fieldAttrs": TEXT, "fieldFormatMap": TEXT, "fields": TEXT, "name": TEXT, "runtimeFieldMap": TEXT,
        "sourceFilters": TEXT, "timeFieldName": TEXT, "type": TEXT, "typeMeta": TEXT,
    }, "indexPatternApp"),
    "search": Type("10.12.0", {"title": TEXT}, {"description": TEXT, "hits": NUMBER, "tabs": LIST, "version": NUMBER, **SEARCH_TAB}, "discoverApp"),
    "lens": Type("10.1.0", {"title": TEXT, "state": MAPPING, "visualizationType": TEXT}, {"description": TEXT, "version": NUMBER}, "lensApp"),
    "dashboard": Type("10.4.0", {"title": TEXT}, {
        "controlGroupInput": MAPPING, "description": TEXT, "hits": NUMBER, "kibanaSavedObjectMeta": MAPPING, "optionsJSON": TEXT, "panelsJSON": TEXT,
        "projectRouting": TEXT, "refreshInterval": MAPPING, "sections": LIST, "timeFrom": TEXT, "timeRestore": TRUTH, "timeTo": TEXT, "version": NUMBER,
    }, "dashboardApp"),
    "tag": Type("8.0.0", {"name": TEXT, "color": TEXT}, {"description": TEXT}, "tag"),
}
# The first version in which a search keeps its tabs, and the one in which it keeps nothing else.
TABS_ADDED, TABS_ONLY = (10, 6, 0), (10, 13, 0)
LENS_FORM_BASED = (8, 6, 0)


class Refused(Exception):
    """An answer that is an error: status and message, and what Kibana puts beside it."""

    def __init__(self, status: int, message: str, attributes: dict | None = None):
        super().__init__(message)
        self.status = status
        self.attributes = attributes


def version(text: object) -> tuple[int, ...]:
    return tuple(int(part) for part in str(text).split(".")) if text else (0,)


def parse(text: str, limit: int) -> list[dict]:
    """Return the objects of an uploaded file; the line that counts them is none."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise Refused(400, f"Unexpected token in JSON on line {number}: {error}") from error
        if not isinstance(row, dict):
            raise Refused(400, f"line {number} is no object")
        if "exportedCount" not in row:
            rows.append(row)
    if len(rows) > limit:
        raise Refused(400, f"Can't import more than {limit} objects")
    return rows


def migrate(row: dict, types: dict[str, Type] | None = None) -> dict:
    """Return an object in the newest form; raises Refused for one of a newer Kibana, or whose content no version would take."""
    kind = (types or TYPES)[row["type"]]
    # Without a version every step is taken from the first on.
    found = version(row.get("typeMigrationVersion"))
    if found > version(kind.version):
        raise Refused(422, (
            f"Document \"{row['id']}\" belongs to a more recent version of Kibana [{row['typeMigrationVersion']}] "
            f"when the last known version is [{kind.version}]."
        ))
    attributes = json.loads(json.dumps(row.get("attributes") or {}))
    if row["type"] == "lens" and found < LENS_FORM_BASED and "formBased" in ((attributes.get("state") or {}).get("datasourceStates") or {}):
        # Steps of old versions look for another form and fail, and Kibana says no more than this.
        raise Refused(500, "An internal server error occurred. Check Kibana server logs for details.")
    if row["type"] == "search":
        attributes = _migrated_search(attributes, found, version(kind.version))
    result = {
        "type": row["type"], "id": row["id"], "attributes": attributes, "references": row.get("references") or [], "managed": bool(row.get("managed")),
        "coreMigrationVersion": CORE_VERSION, "typeMigrationVersion": kind.version,
    }
    _check(result, kind)
    return result


def _migrated_search(attributes: dict, found: tuple, newest: tuple) -> dict:
    if newest >= TABS_ADDED and (found < TABS_ADDED or "tabs" not in attributes):
        own = {key: value for key, value in attributes.items() if key not in ("title", "description", "hits", "version", "tabs")}
        attributes = {**attributes, "tabs": [{"id": str(uuid.uuid4()), "label": "Untitled", "attributes": own}]}
    if newest >= TABS_ONLY:
        attributes = {key: attributes[key] for key in ("title", "description", "tabs") if key in attributes}
    return attributes


def _check(row: dict, kind: Type) -> None:
    """Refuse attributes that the type does not have, or of another type of value."""
    attributes = row["attributes"]
    for name in kind.needed:
        if name not in attributes:
            _invalid(row, name, "expected value of type [string] but got [undefined]")
    known = {**kind.allowed, **kind.needed}
    for name, value in attributes.items():
        if name not in known:
            _invalid(row, name, "definition for this key is missing")
        if value is not None and not isinstance(value, known[name]):  # type: ignore[arg-type]
            _invalid(row, name, f"a value of type [{type(value).__name__}] is not expected")
    for place, tab in enumerate(attributes.get("tabs") or []):
        if not isinstance(tab, dict) or set(tab) != {"id", "label", "attributes"}:
            _invalid(row, f"tabs.{place}", "a tab has id, label and attributes")
        for name in tab["attributes"]:
            if name not in SEARCH_TAB:
                _invalid(row, f"tabs.{place}.attributes.{name}", "definition for this key is missing")
        if not isinstance((tab["attributes"].get("kibanaSavedObjectMeta") or {}).get("searchSourceJSON"), str):
            _invalid(row, f"tabs.{place}.attributes.kibanaSavedObjectMeta.searchSourceJSON", "expected value of type [string] but got [undefined]")
    for name in ("panelsJSON", "optionsJSON"):
        try:
            json.loads(attributes.get(name) or "[]")
        except ValueError as error:
            _invalid(row, name, f"is no JSON: {error}")


def _invalid(row: dict, name: str, why: str) -> None:
    raise Refused(400, f"Failed to validate attributes of {row['type']}:{row['id']}: [attributes.{name}]: {why}: Bad Request")


def import_objects(
    rows: list[dict], overwrite: bool, get: Callable[[str, str], dict | None], put: Callable[[dict], None], types: dict[str, Type] | None = None
) -> dict:
    """Import objects; return Kibana's answer. `get` and `put` are the store."""
    types = types or TYPES
    names = [f"{row.get('type')}:{row.get('id')}" for row in rows]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise Refused(400, f"Non-unique import objects detected: [{','.join(double)}]")
    errors = [_error(row, {"type": "unsupported_type"}) for row in rows if row.get("type") not in types]
    rows = [row for row in rows if row.get("type") in types]
    here = {(row["type"], row["id"]) for row in rows}
    for row in rows:
        missing = [
            {"type": reference["type"], "id": reference["id"]} for reference in row.get("references") or []
            if reference["type"] in CHECKED_REFERENCES and (reference["type"], reference["id"]) not in here and not get(reference["type"], reference["id"])
        ]
        if missing:
            errors.append(_error(row, {"type": "missing_references", "references": missing}))
    if not overwrite:
        errors += [_error(row, {"type": "conflict"}) for row in rows if get(row["type"], row["id"])]
    failed = {(error["type"], error["id"]) for error in errors}
    # All are brought up to date before the first is written: one of a newer Kibana refuses the whole file.
    made = [migrate(row, types) for row in rows if (row["type"], row["id"]) not in failed]
    if any(error["error"]["type"] in RESOLVABLE for error in errors):
        done = []
    else:
        done = made
        for row in made:
            put(row)
    result: dict = {"success": not errors, "successCount": len(done), "warnings": []}
    results = [
        {"type": row["type"], "id": row["id"], "meta": {"title": _title(row), "icon": types[row["type"]].icon}, "managed": row["managed"],
         **({"overwrite": True} if overwrite else {})} for row in made
    ]
    if results:
        result["successResults"] = results
    if errors:
        result["errors"] = errors
    return result


def _title(row: dict) -> str:
    attributes = row.get("attributes") or {}
    return attributes.get("title") or attributes.get("name") or ""


def _error(row: dict, error: dict) -> dict:
    return {"id": row.get("id"), "type": row.get("type"), "title": _title(row), "meta": {"title": _title(row)}, "error": error}


def export_objects(body: dict, get: Callable[[str, str], dict | None], every: Callable[[str], list[dict]], limit: int) -> str:
    """Return the lines of an export."""
    for key in body:
        if key not in ("type", "objects", "hasReference", "search", "includeReferencesDeep", "excludeExportDetails"):
            raise Refused(400, f"[request body.{key}]: definition for this key is missing")
    for key in ("hasReference", "search"):
        if key in body:
            raise Refused(400, f"[request body.{key}]: the stand-in does not export by {key}")
    kinds, objects = body.get("type") or [], body.get("objects") or []
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if bool(kinds) == bool(objects):
        raise Refused(400, "Can't specify both \"types\" and \"objects\" properties when exporting" if kinds else "Either `type` or `objects` are required.")
    if len(objects) > limit:
        raise Refused(400, f"Can't export more than {limit} objects")
    wrong = [f"{entry.get('type')}:{entry.get('id')}" for entry in objects if entry.get("type") not in TYPES] + [kind for kind in kinds if kind not in TYPES]
    if wrong:
        raise Refused(400, f"Trying to export {'object' if objects else 'non-exportable type'}(s) with non-exportable types: {', '.join(wrong)}")
    rows = [row for kind in kinds for row in every(kind)]
    absent = []
    for entry in objects:
        row = get(entry["type"], entry["id"])
        if row:
            rows.append(row)
        else:
            absent.append({"id": entry["id"], "type": entry["type"], "error": {
                "statusCode": 404, "error": "Not Found", "message": f"Saved object [{entry['type']}/{entry['id']}] not found"}})
    if absent:
        raise Refused(400, "Error fetching objects to export", {"objects": absent})
    if body.get("includeReferencesDeep"):
        _add_references(rows, get)
    shown = [{key: value for key, value in row.items() if key != "namespaces"} for row in _sorted(rows)]
    missing = [reference for row in rows for reference in row["references"] if not get(reference["type"], reference["id"])]
    if not body.get("excludeExportDetails"):
        shown.append({
            "excludedObjects": [], "excludedObjectsCount": 0, "exportedCount": len(rows), "missingRefCount": len(missing),
            "missingReferences": [{"id": reference["id"], "type": reference["type"]} for reference in missing],
        })
    return "\n".join(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in shown)


def _add_references(rows: list[dict], get: Callable[[str, str], dict | None]) -> None:
    known = {(row["type"], row["id"]) for row in rows}
    for row in rows:
        for reference in row["references"]:
            key = (reference["type"], reference["id"])
            found = get(*key)
            if found and key not in known:
                known.add(key)
                rows.append(found)


def _sorted(rows: list[dict]) -> list[dict]:
    """What is referred to comes before what refers to it."""
    result: list[dict] = []
    waiting = {(row["type"], row["id"]): row for row in rows}

    def add(key: tuple[str, str]) -> None:
        row = waiting.pop(key, None)
        if row:
            for reference in row["references"]:
                add((reference["type"], reference["id"]))
            result.append(row)

    for key in list(waiting):
        add(key)
    return result
