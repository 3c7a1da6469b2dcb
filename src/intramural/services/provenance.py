"""Where models come from, as an act: signing, checking, bills of materials.

Paths of keys are this machine's, so they are taken from whoever sits at it (the private socket) alone.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from intramural import __version__
from intramural.access import Action
from intramural.audit import AuditLog, Event, Fact, Outcome
from intramural.core.actor import Actor
from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError, Missing
from intramural.library import Library, Manifest
from intramural.library.provenance.levels import Standing, TrustPolicy
from intramural.library.provenance.signing import NamedDigest, SigningKey, sign
from intramural.services.gate import Gate, require_here


@dataclass(frozen=True, slots=True)
class Checked:
    """A model checked again: `problem` is what is wrong with its bytes or its level, None if nothing is."""

    manifest: Manifest
    standing: Standing
    problem: IntramuralError | None


class Provenance:
    """Acts about where single models come from; following a lock is `locks`, crossing an air gap is `bundles`."""

    def __init__(self, gate: Gate, library: Library, audit: AuditLog, clock: Clock, trust: TrustPolicy) -> None:
        self._gate = gate
        self._library = library
        self._audit = audit
        self._clock = clock
        self._trust = trust

    async def sign(self, actor: Actor, name: str, key: SigningKey) -> tuple[Manifest, Standing]:
        """Sign the model's files with a key on this machine, and keep the signature with it.

        Every byte is hashed first. Raises Misasked(`bad_signing_key`), Untrusted(`model_digest_mismatch`).
        """
        await self._gate.require(actor, Action.MODELS_SIGN, target=f"model:{name}")
        require_here(actor)
        manifest = self._library.get(name)
        await self._library.verify(manifest)
        files = [NamedDigest(file.name, file.blob.digest) for file in manifest.files]
        signature = await asyncio.to_thread(sign, name, files, key)
        standing = await self._library.attach(name, signature)
        facts: dict[str, Fact] = {
            "weights": manifest.digest,
            "signature": f"sha256:{hashlib.sha256(signature).hexdigest()}",
            "signer": standing.signer,
            "trust": standing.trust,
        }
        await self._audit.record(Event.MODEL_SIGNED, actor, target=f"model:{name}", facts=facts)
        return self._library.get(name), standing

    async def signature(self, actor: Actor, name: str) -> bytes:
        """The model's signature, for whoever wants to check it elsewhere. Raises Missing(`signature_not_found`)."""
        await self._gate.require(actor, Action.MODELS_READ, target=f"model:{name}")
        found = self._library.signature(self._library.get(name).name)
        if found is None:
            raise Missing("signature_not_found", f"{name} has no signature.", f"Make one: `intramural sign {name}`.")
        return found

    async def check(self, actor: Actor, names: Sequence[str]) -> AsyncGenerator[Checked, None]:
        """Hash every byte of the models (none named: of all), check their signatures and levels again."""
        await self._gate.require(actor, Action.MODELS_LOAD, target=f"models:{','.join(names) or 'all'}")
        manifests = [self._library.get(name) for name in names] if names else self._library.list()
        for manifest in manifests:
            checked = await self._checked(manifest)
            facts: dict[str, Fact] = {
                "weights": manifest.digest,
                "trust": checked.standing.trust,
                "signer": checked.standing.signer,
                "code": checked.problem.code if checked.problem else None,
            }
            outcome: Outcome = "refused" if checked.problem else "allowed"
            await self._audit.record(
                Event.MODEL_VERIFIED, actor, target=f"model:{manifest.name}", outcome=outcome, facts=facts
            )
            yield checked

    async def _checked(self, manifest: Manifest) -> Checked:
        standing = await self._library.standing(manifest)
        try:
            await self._library.verify(manifest)
            self._trust.require(manifest.name, standing)
        except IntramuralError as error:
            return Checked(manifest, standing, error)
        weaker = standing.doubt if manifest.trust == "signed" and standing.trust != "signed" else None
        return Checked(manifest, standing, weaker)

    async def bill(self, actor: Actor, names: Sequence[str] = ()) -> bytes:
        """CycloneDX of the named models; of none: of the whole installation."""
        await self._gate.require(actor, Action.BILL_READ, target=f"bill:{','.join(names) or 'installation'}")
        now_s = self._clock.now_s()
        if names:
            return await bill_of([self._library.get(name) for name in sorted(set(names))], now_s)
        from intramural.library.provenance.bom import bill_of_installation

        models = self._library.list()
        return (await asyncio.to_thread(bill_of_installation, models, version=__version__, now_s=now_s)).encode()


async def bill_of(models: Sequence[Manifest], now_s: float) -> bytes:
    """CycloneDX of these models, made at `now_s`."""
    from intramural.library.provenance.bom import bill_of_models

    return (await asyncio.to_thread(bill_of_models, models, version=__version__, now_s=now_s)).encode()
