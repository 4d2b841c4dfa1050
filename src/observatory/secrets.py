"""Makes a site's secrets once, and later only those that are missing.

    python -m observatory.secrets inventories/lab

The file is group_vars/all/secrets.yml of the inventory, mode 0600, encrypted when Ansible has a vault password configured.
What stands in it stays as it is, comments included. No secret is ever printed.

Exit code 0: all secrets are there; 1: refused, the reason is on stderr; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import dataclasses
import fcntl
import os
import pathlib
import re
import secrets as random_secrets
import subprocess
import sys
import tempfile
import time
import typing as t

import yaml

SECRETS = "group_vars/all/secrets.yml"
SITE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")  # as in plugin_utils/certificates.py: it becomes part of role names
PASSWORD_BYTES = 24  # 32 characters of base64
USER_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
BCRYPT_COST = 10
# Each product knows the algorithm by another letter, all meaning the same.
ELASTICSEARCH_BCRYPT, GATEWAY_BCRYPT = b"2a", b"2b"
KIBANA_TOKEN_NAME = "elastic/kibana/observatory"
HEADER = """\
---
# Secrets of the site {site}, made by `make secrets SITE={folder}`. Who has this file can sign as any machine of the site: keep it in the
# vault, and back it up, since a new authority means new certificates on all hosts (docs/security.md).
"""
NOT_ENCRYPTED = """\
note: {path} is not encrypted, because no vault password is configured. To encrypt it: write a password to a file outside of this
checkout (mode 0600), name it as vault_password_file in ansible.cfg or in ANSIBLE_VAULT_PASSWORD_FILE, and run this again."""
NOW_ENCRYPTED = "note: {path} was not encrypted before; it is now."
NOT_IGNORED = "note: git does not ignore {path}: encrypt it, or take care not to commit it."


class SecretsError(Exception):
    """Why nothing was written; the message never holds a secret."""


class Vault(t.Protocol):
    """Encrypts and decrypts the file's text."""

    def encrypt(self, text: str) -> str: ...

    def decrypt(self, text: str) -> str: ...


@dataclasses.dataclass(frozen=True)
class Secret:
    """One entry of the table: variables that are made together."""

    names: tuple[str, ...]
    make: t.Callable[[str, float], tuple[str, ...]]
    """(site, now in seconds since 1970) -> one value a name."""
    comment: str


@dataclasses.dataclass(frozen=True)
class Result:
    """What was done to a site's secrets."""

    path: pathlib.Path
    added: tuple[str, ...]
    encrypted: bool
    """Whether the file is encrypted now."""
    notes: tuple[str, ...]
    """What the operator should know, a sentence each."""


def authority(kind: str) -> t.Callable[[str, float], tuple[str, ...]]:
    """Return a maker of an authority: certificate and key, PEM."""

    def make(site: str, now: float) -> tuple[str, ...]:
        return _certificates().new_authority(f"Observatory {site} {kind} authority", now)

    return make


def password(site: str, now: float) -> tuple[str, ...]:
    """Return a new password: 32 characters that need no quoting in a URL, a shell or YAML."""
    while True:
        value = random_secrets.token_urlsafe(PASSWORD_BYTES)
        # A leading hyphen would be taken for an option by some command lines.
        if value[0].isalnum():
            return (value,)


def hashed_password(prefix: bytes) -> t.Callable[[str, float], tuple[str, ...]]:
    """Return a maker of a password and its bcrypt hash: the hash is kept, so that its salt, and with it the rendered file, stays."""

    def make(site: str, now: float) -> tuple[str, ...]:
        import bcrypt

        (value,) = password(site, now)
        return value, bcrypt.hashpw(value.encode(), bcrypt.gensalt(BCRYPT_COST, prefix)).decode()

    return make


def kibana_token(site: str, now: float) -> tuple[str, ...]:
    """Return a token of the service account elastic/kibana, and the hash under which Elasticsearch's file service_tokens knows it.

    The form is that of Elasticsearch's ServiceAccountToken: version bytes, then account/name:secret, in base64.
    """
    import bcrypt

    (value,) = password(site, now)
    token = base64.b64encode(b"\x00\x01\x00\x01" + f"{KIBANA_TOKEN_NAME}:{value}".encode()).decode()
    return token, bcrypt.hashpw(value.encode(), bcrypt.gensalt(BCRYPT_COST, ELASTICSEARCH_BCRYPT)).decode()


