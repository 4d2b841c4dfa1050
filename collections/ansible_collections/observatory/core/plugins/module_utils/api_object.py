"""Objects behind a product's HTTP API: read, normalise, compare, write. All but `Api` is pure."""

from __future__ import annotations

import fnmatch
import json
import os
import time

from .host import Failure
from .tls import basic_authorization, opener

REQUEST_TIMEOUT_SECONDS = 30
RETRY_SECONDS = 1.0
# Answers of a product that is not ready yet, or that has too much to do: the same request may succeed later.
BUSY = (429, 502, 503, 504)
WORDS_LIMIT = 1000
SHOWN_PATHS = 3
BOUNDARY = "observatory-7c1f0f8e5a"
SECRET = "(secret)"
NOTHING = object()
TLS_FILES = ("ca", "cert", "key")

READ_SPEC = {
    "method": {"type": "str", "choices": ["GET", "POST"], "default": "GET"},
    "path": {"type": "str"},
    "body": {"type": "raw"},
    "absent": {"type": "list", "elements": "int", "default": [404]},
}
WRITE_SPEC = {
    "method": {"type": "str", "choices": ["PUT", "POST", "PATCH"], "default": "PUT"},
    "path": {"type": "str"},
    "format": {"type": "str", "choices": ["json", "ndjson", "multipart"], "default": "json"},
    "under": {"type": "str"},
    "beside": {"type": "dict", "default": {}},
}
OBJECT_SPEC = {
    "name": {"type": "str", "required": True},
    "path": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "create": {"type": "bool", "default": True},
    "body": {"type": "raw"},
    "select": {"type": "str", "default": ""},
    "ignore": {"type": "list", "elements": "str", "default": []},
    "compare": {"type": "str", "choices": ["exact", "subset"], "default": "exact"},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "read": {"type": "dict", "options": READ_SPEC},
    "write": {"type": "dict", "options": WRITE_SPEC},
}
OWN_SPEC = {
    "name": {"type": "str", "required": True},
    "path": {"type": "str", "required": True},
    "select": {"type": "str", "default": ""},
    "key": {"type": "str", "required": True},
    "match": {"type": "str", "default": "*"},
    "object": {"type": "str", "required": True},
}
SPEC = {
    "url": {"type": "str", "required": True},
    "ca": {"type": "path"},
    "cert": {"type": "path"},
    "key": {"type": "path", "no_log": False},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "headers": {"type": "dict", "default": {}},
    "timeout": {"type": "int", "default": 60},
    "objects": {"type": "list", "elements": "dict", "required": True, "options": OBJECT_SPEC},
    "own": {"type": "list", "elements": "dict", "default": [], "options": OWN_SPEC},
}


class Unreachable(Exception):
    """Nobody listens there, or what the connection needs is not on this host yet."""


# -- pure: paths, normal form, comparison


def split_path(path):
    r"""Return the keys of a dotted path; `\.` is a dot within a key, `*` any key or element."""
    keys = path.replace("\\.", "\0").split(".") if path else []
    return [key.replace("\0", ".") for key in keys]


def select(node, path):
    """Return the part of an answer that a dotted path leads to, or NOTHING."""
    for key in split_path(path):
        if isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        else:
            return NOTHING
    return node


def without(node, paths):
    """Return a copy of `node` in which the fields at dotted paths are missing."""
    return _without(node, [split_path(path) for path in paths])


def _without(node, paths):
    if not isinstance(node, (dict, list)) or not paths:
        return node
    entries = node.items() if isinstance(node, dict) else enumerate(node)
    kept = []
    for key, value in entries:
        below = [path[1:] for path in paths if path[0] in (str(key), "*")]
        if [] not in below:
            kept.append((key, _without(value, below)))
    return dict(kept) if isinstance(node, dict) else [value for _key, value in kept]


def with_values(node, values):
    """Return a copy of `node` with {dotted path: value} put in; missing mappings on the way are made."""
    node = json.loads(json.dumps(node))
    for path, value in values.items():
        keys = split_path(path)
        place = node
        for key in keys[:-1]:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        if isinstance(place, list):
            place[int(keys[-1])] = value
        else:
            place[keys[-1]] = value
    return node


def parse(text, lines=False):
    """Return JSON text as data, NDJSON (or any text with `lines`) as a list sorted by type and id; other text as it is."""
    if not lines:
        try:
            return json.loads(text)
        except ValueError:
            pass
    try:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError:
        return text
    # The last line of an export counts its objects; it is none itself.
    return sorted((row for row in rows if not (isinstance(row, dict) and "exportedCount" in row)), key=_identity)


