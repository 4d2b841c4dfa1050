"""Logs and traces on their way: Filebeat, Logstash, Kibana, Jaeger."""

from __future__ import annotations

from .build import CRITICAL, OK, WARNING, Dashboard, Panel, Query, Row


def _rate(metric: str, selector: str) -> str:
    return f"rate({metric}{{{selector}}}[$__rate_interval])"


FILEBEAT, LOGSTASH, KIBANA, JAEGER = (f'job="{job}"' for job in ("filebeat", "logstash", "kibana", "jaeger"))
PLUGIN = "logstash_stats_pipeline_plugin"

OVERVIEW = Dashboard(
    uid="pipeline-overview",
    folder="Pipeline",
    title="Pipeline: logs and traces",
    purpose="For operators: where do logs or spans wait, and where are they lost? Rows follow the way of the data.",
    rows=(
        Row(
            "Filebeat",
            (
                Panel(
                    "Filebeat events",
                    "cps",
                    "Read and confirmed are the same; what is read and not confirmed waits.",
                    (
                        Query(f"sum by (host) ({_rate('filebeat_events_added_total', FILEBEAT)})", "{{host}} read"),
                        Query(f"sum by (host) ({_rate('filebeat_events_done_total', FILEBEAT)})", "{{host}} confirmed"),
                    ),
                    low=0,
                ),
                Panel(
                    "Filebeat output",
                    "cps",
                    "Acknowledged by Logstash. Failed ones are sent again, dropped ones are lost.",
                    (
                        Query(
                            f'sum by (host, type) (rate(filebeat_libbeat_output_events_total{{{FILEBEAT}, type=~"acked|failed|dropped"}}[$__rate_interval]))',
                            "{{host}} {{type}}",
                        ),
                    ),
                    low=0,
                ),
                Panel(
                    "Filebeat queue",
                    "percentunit",
                    "Nearly empty. Full: Logstash does not keep up, and Filebeat stops reading until it does. Nothing is lost by that.",
                    (
                        Query(
                            f"max by (host) (filebeat_libbeat_pipeline_queue_filled_events{{{FILEBEAT}}} "
                            f"/ filebeat_libbeat_pipeline_queue_max_events{{{FILEBEAT}}})",
                            "{{host}}",
                        ),
                    ),
                    low=0,
                    high=1,
                ),
                Panel(
                    "Filebeat files",
                    "short",
                    "One for each file that is written to.",
                    (Query(f"max by (host) (filebeat_harvester_open_files{{{FILEBEAT}}})", "{{host}}"),),
                    low=0,
                    decimals=0,
                ),
            ),
        ),
        Row(
            "Logstash",
            (
                Panel(
                    "Logstash events in and out",
                    "cps",
                    "The same for each pipeline; the difference waits in its queue, or was dropped on purpose.",
                    (
                        Query(f"sum by (host, pipeline) ({_rate('logstash_stats_pipeline_events_in_total', LOGSTASH)})", "{{host}} {{pipeline}} in"),
                        Query(
                            f"sum by (host, pipeline) ({_rate('logstash_stats_pipeline_events_out_total', LOGSTASH)})", "{{host}} {{pipeline}} out"
                        ),
                    ),
                    low=0,
                ),
                Panel(
                    "Logstash queue",
                    "percentunit",
                    "Nearly empty. It grows while Elasticsearch is slow or away; full, Logstash takes nothing more and Filebeat waits.",
                    (
                        Query(
                            f"max by (host, pipeline) (logstash_stats_pipeline_queue_size_bytes{{{LOGSTASH}}} "
                            f"/ (logstash_stats_pipeline_queue_max_size_bytes{{{LOGSTASH}}} > 0))",
                            "{{host}} {{pipeline}}",
                        ),
                    ),
                    low=0,
                    high=1,
                ),
                Panel(
                    "Logstash dead letter queue",
                    "bytes",
                    "Empty. Each entry is an event that Elasticsearch refused for good.",
                    (
                        Query(
                            f"max by (host, pipeline) (logstash_stats_pipeline_dead_letter_queue_size_bytes{{{LOGSTASH}}})", "{{host}} {{pipeline}}"
                        ),
                    ),
                    low=0,
                ),
                Panel(
                    "Logstash refused documents",
                    "cps",
                    "Zero. A mapping conflict: the record goes to the dataset unparsed, with the reason.",
                    (
                        Query(
                            f"sum by (host, plugin_id) ({_rate(PLUGIN + '_documents_dlq_routed_total', LOGSTASH)})",
                            "{{host}} {{plugin_id}}",
                        ),
                    ),
                    low=0,
                    empty="none was refused",
                ),
                Panel(
                    "Logstash duplicates",
                    "cps",
                    "Records that were stored already and not stored twice: zero but after a failure, when they are sent again.",
                    (
                        Query(
                            f"sum by (host, plugin_id) ({_rate(PLUGIN + '_documents_non_retryable_failures_total', LOGSTASH)})",
                            "{{host}} {{plugin_id}}",
                        ),
                    ),
                    low=0,
                    empty="none",
                ),
                Panel(
                    "Logstash backpressure",
                    "percentunit",
                    "Share of time that inputs wait for room in the queue. Zero is normal.",
                    (
                        Query(
                            f"sum by (host, pipeline) ({_rate('logstash_stats_pipeline_events_queue_push_duration_millis_total', LOGSTASH)}) / 1000",
                            "{{host}} {{pipeline}}",
                        ),
                    ),
                    low=0,
                ),
                Panel(
                    "Logstash workers",
                    "percentunit",
                    "Share of the workers' time in filters and outputs. Near 100 % for long, it is the bottleneck.",
                    (
                        Query(
                            f"sum by (host, pipeline) ({_rate('logstash_stats_pipeline_events_duration_millis_total', LOGSTASH)}) / 1000 "
                            f"/ on (host) group_left () max by (host) (logstash_stats_pipeline_workers{{{LOGSTASH}}})",
                            "{{host}} {{pipeline}}",
                        ),
                    ),
                    low=0,
                ),
                Panel(
                    "Logstash heap",
                    "percentunit",
                    "A saw-tooth below 75 %.",
                    (
                        Query(
                            f"max by (host) (logstash_stats_jvm_mem_heap_used_bytes{{{LOGSTASH}}} / logstash_stats_jvm_mem_heap_max_bytes{{{LOGSTASH}}})",
                            "{{host}}",
                        ),
                    ),
                    low=0,
                    high=1,
                ),
                Panel(
                    "Logstash's slowest plugins",
                    "s",
                    "Seconds of work a second; the five most expensive.",
                    (
                        Query(
                            f"topk(5, sum by (host, pipeline, plugin, plugin_id) ({_rate(PLUGIN + '_events_duration_millis_total', LOGSTASH)})) / 1000",
                            "{{pipeline}} {{plugin}} {{plugin_id}}",
                        ),
                    ),
                    low=0,
                ),
            ),
        ),
        Row(
            "Kibana",
            (
                Panel(
                    "Kibana status",
                    "short",
                    "Available. Degraded, some of it does not work; unavailable, none of it does.",
                    (
                        Query(
                            f'max by (host) (kibana_status_overall{{{KIBANA}, level="available"}} or kibana_status_overall{{{KIBANA}, level="degraded"}} * 2 '
                            f'or kibana_status_overall{{{KIBANA}, level=~"unavailable|critical"}} * 3)',
                            "{{host}}",
                        ),
                    ),
                    kind="stat",
                    width=6,
                    values=(("1", "available", OK), ("2", "degraded", WARNING), ("3", "unavailable", CRITICAL)),
                ),
                Panel(
                    "Kibana event loop delay",
                    "ms",
                    "Tens of milliseconds. Above half a second, everybody waits.",
                    (Query(f"max by (host) (kibana_process_event_loop_delay_milliseconds{{{KIBANA}}})", "{{host}}"),),
                    width=9,
                    low=0,
                ),
                Panel(
                    "Kibana heap",
                    "percentunit",
                    "A saw-tooth below 80 %.",
                    (Query(f"max by (host) (kibana_process_heap_used_bytes{{{KIBANA}}} / kibana_process_heap_limit_bytes{{{KIBANA}}})", "{{host}}"),),
                    width=9,
                    low=0,
                    high=1,
                ),
            ),
        ),
        Row(
            "Traces",
            (
                Panel(
                    "Spans received",
                    "cps",
                    "Proportional to requests and to the sampled share.",
                    (Query(f"sum by (host, transport) ({_rate('otelcol_receiver_accepted_spans_total', JAEGER)})", "{{host}} {{transport}}"),),
                    low=0,
                    empty="no span yet",
                ),
                Panel(
                    "Spans refused",
                    "cps",
                    "Zero. Refused ones are sent again by their application, failed ones are lost.",
                    (
                        Query(f"sum by (host) ({_rate('otelcol_receiver_refused_spans_total', JAEGER)})", "{{host}} refused"),
                        Query(f"sum by (host) ({_rate('otelcol_receiver_failed_spans_total', JAEGER)})", "{{host}} failed"),
                    ),
                    low=0,
                    empty="no span yet",
                ),
                Panel(
                    "Span queue",
                    "percentunit",
                    "Nearly empty. It grows while Elasticsearch is slow or away; full, spans are refused.",
                    (
                        Query(
                            f'max by (host) (otelcol_exporter_queue_size{{{JAEGER}, exporter="jaeger_storage_exporter"}} '
                            f'/ otelcol_exporter_queue_capacity{{{JAEGER}, exporter="jaeger_storage_exporter"}})',
                            "{{host}}",
                        ),
                    ),
                    low=0,
                    high=1,
                ),
                Panel(
                    "Span write errors",
                    "cps",
                    "Zero. Elasticsearch refuses what Jaeger writes, or cannot be reached.",
                    (
                        Query(f"sum by (host) ({_rate('jaeger_storage_bulk_index_errors_total', JAEGER)})", "{{host}} documents"),
                        Query(f"sum by (host) ({_rate('otelcol_exporter_send_failed_spans_total', JAEGER)})", "{{host}} spans given up"),
                    ),
                    low=0,
                    empty="no span yet",
                ),
                Panel(
                    "Spans by service",
                    "cps",
                    "Proportional to each service's requests.",
                    (
                        Query(
                            'topk(10, sum by (service_name) (rate(traces_span_metrics_calls_total{job="spans"}[$__rate_interval])))',
                            "{{service_name}}",
                        ),
                    ),
                    low=0,
                    empty="no span yet",
                ),
                Panel(
                    "Jaeger memory",
                    "bytes",
                    "Below its limit; at four fifths of it Jaeger refuses spans.",
                    (Query(f"max by (host) (otelcol_process_memory_rss_bytes{{{JAEGER}}})", "{{host}}"),),
                    low=0,
                ),
            ),
        ),
    ),
)
