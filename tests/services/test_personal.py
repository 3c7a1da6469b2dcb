"""What somebody's export is made of."""

import io
import json
from typing import BinaryIO
from zipfile import ZipFile

from intramural.core.errors import Broken
from intramural.services.personal import _zipped


def test_bytes_that_are_gone_meanwhile_do_not_keep_the_rest_back() -> None:
    def there() -> BinaryIO:
        return io.BytesIO(b"words")

    def gone() -> BinaryIO:
        raise Broken("file_lost", "The bytes of this file cannot be read.", "Upload it again.")

    pieces = list(_zipped(b"{}", [("files/a", there), ("batches/b.jsonl", gone), ("files/c", there)]))
    assert all(pieces)
    with ZipFile(io.BytesIO(b"".join(pieces))) as whole:
        assert whole.namelist() == ["data.json", "files/a", "files/c", "missing.json"]
        assert whole.read("files/c") == b"words"
        (lost,) = json.loads(whole.read("missing.json"))
    assert (lost["name"], lost["code"]) == ("batches/b.jsonl", "file_lost")


def test_an_export_that_is_whole_lacks_nothing() -> None:
    with ZipFile(io.BytesIO(b"".join(_zipped(b"{}", [])))) as whole:
        assert whole.namelist() == ["data.json"]
