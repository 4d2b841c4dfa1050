"""Hosts: the fleet at a glance, and one host by utilisation, saturation and errors."""

from __future__ import annotations

from .build import CRITICAL, HOST, OK, WARNING, Dashboard, Panel, Query, Row

NODE = f'job="node", {HOST}'
REAL = 'fstype!~"tmpfs|overlay|squashfs|ramfs|iso9660"'
"""The filesystems that the alerts watch."""
BUSY, WIRED = 'mode!="idle"', 'device!="lo"'
FREE = f"node_filesystem_avail_bytes{{{NODE}, {REAL}}} / node_filesystem_size_bytes{{{NODE}, {REAL}}}"


def _rate(metric: str, more: str = "") -> str:
    return f"rate({metric}{{{NODE}{', ' + more if more else ''}}}[$__rate_interval])"


FLEET = Dashboard(
    uid="hosts-fleet",
    folder="Hosts",
    title="Hosts: fleet",
    purpose="For operators and people on call: which host is down, full or overloaded? A click on a host opens its details.",
    hosts='up{job="node"}',
    rows=(
        Row(
            "All hosts",
            (
                Panel(
                    "Hosts",
                    "short",
                    "Each host answers (1). 0: the host is off, cut off, or its node_exporter does not run.",
                    (
                        Query(f"max by (host) (up{{{NODE}}})", table=True),
                        Query(f"max by (host) (instance:node_cpu_utilisation:rate5m{{{HOST}}})", table=True),
                        Query(f"max by (host) (instance:node_memory_utilisation:ratio{{{HOST}}})", table=True),
                        Query(f"1 - min by (host) ({FREE})", table=True),
                        Query(
                            f"max by (host) (node_load5{{{NODE}}}) / count by (host) (count by (host, cpu) (node_cpu_seconds_total{{{NODE}}}))",
                            table=True,
                        ),
                        Query(f"time() - max by (host) (node_boot_time_seconds{{{NODE}}})", table=True),
                        Query(f'count by (host) (ALERTS{{alertstate="firing", severity=~"critical|warning", {HOST}}})', table=True),
                    ),
                    kind="table",
                    width=24,
                    height=10,
                    alerts=("node/HostDown",),
                    row_link="/d/hosts-detail?var-host=${__value.raw}&${__url_time_range}",
                    columns=(
                        ("host", "Host", ""),
                        ("Value #A", "Answers", "short"),
                        ("Value #B", "CPU", "percentunit"),
                        ("Value #C", "Memory", "percentunit"),
                        ("Value #D", "Fullest filesystem", "percentunit"),
                        ("Value #E", "Load per core", "short"),
                        ("Value #F", "Up for", "s"),
                        ("Value #G", "Alerts", "short"),
                    ),
                ),
            ),
        ),
        Row(
            "Busiest",
            (
                Panel(
                    "CPU",
                    "percentunit",
                    "Share of all cores in use; the ten busiest hosts.",
                    (Query(f"topk(10, instance:node_cpu_utilisation:rate5m{{{HOST}}})", "{{host}}"),),
                    low=0,
                    high=1,
                    lines=(("warning", "thresholds.node.NodeCPUHighUsage.ratio"),),
                ),
                Panel(
                    "Memory",
                    "percentunit",
                    "Share of memory that programs could not get; the ten fullest hosts.",
                    (Query(f"topk(10, instance:node_memory_utilisation:ratio{{{HOST}}})", "{{host}}"),),
                    low=0,
                    high=1,
                    lines=(("warning", "thresholds.node.NodeMemoryHighUtilization.ratio"),),
                ),
                Panel(
                    "Filesystems",
                    "percentunit",
                    "Used share of the ten fullest filesystems.",
                    (Query(f"topk(10, 1 - {FREE})", "{{host}} {{mountpoint}}"),),
                    kind="bargauge",
                    low=0,
                    high=1,
                    lines=(
                        ("warning", "1 - thresholds.node.NodeFilesystemAlmostOutOfSpace.warning.ratio"),
                        ("critical", "1 - thresholds.node.NodeFilesystemAlmostOutOfSpace.critical.ratio"),
                    ),
                ),
                Panel(
                    "Pressure",
                    "percentunit",
                    "Share of time in which some program waits for a processor, memory or a disk. Near zero is normal; above a tenth programs feel it.",
                    (
                        Query(f"topk(5, {_rate('node_pressure_cpu_waiting_seconds_total')})", "{{host}} processor"),
                        Query(f"topk(5, {_rate('node_pressure_memory_waiting_seconds_total')})", "{{host}} memory"),
                        Query(f"topk(5, {_rate('node_pressure_io_waiting_seconds_total')})", "{{host}} disk"),
                    ),
                    low=0,
                    empty="the kernel does not count pressure",
                ),
            ),
        ),
    ),
)