# Users of Elasticsearch's file realm: who, and what for. roles/elasticsearch says what each may do.
ELASTICSEARCH_USERS = {
    "admin": "Sets up templates and settings, from the host itself",
    "logstash": "Writes logs",
    "jaeger": "Writes and reads traces",
    "elasticsearch_exporter": "Reads the cluster's state",
    "json_exporter": "Counts documents that are too old",
    "grafana": "Reads logs for dashboards",
    "oncall": "Looks at the cluster's state and at logs, by the command obs",
    "kibana_viewer": "Kibana's viewers",
    "kibana_editor": "Kibana's editors",
    "kibana_admin": "Kibana's administrators",
}
GATEWAY_USERS = ("viewer", "editor", "admin")
"""People who sign in at the gateway where the site does not name others, as in group_vars/all/security.yml."""

TABLE: tuple[Secret, ...] = (
    Secret(
        ("observatory_authority_certificate", "observatory_authority_key"),
        authority("site"),
        "Every machine's certificate is derived from this authority's key.",
    ),
    Secret(
        ("observatory_transport_authority_certificate", "observatory_transport_authority_key"),
        authority("transport"),
        "Elasticsearch nodes know each other by certificates of this authority, and nobody else has one.",
    ),
    *(
        Secret(
            (f"elasticsearch_password_{user}", f"elasticsearch_password_hash_{user}"),
            hashed_password(ELASTICSEARCH_BCRYPT),
            f"Elasticsearch's user {user}: {purpose[0].lower()}{purpose[1:]}.",
        )
        for user, purpose in ELASTICSEARCH_USERS.items()
    ),
    Secret(("kibana_service_token", "kibana_service_token_hash"), kibana_token, "With this Kibana itself signs in to Elasticsearch."),
    Secret(("kibana_security_key",), password, "Kibana encrypts its sessions with it."),
    Secret(("kibana_saved_objects_key",), password, "Kibana encrypts secrets in saved objects with it: without it they are lost."),
    Secret(("kibana_reporting_key",), password, "Kibana encrypts report jobs with it."),
    Secret(("grafana_secret_key",), password, "Grafana encrypts its data sources' secrets with it."),
    Secret(("grafana_admin_password",), password, "Grafana's own first user, for its command line; people come through the gateway."),
    Secret(("gateway_session_key",), password, "The gateway signs its sessions with it; a new one signs everybody out."),
)


def table_of(variables: t.Mapping[str, t.Any]) -> tuple[Secret, ...]:
    """Return the secrets of a site: the table's, and a password for each of its gateway_users."""
    users = variables.get("gateway_users")
    names = users if isinstance(users, dict) else GATEWAY_USERS
    return TABLE + tuple(
        Secret((f"gateway_password_{user}", f"gateway_password_hash_{user}"), hashed_password(GATEWAY_BCRYPT), f"{user}, at the gateway.")
        for user in map(str, names)
        if USER_NAME.fullmatch(user)  # preflight says what is wrong with others
    )


def make_secrets(
    inventory: pathlib.Path, vault: Vault | None = None, *, now: float | None = None, table: t.Sequence[Secret] | None = None
) -> Result:
    """Bring an inventory's secrets file up to the table; return what was added. Raises SecretsError, and then nothing was written.

    vault: None when no vault password is configured. now: seconds since 1970, default the clock. table: default that of the site.
    """
    if not inventory.is_dir():
        raise SecretsError(_no_such_inventory(inventory))
    path = inventory / SECRETS
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path.parent):
        raw = path.read_text(encoding="utf-8") if path.exists() else ""
        was_encrypted = _is_encrypted(raw)
        if raw and not was_encrypted:
            _refuse_tracked(path)
        text = _decrypted(path, raw, vault) if was_encrypted else raw
        text, added = _completed(inventory, path, text, table, time.time() if now is None else now)
        if added or (vault and raw and not was_encrypted):
            _write(path, vault.encrypt(text) if vault else text)
        elif raw:
            path.chmod(0o600)
    encrypted = was_encrypted or vault is not None
    if encrypted:
        notes = (NOW_ENCRYPTED.format(path=path),) if raw and not was_encrypted else ()
    else:
        notes = _notes_on_plain(path) if text else ()
    return Result(path, added, encrypted, notes)


def _completed(
    inventory: pathlib.Path, path: pathlib.Path, text: str, table: t.Sequence[Secret] | None, now: float
) -> tuple[str, tuple[str, ...]]:
    """Return the file's text with what was missing at its end, and the names of that."""
    present = _variables(path, text)
    elsewhere = {name: value for variables in _plain_files(inventory, path) for name, value in variables.items()}
    site = _site(inventory, elsewhere | present)
    missing = _missing(path, elsewhere | present, table_of(elsewhere | present) if table is None else table)
    if not missing:
        return text, ()
    added = tuple(name for secret in missing for name in secret.names)
    completed = _appended(text or HEADER.format(site=site, folder=inventory.resolve().name), missing, site, now)
    _check_appended(path, present, completed, added)
    return completed, added


