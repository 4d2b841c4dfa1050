"""Elasticsearch: the store of logs and traces."""

from __future__ import annotations

from .build import CRITICAL, OK, WARNING, Dashboard, Panel, Query, Row

JOB = 'job="elasticsearch"'
POOLS = 'type=~"write|search|get"'


def _rate(metric: str, more: str = "") -> str:
    return f"rate({metric}{{{JOB}{', ' + more if more else ''}}}[$__rate_interval])"


CLUSTER = Dashboard(
    uid="elasticsearch-cluster",
    folder="Elasticsearch",
    title="Elasticsearch: cluster",
    purpose="For operators: is all data there, does it take what comes in, and how long will heap and disk last?",
    rows=(
        Row(
            "Health",
            (
                Panel(
                    "Cluster health",
                    "short",
                    "Green: every shard has its copies. Yellow: copies are missing. Red: data cannot be reached.",
                    (
                        Query(
                            f'max by (cluster) (elasticsearch_cluster_health_status{{{JOB}, color="green"}} '
                            f'or elasticsearch_cluster_health_status{{{JOB}, color="yellow"}} * 2 '
                            f'or elasticsearch_cluster_health_status{{{JOB}, color="red"}} * 3)',
                            "{{cluster}}",
                        ),
                    ),
                    alerts=("elasticsearch/ElasticsearchClusterRed",),
                    kind="stat",
                    width=6,
                    height=6,
                    values=(("1", "green", OK), ("2", "yellow", WARNING), ("3", "red", CRITICAL), ("0", "unknown", WARNING)),
                ),
                Panel(
                    "Nodes",
                    "short",
                    "As many as the inventory has.",
                    (Query(f"max by (cluster) (elasticsearch_cluster_health_number_of_nodes{{{JOB}}})", "{{cluster}}"),),
                    kind="stat",
                    width=6,
                    height=6,
                ),
                Panel(
                    "Shards",
                    "short",
                    "All active. Unassigned ones have no node that may take them; moving ones settle within minutes.",
                    (
                        Query(f"max by (cluster) (elasticsearch_cluster_health_active_shards{{{JOB}}})", "active"),
                        Query(f"max by (cluster) (elasticsearch_cluster_health_unassigned_shards{{{JOB}}})", "unassigned"),
                        Query(f"max by (cluster) (elasticsearch_cluster_health_relocating_shards{{{JOB}}})", "moving"),
                        Query(f"max by (cluster) (elasticsearch_cluster_health_initializing_shards{{{JOB}}})", "starting"),
                    ),
                    alerts=("elasticsearch/ElasticsearchClusterYellow",),
                    kind="stat",
                    width=12,
                    height=6,
                ),
            ),
        ),
        Row(
            "Memory and disk",
            (
                Panel(
                    "Heap",
                    "percentunit",
                    "A saw-tooth below 75 %. What stays above 85 % ends in rejected requests.",
                    (
                        Query(
                            f'max by (name) (elasticsearch_jvm_memory_used_bytes{{{JOB}, area="heap"}} '
                            f'/ elasticsearch_jvm_memory_max_bytes{{{JOB}, area="heap"}})',
                            "{{name}}",
                        ),
                    ),
                    alerts=("elasticsearch/ElasticsearchHeapHigh",),
                    lines=(
                        ("warning", "thresholds.elasticsearch.ElasticsearchHeapHigh.warning.ratio"),
                        ("critical", "thresholds.elasticsearch.ElasticsearchHeapHigh.critical.ratio"),
                    ),
                    low=0,
                    high=1,
                ),
                Panel(
                    "GC time",
                    "percentunit",
                    "Share of time in garbage collection: a few per cent.",
                    (Query(f"sum by (name) ({_rate('elasticsearch_jvm_gc_collection_seconds_sum')})", "{{name}}"),),
                    low=0,
                ),
                Panel(
                    "Disk against watermarks",
                    "bytes",
                    "Free space stays above the low mark. Under it no new shard comes, under the high one shards leave, "
                    "under the flood stage indices become read-only.",
                    (
                        Query(f"min by (name) (elasticsearch_filesystem_data_available_bytes{{{JOB}}})", "{{name}} free"),
                        Query(f"max(elasticsearch_clustersettings_allocation_watermark_low_bytes{{{JOB}}})", "low mark"),
                        Query(f"max(elasticsearch_clustersettings_allocation_watermark_high_bytes{{{JOB}}})", "high mark"),
                        Query(f"max(elasticsearch_clustersettings_allocation_watermark_flood_stage_bytes{{{JOB}}})", "flood stage"),
                    ),
                    alerts=("elasticsearch/ElasticsearchDiskWatermark",),
                    low=0,
                ),
                Panel(
                    "Stored",
                    "bytes",
                    "Grows until the retention time is reached, then is level.",
                    (Query(f"sum by (name) (elasticsearch_indices_store_size_bytes{{{JOB}}})", "{{name}}"),),
                    low=0,
                    alerts=("elasticsearch/ElasticsearchRetentionExceeded",),
                ),
                Panel(
                    "Overdue documents",
                    "short",
                    "None. What is older than its retention and the time for which its index is written to should have been deleted.",
                    (Query('max by (dataset) (elasticsearch_retention_overdue_documents{job="elasticsearch_retention"})', "{{dataset}}"),),
                    low=0,
                    decimals=0,
                    lines=(("warning", "thresholds.elasticsearch.ElasticsearchRetentionExceeded.count + 1"),),
                ),
            ),
        ),
        Row(
            "Writing",
            (
                Panel(
                    "Indexing rate",
                    "cps",
                    "Proportional to logs and spans. Nothing: no log arrives.",
                    (Query(f"sum by (name) ({_rate('elasticsearch_indices_indexing_index_total')})", "{{name}}"),),
                    low=0,
                ),
                Panel(
                    "Indexing latency",
                    "s",
                    "Under a few milliseconds a document.",
                    (
                        Query(
                            f"sum by (name) ({_rate('elasticsearch_indices_indexing_index_time_seconds_total')}) "
                            f"/ (sum by (name) ({_rate('elasticsearch_indices_indexing_index_total')}) > 0)",
                            "{{name}}",
                        ),
                    ),
                    low=0,
                    empty="nothing is written",
                ),
                Panel(
                    "Rejections",
                    "cps",
                    "Zero. A full queue refuses; clients try again, and logs are late.",
                    (Query(f"sum by (name, type) ({_rate('elasticsearch_thread_pool_rejected_count', POOLS)})", "{{name}} {{type}}"),),
                    low=0,
                ),
                Panel(
                    "Merging and refreshing",
                    "percentunit",
                    "Share of time; near 100 % for long, the disk is too slow for what comes in.",
                    (
                        Query(f"sum by (name) ({_rate('elasticsearch_indices_merges_total_time_seconds_total')})", "{{name}} merging"),
                        Query(f"sum by (name) ({_rate('elasticsearch_indices_refresh_time_seconds_total')})", "{{name}} refreshing"),
                    ),
                    low=0,
                ),
            ),
        ),
        Row(
            "Reading",
            (
                Panel(
                    "Search rate",
                    "reqps",
                    "Proportional to who looks.",
                    (Query(f"sum by (name) ({_rate('elasticsearch_indices_search_query_total')})", "{{name}}"),),
                    low=0,
                ),
                Panel(
                    "Search latency",
                    "s",
                    "Milliseconds to tenths of a second.",
                    (
                        Query(
                            f"sum by (name) ({_rate('elasticsearch_indices_search_query_time_seconds')}) "
                            f"/ (sum by (name) ({_rate('elasticsearch_indices_search_query_total')}) > 0)",
                            "{{name}}",
                        ),
                    ),
                    low=0,
                    empty="nobody searches",
                ),
            ),
        ),
        Row(
            "Limits",
            (
                Panel(
                    "Breakers tripped",
                    "short",
                    "None. A tripped breaker refuses a request that would have cost too much memory.",
                    (Query(f"sum by (name, breaker) (increase(elasticsearch_breakers_tripped{{{JOB}}}[$__rate_interval]))", "{{name}} {{breaker}}"),),
                    low=0,
                    decimals=0,
                ),
                Panel(
                    "Pending tasks",
                    "short",
                    "Zero. A queue that stays is a master that does not keep up.",
                    (Query(f"max by (cluster) (elasticsearch_cluster_health_number_of_pending_tasks{{{JOB}}})", "{{cluster}}"),),
                    low=0,
                    decimals=0,
                ),
                Panel(
                    "Open files",
                    "percentunit",
                    "Far below 100 %.",
                    (
                        Query(
                            f"max by (name) (elasticsearch_process_open_files_count{{{JOB}}} / elasticsearch_process_max_files_descriptors{{{JOB}}})",
                            "{{name}}",
                        ),
                    ),
                    low=0,
                    high=1,
                ),
                Panel(
                    "Processor",
                    "percent",
                    "Of all cores of the host.",
                    (Query(f"max by (name) (elasticsearch_process_cpu_percent{{{JOB}}})", "{{name}}"),),
                    low=0,
                    high=100,
                ),
            ),
        ),
    ),
)