def _identity(row):
    return (str(row.get("type")), str(row.get("id"))) if isinstance(row, dict) else ("", str(row))


def normalise(node):
    """Return the form in which declarations and answers are compared.

    Numbers and booleans become text (Elasticsearch answers the setting 1 with "1"), text that holds a JSON object or list
    becomes data (Kibana keeps some fields that way, and writes them anew).
    """
    if isinstance(node, dict):
        return {str(key): normalise(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [normalise(value) for value in node]
    if isinstance(node, bool):
        return "true" if node else "false"
    if isinstance(node, float) and node.is_integer():
        return str(int(node))
    if isinstance(node, (int, float)):
        return str(node)
    if isinstance(node, str) and node[:1] in ("{", "["):
        try:
            return normalise(json.loads(node))
        except ValueError:
            return str(node)
    return node if node is None else str(node)


def difference(wanted, found, exact, path=""):
    """Return where two normal forms differ, as dotted paths. What the server has beyond the declaration counts when `exact`.

    Nothing, an empty mapping and an empty list count as a field that is not there.
    """
    if isinstance(wanted, dict) and isinstance(found, dict):
        result = []
        for key in sorted(set(wanted) | set(found)):
            below = (path + "." if path else "") + key.replace(".", "\\.")
            if key not in wanted:
                result += [below] if exact and found[key] not in (None, {}, []) else []
            elif key not in found:
                result += [] if wanted[key] is None else [below]
            else:
                result += difference(wanted[key], found[key], exact, below)
        return result
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [
            place for index, pair in enumerate(zip(wanted, found))
            for place in difference(pair[0], pair[1], exact, "{0}{1}{2}".format(path, "." if path else "", index))
        ]
    return [] if wanted == found else [path or "the whole"]


def projected(found, wanted):
    """Return the part of an answer that a declaration speaks of, for a diff."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return {key: projected(found[key], value) for key, value in wanted.items() if key in found}
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [projected(pair[0], pair[1]) for pair in zip(found, wanted)]
    return found


class Target:
    """One declared object."""

    def __init__(self, spec):
        self.name = spec["name"]
        self.path = spec["path"]
        self.absent = spec.get("state") == "absent"
        self.create = spec.get("create", True)
        self.exact = spec.get("compare", "exact") == "exact"
        self.secrets = spec.get("secrets") or {}
        self._ignore = spec.get("ignore") or []
        self._select = spec.get("select") or ""
        read, write = spec.get("read") or {}, spec.get("write") or {}
        self.read_method = read.get("method") or "GET"
        self.read_path = read.get("path") or self.path
        self.read_body = read.get("body")
        self.absent_codes = read.get("absent") or [404]
        self.write_method = write.get("method") or "PUT"
        self.write_path = write.get("path") or self.path
        self.format = write.get("format") or "json"
        self._under, self._beside = write.get("under"), write.get("beside") or {}
        body = spec.get("body")
        if body is None and not self.absent:
            raise Failure("{0}: a body is needed, or state: absent".format(self.name))
        self._lines = self.format != "json"
        self.body = parse(body, self._lines) if isinstance(body, str) else body
        if self._lines and isinstance(self.body, list):
            self.body = sorted(self.body, key=_identity)
        if not self.absent and not isinstance(self.body, list if self._lines else (dict, list)):
            kind = "one JSON object a line" if self._lines else "a mapping or a list"
            raise Failure("{0}: the body must be {1}".format(self.name, kind))

    def wanted(self):
        """Return the normal form of the declaration, without what the server makes by itself."""
        return normalise(without(with_values(self.body, self.secrets), self._ignore))

    def found(self, text):
        """Return the normal form of an answer, or NOTHING when the object is not in it."""
        node = select(parse(text, self._lines), self._select)
        return NOTHING if node is NOTHING else normalise(without(node, self._ignore))

    def differs(self, found):
        """Return where the server's object differs; a secret that the server does not show is not compared."""
        if found is NOTHING:
            return ["the whole"]
        hidden = [path for path in self.secrets if select(found, path) is NOTHING]
        return difference(without(self.wanted(), hidden), found, self.exact)

    def payload(self):
        """Return (bytes, content type) to write."""
        body = with_values(self.body, self.secrets)
        if self._lines:
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in body)
            return _multipart(text) if self.format == "multipart" else (text.encode(), "application/x-ndjson")
        if self._under:
            body = dict(self._beside, **{self._under: body})
        elif self._beside:
            body = dict(self._beside, **body)
        return json.dumps(body, ensure_ascii=False).encode(), "application/json"

    def diff(self, found):
        """Return the entry for the module's `diff`; secrets are never in it."""
        after = {} if self.absent else self.wanted()
        before = found
        if found is not NOTHING and not self.exact and not self.absent:
            before = projected(found, after)
        return {"before_header": self.name, "after_header": self.name,
                "before": self._shown(before), "after": "" if self.absent else self._shown(after)}

    def _shown(self, node):
        if node is NOTHING:
            return ""
        known = {path: SECRET for path in self.secrets if select(node, path) is not NOTHING}
        return self.hide(json.dumps(with_values(node, known), indent=2, sort_keys=True, ensure_ascii=False) + "\n")

    def hide(self, text):
        """Return a text without the secrets: a server may repeat what it has been sent."""
        for value in sorted((str(value) for value in self.secrets.values()), key=len, reverse=True):
            text = text.replace(value, SECRET) if value else text
        return text


def plan(targets, answers):
    """Return [(target, verb, found)] in the order of work: writes as listed, then deletions from the last to the first.

    answers: what each target's `found` has given. What refers to another object is listed after it.
    """
    writes, deletions = [], []
    for target, found in zip(targets, answers):
        if target.absent:
            if found is not NOTHING:
                deletions.insert(0, (target, "delete", found))
        elif (found is not NOTHING or target.create) and target.differs(found):
            writes.append((target, "create" if found is NOTHING else "update", found))
    return writes + deletions


def stale(family, text, targets):
    """Return [(target, found)] of a family's objects that are on the server and not declared."""
    declared = {target.path for target in targets}
    entries = select(parse(text), family.get("select") or "")
    result = []
    for entry in entries if isinstance(entries, list) else []:
        key = select(entry, family["key"])
        if key is NOTHING or not fnmatch.fnmatchcase(str(key), family.get("match") or "*"):
            continue
        path = family["object"].replace("{key}", str(key))
        if path not in declared:
            result.append((Target({"name": "{0} {1}".format(family["name"], key), "path": path, "state": "absent"}), normalise(entry)))
    return result


def refused(text):
    """Whether an answer of 2xx says that not all was done: imports and bulk requests do that."""
    answer = parse(text)
    return isinstance(answer, dict) and (answer.get("success") is False or bool(answer.get("errors")) or answer.get("acknowledged") is False)


def words(text):
    """Return a server's reason as a person would quote it: Elasticsearch's chain of causes, Kibana's message, else the text."""
    answer = parse(text)
    if not isinstance(answer, dict):
        return text.strip()[:WORDS_LIMIT] or "it gave no reason"
    error = answer.get("error")
    if isinstance(error, dict):
        reasons = []
        while isinstance(error, dict):
            reason = ": ".join(str(error[key]) for key in ("type", "reason") if error.get(key))
            if reason:
                reasons.append(reason)
            error = error.get("caused_by")
        if reasons:
            return "; caused by ".join(reasons)[:WORDS_LIMIT].rstrip(".")
    if answer.get("message"):
        return str(answer["message"])[:WORDS_LIMIT].rstrip(".")
    return json.dumps(answer.get("errors") or answer, ensure_ascii=False, sort_keys=True)[:WORDS_LIMIT]


def _multipart(text):
    head = (
        "--{0}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"import.ndjson\"\r\nContent-Type: application/ndjson\r\n\r\n"
    ).format(BOUNDARY)
    return (head + text + "\r\n--{0}--\r\n".format(BOUNDARY)).encode(), "multipart/form-data; boundary=" + BOUNDARY


# -- the server


class Api:
    """Asks, and asks again while the product starts; `opener(request, timeout)` and the clock are those of tests."""

    def __init__(self, params, opener=None, clock=time.monotonic, sleep=time.sleep):
        self.url = params["url"].rstrip("/")
        self._params = params
        self._timeout = params["timeout"]
        self._open = opener
        self._clock, self._sleep = clock, sleep
        self._deadline = clock() + self._timeout

    def ask(self, method, path, body=None, content_type="application/json", patient=True):
        """Return (status, text); raises Unreachable at once unless `patient`, else Failure when the time is up."""
        import http.client  # late: most modules need none
        import urllib.error
        import urllib.request

        self._check_files(patient)
        request = urllib.request.Request(self.url + "/" + path.lstrip("/"), data=body, method=method, headers=self._headers())
        if body is not None:
            request.add_header("Content-Type", content_type)
        while True:
            status, text = None, ""
            try:
                self._open = self._open or opener(self.url, *(self._params.get(kind) for kind in TLS_FILES)).open
                with self._open(request, timeout=REQUEST_TIMEOUT_SECONDS) as answer:
                    status, text = answer.status, answer.read().decode("utf-8", "replace")
            except urllib.error.HTTPError as error:
                status, text = error.code, error.read().decode("utf-8", "replace")
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", error)
                absent = isinstance(reason, ConnectionRefusedError)
                problem = "{0} does not answer ({1})".format(self.url, getattr(reason, "strerror", None) or reason)
                if absent and not patient:
                    raise Unreachable(problem)
                # What has been sent may have been done: only a request that met nobody is sent again, and one that only asks.
                if not absent and method != "GET":
                    raise Failure("{0}: {1} {2} was sent, whether it was done is not known. Run again".format(problem, method, path))
            if status is not None and status not in BUSY:
                return status, text
            if self._clock() >= self._deadline:
                if status is None:
                    raise Failure("{0} within {1} seconds. Is the product running there?".format(problem, self._timeout))
                return status, text
            self._sleep(RETRY_SECONDS)

    def _check_files(self, patient):
        """The TLS library does not say which file it misses."""
        for path in (self._params.get(kind) for kind in TLS_FILES):
            if path and not os.path.exists(path):
                raise (Failure if patient else Unreachable)("{0} cannot be asked: {1} does not exist".format(self.url, path))

    def _headers(self):
        headers = {str(name): str(value) for name, value in (self._params.get("headers") or {}).items()}
        if self._params.get("user"):
            headers["Authorization"] = basic_authorization(self._params["user"], self._params.get("password"))
        return headers


def apply(params, check=False, api=None):
    """Bring the objects to their declared state; return the module's result.

    All are read before any is written. The first write that is refused ends the run: what was written before it stays (and is
    named), nothing after it is tried.
    """
    api = api or Api(params)
    targets = [Target(spec) for spec in params["objects"]]
    result = {"changed": False, "done": [], "diff": [], "warnings": []}
    try:
        answers = [_read(api, target, patient=not check) for target in targets]
        for family in params.get("own") or []:
            for target, found in stale(family, _list(api, family, patient=not check), targets):
                targets.append(target)
                answers.append(found)
    except Unreachable as problem:
        answers = [NOTHING for _target in targets]
        result["warnings"].append("{0}: its {1} objects count as missing".format(problem, len(targets)))
    for target, verb, found in plan(targets, answers):
        if not check:
            _write(api, target, verb, result["done"])
        result["done"].append("{0} {1}d".format(target.name, verb))
        result["diff"].append(target.diff(found))
        if not check and verb != "delete":
            result["warnings"] += _verify(api, target)
    result["changed"] = bool(result["done"])
    return result


def _read(api, target, patient=True):
    body = None if target.read_body is None else json.dumps(target.read_body).encode()
    status, text = api.ask(target.read_method, target.read_path, body, patient=patient)
    if status in target.absent_codes:
        return NOTHING
    if not 200 <= status < 300:
        raise Failure("{0}: {1} {2} answers {3}: {4}".format(
            target.name, target.read_method, target.read_path, status, target.hide(words(text))
        ))
    return target.found(text)


def _list(api, family, patient):
    status, text = api.ask("GET", family["path"], patient=patient)
    if status == 404:
        return ""
    if not 200 <= status < 300:
        raise Failure("{0}: GET {1} answers {2}: {3}".format(family["name"], family["path"], status, words(text)))
    return text


def _write(api, target, verb, done):
    if verb == "delete":
        method, path, body, content_type = "DELETE", target.path, None, ""
    else:
        method, path = target.write_method, target.write_path
        body, content_type = target.payload()
    try:
        status, text = api.ask(method, path, body, content_type)
    except Failure as failure:
        raise Failure("{0}: {1}{2}".format(target.name, failure, _so_far(done)), changed=True)
    if (verb == "delete" and status == 404) or (200 <= status < 300 and not refused(text)):
        return
    raise Failure(
        "{0}: {1} {2} is refused ({3}): {4}{5}".format(target.name, method, path, status, target.hide(words(text)), _so_far(done)),
        changed=bool(done),
    )


def _so_far(done):
    return ". Done before it: {0}; nothing after it was tried".format(", ".join(done)) if done else ". Nothing was changed"


def _verify(api, target):
    """Return a warning when the server shows another object than the one that it has just taken: it would be written each time."""
    places = target.differs(_read(api, target))
    if not places:
        return []
    more = "" if len(places) <= SHOWN_PATHS else " and {0} more".format(len(places) - SHOWN_PATHS)
    return [
        "{0}: after the write the server still shows something else at {1}{2}. What the server makes by itself belongs in `ignore`".format(
            target.name, ", ".join(places[:SHOWN_PATHS]), more
        )
    ]
