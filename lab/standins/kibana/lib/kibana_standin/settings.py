"""kibana.yml: which files are read, which keys there are, what each may hold. Refused in the words that Kibana uses."""

from __future__ import annotations

import os
import re
import urllib.parse
from dataclasses import dataclass, field

from . import yaml_subset

# Exit codes of Kibana: a key that nobody knows, a value that is not allowed.
UNKNOWN_KEY, INVALID_VALUE = 64, 78
KEY_LENGTH = 32
DURATION = re.compile(r"\d+(?:ms|s|m|h|d|w|M|Y)?\Z")
LEVELS = ("all", "fatal", "error", "warn", "info", "debug", "trace", "off")

# Namespaces that Kibana validates as one, the longer before the shorter.
NAMESPACES = (
    "xpack.security", "xpack.encryptedSavedObjects", "xpack.reporting", "xpack.fleet", "xpack.product_intercept", "xpack.apm", "xpack.spaces",
    "xpack.actions", "xpack.alerting", "xpack.task_manager", "xpack.screenshotting", "console", "csp", "data", "elasticsearch", "execution_context",
    "externalUrl", "i18n", "logging", "map", "migrations", "monitoring", "newsfeed", "node", "notifications", "ops", "path", "permissionsPolicy", "pid",
    "savedObjects", "server", "status", "telemetry", "unifiedSearch", "vis_type_vega",
)
BOOLEAN, NUMBER, TEXT, TEXTS, SIZE, TIME, ANY, MAPPING = "boolean", "number", "string", "array", "size", "duration", "any", "object"
# `*` stands for one name that the site chooses; a key of the kind "any" or "object" holds what it likes.
KNOWN: dict[str, object] = {
    "console.ui.enabled": BOOLEAN,
    "csp.connect_src": TEXTS,
    "csp.default_src": TEXTS,
    "csp.font_src": TEXTS,
    "csp.form_action": TEXTS,
    "csp.frame_ancestors": TEXTS,
    "csp.frame_src": TEXTS,
    "csp.img_src": TEXTS,
    "csp.object_src": TEXTS,
    "csp.report_to": TEXTS,
    "csp.report_uri": TEXTS,
    "csp.script_src": TEXTS,
    "csp.strict": BOOLEAN,
    "csp.style_src": TEXTS,
    "csp.warnLegacyBrowsers": BOOLEAN,
    "csp.worker_src": TEXTS,
    "elasticsearch.compression": BOOLEAN,
    "elasticsearch.customHeaders": MAPPING,
    "elasticsearch.healthCheck.delay": TIME,
    "elasticsearch.healthCheck.retry": NUMBER,
    "elasticsearch.hosts": TEXTS,
    "elasticsearch.idleSocketTimeout": TIME,
    "elasticsearch.maxIdleSockets": NUMBER,
    "elasticsearch.maxResponseSize": ANY,
    "elasticsearch.maxSockets": NUMBER,
    "elasticsearch.password": TEXT,
    "elasticsearch.pingTimeout": TIME,
    "elasticsearch.publicBaseUrl": TEXT,
    "elasticsearch.requestHeadersWhitelist": TEXTS,
    "elasticsearch.requestTimeout": TIME,
    "elasticsearch.serviceAccountToken": TEXT,
    "elasticsearch.shardTimeout": TIME,
    "elasticsearch.sniffInterval": ANY,
    "elasticsearch.sniffOnConnectionFault": BOOLEAN,
    "elasticsearch.sniffOnStart": BOOLEAN,
    "elasticsearch.ssl.alwaysPresentCertificate": BOOLEAN,
    "elasticsearch.ssl.certificate": TEXT,
    "elasticsearch.ssl.certificateAuthorities": TEXTS,
    "elasticsearch.ssl.key": TEXT,
    "elasticsearch.ssl.keyPassphrase": TEXT,
    "elasticsearch.ssl.verificationMode": ("none", "certificate", "full"),
    "elasticsearch.username": TEXT,
    "execution_context.enabled": BOOLEAN,
    "externalUrl.policy": ANY,
    "i18n.locale": TEXT,
    "logging.appenders.*.layout.highlight": BOOLEAN,
    "logging.appenders.*.layout.pattern": TEXT,
    "logging.appenders.*.layout.type": ("json", "pattern"),
    "logging.appenders.*.type": ("console",),
    "logging.loggers": ANY,
    "logging.root.appenders": TEXTS,
    "logging.root.level": LEVELS,
    "map.emsUrl": TEXT,
    "map.includeElasticMapsService": BOOLEAN,
    "map.tilemap.options.attribution": TEXT,
    "map.tilemap.options.maxZoom": NUMBER,
    "map.tilemap.options.minZoom": NUMBER,
    "map.tilemap.options.subdomains": TEXTS,
    "map.tilemap.url": TEXT,
    "migrations.batchSize": NUMBER,
    "migrations.discardCorruptObjects": TEXT,
    "migrations.discardUnknownObjects": TEXT,
    "migrations.maxBatchSizeBytes": SIZE,
    "migrations.retryAttempts": NUMBER,
    "migrations.useCumulativeLogger": BOOLEAN,
    "newsfeed.enabled": BOOLEAN,
    "node.roles": TEXTS,
    "notifications.connectors.default.email": TEXT,
    "ops.cGroupOverrides.cpuAcctPath": TEXT,
    "ops.cGroupOverrides.cpuPath": TEXT,
    "ops.interval": TIME,
    "path.data": TEXT,
    "permissionsPolicy.report_to": TEXTS,
    "pid.exclusive": BOOLEAN,
    "pid.file": TEXT,
    "savedObjects.maxImportExportSize": NUMBER,
    "savedObjects.maxImportPayloadBytes": SIZE,
    "server.basePath": TEXT,
    "server.compression.enabled": BOOLEAN,
    "server.customResponseHeaders": MAPPING,
    "server.host": TEXT,
    "server.keepaliveTimeout": NUMBER,
    "server.maxPayload": SIZE,
    "server.name": TEXT,
    "server.payloadTimeout": NUMBER,
    "server.port": NUMBER,
    "server.protocol": ("http1",),
    "server.publicBaseUrl": TEXT,
    "server.requestId.allowFromAnyIp": BOOLEAN,
    "server.requestId.ipAllowlist": TEXTS,
    "server.restrictInternalApis": BOOLEAN,
    "server.rewriteBasePath": BOOLEAN,
    "server.securityResponseHeaders.crossOriginOpenerPolicy": ANY,
    "server.securityResponseHeaders.disableEmbedding": BOOLEAN,
    "server.securityResponseHeaders.permissionsPolicy": ANY,
    "server.securityResponseHeaders.referrerPolicy": ANY,
    "server.securityResponseHeaders.strictTransportSecurity": ANY,
    "server.securityResponseHeaders.xContentTypeOptions": ANY,
    "server.shutdownTimeout": TIME,
    "server.socketTimeout": NUMBER,
    "server.ssl.enabled": (False,),
    "server.uuid": TEXT,
    "server.xsrf.allowlist": TEXTS,
    "server.xsrf.disableProtection": BOOLEAN,
    "status.allowAnonymous": BOOLEAN,
    "status.statusPageBypassMonitorPrivilege": BOOLEAN,
    "telemetry.allowChangingOptInStatus": BOOLEAN,
    "telemetry.optIn": BOOLEAN,
    "telemetry.sendUsageFrom": ("browser", "server"),
    "unifiedSearch.autocomplete.valueSuggestions.terminateAfter": NUMBER,
    "unifiedSearch.autocomplete.valueSuggestions.timeout": TIME,
    "vis_type_vega.enableExternalUrls": BOOLEAN,
    "xpack.apm.telemetryCollectionEnabled": BOOLEAN,
    "xpack.encryptedSavedObjects.encryptionKey": TEXT,
    "xpack.encryptedSavedObjects.keyRotation.decryptionOnlyKeys": TEXTS,
    "xpack.fleet.agents.enabled": BOOLEAN,
    "xpack.fleet.isAirGapped": BOOLEAN,
    "xpack.fleet.registryProxyUrl": TEXT,
    "xpack.fleet.registryUrl": TEXT,
    "xpack.product_intercept.enabled": BOOLEAN,
    "xpack.reporting.encryptionKey": TEXT,
    "xpack.security.accessAgreement.message": TEXT,
    "xpack.security.audit.enabled": BOOLEAN,
    "xpack.security.authc.http.autoSchemesEnabled": BOOLEAN,
    "xpack.security.authc.http.enabled": BOOLEAN,
    "xpack.security.authc.http.schemes": TEXTS,
    "xpack.security.authc.providers.basic.*.description": TEXT,
    "xpack.security.authc.providers.basic.*.enabled": BOOLEAN,
    "xpack.security.authc.providers.basic.*.hint": TEXT,
    "xpack.security.authc.providers.basic.*.order": NUMBER,
    "xpack.security.authc.selector.enabled": BOOLEAN,
    "xpack.security.encryptionKey": TEXT,
    "xpack.security.loginAssistanceMessage": TEXT,
    "xpack.security.loginHelp": TEXT,
    "xpack.security.sameSiteCookies": ("Strict", "Lax", "None"),
    "xpack.security.secureCookies": BOOLEAN,
    "xpack.security.session.cleanupInterval": TIME,
    "xpack.security.session.concurrentSessions.maxSessions": NUMBER,
    "xpack.security.session.idleTimeout": TIME,
    "xpack.security.session.lifespan": TIME,
    "xpack.security.showInsecureClusterWarning": BOOLEAN,
}
DEFAULTS: dict[str, object] = {
    "elasticsearch.healthCheck.delay": 2500,
    "elasticsearch.hosts": ["http://localhost:9200"],
    "elasticsearch.requestTimeout": 30000,
    "elasticsearch.ssl.alwaysPresentCertificate": False,
    "elasticsearch.ssl.certificateAuthorities": [],
    "elasticsearch.ssl.verificationMode": "full",
    "logging.root.level": "info",
    "ops.interval": 5000,
    "savedObjects.maxImportExportSize": 10000,
    "savedObjects.maxImportPayloadBytes": 26214400,
    "server.basePath": "",
    "server.host": "localhost",
    "server.maxPayload": 1048576,
    "server.port": 5601,
    "server.rewriteBasePath": False,
    "server.securityResponseHeaders.disableEmbedding": False,
    "server.xsrf.disableProtection": False,
    "status.allowAnonymous": False,
    "xpack.security.authc.http.enabled": True,
}
ENCRYPTION_KEYS = ("xpack.security.encryptionKey", "xpack.encryptedSavedObjects.encryptionKey", "xpack.reporting.encryptionKey")
FILES = ("elasticsearch.ssl.certificate", "elasticsearch.ssl.key")


