"""Certificates that are derived: the same for everyone, renewed in time, accepted by those who should and nobody else."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import yaml
from ansible_collections.observatory.core.plugins.plugin_utils import certificates
from ansible_collections.observatory.core.plugins.plugin_utils.certificates import CertificateError, check_authority, issue
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

ROOT = pathlib.Path(__file__).resolve().parents[2]
DAY = datetime.timedelta(days=1)
NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)

# A fixed authority, so that the derived values below can stand in the test. It is used nowhere else.
EPOCH_START = 1768450350
LEAF_KEY = 0xF6CD23A7B401B36B185F7318A936C77AE94D23C40A34FE5D1B30E0F6A863B0FF  # by hand from RFC 5869, with hmac alone
FIXED_KEY = ec.derive_private_key(0x0B5E, ec.SECP256R1())


@pytest.fixture(scope="module")
def authority():
    return certificates.new_authority("Observatory lab site authority", NOW)


@pytest.fixture(scope="module")
def other_authority():
    return certificates.new_authority("Observatory lab site authority", NOW)


@pytest.fixture
def make(authority):
    def make(**changed):
        return issue(*authority, **{"site": "lab", "host": "app1", "service": "node_exporter", "now": NOW} | changed)

    return make


def leaf(issued):
    return x509.load_pem_x509_certificate(issued.certificate.encode())


def key_number(issued):
    return serialization.load_pem_private_key(issued.key.encode(), None).private_numbers().private_value


def policy(authority, moment=NOW):
    return PolicyBuilder().store(Store([x509.load_pem_x509_certificate(authority[0].encode())])).time(moment)


# -- the same for everyone -------------------------------------------------------------------------------------------------------


def test_two_controllers_issue_the_same_bytes_in_one_epoch(make, authority):
    """Another process, another order of names, another second: the same certificate and key."""
    later = NOW + 200 * DAY
    first = make(names=["a.example.org", "b.example.org"], addresses=["192.0.2.7"], now=later)
    program = (
        "import json, sys; from ansible_collections.observatory.core.plugins.plugin_utils.certificates import issue;"
        "c = issue(**json.load(sys.stdin)); print(json.dumps([c.certificate, c.key]))"
    )
    arguments = {
        "authority_cert": authority[0],
        "authority_key": authority[1],
        "site": "lab",
        "host": "app1",
        "service": "node_exporter",
        "names": ["b.example.org", "192.0.2.7", "a.example.org", "app1"],
        "now": certificates.epoch_start("lab", "app1", later, 90),
    }
    environment = os.environ | {"PYTHONPATH": str(ROOT / "collections")}
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(arguments), capture_output=True, text=True, env=environment, check=True
    )
    assert json.loads(done.stdout) == [first.certificate, first.key]


def test_the_derivation_stays_what_it_is():
    """A change to the derivation gives every host new certificates, so it must not happen unnoticed."""
    subject = certificates._subject("lab", "app1", "node_exporter", ["app1.example.org"], ["2001:DB8::1"], 1)
    assert subject.addresses == ("127.0.0.1", "2001:db8::1")
    assert subject.names == ("app1", "app1.example.org", "localhost", "node-exporter.lab")
    assert subject.label == "lab|app1|node_exporter|1"
    assert certificates.epoch_start("lab", "app1", NOW, 90) == EPOCH_START
    assert certificates._leaf_key(FIXED_KEY, "lab|app1|node_exporter|1|0+90").private_numbers().private_value == LEAF_KEY


@pytest.mark.parametrize(
    "changed",
    [{"host": "app2"}, {"service": "prometheus"}, {"generation": 2}, {"site": "other"}, {"days": 91}],
    ids=lambda c: next(iter(c)),
)
def test_another_subject_has_another_key_and_serial(make, changed):
    """Nothing can be told from one machine's key about another's."""
    assert key_number(make()) != key_number(make(**changed))
    assert make().serial != make(**changed).serial


def test_another_name_is_another_serial_with_the_same_key(make):
    """An authority never signs two certificates of one serial number."""
    plain, named = make(), make(names=["app1.example.org"])
    assert plain.serial != named.serial
    assert plain.key == named.key


def test_another_authority_derives_other_keys(make, other_authority):
    assert key_number(make()) != key_number(issue(*other_authority, site="lab", host="app1", service="node_exporter", now=NOW))


def test_a_rewritten_authority_key_derives_the_same(make, authority):
    """Another tool's encoding of the same key (SEC 1 instead of PKCS 8) is the same authority."""
    key = serialization.load_pem_private_key(authority[1].encode(), None)
    rewritten = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
    assert rewritten != authority[1]
    again = issue(authority[0] + "\n", rewritten, site="lab", host="app1", service="node_exporter", now=NOW)
    assert again == make()


