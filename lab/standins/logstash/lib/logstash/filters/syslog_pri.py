"""syslog_pri: reads facility and severity out of a syslog priority."""

import re

from .. import options, references
from .base import Filter

_FACILITIES = [
    "kernel", "user-level", "mail", "daemon", "security/authorization", "syslogd", "line printer", "network news", "uucp", "clock",
    "security/authorization", "ftp", "ntp", "log audit", "log alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]
_SEVERITIES = ["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"]


class SyslogPri(Filter):
    """See Logstash's documentation of the syslog_pri filter."""

    NAME = "syslog_pri"
    OPTIONS = options.declare({
        "syslog_pri_field_name": options.string(), "use_labels": options.boolean(True), "facility_labels": options.array(_FACILITIES),
        "severity_labels": options.array(_SEVERITIES), **options.ECS,
    })

    def register(self):
        ecs = (self["ecs_compatibility"] or self.context.ecs) != "disabled"
        self._get = references.getter(self["syslog_pri_field_name"] or ("[log][syslog][priority]" if ecs else "syslog_pri"))
        names = (
            ("[log][syslog][facility][code]", "[log][syslog][facility][name]", "[log][syslog][severity][code]", "[log][syslog][severity][name]") if ecs
            else ("syslog_facility_code", "syslog_facility", "syslog_severity_code", "syslog_severity")
        )
        self._put = [references.setter(name) for name in names]

    def filter(self, event):
        value = self._get(event)
        priority = _number(value[0] if isinstance(value, list) and value else value)
        facility, severity = divmod(priority, 8)
        put_facility, name_facility, put_severity, name_severity = self._put
        put_facility(event, facility)
        put_severity(event, severity)
        if self["use_labels"]:
            if facility >= len(self["facility_labels"]):
                event.tag("_syslogpriparsefailure")
                return True
            name_facility(event, self["facility_labels"][facility])
            if severity < len(self["severity_labels"]):
                name_severity(event, self["severity_labels"][severity])
        return True


def _number(value):
    """Return the priority as Ruby's to_i reads it: the digits at the start, or 0."""
    if value is None or value is False:
        # What RFC 3164 gives a message without a priority.
        return 13
    if isinstance(value, float):
        return int(value)
    found = re.match(r"\s*([+-]?[0-9]+)", str(value))
    return int(found.group(1)) if found else 0
