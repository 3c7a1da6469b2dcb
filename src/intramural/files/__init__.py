"""What people keep here for their programs: files, and an index of those that are text.

Promises: a file is reached only with the identifier of the person whose it is; what was acknowledged survives a crash,
and what was deleted is gone from the disk.
Never: asks the policy, speaks HTTP, or shows one person's file to another.

Read in this order: `disk`, `search`, `files`.
"""

from intramural.files.disk import Arriving, Disk
from intramural.files.files import MAX_LIST, PURPOSES, Files, StoredFile, check_name
from intramural.files.search import ENDINGS, MAX_LIMIT, MAX_QUERY_CHARS, Passage

__all__ = [
    "ENDINGS",
    "MAX_LIMIT",
    "MAX_LIST",
    "MAX_QUERY_CHARS",
    "PURPOSES",
    "Arriving",
    "Disk",
    "Files",
    "Passage",
    "StoredFile",
    "check_name",
]