def test_the_key_is_not_in_the_representation(make):
    """A traceback or a debug line shows no key."""
    assert "PRIVATE KEY" not in repr(make())


# -- time ------------------------------------------------------------------------------------------------------------------------


def test_renewal_over_two_years(make):
    """Certificates change once an epoch, key included, and at no moment are fewer than 30 days left."""
    seen = []
    for hours in range(0, 2 * 365 * 24, 6):
        moment = NOW + datetime.timedelta(hours=hours)
        issued = make(now=moment)
        assert issued.not_before <= moment - DAY or issued.not_before == NOW - DAY
        assert issued.not_after - moment >= 30 * DAY
        if not seen or seen[-1].serial != issued.serial:
            seen.append(issued)
    assert len(seen) in (13, 14)
    assert len({issued.serial for issued in seen}) == len({key_number(issued) for issued in seen}) == len(seen)
    assert {after.not_after - before.not_after for before, after in itertools.pairwise(seen)} == {60 * DAY}


def test_a_certificate_changes_when_fewer_than_thirty_days_are_left(make):
    """In the last second in which 30 days are left it is the old one, in the next the new one with 90."""
    old = make()
    due = old.not_after - 30 * DAY
    assert make(now=due - datetime.timedelta(seconds=1)) == old
    assert make(now=due).serial != old.serial
    assert make(now=due).not_after - due == 90 * DAY


def test_hosts_renew_at_moments_of_their_own():
    """The renewals of 200 hosts spread over the whole epoch, and a host's services change together."""
    starts = sorted(certificates.epoch_start("lab", f"app{number}", NOW, 90) for number in range(200))
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert len(set(starts)) == 200
    assert max(gaps) < 5 * 86400
    assert starts[-1] - starts[0] > 50 * 86400


def test_leaves_stay_within_the_authoritys_validity(authority):
    """In the authority's last days its leaves end with it, and in its first they begin with it."""
    certificate = x509.load_pem_x509_certificate(authority[0].encode())
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    for moment in (begin, begin + DAY, end - 40 * DAY, end - datetime.timedelta(seconds=1)):
        issued = issue(*authority, site="lab", host="app1", service="prometheus", now=moment)
        assert begin <= issued.not_before <= moment <= issued.not_after <= end
        policy(authority, moment).build_server_verifier(x509.DNSName("app1")).verify(leaf(issued), [])


# -- who accepts it --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        x509.DNSName("app1"),
        x509.DNSName("node-exporter.lab"),
        x509.DNSName("localhost"),
        x509.DNSName("metrics.example.org"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("10.213.0.12")),
        x509.IPAddress(ipaddress.ip_address("2001:db8::7")),
    ],
    ids=lambda name: str(name.value),
)
def test_a_client_accepts_the_server_under_each_of_its_names(make, authority, name):
    issued = make(names=["metrics.example.org", "10.213.0.12"], addresses=["2001:db8::7"])
    assert len(policy(authority).build_server_verifier(name).verify(leaf(issued), [])) == 2


