"""filebeat.yml has no setting that Filebeat does not know: it would take a misspelt one without a word, and do without."""

from __future__ import annotations

import pathlib
import platform
import subprocess
import tarfile
import typing as t

import pytest
import yaml
from filebeat_reference import keys
from rendered import role_files
from shipped import GROUP_VARS, cache_folder, read_yaml

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
# Settings that the reference file leaves out, each with the page of Filebeat's documentation that has it.
DOCUMENTED = {
    # configuration-filebeat-options: common options of all inputs
    *(f"inputs.{kind}.{name}" for kind in ("filestream", "journald") for name in ("fields", "fields_under_root", "processors", "type")),
    # filebeat-input-journald
    "inputs.journald.seek",
    "inputs.journald.since",
    # filebeat-input-filestream: file_identity
    "inputs.filestream.file_identity.fingerprint",
    # add-fields, drop-fields, defining-processors
    "processors.add_fields.target",
    "processors.add_fields.fields",
    "processors.add_fields.when.regexp",
    "processors.drop_fields.fields",
    "processors.drop_fields.ignore_missing",
}
# Below these the names are those of events, not of settings.
FREE = ("fields", "regexp")
GROUPS = {"all": ["app1", "hub"], "logstash": ["hub", "app1"], "alertmanager": ["hub"], "filebeat": ["app1", "hub"]}
HOSTVARS = {
    "hub": {"observatory_address": "192.0.2.11", "logstash_beats_port": 5044},
    "app1": {"observatory_address": "2001:db8::12", "logstash_beats_port": 15044},
}
SERVICES = {
    "shop": {"team": "shop", "hosts": ["app1"], "logs": {"paths": ["/var/log/shop/*.jsonl"], "group": "shop"}},
    "batch": {"team": "shop", "hosts": ["app1"], "logs": {"paths": ["/var/log/batch.log"], "format": "plain", "multiline": r"^\d{4}-"}},
}
# The one that the lab runs, and one for production.
VERSIONS = ("9.0.0", "9.5.2")


def files(host: str, **values: t.Any) -> dict[str, dict]:
    return role_files("filebeat", host, groups=GROUPS, hostvars=HOSTVARS, observatory_services=SERVICES, **values)


def config(host: str, **values: t.Any) -> dict[str, t.Any]:
    return yaml.safe_load(files(host, **values)["/etc/filebeat/filebeat.yml"]["content"])


def settings(node: t.Any, path: tuple[str, ...] = ()) -> t.Iterator[str]:
    """Yield the dotted names of all settings; the entries of a list are no level of their own, an input has its type's."""
    if isinstance(node, dict) and node and (not path or path[-1] not in FREE):
        for name, value in node.items():
            yield from settings(value, (*path, name))
    elif isinstance(node, list) and any(isinstance(entry, dict) for entry in node):
        for entry in node:
            here = ("inputs", entry["type"]) if path == ("filebeat", "inputs") else ("processors",) if path[-1] == "processors" else path
            yield from settings(entry, here)
        yield ".".join(path)
    else:
        yield ".".join(path)


def known() -> set[str]:
    return set((FIXTURES / "filebeat-9.0.0" / "settings.txt").read_text(encoding="utf-8").split()) | DOCUMENTED


def archive() -> pathlib.Path:
    """Return Filebeat's archive in the lab's mirror."""
    version = read_yaml(GROUP_VARS / "versions.yml")["filebeat_version"]
    machine = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
    path = cache_folder() / "lab/mirror/artifacts.elastic.co/downloads/beats/filebeat" / f"filebeat-{version}-linux-{machine}.tar.gz"
    if not path.is_file():
        pytest.skip(f"the lab's mirror has no {path.name} yet: python -m lab mirror")
    return path


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """Return the folder of the unpacked release."""
    folder = tmp_path_factory.mktemp("filebeat")
    with tarfile.open(archive()) as content:
        content.extractall(folder, filter="data")
    return next(folder.iterdir())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("host", ["hub", "app1"])
