"""The contract of docs/develop/alerts.md, for every shipped alert. A failure says what to write where."""

from __future__ import annotations

import copy
import datetime
import json
import os
import re
import subprocess

import pytest
import yaml
from ansible_collections.observatory.core.plugins.plugin_utils import alert_rules, site_values
from shipped import GROUP_VARS, ROOT, load_rules, make_values, shipped_thresholds

from observatory import mutation

ALERTS = ROOT / "alerts"
COMPONENTS = [name for name, _ in alert_rules.component_folders(str(ALERTS))]
SECTIONS = [
    "Meaning",
    "Impact",
    "Verify (2 minutes)",
    "Diagnosis",
    "Mitigation",
    "Resolution and prevention",
    "Dependencies and related alerts",
    "Silencing and tuning",
    "Escalation",
    "Past incidents and test",
]
FRONT_MATTER = {"component", "severities", "team", "alert_file", "dashboard", "last_drill", "verify", "first_step"}
# What goes into a message has to be read on a phone.
MESSAGE_LENGTH = 200
# A section of fewer words says nothing to somebody who has been woken.
SECTION_WORDS = 10

# Alerts without a number in their expression, and why.
NO_THRESHOLD = {
    "HostDown": "up is 1 or 0",
    "NodeSystemdServiceFailed": "a state is 1 or 0",
    "StackServiceNotActive": "a state is 1 or 0; the units come from the thresholds",
    "PrometheusJobMissing": "a series exists or not",
    "PrometheusBadConfig": "a reload has succeeded (1) or not (0)",
    "PrometheusRuleFailures": "any failure is one too many",
    "ElasticsearchClusterRed": "a state is 1 or 0",
    "ElasticsearchClusterYellow": "a state is 1 or 0",
"PrometheusSDRefreshFailure": "any error is one too many",
    "PrometheusTargetSyncFailure": "any refused target is one too many",
    "PrometheusTargetLimitHit": "the limit is the scrape job's own",
    "PrometheusLabelLimitHit": "the limit is the scrape job's own",
    "PrometheusScrapeBodySizeLimitHit": "the limit is the scrape job's own",
    "PrometheusScrapeSampleLimitHit": "the limit is the scrape job's own",
    "PrometheusDuplicateTimestamps": "any refused sample is one too many",
    "PrometheusOutOfOrderTimestamps": "any refused sample is one too many",
    "PrometheusMissingRuleEvaluations": "any missed evaluation is one too many",
    "PrometheusTemplateTextExpansionFailures": "any failure is one too many",
    "PrometheusNotificationsDropped": "any lost alert is one too many",
    "PrometheusNotIngestingSamples": "something is stored or nothing",
    "PrometheusTSDBReloadsFailing": "any failure is one too many",
    "PrometheusTSDBCompactionsFailing": "any failure is one too many",
    "PrometheusTSDBWALCorruptions": "any damage is too much",
    "PrometheusRemoteWriteDesiredShards": "the limit is the queue's own",
    "PrometheusHAGroupCrashlooping": "the record before it reads the thresholds; the majority counts",
    "PrometheusHAGroupNotIngestingSamples": "something is stored or nothing",
    "AlertmanagerFailedReload": "a reload has succeeded (1) or not (0)",
    "AlertmanagerMembersInconsistent": "members are compared with members",
    "AlertmanagerConfigInconsistent": "there is one configuration or more",
    "AlertmanagerClusterFailedPeers": "any lost member is one too many",
    "AlertmanagerClusterCrashlooping": "the record before it reads the thresholds; half of the members counts",
    "AlertmanagerReceiverAuthError": "any refusal is one too many",
    "AlertmanagerReceiverRateLimited": "any refusal is one too many",
    "AlertmanagerNotReceivingAlerts": "something is received or nothing",
    "AlertmanagerAggregationGroupLimitReached": "any alert left out is one too many",
    "AlertmanagerEventRecorderDropping": "any lost event is one too many",
    "NodeRAIDDegraded": "one disk is too many",
    "NodeRAIDDiskFailure": "one disk is too many",
    "NodeBondingDegraded": "one link is too many",
    "NodeTextFileCollectorScrapeError": "a state is 1 or 0",
    "ElasticsearchExporterDown": "up is 1 or 0",
    "ElasticsearchNodeMissing": "the number comes from the inventory",
    "ElasticsearchMasterNotStable": "a state is 1 or 0",
    "ElasticsearchShardCapacityNearLimit": "a state is 1 or 0",
    "ElasticsearchNoNewDocuments": "any document is enough",
    "ElasticsearchILMStopped": "a state is 1 or 0",
    "ElasticsearchSLMFailing": "a state is 1 or 0",
    "LogstashDown": "up is 1 or 0",
    "LogstashPipelineDown": "a series exists or not",
    "LogstashPipelineStalled": "any record is enough",
    "LogstashNoEventsIn": "any record is enough",
    "LogstashHealthReportNotGreen": "a state is 1 or 0",
    "JobAbsent": "a series exists or not",
    "ExpectedTargetsMissing": "the number comes from the inventory",
    "InfoInhibitor": "an alert fires or not",
    "NodeFilesystemDeviceError": "a state is 1 or 0",
    "KibanaDown": "up is 1 or 0",
    "KibanaStatusNotAvailable": "a state is 1 or 0",
    "KibanaElasticsearchUnavailable": "a state is 1 or 0",
    "JaegerDown": "up is 1 or 0",
    "GrafanaDown": "up is 1 or 0",
    "FilebeatDown": "up is 1 or 0",
    "BlackboxProbeFailed": "a probe succeeds (1) or not (0)",
    "BlackboxConfigReloadFailed": "a reload has succeeded (1) or not (0)",
    "Watchdog": "fires always",
    "VerifySyntheticAlert": "the metric is 1 or 0",
}
# Alerts without `for`, and why.
NO_FOR = {
    "Watchdog": "fires always",
    "VerifySyntheticAlert": "measures how long an alert takes",
    "InfoInhibitor": "has to be there as soon as the info",
    "ElasticsearchCircuitBreakerTripped": "one is too many",
    "LogstashDeadLetterQueueDropping": "one is too many",
    "LogstashReloadFailed": "one is too many",
    "NodeRAIDDiskFailure": "one disk is too many",
    "HostRebooted": "explains a gap, at once",
    "HostRebootLoop": "its window is its patience",
    "NodeKernelHungTask": "one is too many",
    "NodeOOMKillDetected": "one is too many",
    "AlertFlapping": "its window is its patience",
    "AlertFiringTooLong": "its days are its patience",
    "BusinessBatchJobOverdue": "two intervals of the job are its patience",
}
# Alerts whose ratio is what is used; those of the others is what is left.
FULL = {"ElasticsearchHeapHigh", "LogstashPersistentQueueFillingUp"}
# Alerts that never end, and so have no quiet and no resolved state to test.
ENDLESS = {"Watchdog"}
# Numbers that may stand in an expression as they are: states, milliseconds of a second, seconds of an hour and a day.
PLAIN_NUMBERS = {"0", "1", "1000", "3600", "86400"}
DASHBOARD_LINK = re.compile(r"^[^?]+/d/([a-z0-9-]{1,40})\?(?:[^&]+&)*from=[^&]+&to=now$")


