"""TLS of the beats input and the Elasticsearch output."""

import ssl

from .errors import ConfigurationError

PROTOCOLS = ("TLSv1.1", "TLSv1.2", "TLSv1.3")
_VERSIONS = {"TLSv1.1": ssl.TLSVersion.TLSv1_1, "TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
# RFC 2253's short names; of others Java prints the number and the encoded value.
_SHORT = {
    "commonName": "CN", "localityName": "L", "stateOrProvinceName": "ST", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C",
    "streetAddress": "STREET", "domainComponent": "DC", "userId": "UID",
}
_EMAIL = "1.2.840.113549.1.9.1"


def _limit(context, protocols):
    if protocols:
        order = [_VERSIONS[name] for name in PROTOCOLS if name in protocols]
        context.minimum_version, context.maximum_version = order[0], order[-1]


def server_context(given):
    """Return the TLS context of a listener; raises ConfigurationError naming the file."""
    with open(given["ssl_key"], encoding="ascii", errors="replace") as handle:
        if "BEGIN PRIVATE KEY" not in (key := handle.read()) and "BEGIN ENCRYPTED PRIVATE KEY" not in key:
            raise ConfigurationError(f"File does not contain valid private key: {given['ssl_key']} (PKCS#8 is expected)")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _limit(context, given["ssl_supported_protocols"])
    _load(context, given["ssl_certificate"], given["ssl_key"], given["ssl_key_passphrase"])
    asks = given["ssl_client_authentication"]
    if asks != "none":
        context.verify_mode = ssl.CERT_REQUIRED if asks == "required" else ssl.CERT_OPTIONAL
        _trust(context, given["ssl_certificate_authorities"])
    return context


def client_context(given):
    """Return the TLS context of a client; raises ConfigurationError naming the file."""
    context = ssl.create_default_context()
    if given["ssl_certificate_authorities"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _trust(context, given["ssl_certificate_authorities"])
    if given["ssl_verification_mode"] == "none":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _limit(context, given["ssl_supported_protocols"])
    if given["ssl_certificate"]:
        _load(context, given["ssl_certificate"], given["ssl_key"], None)
    return context


def _load(context, certificate, key, passphrase):
    try:
        context.load_cert_chain(certificate, key, passphrase)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"certificate {certificate} with key {key}: {error}") from None


def _trust(context, authorities):
    for path in authorities:
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"ssl_certificate_authorities: {path}: {error}") from None


def peer_fields(connection, ecs):
    """Return field -> value of what is known of a connection's peer."""
    certificate = connection.getpeercert()
    if not certificate:
        return {"[@metadata][tls_peer][status]": "unverified"}
    base = "[@metadata][input][beats][tls]" if ecs else "[@metadata][tls_peer]"
    return {
        "[@metadata][tls_peer][status]": "verified",
        f"{base}[{'version_protocol' if ecs else 'protocol'}]": connection.version(),
        f"{base}[client][subject]" if ecs else f"{base}[subject]": subject_text(certificate["subject"]),
        f"{base}[{'cipher' if ecs else 'cipher_suite'}]": connection.cipher()[0],
    }


def subject_text(subject):
    """Return a certificate's subject as Java prints it: RFC 2253, the last part first."""
    return ",".join("+".join(_attribute(name, value) for name, value in part) for part in reversed(subject))


def _attribute(name, value):
    if name == "emailAddress":
        data = value.encode("ascii", "replace")
        return f"{_EMAIL}=#16{len(data):02x}{data.hex()}"
    return f"{_SHORT.get(name, name)}={_escaped(value)}"


def _escaped(value):
    text = "".join(f"\\{sign}" if sign in ',+"\\<>;' else sign for sign in value)
    if text.startswith(("#", " ")):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and len(text) > 1 and not text.endswith("\\ ") else text
