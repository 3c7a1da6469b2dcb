"""The first tables."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, String, Text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Position = BigInteger().with_variant(Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "people",
        Column("id", String, primary_key=True),
        Column("username", String, nullable=False),
        Column("username_folded", String, nullable=False, unique=True),
        Column("role", String, nullable=False),
        Column("password_hash", String, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("disabled_ms", BigInteger),
    )
    op.create_table(
        "sessions",
        Column("id", String, primary_key=True),
        Column("token_hash", LargeBinary, nullable=False, unique=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
        Column("csrf_token", String, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("last_seen_ms", BigInteger, nullable=False),
        Column("ends_ms", BigInteger, nullable=False),
        Column("user_agent", String, nullable=False),
    )
    op.create_table(
        "keys",
        Column("id", String, primary_key=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
        Column("name", String, nullable=False),
        Column("hint", String, nullable=False),
        Column("key_hash", LargeBinary, nullable=False, unique=True),
        Column("scopes", String, nullable=False),
        Column("models", Text),
        Column("created_ms", BigInteger, nullable=False),
        Column("expires_ms", BigInteger),
        Column("revoked_ms", BigInteger),
        Column("last_used_ms", BigInteger),
    )
    op.create_table(
        "setup_tokens",
        Column("token_hash", LargeBinary, primary_key=True),
        Column("created_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "audit_entries",
        Column("position", _Position, primary_key=True, autoincrement=False),
        Column("leaf_hash", LargeBinary, nullable=False),
        Column("record", LargeBinary, nullable=False),
        Column("time_ms", BigInteger, nullable=False),
        Column("event", String, nullable=False, index=True),
        Column("actor_id", String, nullable=False, index=True),
        Column("request_id", String, index=True),
    )
    op.create_table(
        "audit_checkpoints",
        Column("size", _Position, primary_key=True, autoincrement=False),
        Column("time_ms", BigInteger, nullable=False),
        Column("note", Text, nullable=False),
        Column("frontier", LargeBinary, nullable=False),
    )
    op.create_table(
        "usage",
        Column("request_id", String, primary_key=True),
        Column("time_ms", BigInteger, nullable=False, index=True),
        Column("person_id", String, nullable=False, index=True),
        Column("credential_id", String, nullable=False),
        Column("model", String, nullable=False, index=True),
        Column("weights_digest", String, nullable=False),
        Column("dialect", String, nullable=False),
        Column("operation", String, nullable=False),
        Column("outcome", String, nullable=False),
        Column("prompt_tokens", Integer, nullable=False),
        Column("completion_tokens", Integer, nullable=False),
        Column("cached_tokens", Integer, nullable=False),
        Column("prompt_ms", Float, nullable=False),
        Column("completion_ms", Float, nullable=False),
        Column("waited_ms", Float, nullable=False),
    )
    op.create_table(
        "chats",
        Column("id", String, primary_key=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
        Column("title", String, nullable=False),
        Column("title_folded", String, nullable=False),
        Column("model", String, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("updated_ms", BigInteger, nullable=False),
        Index("ix_chats_person_id_updated_ms", "person_id", "updated_ms"),
    )
    op.create_table(
        "chat_messages",
        Column("id", String, primary_key=True),
        Column("chat_id", String, ForeignKey("chats.id", ondelete="CASCADE"), nullable=False),
        Column("position", Integer, nullable=False),
        Column("role", String, nullable=False),
        Column("content", Text, nullable=False),
        Column("content_folded", Text, nullable=False),
        Column("model", String),
        Column("outcome", String),
        Column("request_id", String),
        Column("created_ms", BigInteger, nullable=False),
        Index("ix_chat_messages_chat_id_position", "chat_id", "position", unique=True),
    )
    op.create_table(
        "model_settings",
        Column("name", String, primary_key=True),
        Column("pinned", Boolean, nullable=False),
    )
