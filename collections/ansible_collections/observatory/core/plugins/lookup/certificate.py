"""Gives templates a service's certificate on the host that they are rendered for."""

from __future__ import annotations

DOCUMENTATION = """
name: certificate
short_description: A service's certificate, derived from the site's authority
author: Observatory contributors
version_added: 1.0.0
description:
  - Returns the certificate and key of a service on the current host. They are derived from the authority's key, the site, the
    host, the service, the generation and the time, so any controller gets the same bytes and no key is stored.
  - The certificate names the host, its address, C(localhost), 127.0.0.1 and the role name by which listeners know the service,
    for instance C(node-exporter.lab). It serves for both ends of a connection.
  - It changes when fewer than 30 days are left, at a moment of its own for each host.
options:
  _terms:
    description: The services, for instance V(prometheus) or V(node_exporter). V(host) is for the people and tools of a host.
    type: list
    elements: str
    required: true
  names:
    description: More host names or IP addresses under which the service is reached.
    type: list
    elements: str
    default: []
  authority:
    description:
      - Who signs it. Elasticsearch nodes know each other by certificates of V(transport), which signs for nobody else.
    type: str
    choices: [site, transport]
    default: site
  now:
    description:
      - The time for which the certificate is made, in seconds since 1970. The default is the controller's clock.
      - Tests set it to see a renewal without waiting for one.
    type: float
    env:
      - name: OBSERVATORY_NOW
notes:
  - It reads the variables C(observatory_site), C(observatory_authority_certificate), C(observatory_authority_key),
    C(observatory_authority_trusted) (none),
    for transport those of C(observatory_transport_authority), C(observatory_certificate_days) (90), C(observatory_certificate_generation) (1),
    C(inventory_hostname) and C(ansible_host) of the host.
  - The returned key is a secret. Ship it by a file of C(observatory.core.component) whose permissions say C(secret).
"""

EXAMPLES = """
- name: The key is in a template, whose minus sign keeps the text as it is
  ansible.builtin.copy:
    content: "{{ lookup('observatory.core.certificate', 'prometheus').key }}"
    dest: /etc/prometheus/tls/server.key
    mode: "0640"

- name: A service that is also reached by another name
  ansible.builtin.copy:
    content: "{{ lookup('observatory.core.certificate', 'gateway', names=['observatory.example.org']).certificate }}"
    dest: /etc/gateway/tls/server.crt
    mode: "0644"
"""

RETURN = """
_raw:
  description: One dictionary a service.
  type: list
  elements: dict
  contains:
    certificate:
      description: The certificate, PEM, without its authority.
      type: str
    key:
      description: Its private key, PEM (PKCS 8), not encrypted.
      type: str
    authority:
      description: What to trust, PEM. The site's authority, then those of C(observatory_authority_trusted).
      type: str
    serial:
      description: The serial number in hexadecimal, as C(openssl x509 -serial) prints it.
      type: str
      sample: 5C2F9B0A41D7
    not_before:
      description: The begin of its validity, ISO 8601, UTC.
      type: str
      sample: "2026-01-01T08:00:00+00:00"
    not_after:
      description: The end of its validity, ISO 8601, UTC.
      type: str
      sample: "2026-04-01T08:00:00+00:00"
    role_name:
      description: The name by which listeners know the service.
      type: str
      sample: node-exporter.lab
"""

import time

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.observatory.core.plugins.plugin_utils import certificates

AUTHORITIES = {"site": "observatory_authority", "transport": "observatory_transport_authority"}
DEFAULT_DAYS = 90
DEFAULT_GENERATION = 1


class LookupModule(LookupBase):
    """Reads the variables; plugin_utils/certificates.py does the work and remembers its results."""

    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        now = self.get_option("now")
        site = self._text("observatory_site")
        host = self._text("inventory_hostname")
        authority = AUTHORITIES[self.get_option("authority")]
        wanted = {
            "authority_cert": self._text(f"{authority}_certificate"),
            "authority_key": self._text(f"{authority}_key"),
            "site": site,
            "host": host,
            "names": [*self._connection_name(), *(str(name) for name in self.get_option("names"))],
            "now": time.time() if now is None else now,
            "days": self._number("observatory_certificate_days", DEFAULT_DAYS),
            "generation": self._number("observatory_certificate_generation", DEFAULT_GENERATION),
        }
        trusted = [str(pem) for pem in self._value(f"{authority}_trusted", [])]
        try:
            return [self._result(certificates.issue(service=str(term), **wanted), trusted) for term in terms]
        except certificates.CertificateError as error:
            raise AnsibleError(
                f"No certificate of {', '.join(map(str, terms))} for {host}: {error}. The authority is {authority}_certificate"
                f" in the site's secrets.yml (make secrets SITE={site}); docs/security.md has the steps."
            ) from None

    @staticmethod
    def _result(issued, trusted):
        return {
            "certificate": issued.certificate,
            "key": issued.key,
            "authority": certificates.bundle(issued.authority, trusted),
            "serial": issued.serial.to_bytes((issued.serial.bit_length() + 7) // 8, "big").hex().upper(),
            "not_before": issued.not_before.isoformat(),
            "not_after": issued.not_after.isoformat(),
            "role_name": issued.role_name,
        }

    def _connection_name(self):
        """The address or name under which Ansible reaches the host, where a certificate can carry it (a container's may not)."""
        value = str(self._value("ansible_host", ""))
        return [value] if certificates.is_address(value) or certificates.is_name(value) else []

    def _text(self, name):
        value = self._value(name)
        if value is None or not str(value).strip():
            raise AnsibleError(self._missing(name))
        return str(value)  # str() also takes Ansible's tags off, which would keep equal values from being one entry of the memory

    def _number(self, name, default):
        value = self._value(name, default)
        try:
            return int(value)
        except (TypeError, ValueError):
            raise AnsibleError(f"{name} is {str(value)!r}; it must be a whole number") from None

    def _value(self, name, default=None):
        if name not in self._templar.available_variables:
            return default
        return self._templar.template(self._templar.available_variables[name])

    def _missing(self, name):
        if name == "observatory_site":
            return "observatory_site is missing: name the site in inventories/<site>/group_vars/all/"
        site = self._value("observatory_site", "<the inventory's name>")
        return f"{name} is missing; it is one of the site's secrets. Run: make secrets SITE={site}"