@pytest.fixture(scope="module")
def values():
    return make_values()


@pytest.fixture(scope="module")
def rules(values):
    return load_rules(values)


@pytest.fixture(scope="module")
def pages(values):
    return alert_rules.runbooks([str(ALERTS)], values, str(ROOT))


def raw_rules(component):
    """Yield the rules of a component as they are written, expressions unrendered."""
    document = yaml.safe_load((ALERTS / component / "rules.yml").read_text(encoding="utf-8"))
    for group in document["groups"]:
        yield from group["rules"]


def cases_of(component, values):
    return json.loads(alert_rules.promtool_tests(str(ALERTS / component), values, str(ROOT)))["tests"]


def other_thresholds():
    """Return thresholds that a site may have instead: every ratio, duration and number is another one."""

    def change(key, value):
        if isinstance(value, dict):
            return {name: change(name, entry) for name, entry in value.items()}
        if key == "for":
            return site_values.duration(site_values.seconds(value) * 2)
        if key == "ratio":
            return round(value * 0.8, 4)
        return value + 2 if isinstance(value, (int, float)) else value

    changed = change("", copy.deepcopy(shipped_thresholds()))
    changed["node"]["NodeClockNotSynchronising"]["max_error_seconds"] = 9
    return changed


# -- promtool