# -- what is there and what is missing ------------------------------------------------------------------------------------------


def _missing(path: pathlib.Path, known: t.Mapping[str, t.Any], table: t.Sequence[Secret]) -> list[Secret]:
    missing = []
    for secret in table:
        absent = [name for name in secret.names if name not in known]
        empty = [name for name in secret.names if name in known and known[name] in (None, "")]
        if empty:
            raise SecretsError(f"{path}: {', '.join(empty)} is empty. Restore its value, or remove the line to have a new one made.")
        if absent and len(absent) < len(secret.names):
            there = ", ".join(name for name in secret.names if name not in absent)
            raise SecretsError(
                f"{path}: {', '.join(absent)} is missing, but {there} is there, and they belong together. Restore the missing one, or"
                " remove the other to have both made anew."
            )
        if absent:
            missing.append(secret)
    return missing


def _appended(text: str, missing: t.Iterable[Secret], site: str, now: float) -> str:
    parts = [text if text.endswith("\n") else text + "\n"]
    for secret in missing:
        parts.append(f"\n# {secret.comment}\n")
        parts.extend(_entry(name, value) for name, value in zip(secret.names, secret.make(site, now), strict=True))
    return "".join(parts)


def _entry(name: str, value: str) -> str:
    if "\n" not in value:
        return f'{name}: "{value}"\n'
    lines = "".join(f"  {line}\n" for line in value.splitlines())
    return f"{name}: |\n{lines}"


def _check_appended(path: pathlib.Path, before: t.Mapping[str, t.Any], text: str, added: t.Iterable[str]) -> None:
    """A file in another style (`{a: b}`, several documents) would swallow or lose what is appended to it."""
    try:
        after = _variables(path, text)
    except SecretsError:
        after = {}
    if set(after) != set(before) | set(added):
        raise SecretsError(f"{path} is not a plain list of `name: value` lines, so nothing can be appended to it. Rewrite it as one.")


class _Loader(yaml.SafeLoader):
    """Reads which variables a file sets; tagged values (`!vault`) stay as they are."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: f"!{suffix}")


def _variables(path: pathlib.Path, text: str) -> dict[str, t.Any]:
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        # The error's own words quote the file, which may be a secret.
        mark = getattr(error, "problem_mark", None)
        raise SecretsError(f"{path}{f', line {mark.line + 1}' if mark else ''}: this is not valid YAML. Correct it first.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SecretsError(f"{path} must be a list of `name: value` lines, and it is a {type(content).__name__}.")
    return content


def _plain_files(inventory: pathlib.Path, own: pathlib.Path) -> t.Iterator[dict[str, t.Any]]:
    """Yield the variables of the site's other files for all hosts, in the order in which Ansible reads them."""
    folder = inventory / "group_vars"
    files = [folder / "all.yml", folder / "all.yaml"]
    files.extend(sorted(path for path in (folder / "all").rglob("*") if path.suffix in (".yml", ".yaml") and path != own))
    for path in files:
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            if not _is_encrypted(text):
                yield _variables(path, text)


def _site(inventory: pathlib.Path, variables: t.Mapping[str, t.Any]) -> str:
    """Return the site's name: observatory_site of its group_vars, else the folder's name."""
    site = variables.get("observatory_site", inventory.resolve().name)
    if not isinstance(site, str) or not SITE_NAME.fullmatch(site):
        raise SecretsError(
            f"The site's name is {site!r}; it must consist of lower-case letters, digits, dots and hyphens, up to 63. Set observatory_site"
            f" in {inventory}/group_vars/all/ to such a name, without a template."
        )
    return site


def _no_such_inventory(inventory: pathlib.Path) -> str:
    siblings = inventory.parent.iterdir() if inventory.parent.is_dir() else ()
    sites = ", ".join(sorted(path.name for path in siblings if path.is_dir() and not path.name.startswith((".", "_"))))
    return f"{inventory} is not the folder of an inventory." + (f" There are: {sites}." if sites else "")


