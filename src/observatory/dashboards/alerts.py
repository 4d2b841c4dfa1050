"""What fires, and whether it reaches people."""

from __future__ import annotations

from .build import Dashboard, Panel, Query, Row

IDENTITY = "alertname, severity, team, host, instance, service_name"

STATUS = Dashboard(
    uid="alerts-status",
    folder="Alerts",
    title="Alerts: status",
    purpose="For people on call: what fires now, since when, and whether messages leave. Silences are made in Alertmanager.",
    rows=(
        Row(
            "Now",
            (
                Panel(
                    "Firing alerts",
                    "short",
                    "Empty is normal. Each alert's runbook says the first step.",
                    (
                        Query(
                            f'max by ({IDENTITY}) (ALERTS_FOR_STATE and ignoring (alertstate) ALERTS{{alertstate="firing", severity!="none"}}) * 1000',
                            table=True,
                        ),
                    ),
                    kind="table",
                    width=18,
                    height=10,
                    empty="nothing fires",
                    alerts=("observatory/VerifySyntheticAlert",),
                    columns=(
                        ("alertname", "Alert", ""),
                        ("severity", "Severity", ""),
                        ("team", "Team", ""),
                        ("host", "On", ""),
                        ("instance", "Instance", ""),
                        ("service_name", "Service", ""),
                        ("Value", "Since", "dateTimeFromNow"),
                    ),
                ),
                Panel(
                    "By severity",
                    "short",
                    "Zero criticals is normal.",
                    (Query('count by (severity) (ALERTS{alertstate="firing", severity=~"critical|warning|info"})', "{{severity}}"),),
                    kind="stat",
                    width=6,
                    height=5,
                    empty="nothing fires",
                ),
                Panel(
                    "Watchdog heartbeat age",
                    "s",
                    "Some seconds: the time since Prometheus last evaluated the alert that always fires. It grows when evaluation has stopped; "
                    "whether it arrives outside is what the dead man's switch sees.",
                    (Query('time() - max(timestamp(ALERTS{alertname="Watchdog", alertstate="firing"}))', "age"),),
                    kind="stat",
                    width=6,
                    height=5,
                    decimals=0,
                    alerts=("observatory/Watchdog",),
                    empty="no watchdog",
                ),
            ),
        ),
        Row(
            "Over time",
            (
                Panel(
                    "Alerts by severity",
                    "short",
                    "A flat line near zero is normal. A staircase is a failure that spreads.",
                    (Query('count by (severity) (ALERTS{alertstate="firing", severity=~"critical|warning|info"})', "{{severity}}"),),
                    low=0,
                    decimals=0,
                ),
                Panel(
                    "Pending alerts",
                    "short",
                    "What would fire if it lasted. A few are normal during a change.",
                    (Query('count by (alertname) (ALERTS{alertstate="pending"})', "{{alertname}}"),),
                    low=0,
                    decimals=0,
                    empty="nothing is pending",
                ),
            ),
        ),
        Row(
            "Messages",
            (
                Panel(
                    "Age of what arrives",
                    "s",
                    "Up to 165 s is normal: how long ago Prometheus evaluated the newest watchdog that has come to the dead man's switch. "
                    "A line that climbs: the way is slow, or cut.",
                    (Query('time() - max by (host) (alert_canary_last_received_timestamp_seconds{job="node"})', "{{host}}"),),
                    low=0,
                    decimals=0,
                    alerts=("observatory/AlertingPipelineSlow",),
                    empty="no host of the group watcher has node_exporter",
                ),
                Panel(
                    "Messages sent",
                    "cps",
                    "Follows the alerts. Nothing while alerts fire and repeat is bad.",
                    (
                        Query(
                            'sum by (integration) (rate(alertmanager_notifications_total{job="alertmanager"}[$__rate_interval]))', "{{integration}}"
                        ),
                    ),
                    low=0,
                ),
                Panel(
                    "Messages failed",
                    "cps",
                    "Zero is normal. Anything else: the channel refuses, or cannot be reached.",
                    (
                        Query(
                            'sum by (integration, reason) (rate(alertmanager_notifications_failed_total{job="alertmanager"}[$__rate_interval]))',
                            "{{integration}} {{reason}}",
                        ),
                    ),
                    low=0,
                ),
                Panel(
                    "Silences",
                    "short",
                    "Active ones hide alerts: few, and none for long.",
                    (Query('max by (state) (alertmanager_silences{job="alertmanager"})', "{{state}}"),),
                    low=0,
                    decimals=0,
                ),
                Panel(
                    "Time to send",
                    "s",
                    "Under a second is normal; the 95th percentile of messages.",
                    (
                        Query(
                            # A native histogram: Prometheus takes it in that form alone.
                            'histogram_quantile(0.95, sum by (integration) ('
                            'rate(alertmanager_notification_latency_seconds{job="alertmanager"}[$__rate_interval])))',
                            "{{integration}}",
                        ),
                    ),
                    low=0,
                    empty="nothing was sent",
                ),
            ),
        ),
    ),
)
