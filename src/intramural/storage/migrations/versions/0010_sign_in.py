"""Who somebody is elsewhere, second factors, and what a session rests on."""

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, LargeBinary, String, Text

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("method", "awaits", "issuer", "issuer_session"):
        op.add_column("sessions", Column(name, String))
    op.create_table(
        "identities",
        Column("issuer", String, primary_key=True),
        Column("subject", String, primary_key=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
        Column("provider", String, nullable=False),
        Column("groups", Text, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("last_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "invitations",
        Column("token_hash", LargeBinary, primary_key=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
        Column("created_ms", BigInteger, nullable=False),
        Column("expires_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "code_makers",
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
        Column("secret", Text, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("confirmed_ms", BigInteger),
        Column("last_step", BigInteger, nullable=False),
    )
    op.create_table(
        "recovery_codes",
        Column("code_hash", LargeBinary, primary_key=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
        Column("created_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "passkeys",
        Column("id", String, primary_key=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
        Column("credential_id", LargeBinary, nullable=False, unique=True),
        Column("public_key", LargeBinary, nullable=False),
        Column("sign_count", BigInteger, nullable=False),
        Column("host", String, nullable=False),
        Column("name", String, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("last_used_ms", BigInteger),
    )
