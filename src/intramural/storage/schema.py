"""Every table. Times are integer milliseconds since the epoch (UTC); identifiers are text made by `core.ids`.

A change here needs a new migration in `migrations/versions`, which says itself what it makes; a test compares what all
of them make with these tables.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# access ---------------------------------------------------------------------------------------------------------------

people = Table(
    "people",
    metadata,
    Column("id", String, primary_key=True),
    Column("username", String, nullable=False),
    Column("username_folded", String, nullable=False, unique=True),  # casefold(): one name, one person
    Column("role", String, nullable=False),
    Column("kind", String, nullable=False, server_default="person"),  # person | service: no password, keys only
    Column("password_hash", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("disabled_ms", BigInteger),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String, primary_key=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("csrf_token", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    Column("ends_ms", BigInteger, nullable=False),
    Column("user_agent", String, nullable=False),
    Column("method", String),  # oidc | ldap | passkey; NULL: a password
    Column("awaits", String),  # what must still be shown before it opens anything; NULL: nothing
    Column("issuer", String),  # whose word it rests on, where that is a provider's
    Column("issuer_session", String),  # what the provider calls its own session
)

keys = Table(
    "keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("hint", String, nullable=False),  # the first characters, so that a person recognises it
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", String, nullable=False),  # space-separated
    Column("models", Text),  # JSON list; NULL: any
    Column("workspace_id", String, index=True),  # NULL: the key is of none
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    Column("last_used_ms", BigInteger),
)

setup_tokens = Table(
    "setup_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("created_ms", BigInteger, nullable=False),
)

# organisation ---------------------------------------------------------------------------------------------------------

groups = Table(
    "groups",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("parent_id", String, ForeignKey("groups.id"), index=True),
    Column("external_id", String, unique=True),  # what the directory it comes from calls it
    Column("source", String, index=True),  # which roster or directory keeps it (access.external); NULL: people here
    Column("lineage", String, nullable=False),  # its own identifier and those of the groups around it, parted by /
    Column("created_ms", BigInteger, nullable=False),
)

group_members = Table(
    "group_members",
    metadata,
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
    Column("group_id", String, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("manager", Boolean, nullable=False),
    Column("source", String),  # who gave it and takes it away (access.external); NULL: people here
)

roles = Table(
    "roles",
    metadata,
    Column("name", String, primary_key=True),
    Column("permissions", Text, nullable=False),  # parted by blanks
    Column("created_ms", BigInteger, nullable=False),
)

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("name_folded", String, nullable=False, unique=True),  # casefold(): one name, one workspace
    Column("label", String, nullable=False),  # see core.actor.LABELS
    Column("models", Text),  # JSON list; NULL: any
    Column("purposes", Text, nullable=False),  # JSON list
    Column("retention_days", Text, nullable=False),  # JSON: class of data -> days
    Column("closed_ms", BigInteger),  # NULL: it is open
    Column("created_ms", BigInteger, nullable=False),
)

workspace_people = Table(
    "workspace_people",
    metadata,
    Column("workspace_id", String, ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True),
)

workspace_groups = Table(
    "workspace_groups",
    metadata,
    Column("workspace_id", String, ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True),
    Column("group_id", String, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True, index=True),
)

# sign-in --------------------------------------------------------------------------------------------------------------

identities = Table(
    "identities",
    metadata,
    Column("issuer", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("provider", String, nullable=False),  # its name in sign-in.toml
    Column("groups", Text, nullable=False),  # JSON list: names of groups here that the provider gave the last time
    Column("created_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
)

invitations = Table(
    "invitations",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)

code_makers = Table(
    "code_makers",
    metadata,
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
    Column("secret", Text, nullable=False),  # sealed
    Column("created_ms", BigInteger, nullable=False),
    Column("confirmed_ms", BigInteger),  # NULL: shown, and no code of it was given yet
    Column("last_step", BigInteger, nullable=False),  # the latest period whose code was used
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("code_hash", LargeBinary, primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_ms", BigInteger, nullable=False),
)

passkeys = Table(
    "passkeys",
    metadata,
    Column("id", String, primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("credential_id", LargeBinary, nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False),  # COSE
    Column("sign_count", BigInteger, nullable=False),
    Column("host", String, nullable=False),  # under which name of this service it was made, and works
    Column("name", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_used_ms", BigInteger),
)

# consent --------------------------------------------------------------------------------------------------------------

#: The band alone: neither a birthday nor a year of birth is kept.
person_ages = Table(
    "person_ages",
    metadata,
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
    Column("age", String, nullable=False),  # see core.actor.AGES
    Column("set_ms", BigInteger, nullable=False),
)

consents = Table(
    "consents",
    metadata,
    Column("id", String, primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("features", String, nullable=False),  # see access.ages.Feature; parted by commas
    Column("given_by", String, nullable=False),  # guardian | school
    Column("how", String, nullable=False),  # see access.consents.WAYS
    Column("given_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger),  # NULL: until it is withdrawn
    Column("reference", LargeBinary, nullable=False),  # sealed: where the form is, who signed it
    Column("recorded_by", String, nullable=False),
    Column("recorded_ms", BigInteger, nullable=False),
    Column("withdrawn_ms", BigInteger),
    Column("withdrawn_by", String),
)

notices = Table(
    "notices",
    metadata,
    Column("id", String, primary_key=True),
    Column("audience", String, nullable=False),  # see core.actor.Unread
    Column("title", String, nullable=False),
    Column("text", Text, nullable=False),  # Markdown
    Column("digest", String, nullable=False),  # of title and text; what is acknowledged
    Column("blocking", Boolean, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),  # NULL: it is shown
)

#: Every text that a notice has had: what somebody acknowledged can be shown again.
notice_texts = Table(
    "notice_texts",
    metadata,
    Column("notice_id", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("title", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
    Column("notice_id", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("how", String, nullable=False),  # page | paper
    Column("time_ms", BigInteger, nullable=False),
)

declared_uses = Table(
    "declared_uses",
    metadata,
    Column("workspace_id", String, ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True),
    Column("use", String, primary_key=True),  # see access.uses
    Column("declared_ms", BigInteger, nullable=False),
    Column("notice_id", String, nullable=False),  # that its members have to read
)

workspace_overseers = Table(
    "workspace_overseers",
    metadata,
    Column("workspace_id", String, ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True),
)

# provisioning ---------------------------------------------------------------------------------------------------------

#: Whom a roster or a directory knows, by which identifier, and what it said of them the last time.
external_people = Table(
    "external_people",
    metadata,
    Column("source", String, primary_key=True),  # see access.external
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("external_id", String),  # NULL: it has none for them
    Column("role", String, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("about", Text, nullable=False, server_default="{}"),  # JSON: names and addresses, for the directory itself
    Column("age", String),  # the band that a list said the last time; NULL: it said none
    Column("created_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("gone_ms", BigInteger),  # when it said that there is no such person; NULL: there is
    Index("ix_external_people_source_external_id", "source", "external_id", unique=True),
)

# audit ----------------------------------------------------------------------------------------------------------------

#: SQLite keeps a table in the order of a key that is exactly INTEGER: appending and walking need no second tree.
_Position = BigInteger().with_variant(Integer, "sqlite")

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=False),  # leaf index in the Merkle tree, from 0
    Column("leaf_hash", LargeBinary, nullable=False),
    Column("record", LargeBinary, nullable=False),  # the canonical bytes that were hashed
    # copies for searching only; the record is what counts
    Column("time_ms", BigInteger, nullable=False),
    Column("event", String, nullable=False, index=True),
    Column("actor_id", String, nullable=False, index=True),
    Column("request_id", String, index=True),
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("size", _Position, primary_key=True, autoincrement=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("note", Text, nullable=False),  # C2SP signed note
    Column("frontier", LargeBinary, nullable=False),  # hashes of the perfect subtrees, largest first
)

# metering -------------------------------------------------------------------------------------------------------------

usage = Table(
    "usage",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("time_ms", BigInteger, nullable=False, index=True),
    Column("person_id", String, nullable=False, index=True),
    Column("credential_id", String, nullable=False),
    Column("model", String, nullable=False, index=True),
    Column("weights_digest", String, nullable=False),
    Column("dialect", String, nullable=False),
    Column("operation", String, nullable=False),  # see metering.Operation
    Column("outcome", String, nullable=False),  # finished | cancelled | failed
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("cached_tokens", Integer, nullable=False),
    Column("prompt_ms", Float, nullable=False),
    Column("completion_ms", Float, nullable=False),
    Column("waited_ms", Float, nullable=False),
)

# quotas ---------------------------------------------------------------------------------------------------------------

quota_limits = Table(
    "quota_limits",
    metadata,
    Column("id", String, primary_key=True),
    Column("subject", String, nullable=False),  # see metering.quotas.Subject
    Column("subject_id", String, nullable=False),  # empty: everyone
    Column("model", String),  # NULL: any
    Column("measure", String, nullable=False),
    Column("period", String, nullable=False),
    Column("amount", BigInteger, nullable=False),  # in whole units, see metering.quotas
    Column("each", Boolean, nullable=False),
)

quota_balances = Table(
    "quota_balances",
    metadata,
    Column("limit_id", String, primary_key=True),
    Column("who", String, primary_key=True),  # a person's id; empty: all of the subject together
    Column("start_ms", BigInteger, primary_key=True),  # of the window
    Column("used", BigInteger, nullable=False),
)

#: What answers under way hold. A row that is there at a start is of an answer that a crash cut short.
quota_holds = Table(
    "quota_holds",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("time_ms", BigInteger, nullable=False),
    Column("charges", Text, nullable=False),  # JSON: [limit, who, start_ms, amount] of each
)

# chats ----------------------------------------------------------------------------------------------------------------

chats = Table(
    "chats",
    metadata,
    Column("id", String, primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("workspace_id", String, index=True),  # NULL: it is in none
    Column("title", LargeBinary, nullable=False),  # sealed
    Column("model", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False, index=True),
    Column("head", LargeBinary),  # sealed; see vault.heads. NULL: of before there were any
    Index("ix_chats_person_id_updated_ms", "person_id", "updated_ms"),
)

chat_messages = Table(
    "chat_messages",
    metadata,
    Column("id", String, primary_key=True),
    Column("chat_id", String, ForeignKey("chats.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),  # order within the chat, from 0
    Column("role", String, nullable=False),  # system | user | assistant
    Column("content", LargeBinary, nullable=False),  # sealed
    Column("model", String),
    Column("outcome", String),  # finished | length | cancelled | failed; NULL for the person's own messages
    Column("request_id", String),
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_chat_messages_chat_id_position", "chat_id", "position", unique=True),
)

responses = Table(
    "responses",
    metadata,
    Column("id", String, primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("workspace_id", String, index=True),  # NULL: it is of none
    Column("previous_id", String),  # the response it goes on from, which may be gone
    Column("body", LargeBinary, nullable=False),  # sealed JSON: the response object without its output
    Column("events", LargeBinary),  # sealed; JSON, deflated: a background response's stream
    Column("created_ms", BigInteger, nullable=False, index=True),
    Column("head", LargeBinary),  # sealed; see vault.heads. NULL: of before there were any
)

response_items = Table(
    "response_items",
    metadata,
    Column("response_id", String, ForeignKey("responses.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),  # input first, then output
    Column("item_id", String, nullable=False, index=True),
    Column("is_input", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),  # sealed JSON
)

transcripts = Table(
    "transcripts",
    metadata,
    Column("id", String, primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("workspace_id", String, index=True),  # NULL: it is of none
    Column("notes", LargeBinary, nullable=False),  # sealed JSON: the client's own metadata
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False, index=True),
    Column("head", LargeBinary),  # sealed; see vault.heads. NULL: of before there were any
)

transcript_items = Table(
    "transcript_items",
    metadata,
    Column("transcript_id", String, ForeignKey("transcripts.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("item_id", String, nullable=False, index=True),
    Column("body", LargeBinary, nullable=False),  # sealed JSON
)

# serving --------------------------------------------------------------------------------------------------------------

model_settings = Table(
    "model_settings",
    metadata,
    Column("name", String, primary_key=True),
    Column("pinned", Boolean, nullable=False),
)

#: Weights of which nothing is started, because their workers crashed too often; the row goes when they are released.
crashed_weights = Table(
    "crashed_weights",
    metadata,
    Column("digest", String, primary_key=True),  # of all that the worker read
    Column("model", String, nullable=False),  # as it was served
    Column("crashes", Integer, nullable=False),
    Column("how", String, nullable=False),  # the last one ended: a signal, an exit status, or an error's code
    Column("since_ms", BigInteger, nullable=False),
)

# library --------------------------------------------------------------------------------------------------------------

pulls = Table(
    "pulls",
    metadata,
    Column("id", String, primary_key=True),
    Column("source", String, nullable=False),
    Column("name", String),  # asked for; NULL: the one the source suggests
    Column("model", String),  # shelved as
    Column("requested_by", String, nullable=False),  # user name
    Column("state", String, nullable=False),  # running | paused | shelved | quarantined | refused | stopped | cancelled
    Column("step", String),  # where it ended
    Column("digests", Text),  # of what may lie half fetched, with blanks between
    Column("code", String),  # of the error that refused or stopped it
    Column("message", Text),
    Column("hint", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
)

# files ----------------------------------------------------------------------------------------------------------------

files = Table(
    "files",
    metadata,
    Column("id", String, primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("name", LargeBinary, nullable=False),  # sealed
    Column("purpose", String, nullable=False),  # see files.PURPOSES
    Column("size_bytes", BigInteger, nullable=False),
    Column("digest", String, nullable=False),  # sha256:<hex> of the bytes, which lie in the data directory
    Column("created_ms", BigInteger, nullable=False, index=True),
    Column("expires_ms", BigInteger, index=True),
    Column("workspace_id", String, index=True),  # NULL: it is of none
    Column("search", String, index=True),  # pending | ready; NULL: it is not searched
    Column("key_id", String, index=True),  # the key that it was stored with; NULL: with none, or not known
    Column("head", LargeBinary),  # sealed; see vault.heads. NULL: of before there were any
    Index("ix_files_person_id_id", "person_id", "id"),
)

#: The pieces of people's text files that search finds.
file_passages = Table(
    "file_passages",
    metadata,
    Column("id", _Position, primary_key=True, autoincrement=False),  # counted by `files.search`
    Column("file_id", String, ForeignKey("files.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),  # of its first character in the file, from 0
    Column("line", Integer, nullable=False),  # of that character, from 1
    Column("words", Integer, nullable=False),  # how many it has
    Column("body", LargeBinary, nullable=False),  # sealed
    Index("ix_file_passages_file_id_position", "file_id", "position", unique=True),
)

#: Which passages hold a word: the words as keyed hashes, under a key of the person whose file it is.
file_words = Table(
    "file_words",
    metadata,
    Column("word", LargeBinary, primary_key=True),
    Column(
        "passage_id",
        _Position,
        ForeignKey("file_passages.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
        index=True,
    ),
    Column("times", Integer, nullable=False),
    sqlite_with_rowid=False,
)


# batches --------------------------------------------------------------------------------------------------------------

batches = Table(
    "batches",
    metadata,
    Column("id", String, primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("actor_kind", String, nullable=False),  # person | key
    Column("credential_id", String, nullable=False),
    Column("dialect", String, nullable=False),
    Column("endpoint", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("state", String, nullable=False, index=True),  # see batches.BatchState
    Column("ending", String),  # how it will have ended when it is put together
    Column("input_file_id", String),
    Column("output_file_id", String),
    Column("error_file_id", String),
    Column("output_expires_s", Integer),
    Column("total", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("begun_ms", BigInteger),
    Column("finalizing_ms", BigInteger),
    Column("cancelling_ms", BigInteger),
    Column("ended_ms", BigInteger, index=True),
    Column("notes", LargeBinary, nullable=False),  # sealed JSON
    Column("errors", LargeBinary, nullable=False),  # sealed JSON
    Column("workspace_id", String, index=True),  # NULL: it is of none
    Column("purpose_there", String),  # what its lines are asked for in the workspace
    Column("head", LargeBinary),  # sealed; see vault.heads. NULL: of before there were any
    Index("ix_batches_person_id_dialect_id", "person_id", "dialect", "id"),
)

batch_lines = Table(
    "batch_lines",
    metadata,
    Column("batch_id", String, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),  # of the line in the input, from 0
    Column("custom_id", LargeBinary, nullable=False),  # sealed
    Column("outcome", String, nullable=False),  # succeeded | errored | expired | canceled
    Column("status", Integer),
    Column("request_id", String),
    Column("body", LargeBinary),  # sealed; the answer, JSON
)

# vault ----------------------------------------------------------------------------------------------------------------

#: Keys of people, each wrapped by the installation's key. Who is in no row here has nothing that can be read.
data_keys = Table(
    "data_keys",
    metadata,
    Column("person_id", String, primary_key=True),  # no foreign key: they end by `Vault.destroy` alone
    Column("purpose", String, primary_key=True),  # see vault.Purpose
    Column("generation", Integer, primary_key=True),  # the newest one seals
    Column("wrapping_key", String, nullable=False, index=True),  # the installation key's name
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

#: What an upgrade or a change of keys has finished, so that it is not done again.
vault_steps = Table(
    "vault_steps",
    metadata,
    Column("name", String, primary_key=True),
    Column("done_ms", BigInteger, nullable=False),
)

#: Texts that the audit log commits to, where settings ask for them to be kept.
audit_texts = Table(
    "audit_texts",
    metadata,
    Column("nonce", String, primary_key=True),  # the record's, in hex
    Column("name", String, primary_key=True),
    Column("person_id", String, nullable=False, index=True),
    Column("body", LargeBinary, nullable=False),  # sealed
    Column("time_ms", BigInteger, nullable=False, index=True),  # the record's
    Column("workspace_id", String),  # in which it was said; NULL: in none
)

#: Who was erased, when, and what went; the certificate as it was signed.
erasures = Table(
    "erasures",
    metadata,
    Column("person_id", String, primary_key=True),
    Column("time_ms", BigInteger, nullable=False),
    Column("certificate", Text, nullable=False),
)

#: What all that a person keeps comes to, by kind: something older, put back, does not fit it. See vault.heads.
chat_roots = Table(
    "chat_roots",
    metadata,
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
    Column("root", LargeBinary, nullable=False),  # sealed
)

# break glass ----------------------------------------------------------------------------------------------------------

#: Who asked to read what is another's, and what became of it. See access.glass.
openings = Table(
    "openings",
    metadata,
    Column("id", String, primary_key=True),
    Column("asker_id", String, nullable=False, index=True),  # no foreign key: the console is no person
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), index=True),  # NULL: everybody's there
    Column("workspace_id", String, index=True),  # NULL: wherever it is
    Column("purpose", String, nullable=False),
    Column("reason", LargeBinary, nullable=False),  # sealed, under the asker's key
    Column("minutes", Integer, nullable=False),
    Column("second", Boolean, nullable=False),  # a second person has to agree
    Column("state", String, nullable=False, index=True),
    Column("asked_ms", BigInteger, nullable=False),
    Column("ends_ms", BigInteger, nullable=False),
    Column("approver_id", String),
    Column("approved_ms", BigInteger),
    Column("opened_ms", BigInteger),
    Column("closed_ms", BigInteger),
    Column("why", String),  # asker | other | time | bar
)

#: What owners were told of it.
opening_notices = Table(
    "opening_notices",
    metadata,
    Column("opening_id", String, primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("asker_id", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("reason", LargeBinary, nullable=False),  # sealed, under the owner's key
    Column("told_ms", BigInteger, nullable=False),
    Column("ends_ms", BigInteger, nullable=False),
    Column("closed_ms", BigInteger),
    Column("reads", Integer, nullable=False),  # how often something of theirs was read
    Column("seen_ms", BigInteger),
)

# retention ------------------------------------------------------------------------------------------------------------

#: What may not be deleted, however old and whoever wants it, until it is lifted. A row stays when it is.
legal_holds = Table(
    "legal_holds",
    metadata,
    Column("id", String, primary_key=True),
    Column("subject", String, nullable=False),  # person | group | workspace
    Column("subject_id", String, nullable=False, index=True),
    Column("reason", Text, nullable=False),  # sealed under a key of the installation, see access.Seal
    Column("put_by", String, nullable=False),
    Column("put_ms", BigInteger, nullable=False),
    Column("lifted_by", String),
    Column("lifted_reason", Text),  # sealed likewise
    Column("lifted_ms", BigInteger, index=True),
)

#: Whom a hold on a person or a group is on: also who left the group since.
legal_hold_people = Table(
    "legal_hold_people",
    metadata,
    Column("hold_id", String, ForeignKey("legal_holds.id", ondelete="CASCADE"), primary_key=True),
    Column("person_id", String, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("since_ms", BigInteger, nullable=False),
)

#: What people decided about the way out, and what they are asked: one row for a destination and purpose.
egress_entries = Table(
    "egress_entries",
    metadata,
    Column("id", String, primary_key=True),
    Column("purpose", String, nullable=False),
    Column("host", String, nullable=False),
    Column("port", Integer, nullable=False),  # 0: whichever
    Column("verdict", String, nullable=False),  # asked | allow | deny
    Column("inside", Boolean, nullable=False),
    Column("once", Boolean, nullable=False),
    Column("expires_ms", BigInteger),
    Column("asked_by", String),
    Column("asked_ms", BigInteger),
    Column("about", String),
    Column("decided_by", String),
    Column("decided_ms", BigInteger),
    UniqueConstraint("purpose", "host", "port"),
)