def test_each_setting_is_one_that_filebeat_knows(host, version):
    """Those of the inputs, the output and the processors included."""
    rendered = set(settings(config(host, filebeat_version=version)))
    assert len(rendered) > 40
    assert rendered <= known(), f"unknown to Filebeat: {sorted(rendered - known())}"


def test_a_misspelt_setting_is_found():
    """So that the test above can be trusted, at each depth."""
    wrong = {"filebeat": {"inputs": [{"type": "filestream", "close": {"on_state_change": {"remove": False}}}]}, "output": {"logstash": {"host": ["x"]}}}
    assert set(settings(wrong)) - known() == {"inputs.filestream.close.on_state_change.remove", "output.logstash.host"}


def test_the_list_is_that_of_the_release(release):
    """Nobody edits it: it comes out of the reference file in the archive."""
    reference = (release / "filebeat.reference.yml").read_text(encoding="utf-8")
    assert keys(reference) == (FIXTURES / "filebeat-9.0.0" / "settings.txt").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("host", ["hub", "app1"])
def test_filebeat_itself_accepts_the_configuration(host, release, tmp_path):
    """`filebeat test config` of the real product; the certificates of this test are none, so TLS is left out."""
    path = tmp_path / "filebeat.yml"
    path.write_text(files(host)["/etc/filebeat/filebeat.yml"]["content"], encoding="utf-8")
    path.chmod(0o600)
    done = subprocess.run(
        [release / "filebeat", "test", "config", "-c", path, "-E", "output.logstash.ssl.enabled=false", "-E", "logging.level=error",
         "--path.config", tmp_path, "--path.data", tmp_path / "data", "--path.logs", tmp_path / "logs"],
        capture_output=True, text=True, check=False,
    )
    assert done.stdout == "Config OK\n", done.stderr


def test_lines_go_to_every_logstash_by_mutual_tls():
    """All hosts of the group share the load, each at its own port; each proves who it is, and so does the sender."""
    output = config("app1")["output"]["logstash"]
    assert (output["hosts"], output["loadbalance"]) == (["[2001:db8::12]:15044", "192.0.2.11:5044"], True)
    assert output["ssl"] == {
        "enabled": True, "verification_mode": "full", "supported_protocols": ["TLSv1.2", "TLSv1.3"],
        "certificate_authorities": ["${path.config}/tls/ca.crt"], "certificate": "${path.config}/tls/server.crt", "key": "${path.config}/tls/server.key",
    }


def test_each_host_reads_what_lies_on_it():
    """The journal everywhere, the alert history where Alertmanager runs, a service's files where it runs."""
    assert [entry["id"] for entry in config("hub")["filebeat"]["inputs"]] == ["journal", "alertmanager-events"]
    assert [entry["id"] for entry in config("app1")["filebeat"]["inputs"]] == ["journal", "service-batch", "service-shop"]


def test_the_unit_is_in_the_groups_whose_files_it_reads():
    """Those of Alertmanager and of a service only where these are."""
    unit = "/etc/systemd/system/filebeat.service"
    assert "SupplementaryGroups=adm alertmanager systemd-journal\n" in files("hub")[unit]["content"]
    assert "SupplementaryGroups=adm shop systemd-journal\n" in files("app1")[unit]["content"]


def test_an_older_release_reads_the_whole_journal_by_a_journalctl_of_its_own():
    """Newer ones give these options themselves."""
    program, unit = "/usr/local/lib/observatory/filebeat/journalctl", "/etc/systemd/system/filebeat.service"
    older, newer = files("app1", filebeat_version="9.1.10"), files("app1", filebeat_version="9.2.0")
    assert older[program]["content"].endswith('exec /usr/bin/journalctl --all --boot=all "$@"\n')
    assert older[program]["mode"] == "0755"
    assert f"Environment=PATH={pathlib.PurePath(program).parent}:" in older[unit]["content"]
    assert program not in newer
    assert "PATH=" not in newer[unit]["content"]


def test_settings_of_the_site_win():
    """Nested as Filebeat's own, beside those of the role."""
    queue = config("hub", filebeat_settings={"queue": {"mem": {"events": 8192}}})["queue"]
    assert queue["mem"]["events"] == 8192
    assert queue["mem"]["flush"]["min_events"] == 1024
