"""sign-in.toml: what it may say, and what is refused with the place."""

import re
from pathlib import Path

import pytest

from intramural.core.config import load
from intramural.core.errors import Misasked
from intramural.core.providers import Providers, read

GOOD = """
[oidc.school]
title = "Springfield Schools"
issuer = "https://id.school.example/realms/all"
client_id = "intramural"
join = "anyone"
roles = { "audit" = "auditor", "it" = "administrator" }
groups = { "7b" = "Grade 7 B" }
scopes = ["groups"]
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "sign-in.toml"
    file.write_text(text)
    return file


def test_a_provider_with_its_defaults(tmp_path: Path) -> None:
    [provider] = load({}, data_dir=written(tmp_path, GOOD).parent).providers.oidc
    assert (provider.name, provider.title, provider.join) == ("school", "Springfield Schools", "anyone")
    assert provider.roles == (("it", "administrator"), ("audit", "auditor"))  # those that may most first
    assert provider.scopes == ("openid", "groups")
    assert not any(each.startswith("HS") or each == "none" for each in provider.algorithms)


def test_nobody_is_named_where_there_is_no_file(tmp_path: Path) -> None:
    assert load({}, data_dir=tmp_path).providers == Providers()
    with pytest.raises(Misasked) as caught:
        load({"INTRAMURAL_SIGN_IN": str(tmp_path / "none.toml")}, data_dir=tmp_path)
    assert caught.value.code == "bad_provider"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("oidc.school", "saml.school"), "kind of provider"),
        (("oidc.school", 'oidc."School of"'), "a name is"),
        (("title", "tittle"), "no setting 'tittle'"),
        (('"Grade 7 B"', "7"), "`groups` is a table of texts"),
        (('join = "anyone"', 'external_id_claim = "oid"'), "belong together"),
        (('"anyone"', '"everyone"'), "`join`"),
        (('"administrator"', '"king"'), "`roles`"),
        (('"intramural"', "7"), "`client_id` must be str"),
        (('client_id = "intramural"', ""), "`client_id` is missing"),
        (("https://id", "http://id"), "https only"),
        (("realms/all", "realms?x=1"), "no issuer"),
        (("https://id", "https://me:secret@id"), "no issuer"),
        (('["groups"]', '["groups"]\nalgorithms = ["HS256"]'), "'HS256'"),
        (('["groups"]', '["groups"]\nalgorithms = ["none"]'), "'none'"),
        (('["groups"]', '["groups"]\nca_file = "here.pem"'), "full path"),
        (('title = "Springfield', 'title = "\\u202eSpringfield'), "`title`"),
        (("scopes", "scopes = 7\n"), "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    file = written(tmp_path, GOOD.replace(*change, 1))
    with pytest.raises(Misasked) as caught:
        read(file, required=False, allow_network=True)
    assert caught.value.code == "bad_provider"
    assert said in str(caught.value)


def test_a_secret_that_others_can_read_is_refused_and_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret-s3cret\n")
    secret.chmod(0o644)
    file = written(tmp_path, GOOD.replace("scopes", f'client_secret_file = "{secret}"\nscopes'))
    with pytest.raises(Misasked, match="others could read"):
        read(file, required=False, allow_network=True)
    secret.chmod(0o600)
    [provider] = read(file, required=False, allow_network=True).oidc
    assert provider.client_secret == "s3cret-s3cret"
    assert "s3cret" not in repr(provider)


def test_without_network_only_this_machine_is_asked(tmp_path: Path) -> None:
    with pytest.raises(Misasked, match="allow_network"):
        read(written(tmp_path, GOOD), required=False, allow_network=False)
    here = written(tmp_path, GOOD.replace("https://id.school.example", "http://127.0.0.1:9"))
    assert read(here, required=False, allow_network=False).oidc


def test_one_issuer_is_one_provider(tmp_path: Path) -> None:
    with pytest.raises(Misasked, match="same issuer"):
        read(written(tmp_path, GOOD + GOOD.replace("oidc.school", "oidc.other")), required=False, allow_network=True)


LDAP = """
[ldap.hospital]
address = "ldap://ldap.hospital.example"
base = "dc=hospital,dc=example"
"""


def test_a_directory_with_its_defaults(tmp_path: Path) -> None:
    found = read(written(tmp_path, GOOD + LDAP), required=False, allow_network=True)
    [directory] = found.ldap
    assert (directory.host, directory.port, directory.starts_tls) == ("ldap.hospital.example", 389, True)
    assert directory.issuer == "ldap:dc=hospital,dc=example"
    assert len(found.oidc) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("ldap://", "http://"), "no address"),
        (("ldap.hospital.example", "me:secret@ldap"), "no address"),
        (("base =", 'bind_dn = "cn=x"\nbase ='), "belong together"),
        (("base =", 'username_attribute = "uid)(x=*"\nbase ='), "`username_attribute`"),
        (("base =", "tls = false\nbase ="), "no setting 'tls'"),
        (('base = "dc=hospital,dc=example"', ""), "`base` is missing"),
    ],
)
def test_what_is_wrong_with_a_directory_is_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(Misasked, match=re.escape(said)):
        read(written(tmp_path, LDAP.replace(*change, 1)), required=False, allow_network=True)
