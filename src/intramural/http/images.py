"""Pictures as clients send them, the same for every dialect: data URLs, base64 beside a media type, and addresses.

What a picture is, its bytes say; what the client calls it is not believed. An address is kept as it stands: whoever
answers the request fetches it, or refuses to.
"""

import base64
import binascii
import re

from intramural.core.chat import Image
from intramural.core.errors import Misasked, TooLarge
from intramural.core.pictures import MAX_PICTURE_BYTES, look_at

_DATA_URL = re.compile(r"data:([\w.+/-]*)((?:;[\w.+-]+=[^;,]*)*)(;base64)?,", re.ASCII | re.IGNORECASE)
_BLANK = str.maketrans("", "", " \t\r\n")
MAX_URL_CHARS = 2048


def from_url(url: str, where: str) -> Image:
    """A data URL as its bytes, an `http` or `https` address as it stands. `where` names the field in errors.

    Raises Misasked(`bad_image`, `bad_image_url`), TooLarge(`image_too_large`).
    """
    scheme = url[:8].partition(":")[0].lower()
    if scheme == "data":
        return _from_data_url(url, where)
    if scheme not in ("http", "https") or len(url) > MAX_URL_CHARS:
        hint = "Send `data:image/png;base64,…`, or name a stored file."
        raise Misasked("bad_image_url", "That is not the address of an image.", hint, param=where)
    return Image(url=url)


def from_base64(text: str, where: str, media_type: str | None = None) -> Image:
    """Base64 as bytes; `media_type` is what the client calls it, where its dialect has it say so. Errors as above."""
    if media_type is not None and not media_type.lower().startswith("image/"):
        hint = "Send a PNG, JPEG, WebP or GIF image."
        raise Misasked("bad_image", f"{media_type[:64]!r} is no image.", hint, param=where)
    if len(text) > MAX_PICTURE_BYTES * 2:
        message = f"The image is over {MAX_PICTURE_BYTES} bytes."
        raise TooLarge("image_too_large", message, "Send a smaller one.", param=where)
    try:
        data = base64.b64decode(text.translate(_BLANK), validate=True)
    except (binascii.Error, ValueError):
        message = "The image is not in base64."
        raise Misasked("bad_image", message, "Encode its bytes as RFC 4648 says.", param=where) from None
    look_at(data, where)
    return Image(data=data)


def _from_data_url(url: str, where: str) -> Image:
    head = _DATA_URL.match(url)
    if head is None or not head[3]:
        hint = "Write `data:image/png;base64,…`."
        raise Misasked("bad_image_url", "That data URL is not one in base64.", hint, param=where)
    return from_base64(url[head.end() :], where, head[1] or None)
