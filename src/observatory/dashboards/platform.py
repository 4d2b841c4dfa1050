"""The first page: is the platform itself well?"""

from __future__ import annotations

from .build import CRITICAL, OK, Dashboard, Panel, Query, Row

OVERVIEW = Dashboard(
    uid="platform-overview",
    folder="Platform",
    title="Platform: overview",
    purpose="For everybody: does each part of the platform answer, does anything fire, and how much comes in?",
    rows=(
        Row(
            "State",
            (
                Panel(
                    "Firing alerts",
                    "short",
                    "Empty is normal; the dashboard of alerts has the list.",
                    (Query('count by (severity) (ALERTS{alertstate="firing", severity=~"critical|warning"})', "{{severity}}"),),
                    kind="stat",
                    width=6,
                    height=6,
                    empty="nothing fires",
                ),
                Panel(
                    "Targets up by job",
                    "percentunit",
                    "100 % of each job's targets answer. Below the line for long, a ticket is made.",
                    (Query("avg by (job) (up)", "{{job}}"),),
                    kind="stat",
                    width=18,
                    height=6,
                    below=True,
                    alerts=("observatory/TargetDown",),
                    lines=(("warning", "1 - thresholds.observatory.TargetDown.ratio"),),
                ),
                Panel(
                    "Targets that do not answer",
                    "short",
                    "Empty. The reason stands in Prometheus under Status, Targets.",
                    (Query("max by (job, host, instance) (up) == 0", table=True),),
                    kind="table",
                    width=12,
                    height=8,
                    empty="all answer",
                    columns=(("job", "Job", ""), ("host", "Host", ""), ("instance", "Instance", "")),
                    hidden=("Value",),
                ),
                Panel(
                    "Units of the platform",
                    "short",
                    "All run. The dashboard of the host says since when one does not.",
                    (
                        Query(
                            'min by (name) (node_systemd_unit_state{job="node", state="active", '
                            "name=~\"([[ thresholds.node.StackServiceNotActive.units | join('|') ]])[.]service\"})",
                            "{{name}}",
                        ),
                    ),
                    kind="stat",
                    width=12,
                    height=8,
                    values=(("0", "down", CRITICAL), ("1", "runs", OK)),
                ),
            ),
        ),
        Row(
            "What comes in",
            (
                Panel(
                    "Samples stored",
                    "cps",
                    "Flat; it grows with hosts and services. A drop is a target that is gone.",
                    (Query('sum by (host) (rate(prometheus_tsdb_head_samples_appended_total{job="prometheus"}[$__rate_interval]))', "{{host}}"),),
                    width=8,
                    low=0,
                ),
                Panel(
                    "Logs stored",
                    "cps",
                    "Proportional to work. Nothing means that no log arrives.",
                    (Query('sum(rate(elasticsearch_indices_indexing_index_total{job="elasticsearch"}[$__rate_interval]))', "documents"),),
                    width=8,
                    low=0,
                    empty="no Elasticsearch",
                ),
                Panel(
                    "Spans received",
                    "cps",
                    "Proportional to requests and to the sampled share.",
                    (Query('sum(rate(otelcol_receiver_accepted_spans_total{job="jaeger"}[$__rate_interval]))', "spans"),),
                    width=8,
                    low=0,
                    empty="no Jaeger, or no span yet",
                ),
            ),
        ),
        Row(
            "What runs out",
            (
                Panel(
                    "Days until a certificate expires",
                    "d",
                    "Between the days of a new one and 30, when a run renews it. Under the lines, no run has come through for a while.",
                    (
                        Query(
                            '(min by (host, component) (probe_ssl_earliest_cert_expiry{job="blackbox"}) - time()) / 86400', "{{host}} {{component}}"
                        ),
                    ),
                    low=0,
                    below=True,
                    alerts=("certificates/CertificateExpiresSoon",),
                    lines=(
                        ("warning", "thresholds.certificates.CertificateExpiresSoon.warning.days"),
                        ("critical", "thresholds.certificates.CertificateExpiresSoon.critical.days"),
                    ),
                ),
                Panel(
                    "Fullest filesystem of each host",
                    "percentunit",
                    "Below the lines; the dashboard of the host has a forecast.",
                    (
                        Query(
                            '1 - min by (host) (node_filesystem_avail_bytes{job="node", fstype!~"tmpfs|overlay|squashfs|ramfs|iso9660"} '
                            '/ node_filesystem_size_bytes{job="node", fstype!~"tmpfs|overlay|squashfs|ramfs|iso9660"})',
                            "{{host}}",
                        ),
                    ),
                    low=0,
                    high=1,
                    lines=(
                        ("warning", "1 - thresholds.node.NodeFilesystemAlmostOutOfSpace.warning.ratio"),
                        ("critical", "1 - thresholds.node.NodeFilesystemAlmostOutOfSpace.critical.ratio"),
                    ),
                ),
            ),
        ),
    ),
)
