"""elasticsearch: writes events to data streams through the bulk API."""

import json
import re
import threading

from .. import options, tls
from ..errors import ConfigurationError
from ..event import template
from ..logs import Symbol, inspect
from . import elasticsearch_client as client
from .base import Output

TARGET_BULK_BYTES = 20 << 20
_IDENTIFIER = re.compile(r"""[^\\/*?"<>| ,#:]{1,100}""")
_DATA_STREAM = ("type", "dataset", "namespace")
_OBSOLETE = {
    "ssl": "ssl_enabled", "cacert": "ssl_certificate_authorities", "keystore": "ssl_keystore_path", "keystore_password": "ssl_keystore_password",
    "truststore": "ssl_truststore_path", "truststore_password": "ssl_truststore_password", "ssl_certificate_verification": "ssl_verification_mode",
}
_ABSENT = (
    "action", "api_key", "bulk_path", "ca_trusted_fingerprint", "cloud_auth", "cloud_id", "custom_headers", "doc_as_upsert", "document_type",
    "dlq_on_failed_indexname_interpolation", "drop_error_types", "healthcheck_path", "ilm_enabled", "ilm_pattern", "ilm_policy", "ilm_rollover_alias", "index",
    "join_field", "parameters", "parent", "path", "pipeline", "pool_max", "pool_max_per_route", "proxy", "retry_on_conflict", "routing", "script",
    "script_lang", "script_type", "script_var_name", "scripted_upsert", "sniffing", "sniffing_delay", "sniffing_path", "ssl_cipher_suites",
    "ssl_keystore_password", "ssl_keystore_path", "ssl_keystore_type", "ssl_truststore_password", "ssl_truststore_path", "ssl_truststore_type", "template",
    "template_api", "template_name", "template_overwrite", "upsert", "validate_after_inactivity", "version", "version_type",
)


