"""A site's secrets are made once, completed later, never changed, never printed, and never half written."""

from __future__ import annotations

import base64
import os
import pathlib
import re
import subprocess
import sys
import threading

import bcrypt
import pytest
import yaml
from ansible_collections.observatory.core.plugins.plugin_utils.certificates import check_authority
from cryptography import x509

from observatory import secrets
from observatory.secrets import Secret, SecretsError, make_secrets, password

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOW = 1_772_366_400.0  # 2026-03-01 12:00 UTC
NAMES = tuple(name for secret in secrets.table_of({}) for name in secret.names)
PASSWORDS = (Secret(("toy_password",), password, "The toy's user."),)


class Rot13:
    """A vault for tests: it shows whether it was used, and on what."""

    def encrypt(self, text):
        return "$ANSIBLE_VAULT;1.1;TEST\n" + text[::-1]

    def decrypt(self, text):
        return text.partition("\n")[2][::-1]


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "inventories" / "lab"
    (folder / "group_vars" / "all").mkdir(parents=True)
    return folder


@pytest.fixture
def file(site):
    return site / "group_vars" / "all" / "secrets.yml"


def common_name(pem):
    return x509.load_pem_x509_certificate(pem.encode()).subject.rfc4514_string()


# -- making ----------------------------------------------------------------------------------------------------------------------


def test_a_new_sites_secrets_are_two_working_authorities(site, file):
    """Both authorities work, are named after the site, and only the owner can read the file."""
    result = make_secrets(site, now=NOW)
    assert (result.path, result.added, result.encrypted) == (file, NAMES, False)
    values = yaml.safe_load(file.read_text())
    assert tuple(values) == NAMES
    assert NAMES[:4] == tuple(f"observatory_{kind}authority_{part}" for kind in ("", "transport_") for part in ("certificate", "key"))
    for name, subject in (("observatory_authority", "site"), ("observatory_transport_authority", "transport")):
        assert check_authority(values[f"{name}_certificate"], values[f"{name}_key"], NOW) == []
        assert common_name(values[f"{name}_certificate"]) == f"CN=Observatory lab {subject} authority"
    assert file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(file.parent) == ["secrets.yml"]


def test_each_secret_has_a_comment(site, file):
    make_secrets(site, now=NOW)
    comments = [line for line in file.read_text().splitlines() if line.startswith("#")]
    assert comments[0].startswith("# Secrets of the site lab, made by `make secrets SITE=lab`.")
    assert comments[2:] == [f"# {secret.comment}" for secret in secrets.table_of({})]


def test_a_second_run_changes_nothing(site, file):
    make_secrets(site, now=NOW)
    before = (file.read_bytes(), file.stat().st_ino)
    assert make_secrets(site, now=NOW + 1).added == ()
    assert (file.read_bytes(), file.stat().st_ino) == before


def test_only_what_is_missing_is_appended(site, file):
    """What an operator wrote stays byte for byte: values, comments, a missing line end, and values with their own vault tag."""
    text = "# ours\nalertmanager_smtp_password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\nother: 1  # keep"
    file.write_text(text)
    assert make_secrets(site, now=NOW).added == NAMES
    assert file.read_text().startswith(text + "\n\n# Every machine's certificate")
    before = file.read_text()
    assert make_secrets(site, now=NOW, table=secrets.table_of({}) + PASSWORDS).added == ("toy_password",)
    assert re.fullmatch(
        re.escape(before) + r"\n# The toy's user\.\ntoy_password: \"[A-Za-z0-9][A-Za-z0-9_-]{31}\"\n",
        file.read_text(),
    )


def test_a_secret_in_another_file_of_the_site_is_not_made_again(site, file):
    (site / "group_vars" / "all" / "ours.yml").write_text("toy_password: x\n")
    for vault in (None, Rot13()):
        assert make_secrets(site, vault, now=NOW, table=PASSWORDS).added == ()
    assert not file.exists()


def test_passwords_differ_and_need_no_quoting():
    made = {password("lab", NOW)[0] for _ in range(200)}
    assert len(made) == 200
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{31}", value) for value in made)


def test_a_hash_is_that_of_its_password(site, file):
    """Elasticsearch and the gateway each get the algorithm under the letter that they know."""
    make_secrets(site, now=NOW)
    values = yaml.safe_load(file.read_text())
    for kind, letter in (("elasticsearch", "a"), ("gateway", "b")):
        hashed = values[f"{kind}_password_hash_admin"]
        assert hashed.startswith(f"$2{letter}$10$")
        assert bcrypt.checkpw(values[f"{kind}_password_admin"].encode(), hashed.encode())