def run_promtool(promtool, folder, rule_set, component, values):
    """Check a component's rules and run its tests; return what promtool says when it does not agree.

    promtool evaluates all rules of a file for each case: each set of cases gets those that it asks for, and what they read.
    """
    folder = folder / component
    folder.mkdir()
    (folder / "rules.yml").write_text(rule_set.files([component])[0]["content"], encoding="utf-8")
    whole = json.loads(alert_rules.promtool_tests(str(ALERTS / component), values, str(ROOT)))
    parts: dict[tuple, list] = {}
    for block in whole["tests"]:
        parts.setdefault(tuple(sorted(mutation.names_in(block))), []).append(block)
    files = []
    for number, (names, blocks) in enumerate(parts.items()):
        rules = alert_rules.file_text(mutation.needed(rule_set.groups[component], names))
        (folder / f"rules-{number}.yml").write_text(rules, encoding="utf-8")
        (folder / f"tests-{number}.yml").write_text(json.dumps({**whole, "rule_files": [f"rules-{number}.yml"], "tests": blocks}), encoding="utf-8")
        files.append(f"tests-{number}.yml")
    for arguments in (["check", "rules", "--lint=all", "--lint-fatal", "rules.yml"], ["test", "rules", *files]):
        # Memory is not short here: collecting it less often takes four tenths of the time away.
        done = subprocess.run([promtool, *arguments], cwd=folder, capture_output=True, text=True, env=dict(os.environ, GOGC="400"))
        if done.returncode:
            return f"alerts/{component}: promtool {' '.join(arguments[:2])}\n{done.stdout[-4000:]}{done.stderr[-8000:]}"
    return ""


@pytest.mark.parametrize("component", COMPONENTS)
def test_rules_pass_promtool_and_its_tests(promtool, tmp_path, rules, values, component):
    """The rendered rules have no lint, and each case in tests.yml comes out as written."""
    assert not (said := run_promtool(promtool, tmp_path, rules, component, values)), said


@pytest.mark.parametrize("component", COMPONENTS)
def test_tests_hold_for_other_thresholds(promtool, tmp_path, component):
    """A site that changes every value gets rules and tests that still agree: the tests compute from the thresholds."""
    values = make_values(other_thresholds())
    said = run_promtool(promtool, tmp_path, load_rules(values), component, values)
    assert not said, f"With other thresholds; a test must compute its series from [[ thresholds… ]].\n{said}"


