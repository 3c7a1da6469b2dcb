"""Acts of provenance: who may, what is written down, and what a lock, a key and a bundle do to a library."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests import databases
from tests.fakes.gguf_file import tiny_model
from tests.fakes.pki import Pair, key_pair
from tests.fakes.source import LyingSource
from tests.fakes.spawner import PlainSpawner
from tests.library.shop import Shop
from tests.library.test_quarantine import SUSPICIOUS
from tests.services.planning import planner
from tests.serving.pools import running

from intramural.audit import AuditLog
from intramural.core.actor import CONSOLE, SCOPES, Actor
from intramural.core.clock import SystemClock
from intramural.core.config import AuditConfig
from intramural.core.errors import IntramuralError, Misasked, Missing, Refused, Untrusted
from intramural.library import Library, Source
from intramural.library.catalogue import load_catalogue
from intramural.library.catalogue.signed import BUILT_IN, BUILT_IN_KEY
from intramural.library.provenance import SigningKey, TrustPolicy, read_lock
from intramural.library.provenance.carried import CarriedCatalogue
from intramural.library.provenance.imports import Imports
from intramural.services.bundles import Bundles, Exported, Imported
from intramural.services.crashes import Crashes
from intramural.services.gate import Gate
from intramural.services.locks import Locks, Synced
from intramural.services.models import Models
from intramural.services.provenance import Provenance

BODY, OTHER = tiny_model(seed=1), tiny_model(seed=2)
ADMIN = Actor("person", "person_ada", "ada", "administrator", frozenset(SCOPES), "session_1")
MEMBER = Actor("person", "person_mia", "mia", "member", frozenset(SCOPES), "session_2")


class Desk:
    """The services over a real database, log and library; `sources` are looked up by their text."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.trust = root / "trust"
        self.trust.mkdir()
        self.sources: dict[str, LyingSource] = {}
        self.shop = Shop(root / "library")
        self.policy = TrustPolicy("local", self.trust)
        self.shop.library = Library(self.shop.root, self.shop.inspector, None, self.policy)

    async def open(self, stack: AsyncExitStack) -> "Desk":
        clock = SystemClock()
        db = await databases.opened(self.root / "test.db")
        stack.push_async_callback(db.close)
        self.audit = await AuditLog.open(db, self.root / "secrets", AuditConfig(), clock)
        stack.push_async_callback(self.audit.close)
        pool = await stack.enter_async_context(running(PlainSpawner()))
        gate = Gate(self.audit)
        crashes = Crashes(self.audit, db, pool, clock)
        models = Models(gate, self.shop.library, pool, self.audit, db, planner(self.shop.library), crashes)
        library = self.shop.library
        self.provenance = Provenance(gate, library, self.audit, clock, self.policy)
        self.locks = Locks(gate, library, models, self.audit, self.parse)
        imports = Imports(self.root / "bundles.json")
        catalogue = CarriedCatalogue(self.root / "catalogue.json", BUILT_IN_KEY)
        self.bundles = Bundles(gate, library, self.audit, clock, self.policy, imports, catalogue)
        return self

    def parse(self, text: str, actor: Actor) -> Source:
        if text not in self.sources:
            raise Misasked("bad_source", f"{text} is not a source.", "Name another.")
        return self.sources[text]

    async def events(self) -> list[tuple[str, str]]:
        """(event, outcome), oldest first."""
        return [(entry.event, entry.outcome) for entry in reversed(await self.audit.entries())]

    async def stock(self, name: str = "tiny", body: bytes = BODY) -> None:
        await self.shop.pull(LyingSource(body), name)

    async def sync(self, text: str, **how: bool) -> dict[str, Synced]:
        return {state.name: state async for state in self.locks.sync(CONSOLE, text, **how)}

    async def export(self, to: Path, names: list[str], key: Pair | None = None, **how: Any) -> Exported:
        signing = None if key is None else SigningKey(key.private)
        states = [state async for state in self.bundles.export(CONSOLE, names, to, key=signing, **how)]
        assert isinstance(states[-1], Exported)
        return states[-1]

    async def import_(self, path: Path, **how: bool) -> Imported:
        states = [state async for state in self.bundles.import_(CONSOLE, path, **how)]
        assert isinstance(states[-1], Imported)
        return states[-1]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        yield await Desk(tmp_path / "desk").open(stack)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        yield await Desk(tmp_path / "site").open(stack)