def test_kibanas_token_names_its_account_and_fits_its_hash(site, file):
    make_secrets(site, now=NOW)
    values = yaml.safe_load(file.read_text())
    version, name, secret = re.fullmatch(rb"(....)([a-z/]+):(.+)", base64.b64decode(values["kibana_service_token"]), re.DOTALL).groups()
    assert (version, name) == (b"\x00\x01\x00\x01", b"elastic/kibana/observatory")
    assert bcrypt.checkpw(secret, values["kibana_service_token_hash"].encode())


def test_each_user_of_the_gateway_has_a_password(site, file):
    """Those that the site names, else those of the shipped security.yml."""
    shipped = yaml.safe_load((ROOT / "group_vars" / "all" / "security.yml").read_text())["gateway_users"]
    assert tuple(shipped) == secrets.GATEWAY_USERS
    (site / "group_vars" / "all" / "security.yml").write_text("gateway_users: {anna: {role: editor}}\n")
    made = make_secrets(site, now=NOW).added
    assert [name for name in made if name.startswith("gateway_password")] == ["gateway_password_anna", "gateway_password_hash_anna"]


@pytest.mark.parametrize("place", ["all/site.yml", "all.yml", "all/secrets.yml"])
def test_the_sites_name_is_observatory_site_where_it_is_set(site, file, place):
    (site / "group_vars" / place).write_text("observatory_site: north\n")
    make_secrets(site, now=NOW)
    assert common_name(yaml.safe_load(file.read_text())[NAMES[0]]) == "CN=Observatory north site authority"


def test_a_loose_mode_is_tightened(site, file):
    make_secrets(site, now=NOW)
    file.chmod(0o644)
    make_secrets(site, now=NOW)
    assert file.stat().st_mode & 0o777 == 0o600


