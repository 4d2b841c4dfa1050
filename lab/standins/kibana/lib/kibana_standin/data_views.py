"""Data views: the form of their own API above saved objects of the type index-pattern."""

from __future__ import annotations

import json
import urllib.parse
import uuid
from collections.abc import Callable

from .saved_objects import CORE_VERSION, TYPES, Refused
from .store import Store

SPEC = {
    "title": str, "name": str, "id": str, "version": str, "timeFieldName": str, "allowNoIndex": bool, "allowHidden": bool, "namespaces": list,
    "sourceFilters": list, "fieldFormats": dict, "fieldAttrs": dict, "fields": dict, "runtimeFieldMap": dict, "type": str, "typeMeta": dict, "managed": bool,
}
# Kept as text within the saved object.
AS_TEXT = {
    "sourceFilters": "sourceFilters", "fieldFormats": "fieldFormatMap", "fieldAttrs": "fieldAttrs", "runtimeFieldMap": "runtimeFieldMap",
    "typeMeta": "typeMeta",
}
DEFAULT = "default_data_view"
# What an update may change.
CHANGEABLE = ("title", "name", "timeFieldName", "allowNoIndex", "allowHidden", *AS_TEXT)


class DataViews:
    """`fields_of(title)` returns Elasticsearch's field capabilities, as the person who asks."""

    def __init__(self, store: Store):
        self._store = store

    def list(self) -> dict:
        """Return all, in short."""
        return {"data_view": [
            {"id": row["id"], "namespaces": row["namespaces"], "title": row["attributes"]["title"],
             **{key: row["attributes"][key] for key in ("name", "timeFieldName") if row["attributes"].get(key)}}
            for row in self._store.every("index-pattern")
        ]}

    def get(self, name: str, fields_of: Callable[[str], dict]) -> dict:
        row = self._found(name)
        attributes = row["attributes"]
        view = {
            "id": row["id"], "version": row["version"], "title": attributes["title"], "name": attributes.get("name") or attributes["title"],
            "timeFieldName": attributes.get("timeFieldName"), "sourceFilters": [], "fields": {}, "typeMeta": {}, "fieldFormats": {}, "runtimeFieldMap": {},
            "fieldAttrs": {}, "allowNoIndex": bool(attributes.get("allowNoIndex")), "allowHidden": bool(attributes.get("allowHidden")),
            "namespaces": row["namespaces"], "managed": row["managed"],
        }
        for key, kept in AS_TEXT.items():
            if attributes.get(kept):
                view[key] = json.loads(attributes[kept])
        for field, kinds in sorted(fields_of(attributes["title"]).items()):
            kind = sorted(kinds)[0]
            view["fields"][field] = {
                "name": field, "type": {"keyword": "string", "text": "string", "long": "number", "flattened": "flattened"}.get(kind, kind), "esTypes": [kind],
                "searchable": kinds[kind].get("searchable", False), "aggregatable": kinds[kind].get("aggregatable", False), "count": 0, "scripted": False,
                "readFromDocValues": kinds[kind].get("aggregatable", False), "isMapped": True, "shortDotsEnable": False, "format": {"id": "string"},
            }
        if not view["fields"] and not view["allowNoIndex"]:
            raise Refused(404, f"No matching indices found: No indices match \"{attributes['title']}\"")
        return {"data_view": view}

    def create(self, body: dict, fields_of: Callable[[str], dict]) -> dict:
        _keys(body, ("data_view", "override", "refresh_fields"))
        spec = _spec(body.get("data_view"))
        if "title" not in spec:
            raise Refused(400, "[request body.data_view.title]: expected value of type [string] but got [undefined]")
        name = spec.get("name") or spec["title"]
        for row in self._store.every("index-pattern"):
            if (row["attributes"].get("name") or row["attributes"]["title"]) == name:
                if not body.get("override"):
                    raise Refused(400, f"Duplicate data view: {name}")
                self._store.delete("index-pattern", row["id"])
        identity = spec.get("id") or str(uuid.uuid4())
        if self._store.get("index-pattern", identity) and not body.get("override"):
            raise Refused(409, f"Saved object [index-pattern/{identity}] conflict")
        self._put(identity, _attributes(spec, {}))
        return self.get(identity, fields_of)

    def update(self, name: str, body: dict, fields_of: Callable[[str], dict]) -> dict:
        _keys(body, ("data_view", "refresh_fields"))
        spec = _spec(body.get("data_view"))
        for key in spec:
            if key not in CHANGEABLE:
                raise Refused(400, f"[request body.data_view.{key}]: definition for this key is missing")
        if not spec:
            raise Refused(400, "Index pattern change set is empty.")
        self._put(name, _attributes(spec, self._found(name)["attributes"]))
        return self.get(name, fields_of)

    def delete(self, name: str) -> None:
        self._found(name)
        self._store.delete("index-pattern", name)

    def default(self) -> dict:
        row = self._store.get(DEFAULT, DEFAULT)
        return {"data_view_id": row["attributes"]["id"] if row else ""}

    def set_default(self, body: dict) -> dict:
        _keys(body, ("data_view_id", "force"))
        if body.get("force") or not self.default()["data_view_id"]:
            self._store.put({"type": DEFAULT, "id": DEFAULT, "attributes": {"id": body.get("data_view_id") or ""}, "references": [], "managed": False})
        return {"acknowledged": True}

    def _found(self, name: str) -> dict:
        row = self._store.get("index-pattern", name)
        if not row:
            raise Refused(404, f"Saved object [index-pattern/{name}] not found")
        return row

    def _put(self, name: str, attributes: dict) -> None:
        self._store.put({
            "type": "index-pattern", "id": name, "attributes": attributes, "references": [], "managed": False, "coreMigrationVersion": CORE_VERSION,
            "typeMigrationVersion": TYPES["index-pattern"].version,
        })


def _keys(body: object, known: tuple[str, ...]) -> None:
    if not isinstance(body, dict):
        raise Refused(400, "[request body]: expected a plain object value, but found [null] instead.")
    for key in body:
        if key not in known:
            raise Refused(400, f"[request body.{key}]: definition for this key is missing")


def _spec(spec: object) -> dict:
    if not isinstance(spec, dict):
        raise Refused(400, "[request body.data_view]: expected a plain object value, but found [undefined] instead.")
    for key, value in spec.items():
        if key not in SPEC:
            raise Refused(400, f"[request body.data_view.{key}]: definition for this key is missing")
        if not isinstance(value, SPEC[key]):
            raise Refused(400, f"[request body.data_view.{key}]: a value of type [{type(value).__name__}] is not expected")
    return spec


def _attributes(spec: dict, before: dict) -> dict:
    result = {**before, **{key: spec[key] for key in ("title", "name", "timeFieldName", "allowNoIndex", "allowHidden", "type") if key in spec}}
    for key, kept in AS_TEXT.items():
        if key in spec:
            result[kept] = json.dumps(spec[key])
    return result


def field_capabilities(path: str) -> str:
    """Return the path at which Elasticsearch shows the fields of an index pattern."""
    return f"/{urllib.parse.quote(path, safe=',*')}/_field_caps?fields=*&ignore_unavailable=true&allow_no_indices=true"
