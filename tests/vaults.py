"""A vault for tests of the rooms that keep what people write."""

from pathlib import Path

from intramural.core.clock import SystemClock
from intramural.core.config import VaultConfig
from intramural.storage import Database
from intramural.vault import Vault


async def vault_in(db: Database, folder: Path, *people_ids: str) -> Vault:
    """Opened over `db`, with keys for those people, who are among the people already."""
    vault = await Vault.open(db, folder / "secrets", VaultConfig(), SystemClock())
    for person_id in people_ids:
        await vault.prepare(person_id)
    return vault