DETAIL = Dashboard(
    uid="hosts-detail",
    folder="Hosts",
    title="Hosts: detail",
    purpose="For people on call: utilisation, saturation and errors of a host's processor, memory, disks and network.",
    hosts='up{job="node"}',
    rows=(
        Row(
            "Processor",
            (
                Panel(
                    "CPU by mode",
                    "percentunit",
                    "Idle time is not shown. Near 100 % for long, programs wait; much steal is the hypervisor's doing, much iowait the disk's.",
                    (
                        Query(
                            f"sum by (host, mode) ({_rate('node_cpu_seconds_total', BUSY)}) / on (host) group_left () "
                            f"count by (host) (count by (host, cpu) (node_cpu_seconds_total{{{NODE}}}))",
                            "{{host}} {{mode}}",
                        ),
                    ),
                    low=0,
                    high=1,
                    alerts=("node/NodeCPUHighUsage",),
                    lines=(("warning", "thresholds.node.NodeCPUHighUsage.ratio"),),
                ),
                Panel(
                    "Load per core",
                    "short",
                    "Under 1: nobody waits.",
                    (
                        Query(
                            f"max by (host) (node_load1{{{NODE}}}) / count by (host) (count by (host, cpu) (node_cpu_seconds_total{{{NODE}}}))",
                            "{{host}} 1 min",
                        ),
                        Query(
                            f"max by (host) (node_load15{{{NODE}}}) / count by (host) (count by (host, cpu) (node_cpu_seconds_total{{{NODE}}}))",
                            "{{host}} 15 min",
                        ),
                    ),
                    low=0,
                ),
                Panel(
                    "Pressure",
                    "percentunit",
                    "Share of time in which some program waits. Near zero is normal; above a tenth programs feel it.",
                    (
                        Query(_rate("node_pressure_cpu_waiting_seconds_total"), "{{host}} processor"),
                        Query(_rate("node_pressure_memory_waiting_seconds_total"), "{{host}} memory"),
                        Query(_rate("node_pressure_io_waiting_seconds_total"), "{{host}} disk"),
                    ),
                    low=0,
                    empty="the kernel does not count pressure",
                ),
                Panel(
                    "Context switches",
                    "ops",
                    "Proportional to work. A jump without work is a program that spins.",
                    (Query(_rate("node_context_switches_total"), "{{host}}"),),
                    low=0,
                ),
            ),
        ),
        Row(
            "Memory",
            (
                Panel(
                    "Memory available",
                    "percentunit",
                    "Share that programs can still get, caches included. Below the line the kernel soon ends a process.",
                    (Query(f"1 - instance:node_memory_utilisation:ratio{{{HOST}}}", "{{host}}"),),
                    low=0,
                    high=1,
                    below=True,
                    alerts=("node/NodeMemoryHighUtilization",),
                    lines=(("warning", "1 - thresholds.node.NodeMemoryHighUtilization.ratio"),),
                ),
                Panel(
                    "Memory use",
                    "bytes",
                    "Caches grow into what is free, and give it back.",
                    (
                        Query(f"node_memory_MemTotal_bytes{{{NODE}}}", "{{host}} total"),
                        Query(f"node_memory_MemAvailable_bytes{{{NODE}}}", "{{host}} available"),
                        Query(f"node_memory_Cached_bytes{{{NODE}}}", "{{host}} cached"),
                        Query(f"node_memory_AnonPages_bytes{{{NODE}}}", "{{host}} programs"),
                    ),
                    low=0,
                ),
                Panel(
                    "Swapping",
                    "ops",
                    "Zero. Pages that go out and come back mean that memory is too small.",
                    (Query(_rate("node_vmstat_pswpin"), "{{host}} in"), Query(_rate("node_vmstat_pswpout"), "{{host}} out")),
                    low=0,
                ),
                Panel(
                    "Processes ended for memory",
                    "short",
                    "Zero. The journal names the process: journalctl -k -g oom.",
                    (Query(f"increase(node_vmstat_oom_kill{{{NODE}}}[$__rate_interval])", "{{host}}"),),
                    low=0,
                    decimals=0,
                ),
            ),
        ),
        Row(
            "Filesystems",
            (
                Panel(
                    "Filesystem used",
                    "percentunit",
                    "Below the lines. A full filesystem stops what writes there.",
                    (Query(f"1 - {FREE}", "{{host}} {{mountpoint}}"),),
                    low=0,
                    high=1,
                    alerts=("node/NodeFilesystemAlmostOutOfSpace",),
                    lines=(
                        ("warning", "1 - thresholds.node.NodeFilesystemAlmostOutOfSpace.warning.ratio"),
                        ("critical", "1 - thresholds.node.NodeFilesystemAlmostOutOfSpace.critical.ratio"),
                    ),
                ),
                Panel(
                    "Filesystem forecast",
                    "percentunit",
                    "The free share that a straight line through the last hours gives for the alert's horizon. Under zero: full by then.",
                    (
                        Query(
                            f"predict_linear(node_filesystem_avail_bytes{{{NODE}, {REAL}}}[[[ thresholds.node.NodeFilesystemSpaceFillingUp.warning.window ]]], "
                            "[[ thresholds.node.NodeFilesystemSpaceFillingUp.warning.hours ]] * 3600) "
                            f"/ node_filesystem_size_bytes{{{NODE}, {REAL}}}",
                            "{{host}} {{mountpoint}}",
                        ),
                    ),
                    high=1,
                    below=True,
                    alerts=("node/NodeFilesystemSpaceFillingUp",),
                    lines=(("warning", "0"),),
                ),
                Panel(
                    "Inodes used",
                    "percentunit",
                    "Far below 100 %. Without one no file can be made, whatever space is left.",
                    (
                        Query(
                            f"1 - node_filesystem_files_free{{{NODE}, {REAL}}} / (node_filesystem_files{{{NODE}, {REAL}}} > 0)",
                            "{{host}} {{mountpoint}}",
                        ),
                    ),
                    low=0,
                    high=1,
                ),
                Panel(
                    "Read-only filesystems",
                    "short",
                    "None. The kernel makes one read-only after errors of its disk.",
                    (Query(f"sum by (host, mountpoint) (node_filesystem_readonly{{{NODE}, {REAL}}}) > 0", "{{host}} {{mountpoint}}"),),
                    kind="stat",
                    empty="none",
                ),
            ),
        ),
        Row(
            "Disks",
            (
                Panel(
                    "Disk busy",
                    "percentunit",
                    "Share of time with a request under way; 100 % for long is a bottleneck.",
                    (Query(_rate("node_disk_io_time_seconds_total"), "{{host}} {{device}}"),),
                    low=0,
                    high=1,
                ),
                Panel(
                    "Disk throughput",
                    "Bps",
                    "Proportional to work; a level line at the top is the disk's limit.",
                    (
                        Query(_rate("node_disk_read_bytes_total"), "{{host}} {{device}} read"),
                        Query(_rate("node_disk_written_bytes_total"), "{{host}} {{device}} written"),
                    ),
                    low=0,
                ),
                Panel(
                    "Time of a request",
                    "s",
                    "Milliseconds. Tens of them are a slow or overloaded disk.",
                    (
                        Query(
                            f"{_rate('node_disk_read_time_seconds_total')} / ({_rate('node_disk_reads_completed_total')} > 0)",
                            "{{host}} {{device}} read",
                        ),
                        Query(
                            f"{_rate('node_disk_write_time_seconds_total')} / ({_rate('node_disk_writes_completed_total')} > 0)",
                            "{{host}} {{device}} write",
                        ),
                    ),
                    low=0,
                    empty="no requests",
                ),
                Panel(
                    "Requests",
                    "iops",
                    "Proportional to work; a level line at the top is the disk's limit.",
                    (
                        Query(_rate("node_disk_reads_completed_total"), "{{host}} {{device}} read"),
                        Query(_rate("node_disk_writes_completed_total"), "{{host}} {{device}} write"),
                    ),
                    low=0,
                ),
            ),
        ),
        Row(
            "Network",
            (
                Panel(
                    "Network",
                    "bps",
                    "Below the line's speed.",
                    (
                        Query(f"{_rate('node_network_receive_bytes_total', WIRED)} * 8", "{{host}} {{device}} in"),
                        Query(f"{_rate('node_network_transmit_bytes_total', WIRED)} * 8", "{{host}} {{device}} out"),
                    ),
                    low=0,
                ),
                Panel(
                    "Network errors",
                    "pps",
                    "Zero. Errors are the cable's or the card's, drops the host's.",
                    (
                        Query(
                            f"{_rate('node_network_receive_errs_total', WIRED)} + {_rate('node_network_transmit_errs_total', WIRED)}",
                            "{{host}} {{device}} errors",
                        ),
                        Query(
                            f"{_rate('node_network_receive_drop_total', WIRED)} + {_rate('node_network_transmit_drop_total', WIRED)}",
                            "{{host}} {{device}} drops",
                        ),
                    ),
                    low=0,
                ),
                Panel(
                    "Segments sent again",
                    "percentunit",
                    "Under a percent. More: the way loses packets.",
                    (Query(f"{_rate('node_netstat_Tcp_RetransSegs')} / ({_rate('node_netstat_Tcp_OutSegs')} > 0)", "{{host}}"),),
                    low=0,
                ),
                Panel(
                    "Connections refused by full queues",
                    "cps",
                    "Zero. A listener does not accept fast enough.",
                    (Query(_rate("node_netstat_TcpExt_ListenOverflows"), "{{host}}"),),
                    low=0,
                ),
            ),
        ),
        Row(
            "Clock and units",
            (
                Panel(
                    "Clock",
                    "s",
                    "The kernel's estimate of the clock's error: milliseconds. It grows while nobody corrects the clock.",
                    (Query(f"node_timex_maxerror_seconds{{{NODE}}}", "{{host}}"),),
                    low=0,
                    alerts=("node/NodeClockNotSynchronising",),
                    lines=(("warning", "thresholds.node.NodeClockNotSynchronising.max_error_seconds"),),
                ),
                Panel(
                    "systemd units",
                    "short",
                    "Each unit of the platform is active. Any failed unit is shown too.",
                    (
                        Query(
                            f'max by (host, name) (node_systemd_unit_state{{{NODE}, state="active", '
                            "name=~\"([[ thresholds.node.StackServiceNotActive.units | join('|') ]])[.]service\"})",
                            "{{host}} {{name}}",
                        ),
                        Query(f'max by (host, name) (node_systemd_unit_state{{{NODE}, state="failed"}} == 1) * 2', "{{host}} {{name}} failed"),
                    ),
                    kind="state-timeline",
                    alerts=("node/StackServiceNotActive", "node/NodeSystemdServiceFailed"),
                    values=(("0", "not active", CRITICAL), ("1", "active", OK), ("2", "failed", WARNING)),
                ),
            ),
        ),
    ),
)