# who may --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actor", [MEMBER, ADMIN], ids=["member", "administrator elsewhere"])
async def test_files_of_this_machine_are_for_whoever_sits_at_it(desk: Desk, tmp_path: Path, actor: Actor) -> None:
    await desk.stock()
    pair = key_pair(tmp_path, "desk")
    with pytest.raises(Refused) as refused:
        await desk.provenance.sign(actor, "tiny", SigningKey(pair.private))
    codes = [refused.value.code]
    for states in (
        desk.bundles.export(actor, ["tiny"], tmp_path / "out", key=None),
        desk.bundles.import_(actor, tmp_path / "out"),
    ):
        with pytest.raises(Refused) as refused:
            await anext(states)
        codes.append(refused.value.code)
    assert set(codes) == ({"role_missing"} if actor is MEMBER else {"console_only"})
    assert not (tmp_path / "out").exists()


async def test_members_sync_nothing_and_read_no_bill(desk: Desk) -> None:
    with pytest.raises(Refused):
        await anext(desk.locks.sync(MEMBER, "version = 1"))
    with pytest.raises(Refused):
        await desk.provenance.bill(MEMBER)
    assert [event for event, _ in await desk.events()] == ["access.refused"] * 2


# signatures -----------------------------------------------------------------------------------------------------------


async def test_signing_and_checking(desk: Desk, tmp_path: Path) -> None:
    await desk.stock()
    pair = key_pair(tmp_path, "desk")
    manifest, standing = await desk.provenance.sign(CONSOLE, "tiny", SigningKey(pair.private))
    assert (manifest.trust, standing.doubt and standing.doubt.code) == ("local", "signature_wrong_key")
    shutil.copy(pair.public, desk.trust)
    manifest, _ = await desk.provenance.sign(CONSOLE, "tiny", SigningKey(pair.private))
    assert manifest.trust == "signed"
    assert json.loads(await desk.provenance.signature(CONSOLE, "tiny"))["dsseEnvelope"]
    (checked,) = [each async for each in desk.provenance.check(CONSOLE, [])]
    assert (checked.standing.trust, checked.problem) == ("signed", None)
    (desk.trust / pair.public.name).unlink()
    (checked,) = [each async for each in desk.provenance.check(CONSOLE, ["tiny"])]
    assert checked.problem is not None and checked.problem.code == "signature_wrong_key"
    assert await desk.events() == [
        ("model.signed", "allowed"),
        ("model.signed", "allowed"),
        ("model.verified", "allowed"),
        ("model.verified", "refused"),
    ]


async def test_changed_bytes_are_found_and_never_signed(desk: Desk, tmp_path: Path) -> None:
    await desk.stock()
    await desk.stock("other", OTHER)
    file = desk.shop.blobs.path(desk.shop.library.get("tiny").weights.digest)
    file.chmod(0o600)
    file.write_bytes(BODY[:-1] + b"?")
    file.chmod(0o444)
    found = {each.manifest.name: each.problem async for each in desk.provenance.check(CONSOLE, [])}
    assert found["other"] is None and found["tiny"] is not None
    assert found["tiny"].code == "model_digest_mismatch"
    with pytest.raises(Untrusted):
        await desk.provenance.sign(CONSOLE, "tiny", SigningKey(key_pair(tmp_path, "desk").private))


async def test_no_signature_to_show(desk: Desk) -> None:
    await desk.stock()
    with pytest.raises(Missing) as refused:
        await desk.provenance.signature(CONSOLE, "tiny")
    assert refused.value.code == "signature_not_found"


