"""`engines.toml`: what is read, what is refused, and that the error names the line."""

from pathlib import Path

import pytest

from intramural.core.config import load
from intramural.core.engines import RemoteEngine, may_connect, parse
from intramural.core.errors import Misasked

WHOLE = """\
[lab]
kind = "vllm"
address = "https://gpu1.inside.example:8000/v1"
slots = 16
context_tokens = 32768
api_key_env = "LAB_KEY"

[lab.models]
"qwen3:32b" = "Qwen/Qwen3-32B"

[lab.models."bge"]
theirs = "BAAI/bge-m3"
purpose = "embedding"
context_tokens = 8192
slots = 4

[own]
kind = "llama-server"
address = "http://127.0.0.1:8081"
context_tokens = 4096
models = { local = {} }
"""


def read(text: str, *, allow_network: bool = True, **environ: str) -> tuple[RemoteEngine, ...]:
    return parse(text, "engines.toml", {"LAB_KEY": "s3cret", **environ}, allow_network=allow_network)


def test_a_whole_file() -> None:
    lab, own = read(WHOLE)
    assert lab.shown == "vllm at https://gpu1.inside.example:8000"
    chat, vectors = lab.models
    assert (chat.name, chat.theirs, chat.purpose, chat.context_tokens) == ("qwen3:32b", "Qwen/Qwen3-32B", "chat", 32768)
    assert (vectors.theirs, vectors.purpose, vectors.context_tokens) == ("BAAI/bge-m3", "embedding", 8192)
    assert own.models[0].theirs == "local"
    assert own.address.authority == "127.0.0.1:8081"


def test_the_models_of_an_engine_share_its_slots() -> None:
    lab, own = read(WHOLE)
    assert [model.slots for model in lab.models] == [12, 4]
    assert [model.slots for model in own.models] == [4]


