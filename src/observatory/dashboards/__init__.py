"""The platform's dashboards as code; `python -m observatory.dashboards` writes them to dashboards/."""

from __future__ import annotations

from . import alerts, elasticsearch, hosts, pipeline, platform, prometheus
from .build import Dashboard

DASHBOARDS: tuple[Dashboard, ...] = (
    platform.OVERVIEW, hosts.FLEET, hosts.DETAIL, prometheus.OVERVIEW, alerts.STATUS, pipeline.OVERVIEW, elasticsearch.CLUSTER,
)
