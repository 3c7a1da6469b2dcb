"""What people keep here for their programs: files.

Promises: a file is reached only with the identifier of the person whose it is; what was acknowledged survives a crash,
and what was deleted is gone from the disk.
Never: asks the policy, speaks HTTP, or shows one person's file to another.

Read in this order: `pictures`.
"""

from intramural.files.pictures import MAX_PICTURE_BYTES, Picture, look_at

__all__ = ["MAX_PICTURE_BYTES", "Picture", "look_at"]