# models.lock ----------------------------------------------------------------------------------------------------------


async def test_one_machines_lock_makes_another_match_it(desk: Desk, site: Desk) -> None:
    for name, body in (("one", BODY), ("two", OTHER)):
        await desk.stock(name, body)
    text = await desk.locks.lock(CONSOLE)
    assert [each.name for each in read_lock(text).model] == ["one", "two"]
    await site.stock("two", BODY)  # another model under that name
    await site.stock("three", OTHER)
    texts = text.replace('name = "two"\nsource = "fake:tiny"', 'name = "two"\nsource = "fake:other"')
    site.sources = {"fake:tiny": LyingSource(BODY), "fake:other": LyingSource(OTHER)}

    planned = await site.sync(texts, plan_only=True)
    assert {n: (s.act, s.state) for n, s in planned.items()} == {
        "one": ("get", "planned"),
        "three": ("extra", "planned"),
        "two": ("replace", "planned"),
    }
    assert {each.name for each in site.shop.library.list()} == {"two", "three"}

    done = await site.sync(texts, prune=True)
    assert {n: (s.act, s.state) for n, s in done.items()} == {
        "one": ("get", "done"),
        "three": ("remove", "done"),
        "two": ("replace", "done"),
    }
    assert [(m.name, m.digest, m.trust) for m in site.shop.library.list()] == [
        (m.name, m.digest, "pinned") for m in desk.shop.library.list()
    ]
    assert {state.act for state in (await site.sync(texts)).values()} == {"keep"}
    events = [event for event, _ in await site.events()]
    assert events.count("library.synced") == 2 and events.count("model.shelved") == 2
    assert events.count("model.removed") == 1


async def test_a_moved_source_is_refused_and_the_others_come(desk: Desk, site: Desk) -> None:
    for name, body in (("one", BODY), ("two", OTHER)):
        await desk.stock(name, body)
    text = await desk.locks.lock(CONSOLE)
    site.sources = {"fake:tiny": LyingSource(OTHER)}
    done = await site.sync(text)
    problem = done["one"].problem
    assert done["one"].state == "failed" and problem is not None and problem.code == "lock_mismatch"
    assert done["two"].state == "done"
    assert ("model.refused", "refused") in await site.events()


async def test_what_was_brought_by_hand_cannot_be_asked_for(desk: Desk, site: Desk) -> None:
    await desk.stock()
    text = (await desk.locks.lock(CONSOLE)).replace("fake:tiny", "file:tiny.gguf")
    done = await site.sync(text)
    assert (done["tiny"].problem or IntramuralError("", "")).code == "lock_by_hand"


async def test_what_is_no_lock(desk: Desk) -> None:
    with pytest.raises(Misasked):
        await desk.sync("junk")
    assert await desk.events() == []


# bundles --------------------------------------------------------------------------------------------------------------


async def test_over_the_gap(desk: Desk, site: Desk, tmp_path: Path) -> None:
    pair = key_pair(tmp_path, "desk")
    shutil.copy(pair.public, site.trust)
    for name, body in (("one", BODY), ("two", OTHER)):
        await desk.stock(name, body)
    shutil.copy(BUILT_IN, desk.root / "catalogue.json")
    shutil.copy(f"{BUILT_IN}.sig", desk.root / "catalogue.json.sig")
    exported = await desk.export(tmp_path / "out.bundle", ["one"], pair)
    assert (exported.models, exported.left_out_bytes, exported.signed) == (("one",), 0, True)
    imported = await site.import_(tmp_path / "out.bundle")
    assert [m.name for m in imported.manifests] == ["one"]
    assert (imported.signer or "").startswith("key sha256:")
    assert load_catalogue(site.root / "catalogue.json", BUILT_IN_KEY).signed_by
    (tmp_path / "models.lock").write_text(await site.locks.lock(CONSOLE))
    exported = await desk.export(tmp_path / "delta", ["one", "two"], pair, have=[tmp_path / "models.lock"])
    assert exported.left_out_bytes == len(BODY)
    await site.import_(tmp_path / "delta")
    assert [m.name for m in site.shop.library.list()] == ["one", "two"]
    events = await site.events()
    assert events.count(("bundle.imported", "allowed")) == 2 and ("model.shelved", "allowed") in events
    assert ("bundle.exported", "allowed") in await desk.events()


