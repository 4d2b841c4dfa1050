"""Wrong input gets one clear message and changes nothing: each case of cases.yml, on a running lab.

    OBSERVATORY_LAB_NETWORK=10.213.1 pytest tests/inputs

A case is a second inventory laid over inventories/lab, words for the command line, or a change on a host with its undo. `site.yml` must
end with an error, print the expected message and nothing else, and leave the hosts' files as they were. Cases without a change on a host
run two at a time; the files are compared before and after each of the two groups.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import os
import pathlib
import re
import subprocess
import sys
import textwrap
import typing as t

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE = pathlib.Path(__file__).parent
PROJECT = HERE.parents[1]
INVENTORY = "inventories/lab"
NETWORK = os.environ.get("OBSERVATORY_LAB_NETWORK", "")
HEADLINE = "1 problem, nothing was changed"
# A headline, then what is wrong, where it was set, what to do, and the hosts.
MOST_LINES = 6
RUN_TIMEOUT_SECONDS = 120
AT_ONCE = 2
# Content of what is small, size and time of what is large; times of the rest change when a file is put back.
SNAPSHOT = (
    "cd /; { find opt/observatory -printf '%p %y %s %T@ %m %u %g\\n' 2>/dev/null;"
    " find etc var/lib/observatory -printf '%p %y %m %u %g\\n'; find etc var/lib/observatory -type f -exec sha256sum {} +; } | sort"
)

needs_lab = pytest.mark.skipif(not NETWORK, reason="needs a running lab: set OBSERVATORY_LAB_NETWORK")


@dataclasses.dataclass(frozen=True)
class Case:
    """One wrong input."""

    name: str
    expect: tuple[str, ...]
    """The message's lines; `{site}` is the overlay inventory, `{network}` the lab's network, `{any}` what differs from run to run."""
    variables: dict[str, t.Any] | None = None
    """Become group_vars/all/case.yml of the overlay, one a line where possible."""
    text: str = ""
    """The same file as it stands, where quoting is the point."""
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    """More files of the overlay."""
    arguments: tuple[str, ...] = ()
    hosts: dict[str, t.Any] | None = None
    """The inventory then stands alone: the lab's group_vars, and its hosts.yml with these values at dotted paths (null: none)."""
    without: str = ""
    """A file of the lab's group_vars/all that is left out, with `hosts`."""
    authority: str = ""
    """An authority made for this case, into the overlay's variables: expired, foreign, or mixed (key and certificate of two)."""
    host: str = ""
    """The host on which `change` is made and `undo` afterwards."""
    change: str = ""
    undo: str = ""
    headline: bool = True
    """Whether preflight says it; a message of a component has no headline."""

    @classmethod
    def from_dict(cls, data: dict[str, t.Any]) -> Case:
        for name in ("expect", "arguments"):
            data[name] = tuple(data.get(name, ()))
        return cls(**data)


CASES = [Case.from_dict(entry) for entry in yaml.safe_load((HERE / "cases.yml").read_text(encoding="utf-8"))]
ON_CONTROLLER = [case for case in CASES if not case.host]
ON_HOST = [case for case in CASES if case.host]


@dataclasses.dataclass(frozen=True)
class Outcome:
    code: int
    messages: list[str]
    output: str
    site: str


def environment() -> dict[str, str]:
    return {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml", "ANSIBLE_FORCE_COLOR": "0"}


def program(name: str) -> str:
    return str(pathlib.Path(sys.executable).with_name(name))


def authority(kind: str) -> dict[str, str]:
    """Return an authority's variables; it is a good one of another site, but for what `kind` says."""
    now = datetime.datetime.now(datetime.UTC)
    end = now - datetime.timedelta(days=1) if kind == "expired" else now + datetime.timedelta(days=3650)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another site")])
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    certificate = (
        x509.CertificateBuilder(name, name, keys[0].public_key(), x509.random_serial_number(), now - datetime.timedelta(days=3650), end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .sign(keys[0], hashes.SHA256())
    )
    key = keys[1 if kind == "mixed" else 0].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "observatory_authority_certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "observatory_authority_key": key.decode(),
    }


def changed_hosts(changes: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the lab's hosts.yml with the values at some dotted paths replaced."""
    data = yaml.safe_load((PROJECT / INVENTORY / "hosts.yml").read_text(encoding="utf-8"))
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = data
        for name in parents:
            place = place[name]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return data


def lay_out(case: Case, folder: pathlib.Path) -> None:
    """Write the overlay inventory of a case."""
    variables = folder / "group_vars" / "all"
    variables.mkdir(parents=True)
    hosts = {"all": {}} if case.hosts is None else changed_hosts(case.hosts)
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts), encoding="utf-8")
    if case.hosts is not None:
        for file in (PROJECT / INVENTORY / "group_vars" / "all").iterdir():
            if file.name != case.without:
                (variables / file.name).symlink_to(file)
    if case.authority:
        (variables / "authority.yml").write_text(yaml.safe_dump(authority(case.authority)), encoding="utf-8")
    if case.text or case.variables:
        text = case.text or yaml.safe_dump(case.variables, sort_keys=False, default_flow_style=None)
        (variables / "case.yml").write_text("---\n" + text, encoding="utf-8")
    for path, text in case.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def messages(output: str) -> list[str]:
    """Return the different messages of the failed tasks in a run's output."""
    found = []
    for block in re.findall(r"^fatal: \[[^\n]*=> ?\n((?:    [^\n]*\n|\n)+)", output, re.MULTILINE):
        message = str(yaml.safe_load(textwrap.dedent(block)).get("msg", "")).rstrip()
        if message not in found:
            found.append(message)
    return found


