"""What every answer tells a browser that was led to it: take it for nothing but what it says it is, and load nothing.

The page's own files say what they need (`web`), and keep it. An answer of an API is no page: were somebody's text taken
for one, it could run nothing and fetch nothing.
"""

from starlette.types import Message, Send

#: Lower case, as ASGI has names.
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; sandbox"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-dns-prefetch-control", b"off"),
)


def told(send: Send) -> Send:
    """`send`, by which every answer says what it does not say itself."""

    async def saying(message: Message) -> None:
        if message["type"] == "http.response.start":
            said = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(each for each in HEADERS if each[0] not in said)]
        await send(message)

    return saying
