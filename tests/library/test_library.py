"""Pulls, removals and loads, with a source that lies in every way."""

import asyncio
import contextlib
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.chance import tries
from tests.fakes.gguf_file import GgufFile, Key, tiny_model
from tests.fakes.source import LyingSource, blob_of, flipped
from tests.library.shop import Shop, eventually

from intramural.core.errors import Broken, Conflicting, IntramuralError, Misasked, Missing, Unavailable, Untrusted
from intramural.library import Blob, Offer, PullState, Step
from intramural.library.blobs import close_all, digest_of

BODY = tiny_model(extra_bytes=4096)
OTHER = tiny_model(seed=1, extra_bytes=4096)


async def test_an_honest_pull(shop: Shop) -> None:
    manifest, states = await shop.pull(LyingSource(BODY))
    steps = list(dict.fromkeys(state.step for state in states))
    assert steps == [Step.RESOLVING, Step.FETCHING, Step.VERIFYING, Step.INSPECTING, Step.SHELVING, Step.SHELVED]
    assert states[-1].done_bytes == states[-1].total_bytes == len(BODY)
    assert manifest.weights == blob_of(BODY)
    assert (manifest.name, manifest.source, manifest.licence, manifest.trust) == ("tiny", "fake:tiny", "MIT", "local")
    assert manifest.has_chat_template
    assert shop.library.list() == [manifest] == [shop.library.get("tiny:latest")]
    assert len(shop.shelved()) == 1
    assert shop.incoming() == []
    shop.check_invariant()


REFUSED = [
    ("wrong digest", LyingSource(BODY, announced=blob_of(OTHER)), "digest_mismatch"),
    ("one bit", LyingSource(BODY, announced=blob_of(BODY), flip=100), "digest_mismatch"),
    ("too long", LyingSource(BODY, announced=Blob(blob_of(BODY).digest, len(BODY) - 1)), "source_too_long"),
    ("endless", LyingSource(BODY, endless=True), "source_too_long"),
    ("no model", LyingSource(b"MZ" * 500), "gguf_magic"),
    ("nothing", LyingSource(b"x"), "gguf_too_small"),
    ("a hostile template", LyingSource(GgufFile().set(Key("tokenizer.chat_template", 8, "{{ a.__class__ }}")).build()),
     "template_underscores"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "code"), [pytest.param(s, c, id=name) for name, s, c in REFUSED])
async def test_refused(shop: Shop, source: LyingSource, code: str) -> None:
    states: list[PullState] = []
    with pytest.raises(Untrusted) as refused:
        await shop.library.pull(source, None, states.append)
    assert refused.value.code == code
    assert (states[-1].step, states[-1].code) == (Step.REFUSED, code)
    assert shop.shelved() == shop.incoming() == shop.library.list() == []
    assert source.closed == len(source.opened)


async def test_a_short_body_is_kept_and_resumed(shop: Shop) -> None:
    states: list[PullState] = []
    with pytest.raises(Broken) as broken:
        await shop.library.pull(LyingSource(BODY, short_after=1000), None, states.append)
    assert broken.value.code == "source_ended_early"
    assert states[-1].step == Step.STOPPED
    assert [file.stat().st_size for file in shop.incoming()] == [1000]
    source = LyingSource(BODY)
    await shop.pull(source)
    assert source.opened == [1000]
    shop.check_invariant()


async def test_bytes_that_changed_between_resumes_are_fetched_anew(shop: Shop) -> None:
    with pytest.raises(Broken):
        await shop.pull(LyingSource(OTHER, announced=blob_of(BODY), fail_after=2048))
    source = LyingSource(BODY)
    _, states = await shop.pull(source)
    assert source.opened == [2048, 0]
    assert [state.step for state in states].count(Step.INSPECTING) == 1 or states[-1].step == Step.SHELVED
    shop.check_invariant()


async def test_a_source_that_keeps_lying_after_a_resume_is_refused(shop: Shop) -> None:
    with pytest.raises(Broken):
        await shop.pull(LyingSource(BODY, fail_after=2048))
    with pytest.raises(Untrusted) as refused:
        await shop.pull(LyingSource(OTHER, announced=blob_of(BODY)))
    assert refused.value.code == "digest_mismatch"
    assert shop.shelved() == shop.incoming() == []


async def test_a_part_that_is_already_too_long_is_dropped(shop: Shop) -> None:
    (shop.root / "incoming" / f"{blob_of(BODY).digest[7:]}.part").write_bytes(b"x" * (len(BODY) + 1))
    await shop.pull(LyingSource(BODY))
    shop.check_invariant()