def run(case: Case, folder: pathlib.Path) -> Outcome:
    """Run site.yml with the wrong input."""
    lay_out(case, folder)
    inventories = ["-i", str(folder)] if case.hosts is not None else ["-i", INVENTORY, "-i", str(folder)]
    command = [program("ansible-playbook"), "site.yml", *inventories, *case.arguments]
    done = subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=RUN_TIMEOUT_SECONDS, check=False)
    output = done.stdout + done.stderr
    return Outcome(done.returncode, messages(output), output, str(folder))


def on_hosts(hosts: str, command: str) -> dict[str, str]:
    """Run a shell command on hosts as root, without Python; return host -> output."""
    words = [program("ansible"), hosts, "-i", INVENTORY, "--become", "-m", "ansible.builtin.raw", "-a", command]
    done = subprocess.run(words, cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=RUN_TIMEOUT_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = re.split(r"^(\S+) \| (?:CHANGED|SUCCESS) \| rc=0 >>\n", done.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def snapshot() -> dict[str, set[str]]:
    return {host: set(text.splitlines()) for host, text in on_hosts("observatory", SNAPSHOT).items()}


def difference(before: dict[str, set[str]], after: dict[str, set[str]]) -> dict[str, list[str]]:
    changed = {host: sorted(before[host] ^ after.get(host, set())) for host in before}
    return {host: lines[:20] for host, lines in changed.items() if lines}


@pytest.fixture(scope="session")
def outcomes(request, tmp_path_factory):
    """Case name -> its run, under way; two at a time."""
    wanted = {item.callspec.params["case"].name for item in request.session.items if "case" in getattr(getattr(item, "callspec", None), "params", {})}
    base = tmp_path_factory.mktemp("overlays")
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        cases = [case for case in ON_CONTROLLER if case.name in wanted]
        yield {case.name: pool.submit(run, case, base / re.sub(r"\W+", "-", case.name)) for case in cases}


@pytest.fixture(scope="session")
def files_before(request):
    """The hosts' files before the first case."""
    return snapshot()


def is_expected(message: str, expected: list[str]) -> bool:
    pattern = "\n".join(".*".join(map(re.escape, line.split("{any}"))) for line in expected)
    return re.fullmatch(pattern, message) is not None


def check(case: Case, outcome: Outcome) -> None:
    expected = [line.replace("{site}", outcome.site).replace("{network}", NETWORK) for line in case.expect]
    if case.headline:
        expected.insert(0, HEADLINE)
    evidence = f"exit code {outcome.code}\n{outcome.output[-6000:]}"
    assert len(outcome.messages) == 1, evidence
    if not is_expected(outcome.messages[0], expected):
        # The comparison shows where they differ; the output tells why.
        assert outcome.messages[0].splitlines() == expected, evidence
    assert len(expected) <= MOST_LINES * (1 if case.headline else 2)
    assert outcome.code != 0, evidence


@needs_lab
@pytest.mark.parametrize("case", ON_CONTROLLER, ids=lambda case: case.name)
def test_wrong_input_is_refused(case, files_before, outcomes):
    """One message, as the table has it."""
    check(case, outcomes[case.name].result())


@needs_lab
def test_wrong_input_changed_nothing(files_before, outcomes):
    """The hosts' files are what they were before the first of these cases."""
    concurrent.futures.wait(outcomes.values())
    assert difference(files_before, snapshot()) == {}


@needs_lab
@pytest.mark.parametrize("case", ON_HOST, ids=lambda case: case.name)
def test_an_unfit_host_is_refused(case, files_before, outcomes, tmp_path):
    """A host is made unfit, refused, and put back."""
    concurrent.futures.wait(outcomes.values())
    on_hosts(case.host, case.change)
    try:
        outcome = run(case, tmp_path / "site")
    finally:
        on_hosts(case.host, case.undo)
    check(case, outcome)


@needs_lab
def test_an_unfit_host_is_left_as_it_was(files_before):
    """The same for the cases that change a host."""
    assert difference(files_before, snapshot()) == {}


def test_the_table_is_long_enough():
    """At least sixty cases, each with its own name."""
    assert len({case.name for case in CASES}) == len(CASES) >= 60