@pytest.mark.parametrize("signature", ["none", "of another"])
async def test_a_catalogue_that_this_machine_would_not_use(
    desk: Desk, site: Desk, tmp_path: Path, signature: str
) -> None:
    pair = key_pair(tmp_path, "desk")
    shutil.copy(pair.public, site.trust)
    await desk.stock()
    shutil.copy(BUILT_IN, desk.root / "catalogue.json")
    if signature == "of another":
        (desk.root / "catalogue.json.sig").write_text("AAAA")
    await desk.export(tmp_path / "out", ["tiny"], pair)
    with pytest.raises(Untrusted) as refused:
        await site.import_(tmp_path / "out")
    assert refused.value.code in ("catalogue_unsigned", "catalogue_signature_wrong")
    assert site.shop.library.list() == [] and not list(site.root.glob("catalogue*"))


async def test_a_quarantined_model_is_called_so_whichever_way_it_comes(desk: Desk, site: Desk, tmp_path: Path) -> None:
    pair = key_pair(tmp_path, "desk")
    shutil.copy(pair.public, site.trust)
    await desk.stock("tiny", SUSPICIOUS)
    site.sources = {"fake:tiny": LyingSource(SUSPICIOUS)}
    assert (await site.sync(await desk.locks.lock(CONSOLE)))["tiny"].state == "done"
    await desk.export(tmp_path / "out", ["tiny"], pair)
    await site.import_(tmp_path / "out")
    events = [event for event, _ in await site.events()]
    assert (events.count("model.quarantined"), events.count("model.shelved")) == (2, 0)


async def test_a_refused_bundle_is_written_down(desk: Desk, site: Desk, tmp_path: Path) -> None:
    await desk.stock()
    await desk.export(tmp_path / "out", ["tiny"], key_pair(tmp_path, "stranger"))
    with pytest.raises(Untrusted):
        await site.import_(tmp_path / "out")
    assert await site.events() == [("bundle.imported", "refused")]
    assert site.shop.library.list() == []


async def test_an_older_bundle_does_not_bring_back_what_was_replaced(desk: Desk, site: Desk, tmp_path: Path) -> None:
    pair = key_pair(tmp_path, "desk")
    shutil.copy(pair.public, site.trust)
    await desk.stock()
    await desk.export(tmp_path / "old", ["tiny"], pair)
    desk.shop.library.remove("tiny")
    await desk.stock("tiny", OTHER)
    await desk.export(tmp_path / "new", ["tiny"], pair)
    await site.import_(tmp_path / "new")
    with pytest.raises(Refused) as refused:
        await site.import_(tmp_path / "old", replace=True)
    assert refused.value.code == "bundle_older"
    await site.import_(tmp_path / "new")  # the same again is nothing new
    await site.import_(tmp_path / "old", replace=True, older=True)


# bills of materials ---------------------------------------------------------------------------------------------------


async def test_bills(desk: Desk) -> None:
    await desk.stock()
    whole = json.loads(await desk.provenance.bill(CONSOLE))
    assert {"python", "python:msgspec", "model:tiny"} <= {each["bom-ref"] for each in whole["components"]}
    one = json.loads(await desk.provenance.bill(CONSOLE, ["tiny"]))
    assert [each["bom-ref"] for each in one["components"]] == ["model:tiny"]
    with pytest.raises(Missing):
        await desk.provenance.bill(CONSOLE, ["absent"])
