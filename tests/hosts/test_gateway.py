"""The door for people, tried as a stranger would: sign-in, sessions, roles, forged headers, bent paths, and what front lets through.

Nothing is left behind: what may change something is sent in a form that the product itself refuses, which shows that it was asked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import re
import ssl
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import pytest
import yaml
from ansible_collections.observatory.core.plugins.plugin_utils.sessions import session
from fleet import LAB, ROOT, client_context, converge, host, identity, products, secrets, serial, unit, wait_for

pytestmark = pytest.mark.skipif("gateway" not in products("hub"), reason="this inventory has no gateway")

ADDRESS = LAB.address("hub")
ORIGIN = f"https://{ADDRESS}"
COOKIE = "__Host-observatory"
# The lab's users have the names of their roles.
ROLES = ("viewer", "editor", "admin")
SESSION_SECONDS = 12 * 3600
PERIOD_SECONDS = SESSION_SECONDS // 2
# group_vars/all/security.yml's 10 attempts a minute: half of them at once, then one each six seconds.
AT_ONCE, SECONDS_EACH = 5, 6
PAGE = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Mode": "navigate"}
PROGRAM = {"Accept": "application/json"}
JSON = {**PROGRAM, "Content-Type": "application/json"}
ALERT = json.dumps([{"labels": {"alertname": "Forged", "severity": "critical"}}])
QUERY = "/prometheus/api/v1/query?query=1"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, list[str]]
    body: str

    def header(self, name: str) -> str:
        return ", ".join(self.headers.get(name.lower(), []))

    def json(self):
        return json.loads(self.body)


def visit(
    path: str,
    user: str = "",
    method: str = "GET",
    headers: Mapping[str, str] = PROGRAM,
    body: str | bytes | None = None,
    *,
    port: int = 443,
    files: tuple[str, str] | None = None,
    origin: str = ORIGIN,
) -> Answer:
    """Ask the gateway, or another port, for exactly this path; with a user's session, and as a page of the gateway's own would."""
    context = client_context(files)
    sent = dict(headers)
    if user:
        sent["Cookie"] = f"{COOKIE}={sessions()[user]}"
    if origin and method not in ("GET", "HEAD"):
        sent.setdefault("Origin", origin)
    connection = http.client.HTTPSConnection(ADDRESS, port, context=context, timeout=30)
    try:
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        found: dict[str, list[str]] = {}
        for name, value in answer.getheaders():
            found.setdefault(name.lower(), []).append(value)
        return Answer(answer.status, found, answer.read().decode(errors="replace"))
    finally:
        connection.close()


@cache
def sessions() -> dict[str, str]:
    """Return user -> the session that a sign-in gives now."""
    lines = host("hub").check_output("cat /run/gateway/new_sessions.map").splitlines()
    return dict(line.rstrip(";").split() for line in lines)


def session_of(user: str, periods_ago: int, key: str = "") -> str:
    """Return the session that a sign-in gave some periods of half a session ago, by the site's own key or another."""
    site = secrets()
    secret = session(user, site[f"gateway_password_hash_{user}"], key or site["gateway_session_key"])
    return hmac.new(secret.encode(), str(period() - periods_ago).encode(), hashlib.sha256).hexdigest()


