"""Objects behind an API: only what differs is written, in order, and a refusal shows the server's words."""

import base64
import copy
import http.server
import io
import json
import re
import socket
import threading
import urllib.parse

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.observatory.core.plugins.module_utils import api_object
from ansible_collections.observatory.core.plugins.module_utils.api_object import NOTHING, Api, Target, apply, difference, normalise
from ansible_collections.observatory.core.plugins.module_utils.host import Failure
from ansible_collections.observatory.core.plugins.modules import api_object as module


class Product(http.server.BaseHTTPRequestHandler):
    """Behaves like Elasticsearch below /_…, like Kibana below /api/…: fills objects up, changes types, refuses bad bodies."""

    def do_GET(self):
        self.handle_any()

    do_PUT = do_POST = do_DELETE = do_GET

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state = self.server.state
        state["requests"].append(f"{self.command} {self.path}")
        state["headers"].append(dict(self.headers))
        if state["busy"]:
            state["busy"] -= 1
            return self.answer(503, {"error": {"type": "not_ready", "reason": "starting"}, "status": 503})
        if self.headers.get("Authorization") != "Basic " + base64.b64encode(b"admin:s3cret").decode():
            return self.answer(401, {"error": {"type": "security_exception", "reason": "missing authentication credentials"}, "status": 401})
        path = urllib.parse.urlsplit(self.path).path
        for prefix, method in (("/_component_template/", self.template), ("/_snapshot/", self.repository), ("/api/data_views/", self.data_view),
                               ("/api/saved_objects/", self.saved_objects)):
            if path.startswith(prefix):
                return method(path[len(prefix):], body)
        return self.answer(400, b"no handler found for uri\n")

    def template(self, name, body):
        store = self.server.state["templates"]
        if self.command == "PUT":
            template = json.loads(body)
            if "mapings" in template["template"]:
                cause = {"type": "illegal_argument_exception", "reason": "unknown key [mapings]"}
                return self.answer(400, {
                    "error": {"root_cause": [], "type": "x_content_parse_exception", "reason": "failed to parse template", "caused_by": cause},
                    "status": 400,
                })
            settings = template["template"].get("settings", {}).get("index", {})
            template["template"].setdefault("settings", {})["index"] = {key: str(value).lower() for key, value in settings.items()}
            template["created_date_millis"] = len(self.server.state["requests"])
            store[name] = template
            return self.answer(200, {"acknowledged": True})
        if "*" in name:
            found = [key for key in sorted(store) if key.startswith(name.rstrip("*"))]
            return self.answer(200, {"component_templates": [{"name": key, "component_template": store[key]} for key in found]})
        if name not in store:
            return self.answer(404, {"error": {"type": "resource_not_found_exception", "reason": f"[{name}] not found"}, "status": 404})
        if self.command == "DELETE":
            del store[name]
            return self.answer(200, {"acknowledged": True})
        return self.answer(200, {"component_templates": [{"name": name, "component_template": store[name]}]})

    def repository(self, name, body):
        store = self.server.state["repositories"]
        if self.command == "PUT":
            store[name] = json.loads(body)
            if store[name]["settings"].get("secret_key") == "wrong-k3y":
                return self.answer(500, {"error": {"type": "repository_verification_exception", "reason": "wrong-k3y is no key"}, "status": 500})
            return self.answer(200, {"acknowledged": True})
        if name not in store:
            return self.answer(404, {"error": {"type": "repository_missing_exception", "reason": name}, "status": 404})
        shown = copy.deepcopy(store[name])
        shown["settings"].pop("secret_key", None)
        return self.answer(200, {name: {**shown, "uuid": "u"}})

    def data_view(self, name, body):
        store = self.server.state["views"]
        if self.command == "POST":
            sent = json.loads(body)
            if self.headers.get("kbn-xsrf") != "true":
                return self.answer(400, {"statusCode": 400, "error": "Bad Request", "message": "Request must contain a kbn-xsrf header."})
            assert sent["override"] is True
            store[sent["data_view"]["id"]] = {**sent["data_view"], "version": "WzE=", "fields": {"a": {}}, "allowNoIndex": False}
            return self.answer(200, {"data_view": store[sent["data_view"]["id"]]})
        name = name.rsplit("/", 1)[-1]
        if name not in store:
            return self.answer(404, {"statusCode": 404, "error": "Not Found", "message": "Saved object [index-pattern/x] not found"})
        return self.answer(200, {"data_view": store[name]})

    def saved_objects(self, verb, body):
        store = self.server.state["saved"]
        if verb == "_import":
            text = re.search(rb'name="file"; filename="[^"]+\.ndjson"\r\nContent-Type: application/ndjson\r\n\r\n(.*)\r\n--', body, re.DOTALL)[1]
            rows = [json.loads(line) for line in text.decode().splitlines()]
            errors = [{"id": row["id"], "error": {"type": "unsupported_type"}} for row in rows if row["type"] == "poem"]
            for row in rows if not errors else []:
                attributes = {**row["attributes"], "hits": 0}
                if "panelsJSON" in attributes:
                    attributes["panelsJSON"] = json.dumps(json.loads(attributes["panelsJSON"]), indent=1)
                store[(row["type"], row["id"])] = {**row, "attributes": attributes, "version": "WzE=", "updated_at": "now", "managed": False}
            return self.answer(200, {"success": not errors, "successCount": len(rows) - len(errors), **({"errors": errors} if errors else {})})
        asked = [(entry["type"], entry["id"]) for entry in json.loads(body)["objects"]]
        if any(key not in store for key in asked):
            return self.answer(400, {"statusCode": 400, "error": "Bad Request", "message": "Error fetching objects to export"})
        rows = [store[key] for key in reversed(asked)] + [{"exportedCount": len(asked), "missingRefCount": 0}]
        return self.answer(200, "\n".join(json.dumps(row) for row in rows).encode(), "application/ndjson")

    def answer(self, status, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def product():
    """Return the running product; its `state` is what it knows and what it has been asked."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Product) as server:
        server.state = {"templates": {}, "repositories": {}, "views": {}, "saved": {}, "requests": [], "headers": [], "busy": 0}
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def params(product, *objects, **changes):
    return {"url": product.url, "user": "admin", "password": "s3cret", "headers": {"kbn-xsrf": "true"}, "timeout": 5,
            "objects": list(objects), **changes}


def template(name, replicas=1, **changes):
    return {
        "name": f"component template {name}", "path": f"/_component_template/{name}", "select": "component_templates.0.component_template",
        "ignore": ["created_date_millis"],
        "body": {"template": {"settings": {"index": {"number_of_replicas": replicas, "hidden": True}}, "aliases": {}}}, **changes,
    }


BROKEN = template("broken", body={"template": {"mapings": {}}})


def repository(key="k3y", location="/backup"):
    return {
        "name": "snapshot repository", "path": "/_snapshot/a.b", "select": "a\\.b", "ignore": ["uuid"],
        "body": {"type": "s3", "settings": {"bucket": location}}, "secrets": {"settings.secret_key": key},
    }


DATA_VIEW = {
    "name": "data view logs", "path": "/api/data_views/data_view/logs", "select": "data_view", "compare": "subset",
    "body": {"id": "logs", "title": "logs-*"},
    "write": {"method": "POST", "path": "/api/data_views/data_view", "under": "data_view", "beside": {"override": True}},
}


def saved_objects(title="Overview", kind="dashboard"):
    rows = [
        {"type": "search", "id": "s", "attributes": {"title": "Errors"}, "references": []},
        {"type": kind, "id": "d", "attributes": {"title": title, "panelsJSON": '[{"x":1}]'}, "references": [{"id": "s"}]},
    ]
    return {
        "name": "saved objects", "path": "/api/saved_objects/_import?overwrite=true", "compare": "subset", "ignore": ["*.version", "*.updated_at"],
        "body": "".join(json.dumps(row) + "\n" for row in rows),
        "read": {"method": "POST", "path": "/api/saved_objects/_export", "absent": [400, 404],
                 "body": {"objects": [{"type": row["type"], "id": row["id"]} for row in rows], "excludeExportDetails": True}},
        "write": {"method": "POST", "format": "multipart"},
    }


def failure(work):
    with pytest.raises(Failure) as caught:
        work()
    return caught.value


def writes(product):
    return [line for line in product.state["requests"] if not line.startswith("GET") and "_export" not in line]


# -- against a product


EVERY_KIND = [template("a"), repository(), DATA_VIEW, saved_objects()]


def test_objects_of_every_kind_are_created_in_order_and_then_left_alone(product):
    """The server fills them up, changes types and hides secrets: that is no difference."""
    result = apply(params(product, *EVERY_KIND))
    assert (result["changed"], result["warnings"]) == (True, [])
    assert result["done"] == ["component template a created", "snapshot repository created", "data view logs created", "saved objects created"]
    assert writes(product) == [
        "PUT /_component_template/a", "PUT /_snapshot/a.b", "POST /api/data_views/data_view", "POST /api/saved_objects/_import?overwrite=true",
    ]
    product.state["requests"].clear()
    assert apply(params(product, *EVERY_KIND)) == {"changed": False, "done": [], "diff": [], "warnings": []}
    assert product.state["requests"] == [
        "GET /_component_template/a", "GET /_snapshot/a.b", "GET /api/data_views/data_view/logs", "POST /api/saved_objects/_export",
    ]


def test_check_mode_tells_the_same_and_writes_nothing(product):
    """For new objects, for changed ones and for those that go."""
    for objects in ([*EVERY_KIND, template("x")], [template("a", 2), saved_objects("New"), {**template("x"), "state": "absent"}]):
        product.state["requests"].clear()
        plan = apply(params(product, *objects), check=True)
        assert writes(product) == []
        assert apply(params(product, *objects)) == plan


def test_an_object_changed_by_hand_is_put_back_and_shown(product):
    """As it was and as it is going to be, in the same form."""
    apply(params(product, template("a")))
    product.state["templates"]["a"]["template"]["settings"]["index"]["number_of_replicas"] = "9"
    assert apply(params(product, template("a"))) == {
        "changed": True, "done": ["component template a updated"], "warnings": [],
        "diff": [{
            "before_header": "component template a", "after_header": "component template a",
            "before": '{\n  "template": {\n    "aliases": {},\n    "settings": {\n      "index": {\n        "hidden": "true",\n'
                      '        "number_of_replicas": "9"\n      }\n    }\n  }\n}\n',
            "after": '{\n  "template": {\n    "aliases": {},\n    "settings": {\n      "index": {\n        "hidden": "true",\n'
                     '        "number_of_replicas": "1"\n      }\n    }\n  }\n}\n',
        }],
    }


def test_a_field_that_leaves_the_declaration_leaves_the_server(product):
    """Unless the comparison is of a subset: then the server may know more."""
    apply(params(product, template("a")))
    fewer = template("a", body={"template": {"settings": {"index": {"number_of_replicas": 1}}}})
    assert apply(params(product, {**fewer, "compare": "subset"}))["done"] == []
    assert apply(params(product, fewer))["done"] == ["component template a updated"]
    assert product.state["templates"]["a"]["template"]["settings"] == {"index": {"number_of_replicas": "1"}}


def test_deletions_come_last_and_from_the_end(product):
    """What refers to another object is listed after it, and has to go before it."""
    apply(params(product, template("a"), template("b")))
    product.state["requests"].clear()
    gone = [{"name": name, "path": f"/_component_template/{name}", "state": "absent"} for name in ("a", "b", "never")]
    assert apply(params(product, *gone, template("c")))["done"] == ["component template c created", "b deleted", "a deleted"]
    assert writes(product) == ["PUT /_component_template/c", "DELETE /_component_template/b", "DELETE /_component_template/a"]
    assert apply(params(product, *gone))["changed"] is False


FAMILY = {
    "name": "component template", "path": "/_component_template/our*", "select": "component_templates", "key": "name", "match": "our-*",
    "object": "/_component_template/{key}",
}


def test_what_is_ours_and_no_longer_declared_is_deleted(product):
    """Others' objects stay, and those of ours that are declared."""
    apply(params(product, *(template(name) for name in ("our-a", "our-b", "our-c", "ours", "theirs"))))
    plan = apply(params(product, template("our-b"), own=[FAMILY]), check=True)
    assert sorted(product.state["templates"]) == ["our-a", "our-b", "our-c", "ours", "theirs"]
    result = apply(params(product, template("our-b"), own=[FAMILY]))
    assert result == plan
    assert result["done"] == ["component template our-c deleted", "component template our-a deleted"]
    assert '"number_of_replicas": "1"' in result["diff"][0]["before"]
    assert sorted(product.state["templates"]) == ["our-b", "ours", "theirs"]
    assert apply(params(product, template("our-b"), own=[FAMILY]))["changed"] is False


def test_a_family_that_the_server_does_not_list_is_an_error_and_one_without_members_is_none(product):
    lost = {**FAMILY, "path": "/_component_template/none"}
    assert apply(params(product, template("our-a"), own=[lost]))["done"] == ["component template our-a created"]
    error = failure(lambda: apply(params(product, template("our-b"), own=[{**FAMILY, "path": "/odd"}])))
    assert str(error) == "component template: GET /odd answers 400: no handler found for uri"
    assert sorted(product.state["templates"]) == ["our-a"]


def test_what_something_else_makes_is_put_right_and_never_made(product):
    """A data stream's retention exists when the stream does."""
    spec = template("a", create=False)
    assert apply(params(product, spec))["changed"] is False
    assert product.state["templates"] == {}
    apply(params(product, template("a", 2)))
    assert apply(params(product, spec))["done"] == ["component template a updated"]


def test_a_refused_write_shows_the_servers_words_and_ends_the_run(product):
    """The old object is kept, what came before is named, nothing after it is tried."""
    apply(params(product, template("broken")))
    before = copy.deepcopy(product.state["templates"])
    words = (
        "component template broken: PUT /_component_template/broken is refused (400): "
        "x_content_parse_exception: failed to parse template; caused by illegal_argument_exception: unknown key [mapings]"
    )
    error = failure(lambda: apply(params(product, BROKEN, template("after"))))
    assert (str(error), error.details) == (words + ". Nothing was changed", {"changed": False})
    assert product.state["templates"] == before
    error = failure(lambda: apply(params(product, template("a"), template("b"), BROKEN, template("after"))))
    assert (str(error), error.details) == (
        words + ". Done before it: component template a created, component template b created; nothing after it was tried", {"changed": True},
    )
    assert sorted(product.state["templates"]) == ["a", "b", "broken"]


def test_an_import_that_says_no_with_status_200_is_refused(product):
    """Kibana does that."""
    assert str(failure(lambda: apply(params(product, saved_objects(kind="poem"))))) == (
        'saved objects: POST /api/saved_objects/_import?overwrite=true is refused (200): '
        '[{"error": {"type": "unsupported_type"}, "id": "d"}]. Nothing was changed'
    )


def test_a_refused_read_changes_nothing(product):
    """All objects are read first. The reason is the server's, in its product's way of giving it."""
    error = failure(lambda: apply(params(product, template("a"), password="wrong")))
    assert (str(error), error.details) == (
        "component template a: GET /_component_template/a answers 401: security_exception: missing authentication credentials", {},
    )
    assert str(failure(lambda: apply(params(product, template("a"), {"name": "odd", "path": "/odd", "body": {}})))) == (
        "odd: GET /odd answers 400: no handler found for uri"
    )
    assert str(failure(lambda: apply(params(product, DATA_VIEW, headers={})))) == (
        "data view logs: POST /api/data_views/data_view is refused (400): Request must contain a kbn-xsrf header. Nothing was changed"
    )
    assert writes(product) == ["POST /api/data_views/data_view"]


def test_a_secret_is_written_and_shown_nowhere(product):
    """Not in the diff, and not where the server repeats it."""
    result = apply(params(product, repository()))
    assert product.state["repositories"]["a.b"]["settings"] == {"bucket": "/backup", "secret_key": "k3y"}
    assert json.loads(result["diff"][0]["after"]) == {"type": "s3", "settings": {"bucket": "/backup", "secret_key": "(secret)"}}
    # The server does not show it: another one alone is no difference.
    assert apply(params(product, repository("other")))["changed"] is False
    error = failure(lambda: apply(params(product, repository("wrong-k3y", "/elsewhere"))))
    assert str(error) == (
        "snapshot repository: PUT /_snapshot/a.b is refused (500): repository_verification_exception: (secret) is no key. Nothing was changed"
    )


def test_a_secret_that_the_server_shows_is_compared_and_masked(product):
    """Whoever may read the object knows it; a log need not."""
    spec = template("a", secrets={"template.settings.index.token": "t0ken"})
    apply(params(product, spec))
    assert apply(params(product, spec))["changed"] is False
    product.state["templates"]["a"]["template"]["settings"]["index"]["token"] = "0ther"
    result = apply(params(product, spec))
    assert (result["changed"], "t0ken" in str(result), "0ther" in str(result)) == (True, False, False)


def test_what_the_server_makes_by_itself_is_named_in_a_warning(product):
    """Else the object would be written each time, and nobody would know why."""
    spec = template("a", ignore=[])
    assert apply(params(product, spec))["warnings"] == [
        "component template a: after the write the server still shows something else at created_date_millis. "
        "What the server makes by itself belongs in `ignore`"
    ]


def test_a_product_that_starts_is_waited_for(product):
    """It answers 503 for a while."""
    product.state["busy"] = 3
    slept = []
    api = Api(params(product), sleep=slept.append)
    assert apply(params(product, template("a")), api=api)["done"] == ["component template a created"]
    assert slept == [1.0, 1.0, 1.0]
    product.state["busy"] = 100
    times = iter(range(100))
    api = Api(params(product), sleep=slept.append, clock=lambda: next(times))
    assert str(failure(lambda: apply(params(product, template("a")), api=api))) == (
        "component template a: GET /_component_template/a answers 503: not_ready: starting"
    )


@pytest.fixture
def nobody():
    """Return parameters for an address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return {"url": f"http://127.0.0.1:{port}", "timeout": 3, "objects": [template("a"), template("b"), {**template("c"), "state": "absent"}]}


def test_check_mode_before_the_product_exists_says_what_it_would_create(nobody):
    """At once, and not silently."""
    result = apply(nobody, check=True, api=Api(nobody, sleep=lambda seconds: pytest.fail("waited")))
    assert (result["done"], result["warnings"]) == (
        ["component template a created", "component template b created"],
        [f"{nobody['url']} does not answer (Connection refused): its 3 objects count as missing"],
    )
    assert [entry["before"] for entry in result["diff"]] == ["", ""]


def test_check_mode_before_the_certificates_exist_says_so(nobody):
    """On a bare host they come with the same run."""
    nobody.update(url="https://localhost:1", ca="/no/such/ca.crt")
    assert apply(nobody, check=True)["warnings"] == [
        "https://localhost:1 cannot be asked: /no/such/ca.crt does not exist: its 3 objects count as missing"
    ]
    assert str(failure(lambda: apply(nobody))) == "https://localhost:1 cannot be asked: /no/such/ca.crt does not exist"


def test_a_product_that_never_answers_is_told(nobody):
    """After the time that was given."""
    times = iter(range(100))
    api = Api(nobody, sleep=lambda seconds: None, clock=lambda: next(times))
    assert str(failure(lambda: apply(nobody, api=api))) == (
        f"{nobody['url']} does not answer (Connection refused) within 3 seconds. Is the product running there?"
    )


def test_a_write_that_breaks_off_is_not_sent_twice(product):
    """Whether it was done is not known; the next run looks."""
    sent = []

    def opener(request, timeout):
        sent.append(request.get_method())
        if request.get_method() == "GET":
            raise urllib.error.HTTPError(request.full_url, 404, "Not Found", {}, io.BytesIO(b"{}"))
        raise ConnectionResetError(104, "Connection reset by peer")

    error = failure(lambda: apply(params(product, template("a")), api=Api(params(product), opener=opener)))
    assert (str(error), error.details, sent) == (
        f"component template a: {product.url} does not answer (Connection reset by peer): PUT /_component_template/a was sent, "
        "whether it was done is not known. Run again. Nothing was changed", {"changed": True}, ["GET", "PUT"],
    )


def test_headers_and_proxies(product, monkeypatch):
    """The environment's proxy is for the way out."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    apply(params(product, template("a")))
    sent = {name.lower(): value for name, value in product.state["headers"][1].items()}
    assert (sent["content-type"], sent["kbn-xsrf"], sent["authorization"]) == ("application/json", "true", "Basic YWRtaW46czNjcmV0")


# -- pure


@pytest.mark.parametrize(("wanted", "found", "exact", "places"), [
    ({"a": 1, "b": True, "c": 2.0}, {"a": "1", "b": "true", "c": "2"}, True, []),
    ({"a": '{"x": [1]}'}, {"a": '{ "x":["1"] }'}, True, []),
    ({"a": "[not json"}, {"a": "[not json"}, True, []),
    ({"a": None}, {}, True, []),
    ({}, {"a": None, "b": {}, "c": []}, True, []),
    ({}, {"a": False}, True, ["a"]),
    ({}, {"a": False}, False, []),
    ({"a": {"b.c": 1, "d": [1, {"e": 2}]}}, {"a": {"b.c": 2, "d": [1, {"e": 3}]}}, False, ["a.b\\.c", "a.d.1.e"]),
    ({"a": [1, 2]}, {"a": [1]}, False, ["a"]),
    ({"a": {}}, {}, True, ["a"]),
    ([1], {"a": 1}, True, ["the whole"]),
    ("", None, True, ["the whole"]),
], ids=str)
def test_differences_are_named_by_their_path(wanted, found, exact, places):
    """In the form in which servers answer."""
    assert difference(normalise(wanted), normalise(found), exact) == places


def test_paths_lead_into_answers():
    r"""Keys, elements, `\.` and `*`."""
    node = {"a": [{"b.c": 1, "v": 2}, {"v": 3}]}
    assert [api_object.select(node, path) for path in ("a.0.b\\.c", "a.1.v", "", "a.2", "a.x", "a.0.v.w")] == [1, 3, node, NOTHING, NOTHING, NOTHING]
    assert api_object.without(node, ["a.*.v", "zzz.y"]) == {"a": [{"b.c": 1}, {}]}
    assert api_object.without(node, ["a"]) == {}
    assert api_object.with_values(node, {"a.1.v": 4, "x.y": 5}) == {"a": [{"b.c": 1, "v": 2}, {"v": 4}], "x": {"y": 5}}
    assert node == {"a": [{"b.c": 1, "v": 2}, {"v": 3}]}


def test_a_reason_is_found_in_whatever_a_server_says():
    """Nothing, text, or JSON of its own."""
    assert [api_object.words(text) for text in ("", "plain\n", '{"a": 1}', '{"error": "Not Found"}', '{"error": {}}')] == [
        "it gave no reason", "plain", '{"a": 1}', '{"error": "Not Found"}', '{"error": {}}',
    ]
    assert len(api_object.words("x" * 5000)) == 1000


@pytest.mark.parametrize(("spec", "message"), [
    ({}, "it: a body is needed, or state: absent"),
    ({"body": "no json"}, "it: the body must be a mapping or a list"),
    ({"body": "no json", "write": {"format": "ndjson"}}, "it: the body must be one JSON object a line"),
    ({"body": {"a": 1}, "write": {"format": "multipart"}}, "it: the body must be one JSON object a line"),
])
def test_a_body_that_cannot_be_sent_is_refused_before_anything_is_asked(spec, message):
    """With the object's name."""
    assert str(failure(lambda: Target({"name": "it", "path": "/", **spec}))) == message


def test_lines_are_sent_as_they_are_or_as_a_file():
    """One JSON object a line, sorted by type and id."""
    spec = {"name": "it", "path": "/", "body": [{"type": "b", "id": 1}, {"type": "a", "id": 2}], "write": {"format": "ndjson"}}
    text = '{"type": "a", "id": 2}\n{"type": "b", "id": 1}\n'
    assert Target(spec).payload() == (text.encode(), "application/x-ndjson")
    body, kind = Target({**spec, "write": {"format": "multipart"}}).payload()
    boundary = kind.split("boundary=")[1]
    assert body.decode() == (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="import.ndjson"\r\nContent-Type: application/ndjson\r\n\r\n'
        f"{text}\r\n--{boundary}--\r\n"
    )


# -- the module


def run_module(monkeypatch, capsys, arguments):
    """Return what the module prints for `arguments`."""
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)