def test_a_client_refuses_a_name_that_the_certificate_does_not_have(make, authority):
    for name in ("app2", "prometheus.lab", "lab"):
        with pytest.raises(VerificationError):
            policy(authority).build_server_verifier(x509.DNSName(name)).verify(leaf(make()), [])


def test_a_server_accepts_the_client_and_sees_its_role(make, authority):
    verified = policy(authority).build_client_verifier().verify(leaf(make()), [])
    assert "node-exporter.lab" in [name.value for name in verified.subjects]


def test_a_foreign_authoritys_leaf_is_refused(other_authority, authority):
    """Also when the foreign authority has the same name."""
    foreign = leaf(issue(*other_authority, site="lab", host="app1", service="prometheus", now=NOW))
    with pytest.raises(VerificationError):
        policy(authority).build_client_verifier().verify(foreign, [])


def test_an_expired_leaf_is_refused(make, authority):
    with pytest.raises(VerificationError):
        policy(authority, NOW + 100 * DAY).build_client_verifier().verify(leaf(make()), [])


def test_a_leaf_signs_nothing(make, authority):
    """A stolen leaf key is no authority: its own leaves are refused."""
    stolen = make()
    key = serialization.load_pem_private_key(stolen.key.encode(), None)
    forged = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(leaf(stolen).subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("admin.lab")]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(VerificationError):
        policy(authority).build_client_verifier().verify(forged, [leaf(stolen)])


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_openssl_accepts_it_as_server_and_client(make, authority, other_authority, tmp_path):
    """A second implementation reads the same; also beside another trusted authority of the same name."""
    (tmp_path / "ca.crt").write_text(certificates.bundle(other_authority[0], [authority[0]]))
    (tmp_path / "leaf.crt").write_text(make().certificate)
    for purpose in ("sslserver", "sslclient"):
        command = ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW.timestamp())), "-purpose", purpose]
        command += ["-verify_hostname", "node-exporter.lab", "-CAfile", str(tmp_path / "ca.crt"), str(tmp_path / "leaf.crt")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout == f"{tmp_path}/leaf.crt: OK\n", done.stderr


# -- what is refused -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"now": NOW + 3700 * DAY}, "the authority's certificate expired on 2036-02-29"),
        (
            {"days": 30},
            "the validity is 30 days; it must be a whole number from 31 to 825: certificates are renewed 30 days before they end",
        ),
        ({"generation": 0}, "the generation is 0; it must be a whole number from 1 upwards"),
        ({"site": "The Lab"}, "the site's name 'The Lab' must consist of lower-case letters, digits, dots and hyphens, up to 63"),
        ({"service": "a|b"}, "the service 'a|b' must consist of lower-case letters, digits and underscores, up to 63"),
        ({"host": "app 1"}, "'app 1' is neither a host name nor an IP address: a certificate cannot carry it"),
        ({"names": ["münchen"]}, "'münchen' is neither a host name nor an IP address: a certificate cannot carry it"),
        ({"addresses": ["app1"]}, "'app1' is not an IP address"),
        (
            {"host": "Prometheus.lab"},
            "'Prometheus.lab' is the role name of prometheus in the site 'lab', and would open what that role opens: rename the host, or"
            " choose another observatory_site",
        ),
        (
            {"names": ["*.lab"]},
            "'*.lab' is the role name of each service in the site 'lab', and would open what that role opens: rename the host, or choose"
            " another observatory_site",
        ),
    ],
    ids=["expired", "days", "generation", "site", "service", "host", "name", "address", "role-name", "wildcard"],
)
def test_what_cannot_be_issued_is_refused(make, changed, text):
    with pytest.raises(CertificateError) as caught:
        make(**changed)
    assert str(caught.value) == text


def test_a_host_may_have_its_own_services_role_name(make):
    """A host that is called as the role that it plays gains nothing by it."""
    assert make(names=["node-exporter.lab"]) == make()


def test_an_authority_in_order_has_no_problems(authority):
    assert check_authority(*authority, NOW) == []
    assert check_authority(*authority, NOW.timestamp()) == []