class ConfigError(Exception):
    """Why Kibana does not start, and the code with which it ends."""

    def __init__(self, message: str, code: int = INVALID_VALUE):
        super().__init__(message)
        self.code = code


@dataclass
class Settings:
    """The settings that are in force, by dotted key."""

    values: dict[str, object] = field(default_factory=dict)

    def __getitem__(self, key: str):
        return self.values.get(key, DEFAULTS.get(key))

    def below(self, prefix: str) -> dict[str, object]:
        """Return the settings that begin with a prefix, without it."""
        return {key[len(prefix):]: value for key, value in self.values.items() if key.startswith(prefix)}

    def milliseconds(self, key: str) -> float:
        return milliseconds(self[key])


def milliseconds(value: object) -> float:
    """Return a duration in ms: a number, or text such as 30s."""
    text = str(value)
    number, unit = re.match(r"(\d+)(.*)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"": 1, "ms": 1, "s": 1000, "m": 60000, "h": 3600000, "d": 86400000, "w": 604800000, "M": 2629800000, "Y": 31557600000}[unit]


def config_files(home: str, chosen: list[str], environment: dict[str, str]) -> list[str]:
    """Return the files in the order in which they are merged: those of the command line, else of KBN_CONFIG_PATHS, else kibana.yml."""
    if chosen:
        return chosen
    if environment.get("KBN_CONFIG_PATHS"):
        return [os.path.abspath(path.strip()) for path in environment["KBN_CONFIG_PATHS"].split(",")]
    return [os.path.join(environment.get("KBN_PATH_CONF") or os.path.join(home, "config"), "kibana.yml")]


def read(paths: list[str], environment: dict[str, str]) -> Settings:
    """Return the settings of some files, the later before the earlier; raises ConfigError."""
    values: dict[str, object] = {}
    for path in paths:
        try:
            with open(path, encoding="utf-8") as handle:
                document = yaml_subset.load(handle.read())
        except OSError as error:
            raise ConfigError(f"{type(error).__name__}: {error.strerror}, open '{path}'", 1) from error
        except yaml_subset.YamlError as error:
            raise ConfigError(f"YAMLException: {path}: {error}", 1) from error
        if document is None:
            continue
        if not isinstance(document, dict):
            raise ConfigError(f"YAMLException: {path}: a mapping is expected", 1)
        values.update(_with_environment(_flat(document), environment))
    return Settings(_checked(values))


def _flat(node: dict, prefix: str = "") -> dict[str, object]:
    result: dict[str, object] = {}
    for name, value in node.items():
        key = prefix + str(name)
        if isinstance(value, dict) and _kind(key) not in (ANY, MAPPING):
            result.update(_flat(value, key + "."))
        else:
            result[key] = value
    return result


def _kind(key: str) -> object:
    parts = key.split(".")
    for known, kind in KNOWN.items():
        pattern = known.split(".")
        if len(pattern) == len(parts) and all(wanted in ("*", found) for wanted, found in zip(pattern, parts, strict=True)):
            return kind
    return None


def _with_environment(values: dict[str, object], environment: dict[str, str]) -> dict[str, object]:
    def put_in(value: object) -> object:
        if isinstance(value, list):
            return [put_in(entry) for entry in value]
        if not isinstance(value, str):
            return value

        def one(match: re.Match) -> str:
            if match[1] not in environment and match[2] is None:
                raise ConfigError(f"Unknown environment variable referenced in config : {match[1]}", 1)
            return environment.get(match[1], match[2] or "")

        return re.sub(r"\$\{(\w+)(?::([^}]*))?\}", one, value)

    return {key: put_in(value) for key, value in values.items()}


def _namespace(key: str) -> str | None:
    return next((name for name in NAMESPACES if key == name or key.startswith(name + ".")), None)


def _refuse(key: str, reason: str) -> ConfigError:
    namespace = _namespace(key) or ""
    return ConfigError(f"[config validation of [{namespace}].{key[len(namespace) + 1:]}]: {reason}")


def _checked(values: dict[str, object]) -> dict[str, object]:
    unknown = sorted(key for key in values if _kind(key) is None and _namespace(key) is None)
    if unknown:
        names = ", ".join(f'"{key}"' for key in unknown)
        raise ConfigError(
            f"Unknown configuration key(s): {names}. Check for spelling errors and ensure that expected plugins are installed.", UNKNOWN_KEY
        )
    result = {}
    for key, value in values.items():
        kind = _kind(key)
        if kind is None:
            raise _refuse(key, "definition for this key is missing")
        result[key] = _typed(key, kind, value)
    _together(Settings(result))
    return result


def _typed(key: str, kind: object, value: object) -> object:
    found = {bool: "boolean", int: "number", float: "number", str: "string", list: "Array", dict: "Object"}.get(type(value), "null")
    if isinstance(kind, tuple):
        if value not in kind:
            raise _refuse(key, "types that failed validation:\n" + "\n".join(f"- [{key}]: expected value to equal [{_shown(word)}]" for word in kind))
        return value
    if kind == BOOLEAN and not isinstance(value, bool):
        raise _refuse(key, f"expected value of type [boolean] but got [{found}]")
    if kind == NUMBER and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise _refuse(key, f"expected value of type [number] but got [{found}]")
    if kind == TEXT and not isinstance(value, str):
        raise _refuse(key, f"expected value of type [string] but got [{found}]")
    if kind == TEXTS:
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise _refuse(key, f"could not parse array value from json input or expected value of type [array] but got [{found}]")
    if kind == TIME and (isinstance(value, bool) or not DURATION.match(str(value))):
        raise _refuse(key, f"Failed to parse value as time value. Value must be a duration in milliseconds, or follow the format <count>[ms|s|m|h|d|w|M|Y], "
                      f"got [{value}]")
    if kind == SIZE:
        match = re.match(r"(\d+)(b|kb|mb|gb)?\Z", str(value))
        if not match or isinstance(value, bool):
            raise _refuse(key, f"Failed to parse value as byte value. Value must be either number of bytes, or follow the format <count>[b|kb|mb|gb], "
                          f"got [{value}]")
        value = int(match[1]) * {None: 1, "b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3}[match[2]]
    if kind == MAPPING and not isinstance(value, dict):
        raise _refuse(key, f"expected value of type [object] but got [{found}]")
    return value


def _shown(word: object) -> str:
    return str(word).lower() if isinstance(word, bool) else str(word)


def _together(settings: Settings) -> None:
    """What is wrong only together with others, or in more than its type."""
    base, public = str(settings["server.basePath"]), settings["server.publicBaseUrl"]
    if base and (not base.startswith("/") or base.endswith("/")):
        raise _refuse("server.basePath", "must start with a slash, don't end with one")
    if settings["server.rewriteBasePath"] and not base:
        raise ConfigError("[config validation of [server]]: cannot use [rewriteBasePath] when [basePath] is not specified")
    if public:
        parts = urllib.parse.urlsplit(str(public))
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise _refuse("server.publicBaseUrl", "expected URI with scheme [http|https].")
        if parts.path not in ("", base) or (base and not parts.path):
            raise ConfigError(f"[config validation of [server]]: [publicBaseUrl] must contain the [basePath]: {parts.path or '/'} !== {base}")
    if not 0 <= settings["server.port"] <= 65535:
        raise _refuse("server.port", "Value must be equal to or lower than [65535].")
    for host in settings["elasticsearch.hosts"]:
        if urllib.parse.urlsplit(host).scheme not in ("http", "https"):
            raise _refuse("elasticsearch.hosts", "expected URI with scheme [http|https].")
    if settings["elasticsearch.serviceAccountToken"] and settings["elasticsearch.username"]:
        raise _refuse("elasticsearch.serviceAccountToken", 'serviceAccountToken cannot be specified when "username" is also set.')
    if settings["elasticsearch.username"] == "elastic":
        raise _refuse(
            "elasticsearch.username",
            'value of "elastic" is forbidden. This is a superuser account that cannot write to system indices that Kibana needs to function. '
            "Use a service account token instead.",
        )
    for key in ENCRYPTION_KEYS:
        value = settings[key]
        if value is not None and len(str(value)) < KEY_LENGTH:
            raise _refuse(key, f"value has length [{len(str(value))}] but it must have a minimum length of [{KEY_LENGTH}].")
    if bool(settings["elasticsearch.ssl.certificate"]) != bool(settings["elasticsearch.ssl.key"]):
        raise ConfigError("[config validation of [elasticsearch]]: [ssl.certificate] and [ssl.key] must be specified together")
    for path in [*(settings[key] for key in FILES if settings[key]), *settings["elasticsearch.ssl.certificateAuthorities"]]:
        try:
            with open(str(path), "rb") as handle:
                handle.read(1)
        except OSError as error:
            raise ConfigError(f"{errno_name(error)}: {str(error.strerror).lower()}, open '{path}'", 1) from error
    if settings.below("logging.") and "logging.root.appenders" not in settings.values:
        raise ConfigError("[config validation of [logging].root]: expected at least one defined value but got [undefined]")
    names = {key.split(".")[0] for key in settings.below("logging.appenders.")} | {"default", "console"}
    for name in settings["logging.root.appenders"] or []:
        if name not in names:
            raise ConfigError(f'[config validation of [logging]]: Logger "root" contains unsupported appender key "{name}".')


def errno_name(error: OSError) -> str:
    import errno

    return errno.errorcode.get(error.errno or 0, "EIO")
