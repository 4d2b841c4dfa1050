"""The lab's Elasticsearch as one of its users asks it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from fleet import LAB, client_context, identity, secrets

PORT = 9200


def ask(method: str, path: str, body: object = None, *, user: str = "admin", password: str = "") -> tuple[int, dict]:
    """Return (status, answer) of a request of a user, who shows the hub's own certificate."""
    with identity("host") as files:
        context = client_context(files)
    managers = urllib.request.HTTPPasswordMgrWithPriorAuth()
    url = f"https://{LAB.address('hub')}:{PORT}"
    managers.add_password(None, url, user, password or secrets()[f"elasticsearch_password_{user}"], is_authenticated=True)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), urllib.request.HTTPBasicAuthHandler(managers)
    )
    data = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"}, method=method)
    try:
        with opener.open(request, timeout=30) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else {}
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text.startswith(b"{") else {}
