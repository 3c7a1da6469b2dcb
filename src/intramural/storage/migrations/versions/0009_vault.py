"""What people wrote is kept sealed under keys of their own.

The columns change here; what lies in them is sealed when the house is opened next, in steps that any end may interrupt
(`vault.places`), because only then the keys are at hand. The index of text files is made anew from the files.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_COUNTED = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _to_bytes(table: str, *columns: str, dropped: tuple[str, ...] = ()) -> None:
    """Text becomes its bytes in UTF-8, which a sealed value can be told from."""
    with op.batch_alter_table(table) as changing:
        for column in columns:
            changing.alter_column(
                column,
                existing_type=sa.Text(),
                type_=sa.LargeBinary(),
                postgresql_using=f"convert_to({column}, 'UTF8')",
            )
        for column in dropped:
            changing.drop_column(column)


def upgrade() -> None:
    _to_bytes("chats", "title", dropped=("title_folded",))
    _to_bytes("chat_messages", "content", dropped=("content_folded",))
    _to_bytes("files", "name")
    _to_bytes("batches", "notes", "errors")
    _to_bytes("batch_lines", "body", "custom_id")
    op.create_table(
        "data_keys",
        sa.Column("person_id", sa.String, primary_key=True),
        sa.Column("purpose", sa.String, primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True),
        sa.Column("wrapping_key", sa.String, nullable=False, index=True),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "vault_steps",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("done_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "audit_texts",
        sa.Column("nonce", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("person_id", sa.String, nullable=False, index=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "erasures",
        sa.Column("person_id", sa.String, primary_key=True),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("certificate", sa.Text, nullable=False),
    )
    _index()


def _index() -> None:
    op.execute("DROP TABLE IF EXISTS file_texts")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TEXT SEARCH CONFIGURATION file_words")
        op.execute("DROP TEXT SEARCH DICTIONARY file_stems")
    op.create_table(
        "file_passages",
        sa.Column("id", _COUNTED, primary_key=True, autoincrement=True),
        sa.Column("file_id", sa.String, sa.ForeignKey("files.id", ondelete="CASCADE"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("words", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_file_passages_file_id_position", "file_passages", ["file_id", "position"], unique=True)
    op.create_table(
        "file_words",
        sa.Column("word", sa.LargeBinary, primary_key=True),
        sa.Column(
            "passage_id",
            _COUNTED,
            sa.ForeignKey("file_passages.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
            index=True,
        ),
        sa.Column("times", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute("UPDATE files SET search = 'pending' WHERE search = 'ready'")
