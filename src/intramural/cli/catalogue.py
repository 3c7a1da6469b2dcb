"""`intramural search`."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from intramural.cli.render import size
from intramural.cli.root import DEFAULT, PAGE, Common, cli

if TYPE_CHECKING:
    from intramural.cli.client import Client

Task = Literal["chat", "code", "vision", "embedding", "rerank", "speech"]


@cli.command
def search(
    *words: str,
    task: Task | None = None,
    fits: Annotated[bool, Parameter(negative="")] = False,
    common: Common = DEFAULT,
) -> None:
    """Search the catalogue for models with all WORDS in their name, family, publisher, licence or description.

    Get one with `intramural pull ID`; --quiet prints these only.

    Parameters
    ----------
    task
        Only models for this.
    fits
        Only models that fit this machine.
    """

    async def act(client: "Client") -> None:
        catalogue = await client.get(f"{PAGE}/catalogue")
        rows = [row for entry in catalogue["entries"] if _matches(entry, words, task) for row in _rows(entry)]
        if fits:
            rows = [row for row in rows if row["fits"] != "no"]
        signed = catalogue["signed_by"] or "unsigned"
        common.out.note(f"Catalogue of {catalogue['dated']} ({catalogue['source']}, {signed}).")
        columns = {
            "id": "ID",
            "good_at": "GOOD AT",
            "size": "SIZE",
            "fits": "FITS",
            "tokens_per_s": "TOK/S",
            "licence": "LICENCE",
            "here": "HERE",
        }
        common.out.table(rows, columns)

    common.ask(act)


def _matches(entry: dict[str, Any], words: tuple[str, ...], task: Task | None) -> bool:
    if task and task not in entry["tasks"]:
        return False
    fields = ("id", "name", "family", "publisher", "summary")
    text = " ".join([*(entry[field] for field in fields), *entry["tasks"], entry["licence"]["id"]]).lower()
    return all(word.lower() in text for word in words)


def _rows(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "source": variant["source"],
            "name": entry["name"],
            "id": f"{entry['id']}:{variant['id']}",
            "good_at": entry["tasks"],
            "quantisation": variant["quantisation"],
            "size": f"{'' if variant['size_known'] else '~'}{size(variant['size_bytes'])}",
            "fits": variant["fit"]["verdict"] if variant["servable"] else "cannot be served yet",
            "because": variant["fit"]["because"],
            "tokens_per_s": variant["fit"]["tokens_per_s"],
            "licence": entry["licence"]["id"],
            "licence_words": entry["licence"]["words"],
            "pinned": variant["pinned"],
            "here": variant["installed"],
        }
        for variant in entry["variants"]
    ]
