"""Age bands, guardians' consents, notices and who has read them, declared uses and who oversees them."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, LargeBinary, String, Text

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "person_ages",
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
        Column("age", String, nullable=False),
        Column("set_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "consents",
        Column("id", String, primary_key=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
        Column("features", String, nullable=False),
        Column("given_by", String, nullable=False),
        Column("how", String, nullable=False),
        Column("given_ms", BigInteger, nullable=False),
        Column("until_ms", BigInteger),
        Column("reference", LargeBinary, nullable=False),
        Column("recorded_by", String, nullable=False),
        Column("recorded_ms", BigInteger, nullable=False),
        Column("withdrawn_ms", BigInteger),
        Column("withdrawn_by", String),
    )
    op.create_table(
        "notices",
        Column("id", String, primary_key=True),
        Column("audience", String, nullable=False),
        Column("title", String, nullable=False),
        Column("text", Text, nullable=False),
        Column("digest", String, nullable=False),
        Column("blocking", Boolean, nullable=False),
        Column("changed_ms", BigInteger, nullable=False),
        Column("ended_ms", BigInteger),
    )
    op.create_table(
        "notice_texts",
        Column("notice_id", String, primary_key=True),
        Column("digest", String, primary_key=True),
        Column("title", String, nullable=False),
        Column("text", Text, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "acknowledgements",
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
        Column("notice_id", String, primary_key=True),
        Column("digest", String, primary_key=True),
        Column("how", String, nullable=False),
        Column("time_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "declared_uses",
        Column("workspace_id", String, ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True),
        Column("use", String, primary_key=True),
        Column("declared_ms", BigInteger, nullable=False),
        Column("notice_id", String, nullable=False),
    )
    op.create_table(
        "workspace_overseers",
        Column("workspace_id", String, ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True),
        Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True),
    )
