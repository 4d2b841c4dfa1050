"""Prometheus itself: scraping, rules, storage."""

from __future__ import annotations

from .build import CRITICAL, HOST, OK, Dashboard, Panel, Query, Row

OVERVIEW = Dashboard(
    uid="prometheus-overview",
    folder="Prometheus",
    title="Prometheus: overview",
    purpose="For operators: does Prometheus scrape, evaluate, store and pass on, and how long will its disk last?",
    hosts='up{job="prometheus"}',
    rows=(
        Row(
            "Health",
            (
                Panel(
                    "Targets up",
                    "short",
                    "All of them: the number that answers. The table of the platform's overview names those that do not.",
                    (Query("sum(up)", "up"), Query("count(up)", "known")),
                    kind="stat",
                    width=6,
                    height=5,
                    alerts=("prometheus/PrometheusJobMissing",),
                ),
                Panel(
                    "Configuration reload",
                    "short",
                    "Successful. Failed: the running configuration is not the one on disk.",
                    (Query(f'min by (host) (prometheus_config_last_reload_successful{{job="prometheus", {HOST}}})', "{{host}}"),),
                    kind="stat",
                    width=6,
                    height=5,
                    alerts=("prometheus/PrometheusBadConfig",),
                    values=(("0", "failed", CRITICAL), ("1", "successful", OK)),
                ),
                Panel(
                    "Alertmanagers discovered",
                    "short",
                    "As many as the inventory has. Fewer, and alerts may reach nobody.",
                    (Query(f'min by (host) (prometheus_notifications_alertmanagers_discovered{{job="prometheus", {HOST}}})', "{{host}}"),),
                    kind="stat",
                    width=6,
                    height=5,
                    alerts=("prometheus/PrometheusNotConnectedToAlertmanagers",),
                    below=True,
                    lines=(("critical", "thresholds.prometheus.PrometheusNotConnectedToAlertmanagers.count"),),
                ),
                Panel(
                    "Running since",
                    "dateTimeFromNow",
                    "Only runs that change something restart it.",
                    (Query(f'max by (host) (process_start_time_seconds{{job="prometheus", {HOST}}}) * 1000', "{{host}}"),),
                    kind="stat",
                    width=6,
                    height=5,
                ),
            ),
        ),
        Row(
            "Scraping",
            (
                Panel(
                    "Samples stored",
                    "cps",
                    "Flat; it grows with hosts. A drop is a target that is gone.",
                    (
                        Query(
                            f'sum by (host) (rate(prometheus_tsdb_head_samples_appended_total{{job="prometheus", {HOST}}}[$__rate_interval]))',
                            "{{host}}",
                        ),
                    ),
                    low=0,
                ),
                Panel(
                    "Slowest scrapes",
                    "s",
                    "Well under the scrape timeout. Near it, samples are lost.",
                    (Query("topk(10, max by (job, host) (scrape_duration_seconds))", "{{job}} {{host}}"),),
                    low=0,
                ),
                Panel(
                    "Series",
                    "short",
                    "Flat. A climb that does not end is a label with endless values.",
                    (Query(f'max by (host) (prometheus_tsdb_head_series{{job="prometheus", {HOST}}})', "{{host}}"),),
                    low=0,
                ),
                Panel(
                    "Series by job",
                    "short",
                    "Proportional to hosts and services; a job that climbs has labels with endless values.",
                    (Query("topk(15, sum by (job) (scrape_samples_post_metric_relabeling))", "{{job}}"),),
                    low=0,
                ),
            ),
        ),
        Row(
            "Rules and alerts",
            (
                Panel(
                    "Rule evaluation failures",
                    "cps",
                    "Zero. An alert whose rule fails is blind.",
                    (
                        Query(
                            f'sum by (host, rule_group) (rate(prometheus_rule_evaluation_failures_total{{job="prometheus", {HOST}}}[$__rate_interval]))',
                            "{{host}} {{rule_group}}",
                        ),
                    ),
                    low=0,
                    alerts=("prometheus/PrometheusRuleFailures",),
                ),
                Panel(
                    "Slowest rule groups",
                    "s",
                    "Far under the evaluation interval.",
                    (
                        Query(
                            f'topk(5, max by (rule_group) (prometheus_rule_group_last_duration_seconds{{job="prometheus", {HOST}}}))',
                            "{{rule_group}}",
                        ),
                    ),
                    low=0,
                ),
                Panel(
                    "Alerts sent and dropped",
                    "cps",
                    "Nothing dropped, no errors.",
                    (
                        Query(
                            f'sum by (host) (rate(prometheus_notifications_sent_total{{job="prometheus", {HOST}}}[$__rate_interval]))',
                            "{{host}} sent",
                        ),
                        Query(
                            f'sum by (host) (rate(prometheus_notifications_dropped_total{{job="prometheus", {HOST}}}[$__rate_interval]))',
                            "{{host}} dropped",
                        ),
                        Query(
                            f'sum by (host) (rate(prometheus_notifications_errors_total{{job="prometheus", {HOST}}}[$__rate_interval]))',
                            "{{host}} errors",
                        ),
                    ),
                    low=0,
                ),
                Panel(
                    "Queue of alerts",
                    "percentunit",
                    "Empty. Full, alerts are lost.",
                    (
                        Query(
                            f'max by (host) (prometheus_notifications_queue_length{{job="prometheus", {HOST}}} '
                            f'/ prometheus_notifications_queue_capacity{{job="prometheus", {HOST}}})',
                            "{{host}}",
                        ),
                    ),
                    low=0,
                    high=1,
                ),
            ),
        ),
        Row(
            "Storage and itself",
            (
                Panel(
                    "Storage",
                    "bytes",
                    "Blocks stay under the limit by size, where there is one; the newest two hours come on top.",
                    (
                        Query(f'max by (host) (prometheus_tsdb_storage_blocks_bytes{{job="prometheus", {HOST}}})', "{{host}} blocks"),
                        Query(f'max by (host) (prometheus_tsdb_retention_limit_bytes{{job="prometheus", {HOST}}} > 0)', "{{host}} limit"),
                        Query(f'max by (host) (prometheus_tsdb_wal_storage_size_bytes{{job="prometheus", {HOST}}})', "{{host}} newest"),
                    ),
                    low=0,
                ),
                Panel(
                    "Oldest sample",
                    "d",
                    "The retention time, once it has run that long; less where the limit by size came first.",
                    (Query(f'(time() - max by (host) (prometheus_tsdb_lowest_timestamp_seconds{{job="prometheus", {HOST}}})) / 86400', "{{host}}"),),
                    low=0,
                ),
                Panel(
                    "Memory",
                    "bytes",
                    "About 4 KB a series, and more during queries.",
                    (
                        Query(f'max by (host) (process_resident_memory_bytes{{job="prometheus", {HOST}}})', "{{host}} resident"),
                        Query(f'max by (host) (go_gc_gomemlimit_bytes{{job="prometheus", {HOST}}} < 1e18)', "{{host}} limit"),
                    ),
                    low=0,
                ),
                Panel(
                    "Query time",
                    "s",
                    "The 90th percentile by the part of a query; seconds come from long ranges.",
                    (Query(f'max by (slice) (prometheus_engine_query_duration_seconds{{job="prometheus", quantile="0.9", {HOST}}})', "{{slice}}"),),
                    low=0,
                ),
            ),
        ),
    ),
)