def test_each_problem_of_an_authority_is_said(authority, other_authority, make):
    """All problems at once, each with the date or the fix."""
    certificate, key = authority
    leaf_pem = make().certificate
    encrypted = (
        serialization.load_pem_private_key(key.encode(), None)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x"))
        .decode()
    )
    other_kind = (
        rsa.generate_private_key(65537, 2048)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )
    no_key = (
        "cannot be used: the key beside it is not PEM; it must begin with -----BEGIN PRIVATE KEY-----, be complete and have no passphrase"
        " (the vault encrypts it)"
    )
    foreign = "does not belong to the key beside it: restore both from the same place"
    leaf_text = "is not an authority's: it must be allowed to sign certificates (CA:TRUE, keyCertSign)"
    assert {
        "garbage": check_authority("garbage", key, NOW),
        "cut": check_authority(certificate[:200], key, NOW),
        "two": check_authority(certificate + other_authority[0], key, NOW),
        "no key": check_authority(certificate, "garbage", NOW),
        "passphrase": check_authority(certificate, encrypted, NOW),
        "rsa": check_authority(certificate, other_kind, NOW),
        "foreign": check_authority(certificate, other_authority[1], NOW),
        "leaf": check_authority(leaf_pem, key, NOW),
        "expired and foreign": check_authority(certificate, other_authority[1], NOW + 3700 * DAY),
        "soon": check_authority(certificate, key, NOW + 3640 * DAY),
        "soon, not asked": check_authority(certificate, key, NOW + 3640 * DAY, notice_days=0),
        "early": check_authority(certificate, key, NOW - 2 * DAY),
    } == {
        "garbage": ["is not PEM: it must begin with -----BEGIN CERTIFICATE----- and be complete"],
        "cut": ["is not PEM: it must begin with -----BEGIN CERTIFICATE----- and be complete"],
        "two": ["holds 2 certificates; it must be one authority's alone"],
        "no key": [no_key],
        "passphrase": [no_key],
        "rsa": ["cannot be used: the key beside it is of another kind than P-256, and leaf keys are derived from it"],
        "foreign": [foreign],
        "leaf": [foreign, leaf_text],
        "expired and foreign": [foreign, "expired on 2036-02-29"],
        "soon": ["expires within 30 days, on 2036-02-29"],
        "soon, not asked": [],
        "early": ["is not valid before 2026-02-28: is this machine's clock right (2026-02-27)?"],
    }


def test_a_bundle_holds_each_trusted_authority_once(authority, other_authority):
    assert certificates.bundle(authority[0], []) == authority[0]
    assert certificates.bundle(authority[0], [other_authority[0].strip(), authority[0]]) == authority[0] + other_authority[0]
    with pytest.raises(CertificateError) as caught:
        certificates.bundle(authority[0], ["", "x"])
    assert str(caught.value) == (
        "observatory_authority_trusted[0] is not PEM: it must begin with -----BEGIN CERTIFICATE----- and be complete"
    )


# -- the lookup, through ansible-playbook ----------------------------------------------------------------------------------------

PLAY = """\
- hosts: app1
  gather_facts: false
  tasks:
    - name: Render as a role does
      ansible.builtin.copy:
        content: "{{ lookup('observatory.core.certificate', service, names=['app1.example.org'], wantlist=true) | to_json }}"
        dest: "{{ out }}"
        mode: "0600"
      delegate_to: localhost
"""


