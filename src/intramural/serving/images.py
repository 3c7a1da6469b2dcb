"""Pictures on their way to an engine, which decodes them in its confined process: only what is known, and bounded."""

from base64 import b64encode
from collections.abc import Sequence

from intramural.core.bare import bare
from intramural.core.chat import Image, Message
from intramural.core.errors import Misasked
from intramural.core.pictures import look_at

LIMIT_IMAGES = 32


def check(messages: Sequence[Message]) -> bool:
    """Whether `messages` hold pictures.

    Raises Misasked for too many, and for one that is only named (whoever answers replaces those by their bytes), and
    what `files.look_at` raises: their kind and size are read from their headers, whoever looked before.
    """
    found = [part for message in messages for part in message.parts if isinstance(part, Image)]
    if len(found) > LIMIT_IMAGES:
        said = f"A request may hold {LIMIT_IMAGES} images; this one holds {len(found)}."
        raise Misasked("too_many_images", said, "Send fewer.", param="messages")
    for image in found:
        if not image.data:
            said = "An image is named but its bytes are not here."
            raise Misasked("image_not_here", said, "Send it as a data URL.", param="messages")
        look_at(image.data, "messages")
    return bool(found)


def data_url(image: Image) -> str:
    """The picture as the engine takes it: its pixels, and nothing of where or by whom it was taken."""
    kind = look_at(image.data, "messages").media_type
    return f"data:{kind};base64,{b64encode(bare(image.data, 'messages')).decode('ascii')}"
