"""Saved objects on disk below path.data, one file each, replaced atomically. (Kibana keeps them in Elasticsearch.)"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
import urllib.parse


class Store:
    """All objects, in memory and on disk."""

    def __init__(self, folder: str, clock=time.time):
        self._folder = folder
        self._clock = clock
        self._lock = threading.RLock()
        self._objects: dict[tuple[str, str], dict] = {}
        self._number = 0
        os.makedirs(folder, exist_ok=True)
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if name.endswith(".part"):
                os.unlink(path)
                continue
            with open(path, encoding="utf-8") as handle:
                entry = json.load(handle)
            self._objects[entry["object"]["type"], entry["object"]["id"]] = entry["object"]
            self._number = max(self._number, entry["number"])

    def get(self, kind: str, name: str) -> dict | None:
        with self._lock:
            return self._objects.get((kind, name))

    def every(self, kind: str) -> list[dict]:
        with self._lock:
            return [row for key, row in sorted(self._objects.items()) if key[0] == kind]

    def put(self, row: dict) -> dict:
        """Create or replace an object; return it as it is stored."""
        with self._lock:
            key = (row["type"], row["id"])
            now = self._clock()
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
            self._number += 1
            stored = {
                **row, "namespaces": ["default"], "created_at": self._objects.get(key, {}).get("created_at", moment), "updated_at": moment,
                "version": base64.b64encode(f"[{self._number},1]".encode()).decode(),
            }
            path = self._path(*key)
            with open(path + ".part", "w", encoding="utf-8") as handle:
                json.dump({"number": self._number, "object": stored}, handle)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(path + ".part", path)
            self._objects[key] = stored
            return stored

    def delete(self, kind: str, name: str) -> bool:
        with self._lock:
            if (kind, name) not in self._objects:
                return False
            os.unlink(self._path(kind, name))
            del self._objects[kind, name]
            return True

    def _path(self, kind: str, name: str) -> str:
        return os.path.join(self._folder, urllib.parse.quote(f"{kind}:{name}", safe=":") + ".json")
