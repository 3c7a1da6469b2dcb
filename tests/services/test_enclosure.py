"""What the sealed service goes on to reach, by its settings."""

from pathlib import Path

import pytest

from intramural.core import config as settings
from intramural.core.config import Config
from intramural.core.errors import Misasked
from intramural.sandbox.seal import Seal, seal
from intramural.services.enclosure import connects, needs, seal_service


def _config(tmp_path: Path, **given: str) -> Config:
    data_dir = tmp_path / "data"
    data_dir.mkdir(exist_ok=True)
    variables = {f"INTRAMURAL_{name.upper()}": value for name, value in given.items()}
    return settings.load({"INTRAMURAL_LIBRARY_ALLOW_NETWORK": "false", **variables}, data_dir=data_dir)


#: a setting → what it needs connections for
_SETTINGS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "nothing": ({}, ()),
    "what the broker connects for": (
        {
            "library_allow_network": "true",
            "media_allowed_hosts": "pictures.example",
            "traces_endpoint": "http://127.0.0.1:4318",
            "egress_mode": "open",
        },
        (),
    ),
    "a database": ({"storage_url": "postgresql://here/it"}, ("storage.url",)),
    "a token, whose library does what it wants": ({"vault_pkcs11_module": "/usr/lib/p11.so"}, ("vault.pkcs11_module",)),
}


@pytest.mark.parametrize("what", _SETTINGS)
def test_what_needs_a_connection(what: str, tmp_path: Path) -> None:
    given, expected = _SETTINGS[what]
    assert connects(_config(tmp_path, **given)) == expected


def test_what_settings_name_can_be_read_and_nothing_else_be_written(tmp_path: Path) -> None:
    named = {
        "library_starter": "/srv/starter.whl",
        "library_ca_file": "/srv/ca.pem",
        "vault_passphrase_file": "/srv/passphrase",
        "vault_erased_file": "/srv/erased/list.jsonl",
        "sandbox_read_folders": "/srv/models,/srv/more",
        "sandbox_write_folders": "/srv/token",
        "anchors_folders": "/media/stick",
        "anchors_stampers": "https://stamps.example /srv/stamper.pem",
    }
    found = needs(_config(tmp_path, **named))
    for path in ("/srv/starter.whl", "/srv/ca.pem", "/srv/passphrase", "/srv/models", "/srv/more", "/srv/stamper.pem"):
        assert Path(path) in found.read
    expected = {tmp_path / "data", Path("/dev/null"), Path("/srv/erased"), Path("/srv/token"), Path("/media/stick")}
    assert set(found.write) == expected
    for closed in ("/", "/etc", "/home", "/root", "/tmp", "/var", "/etc/passwd", Path.home(), Path.cwd()):
        assert Path(closed) not in found.read
    assert Path("/etc/resolv.conf") in found.read
    assert Path("/etc/resolv.conf") not in needs(_config(tmp_path, egress_mode="sealed")).read


def test_a_seal_that_is_not_known_is_no_seal(tmp_path: Path) -> None:
    with pytest.raises(Misasked) as caught:
        seal_service(_config(tmp_path, sandbox_seal="half"))
    assert caught.value.code == "bad_setting"


def test_switched_off_it_does_nothing_and_says_so(tmp_path: Path) -> None:
    assert seal("off", needs(_config(tmp_path))) == Seal("off", (), ())