def test_two_runs_at_once_make_one_authority(site, file):
    """The slower one finds what the faster one made."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(make_secrets(site, now=NOW).added)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [(), (), (), NAMES]
    assert tuple(yaml.safe_load(file.read_text())) == NAMES


def test_an_interrupted_write_leaves_the_old_file(site, file, monkeypatch):
    file.write_text("a: 1\n")
    monkeypatch.setattr(secrets.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        make_secrets(site, now=NOW)
    assert file.read_text() == "a: 1\n"
    assert os.listdir(file.parent) == ["secrets.yml"]


# -- vault -----------------------------------------------------------------------------------------------------------------------


def test_an_encrypted_file_is_completed_and_stays_encrypted(site, file):
    file.write_text(Rot13().encrypt("# ours\na: 1\n"))
    result = make_secrets(site, Rot13(), now=NOW)
    assert (result.added, result.encrypted, result.notes) == (NAMES, True, ())
    assert "PRIVATE KEY" not in file.read_text()
    assert Rot13().decrypt(file.read_text()).startswith("# ours\na: 1\n\n# Every")


def test_a_plain_file_is_encrypted_once_a_password_is_configured(site, file):
    make_secrets(site, now=NOW)
    plain = file.read_text()
    result = make_secrets(site, Rot13(), now=NOW)
    assert (result.added, result.encrypted) == ((), True)
    assert result.notes == (f"note: {file} was not encrypted before; it is now.",)
    assert Rot13().decrypt(file.read_text()) == plain


def test_without_a_password_a_note_says_how_to_encrypt(site, file):
    assert make_secrets(site, now=NOW).notes == (
        f"note: {file} is not encrypted, because no vault password is configured. To encrypt it: write a password to a file outside of"
        " this\ncheckout (mode 0600), name it as vault_password_file in ansible.cfg or in ANSIBLE_VAULT_PASSWORD_FILE, and run this again.",
    )


@pytest.mark.parametrize("how", ["environment", "ansible.cfg", "identities"])
def test_the_command_uses_ansibles_own_vault_configuration(site, file, tmp_path, how):
    """The written file is one that ansible-vault opens; nothing secret is printed, and a wrong password changes nothing."""
    (tmp_path / "password").write_text("correct horse\n")
    (tmp_path / "ansible.cfg").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {"PYTHONPATH": str(ROOT / "src"), "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")}
    if how == "environment":
        environment["ANSIBLE_VAULT_PASSWORD_FILE"] = str(tmp_path / "password")
    elif how == "ansible.cfg":
        (tmp_path / "ansible.cfg").write_text("[defaults]\nvault_password_file = password\n")
    else:
        (tmp_path / "ansible.cfg").write_text("[defaults]\nvault_identity_list = lab@password\n")

    def run(*command):
        return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)

    done = run("observatory.secrets", "inventories/lab")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"inventories/lab/group_vars/all/secrets.yml: made {', '.join(NAMES)}\n"
    header = "$ANSIBLE_VAULT;1.2;AES256;lab\n" if how == "identities" else "$ANSIBLE_VAULT;1.1;AES256\n"
    assert file.read_text().startswith(header)
    viewed = run("ansible", "vault", "view", str(file))
    assert tuple(yaml.safe_load(viewed.stdout)) == NAMES, viewed.stderr
    if how == "environment":
        before = file.read_bytes()
        assert run("observatory.secrets", "inventories/lab").stdout.endswith("secrets.yml: all secrets are there\n")
        (tmp_path / "password").write_text("wrong\n")
        done = run("observatory.secrets", "inventories/lab")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "error: The configured vault password does not open the secrets file: it was encrypted with another one.\n"
        (tmp_path / "password").unlink()
        done = run("observatory.secrets", "inventories/lab")
        assert done.returncode == 1
        assert "error: The vault password that Ansible's configuration names cannot be read:" in done.stderr
        assert file.read_bytes() == before


# -- refusals --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "observatory_authority_key: x\n",
            "{file}: observatory_authority_certificate is missing, but observatory_authority_key is there, and they belong together."
            " Restore the missing one, or remove the other to have both made anew.",
        ),
        (
            "observatory_authority_key:\nobservatory_authority_certificate: x\n",
            "{file}: observatory_authority_key is empty. Restore its value, or remove the line to have a new one made.",
        ),
        ("a: 1\nb: 'hunter2\n", "{file}, line 3: this is not valid YAML. Correct it first."),
        ("- a\n", "{file} must be a list of `name: value` lines, and it is a list."),
        ("{{a: 1}}\n", "{file} is not a plain list of `name: value` lines, so nothing can be appended to it. Rewrite it as one."),
        ("a: 1\n...\n", "{file} is not a plain list of `name: value` lines, so nothing can be appended to it. Rewrite it as one."),
        (
            "$ANSIBLE_VAULT;1.1;AES256\n6162\n",
            "{file} is encrypted, and no vault password is configured. Name its file as vault_password_file in ansible.cfg or in"
            " ANSIBLE_VAULT_PASSWORD_FILE.",
        ),
        (
            "observatory_site: '[[ x ]]'\n",
            "The site's name is '[[ x ]]'; it must consist of lower-case letters, digits, dots and hyphens, up to 63. Set observatory_site"
            " in {site}/group_vars/all/ to such a name, without a template.",
        ),
    ],
    ids=["half-a-pair", "empty", "broken", "list", "flow", "closed", "locked", "site"],
)
def test_a_file_that_cannot_be_completed_is_refused_and_left_alone(site, file, text, message):
    text = text.replace("{{", "{").replace("}}", "}")
    file.write_text(text)
    with pytest.raises(SecretsError) as caught:
        make_secrets(site, now=NOW)
    assert str(caught.value) == message.format(file=file, site=site)
    assert file.read_text() == text


def test_an_unknown_inventory_is_refused_with_the_known_ones(site, capsys):
    (site.parent / "single").mkdir()
    assert secrets.main([str(site.parent / "lba")]) == 1
    assert capsys.readouterr().err == f"error: {site.parent}/lba is not the folder of an inventory. There are: lab, single.\n"
    assert sorted(os.listdir(site.parent)) == ["lab", "single"]


def test_a_plain_file_that_git_tracks_is_refused(site, file):
    """Its secrets are in the history; a vault password does not change that. An encrypted one may be tracked."""

    def git(*arguments):
        subprocess.run(["git", "-C", str(site), *arguments], check=True, capture_output=True)

    git("init")
    assert secrets.NOT_IGNORED.format(path=file) in make_secrets(site, now=NOW).notes
    (site / ".gitignore").write_text("secrets.yml\n")
    assert secrets.NOT_IGNORED.format(path=file) not in make_secrets(site, now=NOW).notes
    git("add", "--force", str(file))
    for vault in (None, Rot13()):
        with pytest.raises(SecretsError) as caught:
            make_secrets(site, vault, now=NOW)
        assert str(caught.value) == (
            f"{file} is tracked by git and not encrypted: its secrets are in the history. Take it out (git rm --cached {file}), move"
            " the file away, configure a vault password, and run this again for new secrets."
        )
    file.write_text(Rot13().encrypt(file.read_text()))
    assert make_secrets(site, Rot13(), now=NOW).added == ()
