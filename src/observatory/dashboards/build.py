"""Dashboards as plain declarations, and the JSON that Grafana provisions from them.

Site values stay in the JSON as `[[ ]]` expressions; the lookup observatory.core.dashboards puts them in when a site is rendered, so that a panel's line
is the threshold of its alert.
"""

from __future__ import annotations

import dataclasses
import typing as t

# The newest form that Grafana 10 to 13 read alike.
SCHEMA_VERSION = 39
GRID_WIDTH = 24
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
OK, INFO, WARNING, CRITICAL, NEUTRAL = "#56A64B", "#3274D9", "#FF9830", "#C4162A", "#8E8E8E"
SEVERITIES = {"critical": CRITICAL, "warning": WARNING, "info": INFO}
TAG = "observatory"
HOST = 'host=~"$host"'
"""Limits a query to the hosts that are chosen above the dashboard."""


@dataclasses.dataclass(frozen=True)
class Query:
    """One PromQL expression and how its series are called."""

    expr: str
    legend: str = ""
    table: bool = False
    """Whether only the newest values are wanted, as rows of a table."""


@dataclasses.dataclass(frozen=True)
class Panel:
    """One picture. Its description says what is normal, what is bad, and which alerts watch it."""

    title: str
    unit: str
    normal: str
    """What is normal and what is bad."""
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    alerts: tuple[str, ...] = ()
    """The alerts that watch it, component/AlertName."""
    lines: tuple[tuple[str, str], ...] = ()
    """(severity, expression over the thresholds): values from there on are bad."""
    below: bool = False
    """Whether values under the lines are the bad ones."""
    width: int = 12
    height: int = 8
    low: float | None = None
    high: float | None = None
    decimals: int | None = None
    empty: str = "no data"
    """What is shown where there is no series."""
    values: tuple[tuple[str, str, str], ...] = ()
    """(value, text, colour): words for numbers."""
    columns: tuple[tuple[str, str, str], ...] = ()
    """Of a table: (field, heading, unit)."""
    hidden: tuple[str, ...] = ()
    """Of a table: fields that are not shown."""
    row_link: str = ""
    """Of a table: where the cells of the column host lead."""


@dataclasses.dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclasses.dataclass(frozen=True)
class Dashboard:
    """A page; `purpose` says whom it is for and what it answers."""

    uid: str
    folder: str
    title: str
    purpose: str
    rows: tuple[Row, ...]
    hosts: str = ""
    """Selector of the series whose hosts can be chosen, for example `up{job="node"}`. Without one nothing is chosen."""
    window: str = "now-6h"


def render(dashboard: Dashboard) -> dict[str, t.Any]:
    """Return a dashboard as Grafana reads it."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.purpose,
        "tags": [TAG, dashboard.folder.lower()],
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": dashboard.window, "to": "now"},
        "timezone": "browser",
        "version": 1,
        "annotations": {"list": [_annotation(severity, colour) for severity, colour in SEVERITIES.items()]},
        "links": _links(),
        "templating": {"list": _variables(dashboard)},
        "panels": _panels(dashboard),
    }


def _annotation(severity: str, colour: str) -> dict[str, t.Any]:
    return {
        "datasource": DATA_SOURCE,
        "enable": severity == "critical",
        "expr": f'ALERTS{{alertstate="firing", severity="{severity}"}}',
        "iconColor": colour,
        "name": f"Alerts: {severity}",
        "step": "60s",
        "tagKeys": "alertname,host",
        "titleFormat": "{{alertname}}",
        "textFormat": "{{host}}",
    }


def _links() -> list[dict[str, t.Any]]:
    return [
        {
            "type": "dashboards", "title": "Dashboards", "tags": [TAG], "asDropdown": True, "includeVars": False, "keepTime": True, "targetBlank": False,
            "icon": "external link",
        },
        {
            "type": "link", "title": "Runbooks", "url": "[[ runbook_base_url ]]/", "tags": [], "asDropdown": False, "keepTime": False, "targetBlank": True,
            "icon": "doc",
        },
    ]


def _variables(dashboard: Dashboard) -> list[dict[str, t.Any]]:
    found: list[dict[str, t.Any]] = [
        {
            "name": "datasource", "label": "Data Source", "type": "datasource", "query": "prometheus", "hide": 0,
            "current": {"selected": True, "text": "Prometheus", "value": "prometheus"}, "multi": False, "includeAll": False, "refresh": 1,
        }
    ]
    if dashboard.hosts:
        query = f"label_values({dashboard.hosts}, host)"
        found.append({
            "name": "host", "label": "Host", "type": "query", "datasource": DATA_SOURCE, "query": {"query": query, "refId": "host"}, "definition": query,
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "multi": True, "includeAll": True, "allValue": ".*", "refresh": 2, "sort": 1,
            "hide": 0,
        })
    return found


def _panels(dashboard: Dashboard) -> list[dict[str, t.Any]]:
    """Return all panels, placed from left to right; a row's heading takes a line of its own."""
    text = {
        "id": 1, "type": "text", "title": "", "description": "Whom this dashboard is for.", "transparent": True,
        "gridPos": {"x": 0, "y": 0, "w": GRID_WIDTH, "h": 2}, "options": {"mode": "markdown", "content": dashboard.purpose},
    }
    found, top = [text], 2
    for row in dashboard.rows:
        found.append({
            "id": len(found) + 1, "type": "row", "title": row.title, "collapsed": False, "panels": [],
            "gridPos": {"x": 0, "y": top, "w": GRID_WIDTH, "h": 1},
        })
        top += 1
        left = tallest = 0
        for panel in row.panels:
            if left + panel.width > GRID_WIDTH:
                top, left, tallest = top + tallest, 0, 0
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            found.append({"id": len(found) + 1, "gridPos": place, **_panel(panel)})
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    return found


