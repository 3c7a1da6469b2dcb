"""That an AI wrote it, for programs: one header of every answer, which clients that do not know it pass over.

    X-Intramural-Generated: ?1; model="smollm2:135m-instruct-q4_1"; digest="sha256:9f2c…"

A structured field (RFC 8941): true, with the model's name and the digest of its files, as the receipt has them. The
European AI Act, article 50(2), asks for marks that machines can read; this one says so of the response as a whole.
"""

from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote

GENERATED = "X-Intramural-Generated"
#: The word of the press's vocabulary (IPTC) for what was made by a trained model alone, for files that carry metadata.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@lru_cache(maxsize=64)  # the same few models answer again and again
def header(model: str = "", digest: str = "") -> str:
    """The header's value; without a model where several may have written it."""
    parts = [("model", model), ("digest", digest)]
    return "?1" + "".join(f'; {name}="{_quoted(text)}"' for name, text in parts if text)


def _quoted(text: str) -> str:
    """As a string of RFC 8941 may be: what is not plain ASCII, or would end it, in percent form."""
    return quote(text, safe="!#$&'()*+,-./:;<=>?@[]^_`{|}~ ")


def block(model: str, request_id: str | None) -> dict[str, str | None]:
    """The same as a field of an exported document; the receipt has the digests of what computed it."""
    receipt = None if request_id is None else f"/v1/receipts/{request_id}"
    return {"source_type": SOURCE_TYPE, "model": model, "receipt": receipt}


def footer(models: Sequence[str], institution: str) -> str:
    """The same for people, under a text."""
    where = f", at {institution}" if institution.strip() else ""
    return f"Written with AI ({', '.join(models)}){where}. It can be wrong; check what matters."