# -- files ---------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _lock(folder: pathlib.Path) -> t.Iterator[None]:
    """Two runs at once would make two authorities, of which one is lost with the certificates that came from it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: pathlib.Path, text: str) -> None:
    """Put the whole text in place, or nothing. The file is never readable by others, not even for a moment."""
    path = path.resolve()  # a link to a file elsewhere stays one
    descriptor, name = tempfile.mkstemp(prefix=".secrets-", dir=path.parent)  # mode 0600; hidden: Ansible does not read it
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _notes_on_plain(path: pathlib.Path) -> tuple[str, ...]:
    notes = [NOT_ENCRYPTED.format(path=path)]
    if _git(path, "rev-parse", "--git-dir") and not _git(path, "check-ignore", "--quiet", "--", path.name):
        notes.append(NOT_IGNORED.format(path=path))
    return tuple(notes)


def _refuse_tracked(path: pathlib.Path) -> None:
    if _git(path, "ls-files", "--error-unmatch", "--", path.name):
        raise SecretsError(
            f"{path} is tracked by git and not encrypted: its secrets are in the history. Take it out (git rm --cached {path}), move"
            " the file away, configure a vault password, and run this again for new secrets."
        )


def _git(path: pathlib.Path, *arguments: str) -> bool:
    """Whether a question to git, asked in the file's folder, is answered with yes; no where there is no git or no repository."""
    command = ["git", "-C", str(path.parent), *arguments]
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except FileNotFoundError:
        return False


# -- vault ---------------------------------------------------------------------------------------------------------------------


def _is_encrypted(text: str) -> bool:
    return text.startswith("$ANSIBLE_VAULT;")


def _decrypted(path: pathlib.Path, raw: str, vault: Vault | None) -> str:
    if vault is None:
        raise SecretsError(
            f"{path} is encrypted, and no vault password is configured. Name its file as vault_password_file in ansible.cfg or in"
            " ANSIBLE_VAULT_PASSWORD_FILE."
        )
    return vault.decrypt(raw)


class AnsibleVault:
    """The vault that ansible-playbook would use: the same configuration, the same passwords."""

    def __init__(self, passwords: t.Sequence[tuple[str, t.Any]], encrypt_identity: str | None) -> None:
        from ansible.parsing.vault import VaultLib

        self._passwords = passwords
        self._identity = encrypt_identity
        self._library = VaultLib(passwords)

    @classmethod
    def configured(cls) -> AnsibleVault | None:
        """Return the vault of ansible.cfg and the environment, None when they name no password. Raises SecretsError."""
        # Late: Ansible reads its configuration when it is imported.
        from ansible import constants
        from ansible.cli import CLI
        from ansible.errors import AnsibleError
        from ansible.parsing.dataloader import DataLoader

        if not (constants.DEFAULT_VAULT_PASSWORD_FILE or constants.DEFAULT_VAULT_IDENTITY_LIST):
            return None
        try:
            passwords = CLI.setup_vault_secrets(
                DataLoader(), list(constants.DEFAULT_VAULT_IDENTITY_LIST or ()), auto_prompt=False, initialize_context=False
            )
        except AnsibleError as error:
            raise SecretsError(f"The vault password that Ansible's configuration names cannot be read: {error.message}") from None
        return cls(passwords, constants.DEFAULT_VAULT_ENCRYPT_IDENTITY) if passwords else None

    def encrypt(self, text: str) -> str:
        from ansible.parsing.vault import match_encrypt_secret

        identity, secret = match_encrypt_secret(self._passwords, encrypt_vault_id=self._identity)
        return self._library.encrypt(text, secret, vault_id=identity).decode()

    def decrypt(self, text: str) -> str:
        from ansible.errors import AnsibleError

        try:
            return self._library.decrypt(text).decode()
        except AnsibleError:
            raise SecretsError("The configured vault password does not open the secrets file: it was encrypted with another one.") from None


def _certificates() -> t.Any:
    """The collection's own arithmetic; the collection lies beside src/ in the checkout."""
    collections = str(pathlib.Path(__file__).resolve().parents[2] / "collections")
    if collections not in sys.path:
        sys.path.append(collections)
    from ansible_collections.observatory.core.plugins.plugin_utils import certificates

    return certificates


def main(arguments: t.Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m observatory.secrets", description="Make a site's secrets, once.")
    parser.add_argument("inventory", type=pathlib.Path, help="the inventory's folder, for instance inventories/lab")
    options = parser.parse_args(arguments)
    try:
        result = make_secrets(options.inventory, AnsibleVault.configured())
    except SecretsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{result.path}: " + (f"made {', '.join(result.added)}" if result.added else "all secrets are there"))
    for note in result.notes:
        print(note, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