class Elasticsearch(Output):
    """See Logstash's documentation of the elasticsearch output; of its modes, data streams only."""

    NAME = "elasticsearch"
    OPTIONS = options.declare({
        "hosts": options.uri(["//127.0.0.1"]).listed(), "user": options.string(), "password": options.password(),
        "data_stream": options.one_of("true", "false", "auto"),
        "data_stream_type": options.one_of("logs", "metrics", "synthetics", "traces", default="logs"),
        "data_stream_dataset": options.string("generic"), "data_stream_namespace": options.string("default"),
        "data_stream_auto_routing": options.boolean(True), "data_stream_sync_fields": options.boolean(True), "document_id": options.string(),
        "manage_template": options.boolean(False), "compression_level": options.one_of(*range(10), default=1), "timeout": options.number(60),
        "retry_initial_interval": options.number(2), "retry_max_interval": options.number(64), "resurrect_delay": options.number(5),
        "silence_errors_in_log": options.array([]), "dlq_custom_codes": options.number([]).listed(),
        "ssl_enabled": options.boolean(), "ssl_certificate": options.path(), "ssl_key": options.path(),
        "ssl_certificate_authorities": options.path().listed(), "ssl_verification_mode": options.one_of("full", "none", default="full"),
        "ssl_supported_protocols": options.one_of(*tls.PROTOCOLS, default=[]).listed(), **options.ECS,
        **{old: options.obsolete(f"Use '{new}' instead.") for old, new in _OBSOLETE.items()}, **{name: options.absent() for name in _ABSENT},
        "http_compression": options.obsolete("Use 'compression_level' instead."),
        "failure_type_logging_whitelist": options.obsolete("Use 'silence_errors_in_log' instead."),
    })

    def __init__(self, plugin_id, given, context):
        super().__init__(plugin_id, given, context)
        for name in ("data_stream_dataset", "data_stream_namespace"):
            if not _IDENTIFIER.fullmatch(self[name]):
                raise ConfigurationError(f"Invalid setting for elasticsearch output plugin: {name} => {inspect(self[name])}: Invalid characters detected")

    def register(self):
        if self["data_stream"] == "false":
            raise ConfigurationError("elasticsearch: data_stream => false is not implemented by this stand-in")
        if (self["ecs_compatibility"] or self.context.ecs) == "disabled":
            raise ConfigurationError("Invalid data stream configuration: `ecs_compatibility => disabled`")
        if self["manage_template"]:
            raise ConfigurationError("Invalid data stream configuration: [\"manage_template\"]")
        if bool(self["ssl_certificate"]) != bool(self["ssl_key"]):
            raise ConfigurationError("Using an `ssl_certificate` requires an `ssl_key`")
        self._id = template(self["document_id"]) if self["document_id"] is not None else None
        self._names = {name: self[f"data_stream_{name}"] for name in _DATA_STREAM}
        self._dead_codes = {400, 404, *self["dlq_custom_codes"]}
        self._counts, self._lock = {}, threading.Lock()
        self._client = client.Client(self.options, self.log, self.context.stopping)
        self._client.start()

    def watched(self):
        return [path for path in (self["ssl_certificate"], self["ssl_key"], *(self["ssl_certificate_authorities"] or ())) if path]

    def close(self):
        self._client.close()

    def _counted(self, kind, name, number=1):
        with self._lock:
            counts = self._counts.setdefault(kind, {})
            counts[name] = counts.get(name, 0) + number

    def stats(self):
        with self._lock:
            return super().stats() | {kind: dict(counts) for kind, counts in self._counts.items()}

    # Events become actions

    def receive(self, events):
        actions = [action for action in map(self._action, events) if action]
        for group in _groups(actions):
            self._submit_all(group)

    def _action(self, event):
        """Return (event, parameters, lines of the bulk request), or None for an event that cannot be sent."""
        data, names = event.data, self._names
        given = data.get("data_stream")
        if isinstance(given, dict) and self["data_stream_auto_routing"]:
            names = {name: given.get(name) or self._names[name] for name in _DATA_STREAM}
        index = f"{names['type']}-{names['dataset']}-{names['namespace']}"
        if "%{" in index:
            self._refuse(event, f"Badly formatted index, after interpolation still contains placeholder: [{index}]")
            return None
        if self["data_stream_sync_fields"] and (not isinstance(given, dict) or any(given.get(name) != names[name] for name in _DATA_STREAM)):
            data = data | {"data_stream": (given if isinstance(given, dict) else {}) | names}
            event.data = data
        parameters = {"_index": index}
        if self._id:
            parameters["_id"] = self._id(event)
        return event, parameters, b'{"create":%b}\n%b\n' % (json.dumps(parameters).encode(), event.json())

    def _refuse(self, event, reason):
        if self.context.dlq:
            self.context.dlq.write(event, self.NAME, self.id, reason)
            self._counted("documents", "dlq_routed")
        else:
            self.log.warn(reason)
            self._counted("documents", "non_retryable_failures")

    # Sending

    def _submit_all(self, actions):
        """Send actions until each is done with."""
        interval = self["retry_initial_interval"]
        while actions:
            actions, wait = self._submit(actions, interval)
            if actions:
                self.context.stopping.wait(interval if wait else 0)
                self.give_up_at_stop()
                interval = min(interval * 2, self["retry_max_interval"]) if wait else interval

    def _submit(self, actions, interval):
        """Send actions once; return those to send again, and whether to wait before."""
        try:
            status, body = self._client.bulk(b"".join([lines for _event, _parameters, lines in actions]))
        except client.Unreachable as error:
            self._counted("bulk_requests", "failures")
            self.log.error(f"Attempted to send a bulk request but {error.words}", message=str(error), will_retry_in_seconds=interval)
            return actions, True
        self._counted("bulk_requests", f"responses.{status}")
        if status == 413:
            return self._too_large(actions)
        if status != 200:
            self._counted("bulk_requests", "failures")
            self.log.log(
                "debug" if status == 429 else "error", "Encountered a retryable error (will retry with exponential backoff)", code=status,
                body=body[:1000].decode("utf-8", "replace"), will_retry_in_seconds=interval,
            )
            return actions, True
        if b'"errors":false' in body[:200]:
            self._counted("bulk_requests", "successes")
            self._counted("documents", "successes", len(actions))
            return [], False
        self._counted("bulk_requests", "with_errors")
        return self._judge(actions, json.loads(body)["items"]), True

    def _too_large(self, actions):
        """Halve a request that Elasticsearch finds too large; a single event of that size cannot be kept."""
        if len(actions) == 1:
            self._refuse(actions[0][0], "Could not index event to Elasticsearch. The bulk request of this one event is too large (413).")
            return [], False
        middle = len(actions) // 2
        self._submit_all(actions[:middle])
        return actions[middle:], False

    def _judge(self, actions, items):
        """Return the actions that are to be sent again."""
        again = []
        for action, item in zip(actions, items, strict=True):
            answer = item["create"]
            status, error = answer["status"], answer.get("error") or {}
            silent = error.get("type") in self["silence_errors_in_log"]
            if status in (200, 201):
                self._counted("documents", "successes")
            elif status == 409:
                self._counted("documents", "non_retryable_failures")
                if not silent:
                    self.log.warn("Failed action", status=status, action=_shown(action), response=item)
            elif status in self._dead_codes:
                shown = f"status: {status}, action: {inspect(_shown(action))}, response: {inspect(item)}"
                self._refuse(action[0], f"Could not index event to Elasticsearch. {shown}")
            else:
                self._counted("documents", "retryable_failures")
                if not silent:
                    self.log.info("Retrying failed action", status=status, action=_shown(action), error=error)
                again.append(action)
        if again:
            self.log.info("Retrying individual bulk actions that failed or were rejected by the previous bulk request", count=len(again))
        return again


def _shown(action):
    event, parameters, _lines = action
    return ["create", {Symbol("_id"): parameters.get("_id"), Symbol("_index"): parameters["_index"], Symbol("routing"): None}, event.data]


def _groups(actions):
    """Yield actions in groups that a request may hold."""
    group, size = [], 0
    for action in actions:
        if group and size + len(action[2]) > TARGET_BULK_BYTES:
            yield group
            group, size = [], 0
        group.append(action)
        size += len(action[2])
    if group:
        yield group
