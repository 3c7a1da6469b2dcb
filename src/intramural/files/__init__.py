"""What people keep here for their programs: files, and an index of those that are text.

Promises: a file is reached only by saying whose it is and of which workspace; what was acknowledged survives a crash,
and what was deleted is gone from the disk.
Never: asks the policy, speaks HTTP, or shows one person's file to another.

Read in this order: `disk`, `search`, `shares`, `files`.
"""

from intramural.files.disk import Arriving, Disk
from intramural.files.files import MAX_LIST, PURPOSES, Files, StoredFile, check_name, not_found
from intramural.files.search import ENDINGS, MAX_LIMIT, MAX_QUERY_CHARS, Passage
from intramural.files.shares import ANY, Holder, Most

__all__ = [
    "ANY",
    "ENDINGS",
    "MAX_LIMIT",
    "MAX_LIST",
    "MAX_QUERY_CHARS",
    "PURPOSES",
    "Arriving",
    "Disk",
    "Files",
    "Holder",
    "Most",
    "Passage",
    "StoredFile",
    "check_name",
    "not_found",
]
