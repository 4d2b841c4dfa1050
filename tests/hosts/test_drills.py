"""Drills: a fault is made for real, its alert comes, somebody on call follows the alert's page as written, and the alert ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from alerting import alertmanager, now
from fleet import host, wait_for
from pages import SECONDS, blocks, follow, section, sources
from store import ask

# The longest wait of an alert that is drilled with its own clock, and the five minutes that "the last reload failed" looks back.
PATIENCE = 900
# What timeout says.
TIMED_OUT = 124
METRICS = "/var/lib/node_exporter/textfile"
UNIT = "/run/systemd/system/drill.service"
REPAIRED = "/run/drill.repaired"


def job(seconds: int) -> str:
    """Return a command by which a job that has to run so often tells of a success now."""
    lines = r"business_job_interval_seconds{batch=\"drill\"} %s\nbusiness_job_last_success_timestamp_seconds{batch=\"drill\"} %s\n"
    return f'printf "{lines}" {seconds} "$(date +%s)" > {METRICS}/job.prom'


# Root's on the drill's host, or what the test does from outside.
Command = str | Callable[[], object]


@dataclass(frozen=True)
class Drill:
    """A fault, what shows it, and what ends it."""

    page: str
    """<component>/<AlertName>"""
    fault: Command
    sign: str
    """What the commands of the page's section Verify print now; a regular expression."""
    labels: dict[str, str] = field(default_factory=lambda: {"host": "hub"})
    """Of the alert, beside its name."""
    host: str = "hub"
    repair: Command = ""
    """What the page leaves to whoever is on call: "after the cause is put right"."""
    mitigation: str = ""
    """Words of that block in the page's section Mitigation which ends it."""
    values: dict[str, str] = field(default_factory=dict)
    """What the page says to set in that block."""
    clean: str = ""
    """Takes away what neither repair nor mitigation does."""

    @property
    def alert(self) -> str:
        return self.page.split("/")[1]

    def do(self, command: Command) -> None:
        """Run one of its commands, if it has it."""
        if callable(command):
            command()
        elif command:
            host(self.host).check_output(command)

    def undo(self) -> None:
        """Put everything back, also after a drill that went wrong."""
        self.do(self.repair)
        if isinstance(self.fault, str) and self.fault.startswith("systemctl stop "):
            self.do(self.fault.replace("stop", "start"))
        self.do(self.clean)


DOWN = r"\b0$"
# In a round all faults are there at once: what one of them breaks, no other needs.
ROUNDS = {
    "services": [
        Drill("elasticsearch/ElasticsearchExporterDown", "systemctl stop elasticsearch_exporter", DOWN, mitigation="restart elasticsearch_exporter"),
        Drill("logstash/LogstashDown", "systemctl stop logstash", DOWN, mitigation="start logstash"),
        Drill("kibana/KibanaDown", "systemctl stop kibana", DOWN, mitigation="restart kibana"),
        Drill("grafana/GrafanaDown", "systemctl stop grafana", DOWN, mitigation="restart grafana"),
        Drill("jaeger/JaegerDown", "systemctl stop jaeger", DOWN, mitigation="restart jaeger"),
        Drill("filebeat/FilebeatDown", "systemctl stop filebeat", DOWN, mitigation="restart filebeat"),
    ],
    "hosts": [
        Drill("node/HostDown", "systemctl stop node_exporter", "app1", {"host": "app1"}, "app1", mitigation="restart node_exporter"),
        Drill(
            "node/StackServiceNotActive", "systemctl stop filebeat", "filebeat[.]service", {"host": "hub", "name": "filebeat.service"},
            mitigation="restart", values={"UNIT": "filebeat"},
        ),
        Drill(
            "elasticsearch/ElasticsearchClusterRed",
            lambda: ask("PUT", "/drill?wait_for_active_shards=0", {"settings": {"index.routing.allocation.require.name": "nobody"}}), '"red"', {},
            repair=lambda: ask("DELETE", "/drill"),
        ),
        Drill("business/BusinessBatchJobOverdue", job(1), "drill", {"batch": "drill"}, repair=job(86400), clean=f"rm -f {METRICS}/job.prom"),
    ],
    "metrics": [
        Drill("blackbox/BlackboxProbeFailed", "systemctl stop elasticsearch_exporter", ":9114", {}, repair="systemctl start elasticsearch_exporter"),
        Drill("observatory/TargetDown", "systemctl stop json_exporter", "json_exporter", {"job": "json_exporter"}, repair="systemctl restart json_exporter"),
        Drill(
            "node/NodeSystemdServiceFailed",
            rf"printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/test -e {REPAIRED}\n' > {UNIT}"
            "; systemctl daemon-reload; systemctl start drill || true",
            "drill[.]service", {"host": "hub", "name": "drill.service"},
            repair=f"touch {REPAIRED}", mitigation="reset-failed", values={"UNIT": "drill.service"},
            clean=f"systemctl stop drill; rm -f {UNIT} {REPAIRED}; systemctl daemon-reload",
        ),
        Drill(
            "node/NodeTextFileCollectorScrapeError", f"echo 'not a metric' > {METRICS}/backup.prom", r"\b1$",
            mitigation="backup.prom", clean=f"rm -f {METRICS}/backup.prom /var/tmp/backup.prom",
        ),
    ],
    # These take longest, and disturb nobody.
    "beside the others": [
        Drill(
            "prometheus/PrometheusBadConfig", "echo 'nonsense: true' >> /etc/prometheus/prometheus.yml; systemctl reload prometheus || true", DOWN,
            repair="sed -i '/^nonsense: true$/d' /etc/prometheus/prometheus.yml", mitigation="systemctl reload prometheus",
        ),
        Drill(
            "alertmanager/AlertmanagerFailedReload", "echo 'nonsense: true' >> /etc/alertmanager/alertmanager.yml; systemctl reload alertmanager || true", DOWN,
            repair="sed -i '/^nonsense: true$/d' /etc/alertmanager/alertmanager.yml", mitigation="systemctl reload alertmanager",
        ),
    ],
}


