"""The content of a chat message: a text, or parts that are texts and pictures."""

from collections.abc import Sequence

from intramural.core.chat import Image
from intramural.core.errors import Misasked
from intramural.http import images
from intramural.http.openai import shapes

MAX_IMAGES = 32


def content(wire: str | Sequence[shapes.Part] | None, role: str, where: str) -> tuple[str, tuple[str | Image, ...]]:
    """All of its text, and where it holds pictures, texts and pictures in their order. Raises Misasked, TooLarge."""
    if wire is None or isinstance(wire, str):
        return wire or "", ()
    read = tuple(_part(part, role, f"{where}.content[{i}]") for i, part in enumerate(wire))
    text = "".join(part for part in read if isinstance(part, str))
    found = sum(isinstance(part, Image) for part in read)
    if found > MAX_IMAGES:
        message = f"`{where}` holds {found} images."
        raise Misasked("too_many_images", message, f"Send at most {MAX_IMAGES} in a message.", param=f"{where}.content")
    return text, read if found else ()


def _part(part: shapes.Part, role: str, where: str) -> str | Image:
    if part.type == "text" and part.text is not None:
        return part.text
    if role == "assistant" and part.type == "refusal" and part.refusal is not None:
        return part.refusal
    if role == "user" and part.type == "image_url" and part.image_url is not None:
        if part.image_url.detail == "low":
            message = "`detail: low` is not supported: an image is read as finely as the model can."
            hint = "Leave it out, or send a smaller image."
            raise Misasked("unsupported_parameter", message, hint, param=f"{where}.image_url.detail")
        return images.from_url(part.image_url.url, f"{where}.image_url.url")
    if role == "user" and part.type == "file" and part.file is not None:
        return _file(part.file, f"{where}.file")
    raise Misasked(
        "unsupported_content",
        f"`{where}` is of type {part.type[:64]!r}, which a message of role {role!r} cannot have here.",
        "Send parts of type `text`, and of type `image_url` or `file` (an image) in a user's message.",
        param=where,
    )


def _file(file: shapes.FileRef, where: str) -> Image:
    """A file as content: an image only. Other documents have to be sent as text."""
    if file.file_data is not None and file.file_id is None:
        return images.from_url(file.file_data, f"{where}.file_data")
    if file.file_id and file.file_data is None:
        return Image(file_id=file.file_id)
    raise Misasked("bad_parameter", f"`{where}` names no file, or two.", "Send `file_id` or `file_data`.", param=where)