def test_the_key_is_never_shown() -> None:
    lab, _ = read(WHOLE)
    assert lab.key == "s3cret"
    assert "s3cret" not in repr(lab)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('kind = "vllm"', 'kind = "vlm"', 2, "not one of llama-server, vllm, sglang, openai"),
        ("slots = 16", "slots = 0", 4, "from 1 to"),
        ("slots = 16", "slots = 4", 8, "fewer slots"),
        ("slots = 16", 'slots = "16"', 4, "must be int"),
        ("slots = 16", "slotz = 16", 4, "no setting 'slotz'"),
        ("slots = 4\n", "slots = 4\nfoo = 1\n", 16, "no setting 'foo'"),
        ("context_tokens = 32768\n", "", 1, "has no `context_tokens`"),
        ("https://gpu1.inside.example:8000/v1", "https://8.8.8.8", 3, "neither this machine nor in a private network"),
        ("https://gpu1.inside.example:8000/v1", "https://169.254.169.254", 3, "neither this machine"),
        ("https://gpu1.inside.example:8000/v1", "http://gpu1.inside.example", 3, "unencrypted"),
        ("https://gpu1.inside.example:8000/v1", "https://me:pw@gpu1", 3, "is no address"),
        ("https://gpu1.inside.example:8000/v1", "https://gpu1/?x=1", 3, "is no address"),
        ("https://gpu1.inside.example:8000/v1", "ftp://gpu1", 3, "neither https, http nor unix"),
        ("https://gpu1.inside.example:8000/v1", "unix:/" + "x" * 120, 3, "at most 107 bytes"),
        ("https://gpu1.inside.example:8000/v1", "unix:/run/x.sock", 3, None),
        ('"LAB_KEY"', '"NO_SUCH"', 6, "has no NO_SUCH"),
        ('purpose = "embedding"', 'purpose = "poetry"', 13, "not one of chat, embedding, rerank"),
        ('[own]\nkind = "llama-server"', '[own]\nkind = "llama"', 18, "not one of"),
        ("models = { local = {} }", 'models = { bge = "x" }', 21, "lab has a model of that name"),
        ("models = { local = {} }", "models = {}", 21, "has no models"),
        ("models = { local = {} }", 'models = { local = "a b" }', 21, "printable"),
        ("[own]", "[Own_1]", 17, "no name of an engine"),
        ('api_key_env = "LAB_KEY"', 'api_key_file = "key"', 6, "full path of a file"),
        ('api_key_env = "LAB_KEY"', 'ca_file = "/nonexistent/ca.pem"', 6, "full path of a file"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(old: str, new: str, line: int, words: str | None) -> None:
    assert old in WHOLE
    if words is None:
        assert read(WHOLE.replace(old, new))
        return
    with pytest.raises(Misasked, match=words) as caught:
        read(WHOLE.replace(old, new))
    assert caught.value.code == "bad_engine"
    assert f"engines.toml, line {line}:" in caught.value.message


def test_a_broken_file_says_where() -> None:
    with pytest.raises(Misasked, match="line 2") as caught:
        read("[lab]\nkind = \n")
    assert caught.value.code == "bad_engine"


def test_another_machine_only_where_the_network_is_allowed() -> None:
    with pytest.raises(Misasked, match=r"line 3: library\.allow_network"):
        read(WHOLE, allow_network=False)
    own = WHOLE[WHOLE.index("[own]") :]
    assert read(own, allow_network=False)


@pytest.mark.parametrize(
    ("address", "inside", "outside"),
    [
        ("127.0.0.1", True, True), ("::1", True, True), ("10.1.2.3", True, True), ("172.31.0.1", True, True),
        ("192.168.7.7", True, True), ("fd00::1", True, True), ("::ffff:10.0.0.1", True, True),
        ("8.8.8.8", False, True), ("2606:4700::1", False, True), ("172.32.0.1", False, True),
        ("100.64.0.1", False, True), ("::ffff:8.8.8.8", False, True),
        ("169.254.169.254", False, False), ("fe80::1%eth0", False, False), ("::ffff:169.254.169.254", False, False),
        ("224.0.0.1", False, False), ("0.0.0.0", False, False), ("::", False, False), ("255.255.255.255", False, False),
    ],
)  # fmt: skip
def test_which_addresses_may_be_asked(address: str, inside: bool, outside: bool) -> None:
    assert may_connect(address, outside=False) is inside
    assert may_connect(address, outside=True) is outside


def test_outside_and_cleartext_have_to_be_said() -> None:
    text = WHOLE.replace("https://gpu1.inside.example:8000/v1", "http://8.8.8.8")
    with pytest.raises(Misasked):
        read(text.replace("slots = 16", "slots = 16\noutside = true"))
    lab, _ = read(text.replace("slots = 16", "slots = 16\noutside = true\ncleartext = true"))
    assert lab.outside


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("s3cret-in-file\n")
    text = WHOLE.replace('api_key_env = "LAB_KEY"', f'api_key_file = "{file}"')
    file.chmod(0o644)
    with pytest.raises(Misasked, match="line 6: others could read or replace") as caught:
        read(text)
    assert "s3cret-in-file" not in str(caught.value)
    file.chmod(0o600)
    lab, _ = read(text)
    assert lab.key == "s3cret-in-file"
    file.write_bytes(b"two words\r\nX: y")
    with pytest.raises(Misasked, match="line 6: what is there is no key") as caught:
        read(text)
    assert "two words" not in str(caught.value)


def test_the_settings_bring_the_engines_along(tmp_path: Path) -> None:
    assert load({}, data_dir=tmp_path).engines == ()
    (tmp_path / "engines.toml").write_text(WHOLE)
    assert [engine.name for engine in load({"LAB_KEY": "x"}, data_dir=tmp_path).engines] == ["lab", "own"]
    with pytest.raises(Misasked, match="has no LAB_KEY"):
        load({}, data_dir=tmp_path)
    with pytest.raises(Misasked, match="does not exist"):
        load({"INTRAMURAL_ENGINES": str(tmp_path / "other.toml")}, data_dir=tmp_path)
    with pytest.raises(Misasked, match="allow_network"):
        load({"LAB_KEY": "x", "INTRAMURAL_LIBRARY_ALLOW_NETWORK": "false"}, data_dir=tmp_path)