@cache
def period() -> int:
    """Return the number of the present half of a session, as the gateway has it: it may be a minute behind."""
    found = int(host("hub").check_output("cat /run/gateway/period"))
    assert found in {int((time.time() - late) // PERIOD_SECONDS) for late in (0, 90)}
    return found


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def sign_in(user: str, password: str, query: str = "", path: str = "/session/sign-in") -> Answer:
    """Try to sign in; when earlier tests have used up the attempts, wait for the next one."""
    for _attempt in range(3):
        answer = visit(f"{path}{query}", headers={**PROGRAM, **basic(user, password)})
        if answer.status != 429:
            break
        time.sleep(SECONDS_EACH + 1)
    return answer


def with_cookie(value: str, path: str = QUERY) -> int:
    return visit(path, headers={**PROGRAM, "Cookie": value}).status


# -- sign-in


@pytest.mark.parametrize("user", ROLES)
def test_right_password_gives_a_session_that_opens_and_is_known(user):
    answer = sign_in(user, secrets()[f"gateway_password_{user}"])
    assert (answer.status, answer.header("location")) == (303, "/")
    value, *attributes = answer.header("set-cookie").split("; ")
    # A name that begins with __Host- is taken by browsers only over HTTPS, for the whole host, and for no other one.
    assert re.fullmatch(rf"{COOKIE}=[0-9a-f]{{64}}", value)
    assert attributes == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax", f"Max-Age={SESSION_SECONDS}"]
    assert answer.header("cache-control") == "no-store"
    assert visit("/session/user", headers={"Cookie": value}).json() == {"user": user, "role": user}
    assert with_cookie(value) == 200


@pytest.mark.parametrize(
    ("user", "password"),
    [("viewer", "wrong"), ("viewer", ""), ("nobody", "wrong"), ("Viewer", "right"), ("viewer\nX-Other: 1", "right")],
)
def test_wrong_name_or_password_gives_no_session_and_does_not_say_which_was_wrong(user, password):
    answer = sign_in(user, secrets()["gateway_password_viewer"] if password == "right" else password)
    assert (answer.status, answer.body) == (403, "The name or the password is wrong.\n")
    # Not 401: a browser would open its own dialog, and remember what is typed into it.
    assert not answer.header("set-cookie")


def test_browser_without_scripts_signs_in_by_its_own_dialog():
    asked = visit("/session/basic", headers=PAGE)
    assert (asked.status, asked.header("www-authenticate")) == (401, 'Basic realm="Observatory"')
    answer = sign_in("viewer", secrets()["gateway_password_viewer"], path="/session/basic")
    assert (answer.status, answer.header("location")) == (303, "/")


@pytest.mark.parametrize(
    ("wanted", "led_to"),
    [
        ("/grafana/explore?left=a&right=b", "/grafana/explore?left=a&right=b"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("/session/sign-out", "/"),
    ],
)
def test_after_the_sign_in_people_are_led_to_a_path_of_this_host_alone(wanted, led_to):
    answer = sign_in("viewer", secrets()["gateway_password_viewer"], f"?to={wanted}")
    assert (answer.status, answer.header("location")) == (303, led_to)


def test_address_cannot_put_a_header_into_the_answer():
    answer = visit("/x%0d%0aX-Injected:%201?y=%0d%0aX-Injected:%201", headers=PAGE)
    assert (answer.status, answer.header("location")) == (302, "/session/sign-in?to=/x%0d%0aX-Injected:%201?y=%0d%0aX-Injected:%201")
    assert not answer.header("x-injected")


def test_too_many_attempts_are_put_off_and_the_next_ones_are_taken_again():
    answers = [visit("/session/sign-in", headers={**PROGRAM, **basic("viewer", "wrong")}) for _ in range(2 * AT_ONCE + 1)]
    statuses = [answer.status for answer in answers]
    assert statuses[-1] == 429 and statuses.count(403) <= AT_ONCE, statuses
    assert answers[-1].header("retry-after") == "60"
    # A right password is no way around it, by the other form neither; nor are those disturbed who have a session.
    assert visit("/session/basic", headers=basic("viewer", secrets()["gateway_password_viewer"])).status == 429
    assert visit(QUERY, "viewer").status == 200
    time.sleep(SECONDS_EACH + 1)
    assert visit("/session/sign-in", headers=basic("viewer", secrets()["gateway_password_viewer"])).status == 303


# -- sessions


def test_forged_sessions_open_nothing():
    real = sessions()["viewer"]
    forged = [
        "", "0" * 64, real[:-1], real + "0", real.upper(), ("0" if real[0] != "0" else "1") + real[1:], "viewer", session_of("admin", 0, "another key"),
        # What an earlier form of the cookie held: the same whatever the time.
        session("admin", secrets()["gateway_password_hash_admin"], secrets()["gateway_session_key"]),
    ]
    assert {value: with_cookie(f"{COOKIE}={value}") for value in forged} == dict.fromkeys(forged, 401)
    assert with_cookie(f"observatory={real}") == 401
    assert with_cookie(f"x{COOKIE}={real}") == 401
    assert with_cookie(f"a=b; {COOKIE}={real}; c=d") == 200


def test_session_ends_by_itself_on_the_host_too():
    """A copied cookie is not held back by the browser's Max-Age: it is taken for a session's time, and half of that at most on top."""
    tried = {ago: with_cookie(f"{COOKIE}={session_of('viewer', ago)}") for ago in (0, 1, 2, 3, 4, 100)}
    assert tried == {0: 200, 1: 200, 2: 200, 3: 401, 4: 401, 100: 401}
    timer = host("hub").check_output("systemctl show gateway-sessions.timer --property=ActiveState,NextElapseUSecRealtime")
    assert "ActiveState=active" in timer and not timer.endswith("NextElapseUSecRealtime="), timer


def test_next_period_is_taken_up_without_a_restart():
    """As the timer finds it some hours later."""
    process = unit("hub", "gateway", "MainPID")
    host("hub").check_output("systemctl start gateway-sessions.service")
    assert unit("hub", "gateway-sessions", "Result") == "exec-condition", "nothing is due"
    host("hub").check_output("rm /run/gateway/period /run/gateway/sessions.map && systemctl start gateway-sessions.service")
    assert unit("hub", "gateway-sessions", "Result") == "success"
    wait_for("the sessions", lambda: visit(QUERY, "viewer").status == 200, 10)
    assert unit("hub", "gateway", "MainPID") == process


def test_visitor_without_a_session_is_led_to_the_sign_in_and_a_program_is_told():
    for path in ("/", "/grafana/d/x?y=1", "/runbooks/", "/nothing"):
        page = visit(path, headers=PAGE)
        assert (page.status, page.header("location")) == (302, f"/session/sign-in?to={path}")
    for path in ("/", QUERY, "/runbooks/", "/assets/start.js"):
        assert visit(path).status == 401
        assert visit(path).json() == {"error": "sign in first", "sign_in": f"{ORIGIN}/session/sign-in"}
    assert visit("/alertmanager/api/v2/silences", method="POST", headers=JSON, body="{}").status == 401
    assert visit("/session/user").json() == {"user": "", "role": ""}


def test_sign_out_takes_the_session_from_the_browser():
    for method in ("POST", "GET"):
        answer = visit("/session/sign-out", "viewer", method)
        assert (answer.status, answer.header("location")) == (303, "/session/sign-in")
        assert answer.header("set-cookie") == f"{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"


# -- other sites


@pytest.mark.parametrize("origin", ["", "null", "https://evil.example", f"http://{ADDRESS}", f"{ORIGIN}.evil.example", f"{ORIGIN}:8443"])
def test_page_of_another_site_changes_nothing(origin):
    for path, method, body in (
        ("/session/sign-out", "POST", None),
        ("/alertmanager/api/v2/silences", "POST", "{}"),
        ("/grafana/api/dashboards/db", "POST", "{}"),
        ("/kibana/api/saved_objects/_import", "POST", ""),
    ):
        answer = visit(path, "admin", method, JSON, body, origin=origin)
        assert answer.status == 403 and answer.body.startswith("Not allowed"), (path, answer)
    websocket = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x" * 22 + "=="}
    assert visit("/grafana/api/live/ws", "admin", headers={**websocket, **({"Origin": origin} if origin else {})}).status == 403


def test_page_of_grafana_has_its_websocket_and_no_other_path_or_protocol_has_one():
    words = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": ORIGIN}
    answer = visit("/grafana/api/live/ws", "viewer", headers=words)
    assert (answer.status, answer.header("sec-websocket-accept")) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    assert visit("/grafana/api/live/ws", "viewer", headers={**words, "Upgrade": "h2c"}).status != 101
    for path in ("/grafana/api/user", "/kibana/", "/prometheus/"):
        assert visit(path, "viewer", headers=words).status != 101


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_page_of_another_site_signs_nobody_out_or_in(site):
    for path in ("/session/sign-out", "/session/basic"):
        answer = visit(path, "viewer", headers={**PAGE, "Sec-Fetch-Site": site, **basic("viewer", secrets()["gateway_password_viewer"])})
        assert (answer.status, answer.header("set-cookie")) == (403, ""), path
    # A link in a message leads to the page all the same.
    assert visit("/session/sign-in?to=/runbooks/", headers={**PAGE, "Sec-Fetch-Site": site}).status == 200


@pytest.mark.parametrize("path", [QUERY, "/alertmanager/api/v2/status"])
def test_page_of_another_site_may_read_no_answer(path):
    answer = visit(path, "viewer", headers={**PROGRAM, "Origin": "https://evil.example"})
    assert [name for name in answer.headers if name.startswith("access-control")] == []


# -- roles


READABLE = (
    "/", "/session/user", "/runbooks/", "/assets/start.js", "/grafana/api/user", "/kibana/api/status", "/jaeger/api/services", QUERY,
    "/alertmanager/api/v2/status", "/alertmanager/api/v2/silences",
)


@pytest.mark.parametrize("user", ROLES)
def test_everybody_reads_everything(user):
    assert {path: visit(path, user).status for path in READABLE} == dict.fromkeys(READABLE, 200)
    assert visit("/prometheus/api/v1/query", user, "POST", {"Content-Type": "application/x-www-form-urlencoded"}, "query=1").status == 200


@pytest.mark.parametrize("user", ROLES)
def test_grafana_and_kibana_know_who_it_is(user):
    assert visit("/grafana/api/user", user).json()["login"] == user
    assert [entry["role"] for entry in visit("/grafana/api/user/orgs", user).json()] == [user.capitalize()]
    dashboard = visit("/grafana/api/dashboards/db", user, "POST", JSON, '{"dashboard": {"title": ""}}')
    # 400: it has no title. 403: it would have been no use.
    assert dashboard.status == (403 if user == "viewer" else 400), dashboard
    assert visit("/grafana/api/org/users", user).status == (200 if user == "admin" else 403)
    deletion = visit("/kibana/api/saved_objects/search/no-such-search", user, "DELETE", {**PROGRAM, "kbn-xsrf": "true"})
    assert deletion.status == (403 if user == "viewer" else 404), deletion


@pytest.mark.parametrize("user", ROLES)
def test_silences_are_for_editors_and_admins(user):
    """422 and 404 are Alertmanager's own: it was asked."""
    made = visit("/alertmanager/api/v2/silences", user, "POST", JSON, "{}").status
    ended = visit("/alertmanager/api/v2/silence/00000000-0000-0000-0000-000000000000", user, "DELETE").status
    assert (made, ended) == ((403, 403) if user == "viewer" else (422, 404))


REFUSED = {
    "/prometheus/-/reload": "POST", "/prometheus/-/quit": "PUT", "/prometheus/-/healthy": "GET", "/prometheus/metrics": "GET",
    "/prometheus/debug/pprof/cmdline": "GET", "/prometheus/api/v1/admin/tsdb/snapshot": "POST", "/prometheus/api/v1/admin/tsdb/delete_series": "PUT",
    "/prometheus/api/v1/write": "POST", "/prometheus/api/v1/otlp/v1/metrics": "POST", "/prometheus/api/v1/read": "POST",
    "/prometheus/api/v1/query": "DELETE", "/prometheus/": "PROPFIND",
    # The same places by other names.
    "/prometheus//-/reload": "POST", "/prometheus/./-/reload": "POST", "/prometheus/%2d/reload": "POST", "/prometheus/%2D%2Freload": "POST",
    "/prometheus/x/%2e%2e/-/reload": "POST", "/prometheus/%2F-/healthy": "GET", "/prometheus/x/..%2f-/healthy": "GET",
    "/prometheus/api/v1/%61dmin/tsdb/snapshot": "POST", "/runbooks/../prometheus/-/reload": "POST", "/prometheus/-/healthy%0a": "GET",
    "/prometheus/api/v1/query%0a": "POST", "/prometheus/metrics/": "GET",
    "/alertmanager/api/v2/alerts": "POST", "/alertmanager/api/v2//alerts": "POST", "/alertmanager/api/v2/%61lerts": "POST",
    "/alertmanager/api/v1/alerts": "POST", "/alertmanager/-/reload": "POST", "/alertmanager/metrics": "GET", "/alertmanager/debug/pprof/": "GET",
    "/jaeger/api/traces": "POST", "/jaeger/api/archive/0": "POST", "/jaeger/": "DELETE", "/jaeger/api/services": "PUT",
    "/grafana/metrics": "GET", "/grafana//metrics": "GET", "/grafana/./metrics": "GET", "/grafana/%2e/metrics": "GET", "/grafana/%2fmetrics": "GET",
    "/grafana/x/../metrics": "GET", "/grafana/%6detrics": "GET", "/grafana/metrics%0a": "GET", "/grafana/metrics/": "GET",
    "/runbooks/": "POST", "/": "PUT", "/docs/": "DELETE", "/reports/": "POST", "/session/user": "DELETE", "/session/sign-in": "POST",
}


@pytest.mark.parametrize("user", ROLES)
def test_what_machines_alone_may_do_is_refused_to_everybody(user):
    statuses = {path: visit(path, user, method, JSON, ALERT if method in ("POST", "PUT") else None).status for path, method in REFUSED.items()}
    assert statuses == dict.fromkeys(REFUSED, 403)


SOURCES = "/grafana/api/datasources"
THROUGH_GRAFANA = {
    f"{SOURCES}/proxy/uid/alertmanager/api/v2/alerts": "POST",
    f"{SOURCES}/proxy/uid/alertmanager/api/v2/silences": "POST",
    f"{SOURCES}/proxy/uid/alertmanager/api/v2/silence/00000000-0000-0000-0000-000000000000": "DELETE",
    f"{SOURCES}/proxy/1/api/v2/alerts": "POST",
    f"{SOURCES}//proxy/uid/alertmanager/api/v2/alerts": "POST",
    f"{SOURCES}/%70roxy/uid/alertmanager/api/v2/alerts": "POST",
    f"{SOURCES}/x/%2e%2e/proxy/uid/alertmanager/api/v2/alerts": "POST",
    "/grafana/API/datasources/PROXY/uid/alertmanager/api/v2/alerts": "POST",
    "/grafana/api/alertmanager/alertmanager/api/v2/alerts": "POST",
    "/grafana/api/alertmanager/alertmanager/api/v2/silences": "POST",
    f"{SOURCES}/proxy/uid/prometheus/api/v1/write": "POST",
    f"{SOURCES}/proxy/uid/prometheus/-/reload": "POST",
    f"{SOURCES}/proxy/uid/prometheus/debug/pprof/cmdline": "GET",
    f"{SOURCES}/proxy/uid/prometheus/metrics": "GET",
    f"{SOURCES}/proxy/uid/elasticsearch/logs-forged-lab/_doc": "POST",
    f"{SOURCES}/proxy/uid/elasticsearch/_bulk": "PUT",
    f"{SOURCES}/proxy/uid/elasticsearch/_msearch%0a": "POST",
    # A data source's plugin passes on as well, for viewers too.
    f"{SOURCES}/uid/prometheus/resources/api/v1/write": "POST",
    f"{SOURCES}/uid/prometheus/resources/-/reload": "POST",
    f"{SOURCES}/uid/prometheus/resources/api/v1/admin/tsdb/snapshot": "POST",
    f"{SOURCES}/uid/prometheus/resources/api/v1/query/%2e%2e/%2e%2e/%2e%2e/-/reload": "POST",
    f"{SOURCES}/uid/prometheus/resources/debug/pprof/cmdline": "GET",
    f"{SOURCES}/uid/prometheus/resources/x/%252e%252e/debug/pprof/cmdline": "GET",
    f"{SOURCES}/uid/prometheus/resources/api/v1/query/%252e%252e/%252e%252e/%252e%252e/-/reload": "POST",
    f"{SOURCES}/1/resources/-/quit": "PUT",
}


@pytest.mark.parametrize("user", ROLES)
def test_nobody_writes_through_grafana_with_its_certificate(user):
    """Grafana would hand it on to Prometheus, Alertmanager and Elasticsearch, which let its certificate in."""
    statuses = {path: visit(path, user, method, JSON, ALERT if method in ("POST", "PUT") else None).status for path, method in THROUGH_GRAFANA.items()}
    assert statuses == dict.fromkeys(THROUGH_GRAFANA, 403)


def test_path_that_is_encoded_twice_leads_nowhere():
    for path in (
        "/grafana/x/%252e%252e/metrics", f"{SOURCES}/proxy/uid/prometheus/api/%252e%252e/metrics", f"{SOURCES}/proxy/uid/prometheus/%256detrics",
        "/prometheus/x/%252e%252e/-/healthy", "/prometheus/%252d/healthy",
        "/kibana/..%252f..%252f/etc/passwd", "/runbooks/%252e%252e/nginx.conf",
    ):
        assert visit(path, "admin").status in (400, 403, 404), path


def test_dashboards_ask_their_data_sources_all_the_same():
    asked = {"from": "now-5m", "to": "now", "queries": [{"refId": "A", "datasource": {"uid": "prometheus"}, "expr": "vector(1)", "instant": True}]}
    assert visit("/grafana/api/ds/query", "viewer", "POST", JSON, json.dumps(asked)).status == 200
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path, method, headers, body in (
        (f"{SOURCES}/uid/prometheus/resources/api/v1/labels", "POST", form, ""),
        (f"{SOURCES}/uid/prometheus/resources/api/v1/label/job/values", "GET", PROGRAM, None),
        (f"{SOURCES}/proxy/uid/prometheus/api/v1/query?query=1", "GET", PROGRAM, None),
        (f"{SOURCES}/proxy/uid/alertmanager/api/v2/alerts", "GET", PROGRAM, None),
        (f"{SOURCES}/proxy/uid/jaeger/api/services", "GET", PROGRAM, None),
        (f"{SOURCES}/proxy/uid/elasticsearch/_msearch", "POST", {"Content-Type": "application/x-ndjson"}, '{"index": "logs-*"}\n{"size": 0}\n'),
    ):
        assert visit(path, "viewer", method, headers, body).status == 200, path


def test_alert_is_not_forged_by_any_of_it():
    alerts = visit("/alertmanager/api/v2/alerts", "viewer").json()
    assert "Forged" not in {alert["labels"]["alertname"] for alert in alerts}


# -- what visitors say about themselves


FORGED = {
    "X-WEBAUTH-USER": "admin", "X-WEBAUTH-ROLE": "Admin", "X_WEBAUTH_USER": "admin", "X-Forwarded-User": "admin", "X-Grafana-Org-Id": "1",
    "es-secondary-authorization": "Basic eDp5", "es-security-runas-user": "admin",
}


def test_forged_sign_in_headers_count_for_nothing():
    assert visit("/grafana/api/user", headers={**PROGRAM, **FORGED}).status == 401
    assert visit("/grafana/api/user", "viewer", headers={**PROGRAM, **FORGED}).json()["login"] == "viewer"
    assert [entry["role"] for entry in visit("/grafana/api/user/orgs", "viewer", headers={**PROGRAM, **FORGED}).json()] == ["Viewer"]
    refused = visit("/kibana/api/saved_objects/search/no-such-search", "viewer", "DELETE", {**PROGRAM, **FORGED, "kbn-xsrf": "true"})
    assert refused.status == 403


def test_password_in_a_header_reaches_no_product():
    site = secrets()
    for path, name, password in (
        ("/grafana/api/user", "grafana-admin", site["grafana_admin_password"]),
        ("/kibana/api/status", "kibana_admin", site["elasticsearch_password_kibana_admin"]),
        (QUERY, "admin", site["gateway_password_admin"]),
    ):
        assert visit(path, headers={**PROGRAM, **basic(name, password)}).status == 401, path
    kibana_admin = basic("kibana_admin", site["elasticsearch_password_kibana_admin"])
    refused = visit("/kibana/api/saved_objects/search/no-such-search", "viewer", "DELETE", {**PROGRAM, "kbn-xsrf": "true", **kibana_admin})
    assert refused.status == 403
    as_admin = basic("admin", site["elasticsearch_password_admin"])["Authorization"]
    for header in ("Authorization", "X-DS-Authorization"):
        answer = visit(f"{SOURCES}/proxy/uid/elasticsearch/_security/user", "viewer", headers={**PROGRAM, header: as_admin})
        assert answer.status in (400, 403), (header, answer)


def test_products_give_no_cookies_of_their_own():
    for path in ("/grafana/", "/kibana/", "/prometheus/", "/jaeger/", "/alertmanager/"):
        assert not visit(path, "viewer", headers=PAGE).header("set-cookie"), path


# -- front


FRONT_VISITORS = ("prometheus", "grafana", "admin", "jaeger", "kibana", "front", "node_exporter", "alertmanager")


def test_front_takes_the_word_of_the_gateway_alone():
    """The same words from each other certificate: none, a stranger's, an expired one, an application host's, other products'."""
    words = {"X-WEBAUTH-USER": "viewer", "X-WEBAUTH-ROLE": "Viewer", **PROGRAM}

    def asked(path: str, files: tuple[str, str] | None) -> int | str:
        try:
            return visit(path, port=9443, files=files, headers=words).status
        except (ssl.SSLError, ConnectionError, http.client.BadStatusLine):
            return 403

    with identity("gateway", "elsewhere") as files:
        assert asked("/grafana/api/user", files) == 200
        assert asked("/kibana/api/status", files) == 200
        assert asked("/grafana/metrics", files) == asked("/grafana//metrics", files) == 403
        assert visit(f"{SOURCES}/proxy/uid/alertmanager/api/v2/alerts", "", "POST", {**JSON, **words}, ALERT, port=9443, files=files).status == 403
        # Its certificate with nobody's name is nobody.
        assert visit("/grafana/api/user", port=9443, files=files).status == 401
    paths = ("/grafana/api/user", "/kibana/api/status", "/")
    found = {"none": {path: asked(path, None) for path in paths}}
    for kind in ("foreign", "expired"):
        with identity("gateway", kind=kind) as files:
            found[kind] = {path: asked(path, files) for path in paths}
    for service, name in [(service, "elsewhere") for service in FRONT_VISITORS] + [("host", "app1"), ("filebeat", "app1"), ("host", "hub")]:
        with identity(service, name) as files:
            found[f"{service} of {name}"] = {path: asked(path, files) for path in paths}
    site = {"/grafana/api/user": 403, "/kibana/api/status": 403, "/": 404}
    assert found == {visitor: site if " of " in visitor else dict.fromkeys(paths, 403) for visitor in found}


def test_front_hands_the_words_of_others_on_to_nobody():
    """Grafana's certificate may ask Jaeger; Prometheus' reads Grafana's metrics, and is nobody there whatever it says."""
    with identity("prometheus", "elsewhere") as files:
        assert visit("/grafana/metrics", port=9443, files=files, headers={"X-WEBAUTH-USER": "admin"}).status == 200
        for path in ("/grafana/metrics/../api/user", "/grafana/metrics/%2e%2e/api/user", "/grafana/metrics/"):
            assert visit(path, port=9443, files=files, headers={"X-WEBAUTH-USER": "admin"}).status == 403, path
    with identity("grafana", "elsewhere") as files:
        assert visit("/jaeger/api/services", port=9443, files=files).status == 200
        assert visit("/jaeger/api/services", "", "POST", port=9443, files=files).status == 403


# -- what pages say to browsers


OWN_PAGES = {"/": 200, "/runbooks/": 200, "/session/sign-in": 200, "/nothing": 404, "/prometheus/-/healthy": 403, "/docs/none": 404}
PRODUCT_PAGES = ("/grafana/api/health", "/kibana/", "/jaeger/", QUERY, "/alertmanager/")
EACH_ANSWER = {
    "strict-transport-security": "max-age=31536000", "x-content-type-options": "nosniff", "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin", "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@pytest.mark.parametrize("path", OWN_PAGES)
def test_own_page_loads_nothing_from_elsewhere_and_is_shown_in_no_frame(path):
    answer = visit(path, "viewer", headers=PAGE)
    assert answer.status == OWN_PAGES[path]
    assert {name: answer.header(name) for name in EACH_ANSWER} == EACH_ANSWER
    policy = answer.header("content-security-policy")
    if not path.startswith("/docs/") or answer.status == 404:
        assert policy == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        )
    assert answer.header("cache-control") == ("no-cache" if path == "/runbooks/" else "no-store")
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert not re.search(r"nginx|<script(?! src)|<style| on[a-z]+=", answer.body), answer.body
    assert answer.header("server") == "nginx", "no version"


@pytest.mark.parametrize("path", PRODUCT_PAGES)
def test_page_of_a_product_is_shown_in_no_other_sites_frame(path):
    answer = visit(path, "viewer", headers=PAGE)
    assert answer.status == 200
    assert {name: answer.header(name) for name in EACH_ANSWER} == EACH_ANSWER
    assert "frame-ancestors 'self'" in answer.header("content-security-policy")


def test_redirect_and_refusal_of_a_program_have_the_headers_too():
    for answer in (visit("/", headers=PAGE), visit(QUERY), visit("/prometheus/-/reload", "admin", "POST"), visit("/session/sign-out", "viewer")):
        assert {name: answer.header(name) for name in EACH_ANSWER} == EACH_ANSWER, answer


def test_start_page_has_every_product_and_says_who_is_there():
    answer = visit("/", "editor", headers=PAGE)
    assert "editor · editor" in answer.body
    links = set(re.findall(r'href="(/[a-z]+/)"', answer.body))
    assert links >= {"/grafana/", "/kibana/", "/jaeger/", "/prometheus/", "/alertmanager/", "/runbooks/", "/docs/", "/reports/"}
    shown = set(re.findall(r'data-job="([a-z_]+)"', answer.body))
    jobs = {row["metric"]["job"] for row in visit("/prometheus/api/v1/query?query=up", "editor").json()["data"]["result"]}
    services = set(yaml.safe_load((ROOT / "group_vars/all/services.yml").read_text())["observatory_services"])
    # Each thing that is shown is one that Prometheus asks; what has no place there are probes, whose own exporter has one.
    assert shown - services <= jobs
    assert jobs - shown <= {"blackbox", "elasticsearch_retention"}


def test_every_alert_leads_to_a_page_that_asks_who_is_there():
    """The runbook_url of each rule that Prometheus has, as it is rendered."""
    text = host("hub").check_output("awk 'FNR == 1 {print \"---\"} 1' /etc/prometheus/rules/*.yml")
    rules = [rule for file in yaml.safe_load_all(text) if file for group in file["groups"] for rule in group["rules"] if "alert" in rule]
    # The page of a ladder's rung is that of the alert that it is about.
    links = {link for link in (rule["annotations"]["runbook_url"] for rule in rules) if "{{" not in link}
    assert len(links) > 200
    wrong = {}
    for link in links:
        assert link.startswith(ORIGIN), link
        path = link.removeprefix(ORIGIN)
        inside, outside = visit(path, "viewer", headers=PAGE), visit(path, headers=PAGE)
        if (inside.status, outside.status, outside.header("location").startswith("/session/sign-in")) != (200, 302, True):
            wrong[link] = inside.status, outside.status, outside.header("location")
    assert not wrong


@pytest.mark.parametrize("path", ["/runbooks/", "/runbooks/node/HostDown"])
def test_runbook_opens_with_a_session_and_asks_for_one_without(path):
    answer = visit(path, "viewer", headers=PAGE)
    assert answer.status == 200
    assert "HostDown" in answer.body
    assert visit(path, headers=PAGE).header("location") == f"/session/sign-in?to={path}"


def test_file_beside_the_pages_is_not_served():
    for path in ("/error.html", "/index.html", "/session/sign-in.html", "/secrets/users", "/../secrets/users", "/assets/../../secrets/users",
                 "/session/static/../../secrets/users", "/session/static/..%2f..%2f..%2fsecrets/users", "/runbooks/..%2f..%2fnginx.conf", "/.git/config"):
        assert visit(path, "admin").status in (400, 404), path


# -- the connection


@pytest.mark.parametrize("port", [443, 9443])
def test_old_tls_is_refused(port):
    context = client_context()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    connection = http.client.HTTPSConnection(ADDRESS, port, context=context, timeout=10)
    with pytest.raises(ssl.SSLError) as refused:
        connection.request("GET", "/session/sign-in")
    assert refused.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"


def test_another_name_is_answered_with_nothing():
    for name in ("evil.example", "localhost", f"{ADDRESS}.evil.example"):
        answer = visit("/session/sign-in", headers={"Host": name})
        assert answer.status == 421


def test_request_of_two_lengths_is_refused():
    """What one server reads as one request, and the next as two."""
    answer = visit("/session/user", "viewer", "POST", {"Transfer-Encoding": "chunked", "Content-Length": "5"}, b"0\r\n\r\n")
    assert answer.status == 400


def test_request_that_is_too_large_is_refused_with_the_name_of_the_setting():
    answer = visit("/kibana/api/saved_objects/_import", "admin", "POST", {"Content-Length": str(33 << 20), "Expect": "100-continue"})
    assert (answer.status, answer.body) == (413, "Too large: The gateway takes requests of up to 32MB: gateway_request_max.\n")


def test_no_password_or_session_is_written_to_the_journal():
    sign_in("viewer", "a-wrong-password-of-the-test")
    visit("/prometheus/api/v1/query?query=secret_in_a_query", "viewer")
    time.sleep(1)
    journal = host("hub").check_output("journalctl -t gateway -u gateway --no-pager --since=-30s")
    assert '"user":{"name":"viewer"}' in journal
    for secret in ("a-wrong-password-of-the-test", sessions()["viewer"], basic("viewer", "a-wrong-password-of-the-test")["Authorization"], "secret_in_a_query"):
        assert secret not in journal


def test_renewed_certificates_are_shown_without_a_restart():
    """A new generation stands for a renewal."""
    ports = {"gateway": 443, "front": 9443}
    before = {product: (serial("hub", port), unit("hub", product, "MainPID")) for product, port in ports.items()}
    try:
        converge("-e", "observatory_certificate_generation=7", "--tags", "front,gateway", "--limit", "hub", expect_change=True)
        for product, port in ports.items():
            number, process = before[product]
            wait_for(f"{product}'s new certificate", lambda port=port, number=number: serial("hub", port) not in ("", number), 30)
            assert unit("hub", product, "MainPID") == process
        assert visit("/grafana/api/user", "viewer").status == 200
    finally:
        converge("--tags", "front,gateway", "--limit", "hub")
    for product, port in ports.items():
        wait_for(f"{product}'s certificate of before", lambda product=product, port=port: serial("hub", port) == before[product][0], 30)
