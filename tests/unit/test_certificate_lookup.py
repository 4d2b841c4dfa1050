"""The lookup takes the authority that is asked for, and says what is missing."""

import datetime

import pytest
import yaml
from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.observatory.core.plugins.lookup import certificate
from ansible_collections.observatory.core.plugins.plugin_utils.certificates import new_authority
from cryptography import x509

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC).timestamp()


@pytest.fixture(scope="module")
def variables():
    # What Ansible's loader does with a plugin that it has found.
    options = yaml.safe_load(certificate.DOCUMENTATION)["options"]
    C.config.initialize_plugin_configuration_definitions("lookup", "observatory.core.certificate", options)
    made = {"observatory_site": "lab", "inventory_hostname": "hub", "ansible_host": "192.0.2.1"}
    for kind, prefix in (("site", "observatory_authority"), ("transport", "observatory_transport_authority")):
        made[f"{prefix}_certificate"], made[f"{prefix}_key"] = new_authority(f"Observatory lab {kind} authority", NOW)
    return made


def look(variables, **options):
    lookup = certificate.LookupModule(loader=DataLoader(), templar=Templar(DataLoader(), variables=variables))
    lookup._load_name = "observatory.core.certificate"
    return lookup.run(["elasticsearch"], variables, now=NOW, **options)[0]


def test_each_authority_signs_its_own_certificate(variables):
    """Nodes among themselves show another certificate, with another key, than to their clients."""
    site, transport = look(variables), look(variables, authority="transport")
    for result, kind in ((site, "site"), (transport, "transport")):
        issuer = x509.load_pem_x509_certificate(result["certificate"].encode()).issuer.rfc4514_string()
        assert issuer == f"CN=Observatory lab {kind} authority"
        assert result["authority"] == variables[f"observatory_{'transport_' if kind == 'transport' else ''}authority_certificate"]
    assert site["key"] != transport["key"]


def test_a_missing_authority_is_named(variables):
    without = {name: value for name, value in variables.items() if name != "observatory_transport_authority_key"}
    with pytest.raises(AnsibleError, match=r"observatory_transport_authority_key is missing.*make secrets SITE=lab"):
        look(without, authority="transport")