@pytest.fixture
def play(authority, tmp_path):
    """Run the lookup for a host with these variables; returns (result or None, output)."""

    def play(service="node_exporter", now=NOW, text=PLAY, **changed):
        variables = {
            "observatory_site": "{{ site_name }}",
            "site_name": "lab",
            "observatory_authority_certificate": authority[0],
            "observatory_authority_key": authority[1],
            "ansible_host": "{{ network }}.12",
            "network": "10.213.0",
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "service": service,
            "out": str(tmp_path / "out.json"),
        } | changed
        hosts = {"app1": {name: value for name, value in variables.items() if value is not None}}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
        (tmp_path / "play.yml").write_text(text)
        (tmp_path / "ansible.cfg").touch()  # not the project's
        environment = os.environ | {
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "OBSERVATORY_NOW": str(now.timestamp()),
        }
        command = [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml")]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
        output = " ".join((done.stdout + done.stderr).split())
        return (json.loads((tmp_path / "out.json").read_text()) if done.returncode == 0 else None), output

    return play


def test_the_lookup_reads_the_hosts_variables(play, make, authority, other_authority):
    """Templated variables, an address as ansible_host, more names, and what is trusted beside."""
    result, output = play(observatory_authority_trusted=[other_authority[0]])
    expected = make(names=["app1.example.org", "10.213.0.12"])
    assert result == [
        {
            "certificate": expected.certificate,
            "key": expected.key,
            "authority": authority[0] + other_authority[0],
            "serial": f"{leaf(expected).serial_number:X}".rjust(len(result[0]["serial"]), "0"),
            "not_before": expected.not_before.isoformat(),
            "not_after": expected.not_after.isoformat(),
            "role_name": "node-exporter.lab",
        }
    ], output


def test_the_lookup_renews_when_the_clock_says_so(play, make):
    due = make().not_after - 30 * DAY
    serials = [play(now=moment, ansible_host="app1.example.net")[0][0]["serial"] for moment in (NOW, due)]
    assert serials[0] != serials[1]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (
            {"observatory_authority_key": None},
            "observatory_authority_key is missing; it is one of the site's secrets. Run: make secrets SITE=lab",
        ),
        ({"observatory_site": None}, "observatory_site is missing: name the site in inventories/<site>/group_vars/all/"),
        ({"observatory_certificate_days": "soon"}, "observatory_certificate_days is 'soon'; it must be a whole number"),
        (
            {"now": NOW + 3700 * DAY},
            "No certificate of node_exporter for app1: the authority's certificate expired on 2036-02-29. The authority is"
            " observatory_authority_certificate in the site's secrets.yml (make secrets SITE=lab); docs/security.md has the steps.",
        ),
    ],
    ids=["no-key", "no-site", "days", "expired"],
)
def test_the_lookups_errors_name_the_variable_and_the_fix(play, authority, changed, text):
    result, output = play(**changed)
    assert result is None
    assert text in output
    assert "PRIVATE KEY" not in output


def test_the_pki_roles_templates_are_exactly_the_pem_texts(play, authority, tmp_path):
    """No line is added or lost, so that the files equal those of any other controller."""
    role = ROOT / "roles/pki/templates/etc/observatory/pki"
    tasks = [
        {
            "name": f"Render {path.name}",
            "ansible.builtin.template": {"src": str(path), "dest": str(tmp_path / path.stem), "mode": "0600"},
            "delegate_to": "localhost",
        }
        for path in sorted(role.iterdir())
    ]
    document = yaml.safe_load(PLAY)
    document[0]["tasks"] += tasks
    result, output = play("host", text=yaml.safe_dump(document))
    assert result, output
    plain = issue(*authority, site="lab", host="app1", service="host", names=["10.213.0.12"], now=NOW)
    rendered = {name: (tmp_path / name).read_text() for name in ("ca.crt", "host.crt", "host.key")}
    assert rendered == {"ca.crt": authority[0], "host.crt": plain.certificate, "host.key": plain.key}


def test_the_specs_defaults_are_the_lookups():
    """A play without the pki role, and one with it, issue the same certificates."""
    from ansible_collections.observatory.core.plugins.lookup import certificate as lookup

    spec = yaml.safe_load((ROOT / "roles/pki/meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert spec["observatory_certificate_days"]["default"] == lookup.DEFAULT_DAYS
    assert spec["observatory_certificate_generation"]["default"] == lookup.DEFAULT_GENERATION