def params():
    """`short` are those whose alerts come within minutes by their own clock."""
    return [
        pytest.param(drill, id=drill.alert, marks=[pytest.mark.short] if name == "hosts" else [])
        for name, drills in ROUNDS.items() for drill in drills
    ]


@pytest.fixture(scope="module")
def done(request, tell):
    """Hold the drills that are asked for, round by round; return page -> the future of each."""
    asked = {item.callspec.params["drill"].page for item in request.session.items if item.path == request.path}
    rounds = {name: [drill for drill in drills if drill.page in asked] for name, drills in ROUNDS.items()}
    tell("drill: fault made (UTC), seconds until Alertmanager has the alert, until the page is followed, until it is resolved")
    with ThreadPoolExecutor(sum(map(len, ROUNDS.values()))) as pool:
        beside = {drill.page: pool.submit(hold, drill, tell) for drill in rounds.pop("beside the others")}
        held: dict[str, Future] = {}
        for drills in rounds.values():
            these = {drill.page: pool.submit(hold, drill, tell) for drill in drills}
            for future in these.values():
                future.exception()
            held |= these
    return held | beside


def hold(drill: Drill, tell) -> None:
    """Hold one drill; raises what goes wrong, when everything is back as it was."""
    text = sources()[drill.page]
    wait_for(f"the end of a former {drill.alert}", lambda: not firing(drill), PATIENCE)
    begun = now()
    try:
        drill.do(drill.fault)
        wait_for(f"{drill.alert} in Alertmanager", lambda: firing(drill), PATIENCE)
        came = now() - begun
        look(drill, text)
        drill.do(drill.repair)
        if drill.mitigation:
            (block,) = [block for block in blocks(section(text, "Mitigation"), "bash") if drill.mitigation in block]
            outcome = follow(drill.host, block, **drill.values)
            assert outcome.returncode == 0, f"{block}{outcome.stdout}{outcome.stderr}"
        followed = now() - begun
        wait_for(f"the end of {drill.alert}", lambda: not firing(drill), PATIENCE)
        tell(f"{drill.alert:34} {datetime.fromtimestamp(begun, UTC):%H:%M:%S} {came:5.0f} {followed:5.0f} {now() - begun:5.0f}")
    finally:
        drill.undo()


def look(drill: Drill, text: str) -> None:
    """Run all that the page has for looking: nothing hangs, and what is there to verify the alert shows the fault."""
    outcomes = [(block, follow("hub", block)) for block in blocks(text)]
    hanging = [block for block, outcome in outcomes if outcome.returncode == TIMED_OUT]
    assert not hanging, f"not within {SECONDS} seconds:\n" + "\n".join(hanging)
    verify = blocks(section(text, "Verify"))
    said = "\n".join(outcome.stdout for block, outcome in outcomes if block in verify)
    assert re.search(drill.sign, said, re.MULTILINE), f"{drill.sign} is not in what Verify prints:\n{said}"


def firing(drill: Drill) -> list[dict]:
    """Return the drill's alerts that Alertmanager has, inhibited ones too."""
    wanted = {"alertname": drill.alert, **drill.labels}
    return [entry for entry in alertmanager("GET", "/api/v2/alerts") if wanted.items() <= entry["labels"].items()]


@pytest.mark.parametrize("drill", params())
def test_drill(drill, done):
    """From the fault to the end of the alert."""
    done[drill.page].result()