def test_the_module_answers_without_its_secrets(product, monkeypatch, capsys):
    """Neither in the result nor in the echo of its arguments."""
    arguments = {**params(product, repository()), "_ansible_diff": True}
    result = run_module(monkeypatch, capsys, arguments)
    assert (result["changed"], result["done"], len(result["diff"])) == (True, ["snapshot repository created"], 1)
    assert "k3y" not in str(result) and "s3cret" not in str(result)
    result = run_module(monkeypatch, capsys, {**arguments, "objects": [BROKEN]})
    assert result["failed"] is True and result["changed"] is False
    assert result["msg"].endswith("unknown key [mapings]. Nothing was changed")


def test_the_documentation_has_every_option():
    """Names, types, defaults and choices, to the leaf."""
    import yaml

    def compared(documented, declared):
        assert set(documented) == set(declared)
        for name, spec in declared.items():
            entry = documented[name]
            assert {key: entry.get(key) for key in ("type", "required", "elements", "choices", "default")} == {
                key: spec.get(key) for key in ("type", "required", "elements", "choices", "default")
            }, name
            compared(entry.get("suboptions") or {}, spec.get("options") or {})

    compared(yaml.safe_load(module.DOCUMENTATION)["options"], api_object.SPEC)
    assert len(yaml.safe_load(module.EXAMPLES)) == 2