def _panel(panel: Panel) -> dict[str, t.Any]:
    names = [alert.split("/")[1] for alert in panel.alerts]
    watched = f"Watched by {', '.join(names)}." if names else "No alert watches it."
    body = {
        "type": panel.kind,
        "title": panel.title,
        "description": f"{panel.normal} {watched}",
        "datasource": DATA_SOURCE,
        "links": [
            {"title": f"Runbook: {name}", "url": f"[[ runbook_base_url ]]/{alert}", "targetBlank": True}
            for name, alert in zip(names, panel.alerts, strict=True)
        ],
        "targets": [_target(query, index) for index, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": OPTIONS[panel.kind],
    }
    if panel.kind == "table":
        body["transformations"] = _transformations(panel)
    return body


def _target(query: Query, index: int) -> dict[str, t.Any]:
    return {
        "refId": chr(ord("A") + index), "datasource": DATA_SOURCE, "expr": query.expr, "legendFormat": query.legend or "__auto",
        "format": "table" if query.table else "time_series", "instant": query.table, "range": not query.table, "editorMode": "code",
    }


def _defaults(panel: Panel) -> dict[str, t.Any]:
    defaults: dict[str, t.Any] = {"unit": panel.unit, "noValue": panel.empty, "thresholds": {"mode": "absolute", "steps": _steps(panel)}}
    for key, value in (("min", panel.low), ("max", panel.high), ("decimals", panel.decimals)):
        if value is not None:
            defaults[key] = value
    if panel.kind == "timeseries":
        defaults["color"] = {"mode": "palette-classic"}
        defaults["custom"] = {
            "drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": False, "stacking": {"mode": "none"},
            "thresholdsStyle": {"mode": "line" if panel.lines else "off"},
        }
    else:
        defaults["color"] = {"mode": "thresholds"}
    if panel.kind == "state-timeline":
        defaults["custom"] = {"fillOpacity": 80, "lineWidth": 0}
    if panel.values:
        words = {value: {"text": text, "color": colour, "index": index} for index, (value, text, colour) in enumerate(panel.values)}
        defaults["mappings"] = [{"type": "value", "options": words}]
    return defaults


def _steps(panel: Panel) -> list[dict[str, t.Any]]:
    """Return the colours from the lowest value upwards; a line's value is an expression, which the lookup turns into a number."""
    if not panel.lines:
        return [{"color": NEUTRAL if panel.values else OK, "value": None}]
    colours = [SEVERITIES[severity] for severity, _expression in panel.lines]
    values = [f"[[ {expression} ]]" for _severity, expression in panel.lines]
    if panel.below:
        # Lines are written mildest first: from below comes the worst.
        colours, values = [*reversed(colours), OK], [None, *reversed(values)]
    else:
        colours, values = [OK, *colours], [None, *values]
    return [{"color": colour, "value": value} for colour, value in zip(colours, values, strict=True)]


def _overrides(panel: Panel) -> list[dict[str, t.Any]]:
    found = []
    for _field, heading, unit in panel.columns:
        properties: list[dict[str, t.Any]] = [{"id": "unit", "value": unit}] if unit else []
        if heading == "Host" and panel.row_link:
            properties.append({"id": "links", "value": [{"title": "Details", "url": panel.row_link}]})
        if properties:
            found.append({"matcher": {"id": "byName", "options": heading}, "properties": properties})
    return found


def _transformations(panel: Panel) -> list[dict[str, t.Any]]:
    order = {field: index for index, (field, _heading, _unit) in enumerate(panel.columns)}
    names = {field: heading for field, heading, _unit in panel.columns}
    hidden = dict.fromkeys(("Time", *panel.hidden), True)
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": hidden, "indexByName": order, "renameByName": names}},
    ]


LEGEND = {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["max", "lastNotNull"]}
REDUCE = {"calcs": ["lastNotNull"], "fields": "", "values": False}
OPTIONS: dict[str, dict[str, t.Any]] = {
    "timeseries": {"legend": LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "stat": {
        "reduceOptions": REDUCE, "colorMode": "background", "graphMode": "none", "textMode": "auto", "justifyMode": "auto", "orientation": "auto",
    },
    "bargauge": {"reduceOptions": REDUCE, "displayMode": "basic", "orientation": "horizontal", "showUnfilled": True, "valueMode": "color"},
    "table": {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""}},
    "state-timeline": {
        "mergeValues": True, "showValue": "never", "rowHeight": 0.85, "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "single", "sort": "none"},
    },
}