async def test_a_part_left_by_a_crash_in_mid_check_is_taken_up(shop: Shop) -> None:
    """Whole and already read-only: nothing is fetched again, everything is checked again."""
    part = shop.root / "incoming" / f"{blob_of(BODY).digest[7:]}.part"
    part.write_bytes(BODY)
    part.chmod(0o444)
    source = LyingSource(BODY)
    await shop.pull(source)
    assert source.opened == []
    shop.check_invariant()


async def test_a_planted_link_is_not_followed(shop: Shop, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (shop.root / "incoming" / f"{blob_of(BODY).digest[7:]}.part").symlink_to(victim)
    await shop.pull(LyingSource(BODY))
    assert victim.read_text() == "precious"
    shop.check_invariant()


FAULTS = st.fixed_dictionaries(
    {},
    optional={
        "announced": st.sampled_from([blob_of(BODY), blob_of(OTHER), Blob(blob_of(BODY).digest, len(BODY) + 5)]),
        "short_after": st.integers(0, len(BODY) + 10),
        "endless": st.booleans(),
        "fail_after": st.integers(0, len(BODY)),
        "failure": st.sampled_from([Broken("b", "m"), Unavailable("u", "m"), Untrusted("t", "m"), OSError("o")]),
        "body_after_resume": st.sampled_from([BODY, OTHER]),
        "flip": st.integers(0, len(BODY) - 1),
        "chunk_bytes": st.sampled_from([97, 1024, 10**6]),
    },
)
ATTEMPTS = st.lists(
    st.tuples(st.sampled_from([BODY, OTHER, BODY + b"x"]), FAULTS, st.none() | st.integers(0, 30)), max_size=4
)


@settings(max_examples=tries(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attempts=ATTEMPTS)
async def test_whatever_happens_nothing_unchecked_is_shelved(
    attempts: list[tuple[bytes, dict[str, Any], int | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any sequence of pulls from sources that lie, break off and are cancelled after any number of reports."""
    shop = Shop(tmp_path_factory.mktemp("library"))
    for body, faults, cancel_after in attempts:
        await attempt(shop, LyingSource(body, **faults), cancel_after)
        shop.check_invariant()
        assert {m.weights.digest[7:] for m in shop.library.list()} <= {file.name for file in shop.shelved()}
    await shop.pull(LyingSource(BODY), "in-the-end")
    shop.check_invariant()
    assert [file.name for file in (shop.root / "blobs").iterdir()] == ["sha256"]


async def attempt(shop: Shop, source: LyingSource, cancel_after: int | None) -> None:
    reports = 0

    def count(_: object) -> None:
        nonlocal reports
        reports += 1
        if reports == cancel_after:
            pull.cancel()

    pull = asyncio.create_task(shop.library.pull(source, None, count))
    with contextlib.suppress(IntramuralError, asyncio.CancelledError):
        await pull
    await eventually(lambda: source.closed == len(source.opened))


async def test_two_pulls_share_one_download(shop: Shop) -> None:
    go = asyncio.Event()
    first, second = LyingSource(BODY, gate=go.wait), LyingSource(BODY, name="other", gate=go.wait)
    pulls = [asyncio.create_task(shop.pull(source)) for source in (first, second)]
    await eventually(lambda: bool(first.opened or second.opened))
    go.set()
    (one, _), (other, _) = await asyncio.gather(*pulls)
    assert len(first.opened) + len(second.opened) == 1
    assert {one.name, other.name} == {"tiny", "other"}
    assert one.weights == other.weights
    assert len(shop.shelved()) == 1


async def test_one_of_two_leaves_and_the_other_goes_on(shop: Shop) -> None:
    go = asyncio.Event()
    source = LyingSource(BODY, gate=go.wait)
    staying, leaving = asyncio.create_task(shop.pull(source)), asyncio.create_task(shop.pull(source, "b"))
    await eventually(lambda: bool(source.opened))
    leaving.cancel()
    await asyncio.wait([leaving])
    assert leaving.cancelled()
    go.set()
    manifest, _ = await staying
    assert [m.name for m in shop.library.list()] == [manifest.name]


async def test_the_last_to_leave_stops_the_download_and_a_newcomer_resumes_it(shop: Shop) -> None:
    states: list[PullState] = []
    go = asyncio.Event()
    source = LyingSource(BODY, gate=go.wait)
    pull = asyncio.create_task(shop.library.pull(source, None, states.append))
    await eventually(lambda: bool(source.opened))
    pull.cancel()
    newcomer = asyncio.create_task(shop.pull(LyingSource(BODY)))
    await asyncio.wait([pull])
    assert (states[-1].step, states[-1].code) == (Step.STOPPED, "cancelled")
    assert source.closed == 1
    manifest, _ = await newcomer
    await shop.library.verify(manifest)


async def test_another_ones_lying_source_is_not_held_against_mine(shop: Shop) -> None:
    go = asyncio.Event()
    liar = LyingSource(OTHER, announced=blob_of(BODY), gate=go.wait)
    lied_to = asyncio.create_task(shop.pull(liar))
    await eventually(lambda: bool(liar.opened))
    mine = asyncio.create_task(shop.pull(LyingSource(BODY), "mine"))
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(Untrusted):
        await lied_to
    manifest, states = await mine
    assert manifest.name == "mine"
    assert states[-1].step == Step.SHELVED
    shop.check_invariant()


async def test_another_process_has_the_part(shop: Shop) -> None:
    part = shop.root / "incoming" / f"{blob_of(BODY).digest[7:]}.part"
    with part.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Conflicting) as conflict:
            await shop.pull(LyingSource(BODY))
    assert conflict.value.code == "pull_in_progress"
    await shop.pull(LyingSource(BODY))


async def test_a_name_means_one_model(shop: Shop) -> None:
    await shop.pull(LyingSource(BODY))
    with pytest.raises(Conflicting) as conflict:
        await shop.pull(LyingSource(OTHER))
    assert conflict.value.code == "model_name_taken"
    assert len(shop.shelved()) == 1
    await shop.pull(LyingSource(BODY))  # the same again is no conflict
    await shop.pull(LyingSource(OTHER), "other")
    assert len(shop.shelved()) == 2


async def test_removing_frees_bytes_with_the_last_name(shop: Shop) -> None:
    await shop.pull(LyingSource(BODY))
    await shop.pull(LyingSource(BODY), "a/copy:1")
    assert shop.library.remove("tiny") == 0
    assert [m.name for m in shop.library.list()] == ["a/copy:1"]
    assert shop.library.remove("a/copy:1") == len(BODY)
    assert shop.shelved() == []
    with pytest.raises(Missing) as missing:
        shop.library.remove("tiny")
    assert missing.value.code == "model_not_found"


async def test_missing_names_what_there_is(shop: Shop) -> None:
    with pytest.raises(Missing, match="empty"):
        shop.library.get("nothing")
    await shop.pull(LyingSource(BODY))
    with pytest.raises(Missing, match="tiny"):
        shop.library.get("nothing")
    with pytest.raises(Misasked):
        shop.library.get("../../etc/passwd")


async def test_a_disk_without_room_is_said_before_a_byte_is_fetched(shop: Shop) -> None:
    source = LyingSource(BODY, announced=Blob(blob_of(BODY).digest, 2**60))
    with pytest.raises(Unavailable) as unavailable:
        await shop.pull(source)
    assert unavailable.value.code == "disk_full"
    assert source.opened == []


async def test_no_offer_and_several(shop: Shop) -> None:
    class Several(LyingSource):
        async def resolve(self) -> list[Offer]:
            return [*await LyingSource(BODY).resolve(), *await LyingSource(OTHER, "other").resolve()]

    class Empty(LyingSource):
        async def resolve(self) -> list[Offer]:
            return []

    with pytest.raises(Misasked, match="tiny, other"):
        await shop.pull(Several(BODY))
    with pytest.raises(Missing):
        await shop.pull(Empty(BODY))


@pytest.mark.parametrize("at", [0, len(BODY) // 2, len(BODY) - 1, len(BODY) - 4096 - 10])
async def test_a_flipped_byte_is_refused_at_load(shop: Shop, at: int) -> None:
    manifest, _ = await shop.pull(LyingSource(BODY))
    close_all(await shop.library.open_verified(manifest))
    file = shop.shelved()[0]
    file.chmod(0o600)
    file.write_bytes(flipped(BODY, at))
    file.chmod(0o444)
    before = open_descriptors()
    for check in (shop.library.open_verified, shop.library.verify):
        with pytest.raises(Untrusted) as refused:
            await check(manifest)
        assert refused.value.code == "model_digest_mismatch"
    assert open_descriptors() == before
    await shop.pull(LyingSource(BODY))  # a new pull heals it
    await shop.library.verify(manifest)
    shop.check_invariant()


@pytest.mark.parametrize("change", [lambda body: body + b"\0", lambda body: body[:-1], lambda _: b""])
async def test_another_length_is_refused_at_load(shop: Shop, change: Callable[[bytes], bytes]) -> None:
    manifest, _ = await shop.pull(LyingSource(BODY))
    file = shop.shelved()[0]
    file.chmod(0o600)
    file.write_bytes(change(BODY))
    file.chmod(0o444)
    with pytest.raises(Untrusted) as refused:
        await shop.library.open_verified(manifest)
    assert refused.value.code == "model_digest_mismatch"


async def test_what_is_hashed_is_what_is_loaded(shop: Shop) -> None:
    """Swapping the path after verification changes nothing for whoever holds the descriptor."""
    manifest, _ = await shop.pull(LyingSource(BODY))
    (descriptor,) = await shop.library.open_verified(manifest)
    try:
        intruder = shop.root / "intruder"
        intruder.write_bytes(OTHER)
        intruder.replace(shop.shelved()[0])
        assert await digest_of(descriptor, len(BODY)) == manifest.weights
        assert Path(f"/proc/self/fd/{descriptor}").read_bytes() == BODY
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)
    with pytest.raises(Untrusted):
        await shop.library.open_verified(manifest)


async def test_weights_that_are_gone_a_link_or_writable_are_refused(shop: Shop) -> None:
    manifest, _ = await shop.pull(LyingSource(BODY))
    file = shop.shelved()[0]
    file.chmod(0o446)
    with pytest.raises(Untrusted, match="model_file_writable"):
        await shop.library.open_verified(manifest)
    file.rename(shop.root / "elsewhere")
    with pytest.raises(Untrusted, match="model_file_missing"):
        await shop.library.open_verified(manifest)
    file.symlink_to(shop.root / "elsewhere")
    with pytest.raises(Untrusted, match="model_file_missing"):
        await shop.library.open_verified(manifest)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(Untrusted, match="model_file_missing"):
        await shop.library.open_verified(manifest)


async def test_a_cancelled_load_leaves_no_descriptor(shop: Shop) -> None:
    manifest, _ = await shop.pull(LyingSource(BODY))
    before = open_descriptors()
    for turns in range(6):
        load = asyncio.create_task(shop.library.open_verified(manifest))
        for _ in range(turns):
            await asyncio.sleep(0)
        load.cancel()
        await asyncio.wait([load])
        if not load.cancelled():
            os.close(load.result())
    assert open_descriptors() == before


async def test_a_sweep_takes_what_a_crash_left_but_never_guesses(shop: Shop) -> None:
    manifest, _ = await shop.pull(LyingSource(BODY))
    orphan = shop.root / "blobs" / "sha256" / blob_of(OTHER).digest[7:]
    orphan.write_bytes(OTHER)
    note = shop.root / "manifests" / "tiny.json"
    text = note.read_bytes()
    note.write_bytes(b"{")
    assert shop.library.sweep() == 0
    assert shop.library.list() == []
    with pytest.raises(Broken, match="bad_manifest"):
        shop.library.get("tiny")
    note.write_bytes(text)
    assert shop.library.sweep() == len(OTHER)
    assert [file.name for file in shop.shelved()] == [manifest.weights.digest[7:]]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace(b'"trust"', b'"trusted"'),
        lambda text: text.replace(b'"tiny"', b'"other"'),
        lambda text: text.replace(b"sha256:", b"sha256:../../"),
        lambda text: text.replace(b'"local"', b'"blessed"'),
        lambda text: text[:-2] + b',"extra":1}',
        lambda text: b"\xff" + text,
    ],
)
async def test_manifests_are_strict(shop: Shop, damage: Callable[[bytes], bytes]) -> None:
    await shop.pull(LyingSource(BODY))
    note = shop.root / "manifests" / "tiny.json"
    note.write_bytes(damage(note.read_bytes()))
    with pytest.raises(Broken, match="bad_manifest"):
        shop.library.get("tiny")
    assert shop.library.remove("tiny") == len(BODY)


async def test_a_second_start_finds_everything(shop: Shop) -> None:
    manifest, _ = await shop.pull(LyingSource(BODY))
    again = Shop(shop.root)
    assert again.library.list() == [manifest]
    await again.library.verify(manifest)


async def test_a_source_that_breaks_off_is_the_sources_fault(shop: Shop) -> None:
    states: list[PullState] = []
    with pytest.raises(Broken) as broken:
        await shop.library.pull(LyingSource(BODY, fail_after=500, failure=OSError("cable")), None, states.append)
    assert broken.value.code == states[-1].code == "source_failed"


async def test_a_library_that_cannot_be_written_says_so(shop: Shop) -> None:
    """The manifest cannot be written: the pull ends with a reason, and the blob is swept away later."""
    (shop.root / "manifests").rename(shop.root / "away")
    states: list[PullState] = []
    with pytest.raises(Broken) as broken:
        await shop.library.pull(LyingSource(BODY), None, states.append)
    assert broken.value.code == states[-1].code == "library_disk_failed"
    (shop.root / "away").rename(shop.root / "manifests")
    assert shop.library.sweep() == len(BODY)


async def test_folders_and_modes(shop: Shop) -> None:
    await shop.pull(LyingSource(BODY))
    assert stat.S_IMODE((shop.root / "incoming").stat().st_mode) == 0o700
    assert shop.shelved()[0].stat().st_uid == os.geteuid()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
