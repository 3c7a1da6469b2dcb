"""Time stamps after RFC 3161: what is asked of an authority, and whether its answer holds. Pure."""

from datetime import datetime
from typing import TYPE_CHECKING

from intramural.core.errors import Misasked, Untrusted

if TYPE_CHECKING:
    from rfc3161_client import TimeStampRequest

QUERY_TYPE = "application/timestamp-query"
#: An answer with its certificates has some 6 KB.
MAX_ANSWER_BYTES = 64 << 10


def request_for(data: bytes) -> "TimeStampRequest":
    """A request over SHA-256 of `data`, with a nonce, asking for the certificates. Its `as_bytes()` are sent."""
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    return TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).build()


def checked(request: "TimeStampRequest", answer: bytes, data: bytes, roots: bytes) -> datetime:
    """When `data` existed, by an authority under one of `roots` (PEM) that answers just this request.

    Raises Untrusted(`stamp_wrong`), Misasked(`bad_setting`).
    """
    from cryptography.x509 import load_pem_x509_certificates
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

    try:
        builder = VerifierBuilder.from_request(request)
        for root in load_pem_x509_certificates(roots):
            builder = builder.add_root_certificate(root)
        verifier = builder.build()
    except ValueError as error:
        raise Misasked("bad_setting", "anchors.stampers names a file without a certificate.", str(error)) from None
    try:
        response = decode_timestamp_response(answer)
        verifier.verify_message(response, data)
        return response.tst_info.gen_time
    except (VerificationError, ValueError) as error:
        raise Untrusted("stamp_wrong", f"The time stamp does not hold: {error}.", "Ask another authority.") from None