def test_runbook_queries_can_be_parsed(promtool, tmp_path, pages):
    """Each PromQL query in a runbook's commands is one that Prometheus accepts."""
    queries = [query for page in pages.values() for query in re.findall(r"obs prom '([^']*)'", page)]
    assert queries
    unique = sorted(set(queries))
    group = {"name": "runbooks", "rules": [{"record": f"runbook:query:{number}", "expr": query} for number, query in enumerate(unique)]}
    (tmp_path / "queries.yml").write_text(json.dumps({"groups": [group]}), encoding="utf-8")
    done = subprocess.run([promtool, "check", "rules", "--lint=none", "queries.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, f"a query of a runbook is not PromQL:\n{done.stdout}{done.stderr}"


# -- coverage


def coverage(component, values):
    """Return alert -> severity -> what its tests show: fires, quiet, resolves."""
    shown: dict[str, dict[str, set[str]]] = {}
    for block in cases_of(component, values):
        cases: dict[str, list] = {}
        for case in block.get("alert_rule_test", []):
            fired = {entry["exp_labels"]["severity"] for entry in case.get("exp_alerts", [])}
            cases.setdefault(case["alertname"], []).append((site_values.seconds(case["eval_time"]), fired))
        for alert, looks in cases.items():
            looks.sort(key=lambda look: look[0])
            entry = shown.setdefault(alert, {})
            for severity in alert_rules.SEVERITIES:
                found = entry.setdefault(severity, set())
                fired_at = [moment for moment, fired in looks if severity in fired]
                if not fired_at:
                    found.add("quiet")
                    continue
                found.add("fires")
                if any(severity not in fired and moment > fired_at[-1] for moment, fired in looks):
                    found.add("resolves")
    return shown


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_alert_fires_stays_quiet_and_resolves(rules, values, component):
    """Each alert and severity has a case of each kind, with exact labels and annotations where it fires."""
    shown = coverage(component, values)
    missing = []
    for rule in rules.alerts:
        if rule.component != component:
            continue
        severity = rule.labels["severity"]
        wanted = {"fires"} if rule.name in ENDLESS else {"fires", "quiet", "resolves"}
        lack = wanted - shown.get(rule.name, {}).get(severity, set())
        if lack:
            missing.append(f"alerts/{component}/tests.yml: {rule.name} ({severity}) has no case in which it {' / is '.join(sorted(lack))}")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("component", COMPONENTS)
def test_quiet_cases_stand_just_inside_the_threshold(component):
    """The quiet case of an alert with a threshold computes its series from that threshold."""
    text = (ALERTS / component / "tests.yml").read_text(encoding="utf-8")
    blocks = re.split(r"^  - name: ", text, flags=re.MULTILINE)[1:]
    for name in {rule["alert"] for rule in raw_rules(component) if "alert" in rule} - set(NO_FOR):
        quiet = [block for block in blocks if block.startswith(f"{name} is quiet") or f"{name} fires as warning, is quiet" in block]
        assert quiet, f'alerts/{component}/tests.yml: no case is named "{name} is quiet …"'
        assert any(f"thresholds.{component}.{name}." in block.split("alert_rule_test")[0] for block in quiet), (
            f'alerts/{component}/tests.yml: the case "{name} is quiet …" uses no [[ thresholds.{component}.{name}… ]] in its series'
        )


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_record_has_a_test(rules, values, component):
    """Each recording rule's value is compared in a promql_expr_test."""
    asked = " ".join(case["expr"] for block in cases_of(component, values) for case in block.get("promql_expr_test", []))
    for rule in rules.rules:
        if rule.component == component and not rule.is_alert:
            assert rule.name in asked, f"alerts/{component}/tests.yml: no promql_expr_test reads {rule.name}"


# -- thresholds


def test_every_number_comes_from_the_thresholds():
    """An expression's limits and every `for` come from its own entry in thresholds.yml, or stand on the list with a reason."""
    wrong = []
    for component in COMPONENTS:
        for rule in raw_rules(component):
            if "alert" not in rule:
                continue
            name, place = rule["alert"], f"alerts/{component}/rules.yml: {rule['alert']}"
            own = f"thresholds.{component}.{name}."
            if own not in rule["expr"] and name not in NO_THRESHOLD:
                wrong.append(f"{place}: no [[ {own}… ]] in expr; or add it to NO_THRESHOLD with the reason")
            if name in NO_FOR:
                continue
            if own not in str(rule.get("for", "")):
                wrong.append(f"{place}: `for` must be [[ {own}…for ]]")
            plain = re.sub(r"\[\[.*?\]\]|\"[^\"]*\"|\[\d+[smhd]\]", "", rule["expr"])
            numbers = set(re.findall(r"(?<![\w:.])\d+(?:\.\d+)?(?![\w:.])", plain)) - PLAIN_NUMBERS
            if numbers:
                wrong.append(f"{place}: the number {', '.join(sorted(numbers))} belongs into group_vars/all/thresholds.yml")
    assert not wrong, "\n".join(wrong)


def leaves(value, path):
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from leaves(entry, f"{path}.{name}")
    else:
        yield path


def test_every_threshold_is_used():
    """No value in thresholds.yml is idle: rules read each one."""
    values = make_values()
    load_rules(values)
    idle = sorted(set(leaves(shipped_thresholds(), "thresholds")) - values.used)
    assert not idle, f"group_vars/all/thresholds.yml: no rule reads {', '.join(idle)}"


def test_every_threshold_says_what_is_sensible():
    """Above each value a comment gives its meaning and a range, and the shipped value lies in it."""
    ranges = site_values.sensible_ranges(str(GROUP_VARS / "thresholds.yml"))
    lack = [path for path in leaves(shipped_thresholds(), "") if not path.endswith("units") and tuple(path.split(".")[1:]) not in ranges]
    assert not lack, f"group_vars/all/thresholds.yml: the comment above {', '.join(lack)} must give its meaning and end in `Sensible: A-B.`"
    assert not site_values.range_mistakes(shipped_thresholds(), ranges, "observatory_thresholds")


def test_shipped_thresholds_have_the_right_types():
    assert not site_values.threshold_mistakes(shipped_thresholds(), "observatory_thresholds")


def test_every_service_of_the_platform_is_watched():
    """Each unit that a role installs is in the list of StackServiceNotActive."""
    units = shipped_thresholds()["node"]["StackServiceNotActive"]["units"]
    for template in sorted((ROOT / "roles").glob("*/templates/etc/systemd/system/*.service.j2")):
        name = template.name.removesuffix(".service.j2")
        # One that runs to its end is watched by its result, with all other units of systemd.
        assert name in units or "Type=oneshot" in template.read_text(), (
            f"group_vars/all/thresholds.yml: add {name} to node.StackServiceNotActive.units; {template.parts[-6]} installs it"
        )


# -- labels and annotations


def test_labels_and_annotations_are_complete(rules):
    """Beyond what the loader demands of any rule: a dashboard and panel, and links that lead to this alert."""
    for rule in rules.alerts:
        place = f"{rule.path}:{rule.line}: {rule.name}"
        assert not (lack := alert_rules.contract_mistakes(rule, {"platform"})), f"{place}: {lack}"
        notes = rule.annotations
        assert DASHBOARD_LINK.match(notes.get("dashboard_url", "")), f"{place}: dashboard_url must be …/d/<uid>?…from=…&to=now"
        assert notes.get("dashboard_panel"), f"{place}: name the panel in dashboard_panel"
        assert notes["runbook_url"].endswith(f"/runbooks/{rule.component}/{rule.name}"), (
            f"{place}: runbook_url must end in component and name"
        )
        assert "{{" in notes["description"] or rule.name in NO_THRESHOLD, f"{place}: the description must give the value"


def test_critical_twins_are_stricter_than_their_warning():
    """A critical threshold below its warning's urgency would page before the ticket."""
    for component, alerts in shipped_thresholds().items():
        for name, entry in alerts.items():
            if {"warning", "critical"} <= set(entry):
                for key in set(entry["warning"]) & {"ratio", "days", "hours"}:
                    low, high = sorted((entry["critical"][key], entry["warning"][key]))
                    stricter = entry["critical"][key] == (high if name in FULL else low) and low < high
                    assert stricter, f"thresholds.yml: {component}.{name}: critical.{key} is not stricter"


def test_rendering_is_stable(rules):
    """Two renderings are the same bytes, whatever the order of the folders on disk; no expression is left in them."""
    again = load_rules(make_values())
    assert again.files() == rules.files()
    for file in rules.files():
        assert yaml.safe_load(file["content"])["groups"]
        assert not site_values.EXPRESSION.search(file["content"]), file["path"]


# -- runbooks


def test_alerts_and_runbooks_match_in_both_directions(rules, pages):
    alerts = {f"{rule.component}/{rule.name}" for rule in rules.alerts}
    assert not (lack := alerts - set(pages)), f"write alerts/<component>/runbooks/<AlertName>.md for {sorted(lack)}"
    assert not (extra := set(pages) - alerts), f"no alert has the runbook {sorted(extra)}; remove it or rename it"


def page_names():
    return sorted(f"{path.parts[-3]}/{path.stem}" for path in ALERTS.glob("*/runbooks/*.md"))


@pytest.mark.parametrize("name", page_names())
def test_runbook_is_complete(rules, pages, name):
    """Front matter that agrees with the rule, the alert's name as title, all ten sections in order, with something in each."""
    component, alert = name.split("/")
    place = f"alerts/{component}/runbooks/{alert}.md"
    _, head, body = pages[name].split("---\n", 2)
    matter = yaml.safe_load(head)
    assert set(matter) == FRONT_MATTER, f"{place}: the front matter needs exactly {sorted(FRONT_MATTER)}"
    twins = [rule for rule in rules.alerts if rule.name == alert]
    link = DASHBOARD_LINK.match(twins[0].annotations["dashboard_url"])
    expected = {
        "component": component,
        "severities": [rule.labels["severity"] for rule in twins],
        "team": "platform",
        "alert_file": f"alerts/{component}/rules.yml",
        "dashboard": link[1],
    }
    assert {key: matter[key] for key in expected} == expected, f"{place}: the front matter does not agree with the rule"
    assert matter["last_drill"] is None or isinstance(matter["last_drill"], datetime.date), (
        f"{place}: last_drill is a date, or empty: never"
    )
    for key in ("verify", "first_step"):
        text = str(matter[key] or "")
        assert 10 < len(text) <= MESSAGE_LENGTH and "\n" not in text, f"{place}: {key} is one line of at most {MESSAGE_LENGTH} characters"
        assert alert_rules.MESSAGE_TEXT.search(f"{key}: {text}"), f"{place}: {key}"
    assert body.lstrip().startswith(f"# {alert}\n"), f"{place}: the title must be the alert's name"
    found = re.findall(r"^## (.+)$", body, flags=re.MULTILINE)
    assert found == SECTIONS, f"{place}: sections must be these, in this order: {', '.join(SECTIONS)}"
    for title, text in zip(SECTIONS, re.split(r"^## .+$", body, flags=re.MULTILINE)[1:], strict=True):
        assert len(text.split()) >= SECTION_WORDS, f"{place}: section {title} says too little"
        assert not re.search(r"\b(TODO|TBD|FIXME|depends on the logs|review the logs)\b", text), f"{place}: section {title} has filler"
    if alert not in ENDLESS:
        assert f"alertname={alert}" in body, f"{place}: Silencing must give the command with alertname={alert}"


@pytest.mark.parametrize("name", page_names())
def test_runbook_values_are_those_of_the_rule(name):
    """A threshold is never copied into a page: its section Meaning renders the rule's own values in."""
    component, alert = name.split("/")
    text = (ALERTS / component / "runbooks" / f"{alert}.md").read_text(encoding="utf-8")
    if alert in NO_FOR and alert in NO_THRESHOLD:
        return
    meaning = text.split("## Meaning")[1].split("## Impact")[0]
    assert f"[[ thresholds.{component}.{alert}." in meaning, f"{name}: Meaning must render [[ thresholds.{component}.{alert}… ]]"


def test_runbook_commands_are_valid_shell(tmp_path, pages):
    """Each fenced command of each page passes `bash -n`."""
    wrong = []
    for name, page in sorted(pages.items()):
        for number, block in enumerate(re.findall(r"^ *```bash(?: run)?\n(.*?)^ *```", page, flags=re.MULTILINE | re.DOTALL)):
            done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
            if done.returncode:
                wrong.append(f"{name}, block {number + 1}: {done.stderr.strip()}")
    assert not wrong, "\n".join(wrong)


def test_runbook_links_lead_to_runbooks(pages):
    """Links between pages name pages that exist."""
    base = make_values().context["runbook_base_url"]
    for name, page in pages.items():
        for target in re.findall(rf"\({re.escape(base)}/([^)#]+)\)", page):
            assert target in pages, f"{name} links to {target}, which no page is"


def test_checker_of_alertmanager_comes_from_the_mirror(amtool):
    """Routes are tested by the amtool of the version that is installed."""
    assert "amtool" in subprocess.run([amtool, "--version"], capture_output=True, text=True, check=True).stdout
