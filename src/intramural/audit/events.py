"""The name of every event, each with one sentence that says when it is written."""

from enum import StrEnum


class Event(StrEnum):
    """What can happen. The value is what stands in the log; `doc` says when it is written."""

    doc: str

    def __new__(cls, name: str, doc: str) -> "Event":
        member = str.__new__(cls, name)
        member._value_ = name
        member.doc = doc
        return member

    SETUP_COMPLETED = "setup.completed", "The first administrator was created."

    LOGIN_SUCCEEDED = "login.succeeded", "Somebody signed in."
    LOGIN_FAILED = "login.failed", "Somebody failed to sign in."
    LOGIN_AWAITS = "login.awaits", "Somebody showed who they are and is asked for more before they are signed in."
    LOGOUT = "logout", "Somebody signed out."
    LOGOUT_ELSEWHERE = "logout.elsewhere", "A provider said that somebody signed out there; their sessions here ended."
    SESSION_REVOKED = "session.revoked", "A session was ended from elsewhere."

    PERSON_CREATED = "person.created", "A person was added."
    PERSON_CHANGED = "person.changed", "A person's role or name was changed."
    PERSON_DISABLED = "person.disabled", "A person was barred from signing in, or let in again."
    PERSON_REMOVED = "person.removed", "A person was removed."
    PASSWORD_CHANGED = "password.changed", "A password was changed, by its owner or an administrator."

    FACTOR_BEGUN = "factor.begun", "Somebody began to set up a second factor."
    FACTOR_ADDED = "factor.added", "A second factor of somebody's counts from now on."
    FACTOR_REMOVED = "factor.removed", "A second factor was taken away, by its person or by an administrator."
    RECOVERY_CODES_MADE = "recovery_codes.made", "Somebody was given fresh codes for paper; those before are void."
    RECOVERY_CODE_USED = "recovery_code.used", "Somebody used up one of their codes on paper."

    PERSON_INVITED = "person.invited", "A link was made by which somebody signs in as this person by a provider."
    IDENTITY_TIED = "identity.tied", "An account at a provider became a person's way to sign in here."
    IDENTITY_UNTIED = "identity.untied", "An account at a provider ceased to be a person's way to sign in here."

    PERSON_LINKED = "person.linked", "A list or a directory from elsewhere knows a person who was here, from now on."
    ROSTER_CHECKED = "roster.checked", "A list of people was compared with who is here; nothing was changed."
    ROSTER_BEGUN = "roster.begun", "A list of people is to be taken in; durable before its first change."
    ROSTER_ENDED = "roster.ended", "A list of people was taken in, or that ended early; the facts hold how far it came."

    KEY_CREATED = "key.created", "An API key was made."
    KEY_REVOKED = "key.revoked", "An API key was revoked."

    GROUP_CREATED = "group.created", "A group of people was made."
    GROUP_CHANGED = "group.changed", "A group was renamed, or put into another one."
    GROUP_REMOVED = "group.removed", "A group was removed; its people stayed."
    GROUP_JOINED = "group.joined", "A person was put into a group, or made its manager, or no longer."
    GROUP_LEFT = "group.left", "A person was taken out of a group."
    ROLE_CHANGED = "role.changed", "A role of the institution's own was made, or given other permissions."
    ROLE_REMOVED = "role.removed", "A role of the institution's own was removed."
    WORKSPACE_CREATED = "workspace.created", "A workspace was made."
    WORKSPACE_CHANGED = "workspace.changed", "A workspace was given other rules."
    WORKSPACE_CLOSED = "workspace.closed", "A workspace was closed to everybody, with all that is of it."
    WORKSPACE_OPENED = "workspace.opened", "A closed workspace was opened again."
    WORKSPACE_REMOVED = "workspace.removed", "A workspace was removed."
    WORKSPACE_JOINED = "workspace.joined", "A person or a group was made a member of a workspace."
    WORKSPACE_LEFT = "workspace.left", "A membership of a workspace was ended."
    POLICY_LOADED = "policy.loaded", "The institution's own rules came into force; the facts hold the file's digest."
    AGES_LOADED = (
        "ages.loaded",
        "What people of each age may came into force; the facts hold what is relaxed, where, and why.",
    )
    LABELS_OFF = "labels.off", "The service started with answers that do not say that an AI wrote them."
    AGE_SET = "person.age_set", "A person's band of ages was written down; neither birthday nor year is kept."
    CONSENT_RECORDED = "consent.recorded", "A guardian's consent was recorded; it counts from then on."
    CONSENT_WITHDRAWN = "consent.withdrawn", "A guardian's consent was withdrawn; what it allowed ends."
    CONSENT_READ = "consent.read", "Somebody else was shown a person's consents with what is noted of them."
    NOTICE_CHANGED = "notice.changed", "A notice was made, or given another text; the facts hold its digest."
    NOTICE_ENDED = "notice.ended", "A notice is shown to nobody any more; its texts are kept."
    NOTICE_READ = "notice.read", "Somebody acknowledged a version of a notice; the facts hold its digest."
    USE_DECLARED = "use.declared", "A workspace was declared for a use of high risk; the facts hold what that set."
    USE_WITHDRAWN = "use.withdrawn", "A declared use was taken back."
    OVERSEER_NAMED = "overseer.named", "Somebody was named to oversee what a workspace is declared for."
    OVERSEER_RELIEVED = "overseer.relieved", "Somebody oversees a workspace no more."
    OUTPUT_REVIEWED = "output.reviewed", "A person reviewed an answer; the facts hold which, and what they decided."
    POLICY_EXPLAINED = "policy.explained", "Somebody asked what another person may do, and why not."

    MODEL_REQUESTED = "model.requested", "A model was asked to be brought into the library."
    MODEL_MEASURED = "model.measured", "The beginning of a model was fetched, to say whether it fits; nothing is kept."
    MODEL_SHELVED = "model.shelved", "A model passed verification and inspection and is in the library."
    MODEL_QUARANTINED = (
        "model.quarantined",
        "A model is in the library but is not loaded: inspection found something to decide about.",
    )
    MODEL_CRASHED = (
        "model.crashed",
        "A model's workers crashed so often that its weights are in quarantine; the facts hold how the last one ended.",
    )
    MODEL_RELEASED = "model.released", "An administrator let a quarantined model be loaded; the facts hold the reason."
    MODEL_REFUSED = "model.refused", "A model did not pass a check on its way into the library; nothing of it was kept."
    MODEL_PULL_STOPPED = "model.pull_stopped", "A pull ended early for a reason outside; what came is kept."
    MODEL_PULL_CHANGED = "model.pull_changed", "A pull was paused, resumed or cancelled."
    MODEL_SIGNED = "model.signed", "A model in the library was signed with the institution's own key."
    MODEL_VERIFIED = "model.verified", "A model's bytes and signature were checked again; the facts hold the verdict."
    BUNDLE_EXPORTED = "bundle.exported", "Models were written into a bundle, for a machine without network."
    BUNDLE_IMPORTED = "bundle.imported", "A bundle was checked; it was taken in whole, or refused and changed nothing."
    LIBRARY_SYNCED = "library.synced", "The library was compared with a models.lock and made to match it."
    MODEL_REMOVED = "model.removed", "A model was removed from the library."
    MODEL_LOAD_REFUSED = "model.load_refused", "A model was not loaded: its bytes failed a check, or policy forbids it."
    MODEL_LOADED = "model.loaded", "A worker began serving a model."
    MODEL_UNLOADED = "model.unloaded", "A worker was stopped."
    MODEL_PINNED = "model.pinned", "A model was pinned in memory, or its pin was taken away."
    MODEL_DERIVED = (
        "model.derived",
        "A model of the library got another name, or words and numbers of its own for what requests leave open.",
    )
    BLOB_RECEIVED = "blob.received", "A file was uploaded, for a model to be made of it."
    MODEL_PUSH_ASKED = (
        "model.push_asked",
        "A model is to be copied to a registry on another machine; durable before the first byte leaves.",
    )
    MODEL_PUSHED = "model.pushed", "A model was copied to a registry on another machine, or that ended early."
    MODEL_KEPT = "model.kept", "How long a loaded model stays in memory while idle was changed."

    ENGINE_ADDED = "engine.added", "An engine on another machine was named in engines.toml; found at a start."
    ENGINE_CHANGED = "engine.changed", "What engines.toml says of an engine changed; found at a start."
    ENGINE_REMOVED = "engine.removed", "An engine was taken out of engines.toml; found at a start."

    CHAT_ASKED = "chat.asked", "A generation was asked for; durable before the first byte of its answer leaves."
    CHAT_ANSWERED = "chat.answered", "A generation ended; durable before the last byte of its answer leaves."
    EMBEDDING_ASKED = "embedding.asked", "Embeddings were asked for."
    EMBEDDING_ANSWERED = "embedding.answered", "Embeddings were computed, or failed."
    RERANK_ASKED = "rerank.asked", "Documents were to be ranked for a query."
    RERANK_ANSWERED = "rerank.answered", "They were ranked, or it failed."
    RECEIPT_READ = "receipt.read", "Somebody other than its owner was given the receipt of an answer."
    PERSON_EXPORTED = "person.exported", "A person took a copy of all that is kept of them."
    VAULT_SEALED = "vault.sealed", "What an older version kept in clear was sealed under people's own keys."
    VAULT_KEY_CHANGING = "vault.key_changing", "The installation's key is about to be changed."
    VAULT_KEY_CHANGED = (
        "vault.key_changed",
        "Every data key is wrapped by a new key of the installation; the old one is gone.",
    )
    DATA_KEY_CHANGING = "vault.data_key_changing", "A person's data key is about to be changed."
    DATA_KEY_CHANGED = "vault.data_key_changed", "All that is kept of a person is sealed with a new data key."
    VAULT_CHECKED = (
        "vault.checked",
        "All kept conversations were held against their heads, and against the log; the facts hold what was found.",
    )
    HEADS_MADE = (
        "vault.heads_made",
        "Chats of an older version were summed up; from now on one that is not as it was left is noticed.",
    )
    HISTORY_ACCEPTED = (
        "vault.history_accepted",
        "An administrator took a person's kept conversations as they lie, after something about them was wrong.",
    )

    BREAKGLASS_ASKED = (
        "breakglass.asked",
        "Somebody asked to read what is another's, for a reason: its commitment is in the entry.",
    )
    BREAKGLASS_APPROVED = "breakglass.approved", "A second person agreed that somebody may read what is another's."
    BREAKGLASS_REFUSED = "breakglass.refused", "A second person refused it, or took back that they agreed."
    BREAKGLASS_OPENED = "breakglass.opened", "From now on, until a time, somebody may read what is another's."
    BREAKGLASS_TOLD = "breakglass.told", "The owner was told of it, in their account: the same moment as it was opened."
    BREAKGLASS_READ = (
        "breakglass.read",
        "Somebody read what is another's; the facts name the opening and the owner. Durable before they see it.",
    )
    BREAKGLASS_CLOSED = "breakglass.closed", "It is over; the fact `why` says by whom or what: a hand, time, a bar."
    BREAKGLASS_EXPIRED = "breakglass.expired", "It was asked for and never opened in time."
    BREAKGLASS_SEEN = "breakglass.seen", "The owner said that they have seen the notice."

    CHAT_READ = "chat.read", "Somebody other than its owner read a kept conversation."
    CHAT_DELETED = "chat.deleted", "A kept conversation was deleted."
    FILE_STORED = "file.stored", "A person's file was uploaded, or made here for them."
    FILE_READ = "file.read", "The content of a stored file was sent to its owner."
    FILE_DELETED = "file.deleted", "A stored file was deleted, with its bytes."
    FILE_EXPIRED = "file.expired", "A stored file's time was over; it was deleted, with its bytes."
    DOCUMENTS_SEARCHED = "documents.searched", "A person's own files were searched for them."
    IMAGE_FETCHED = "image.fetched", "An image that a request named by its address was fetched, from an allowed host."
    BATCH_CREATED = "batch.created", "A batch of requests was asked for; each of its lines has entries of its own."
    BATCH_CANCELLED = "batch.cancelled", "A batch's owner asked for it to end early."
    BATCH_ENDED = "batch.ended", "A batch ended; the facts hold how, and how many lines were answered."
    BATCH_DELETED = "batch.deleted", "A batch was deleted, with its results."
    RESPONSE_CANCELLED = "response.cancelled", "A response that was being written in the background was ended."
    RESPONSE_DELETED = "response.deleted", "A kept response was deleted."
    RESPONSES_EXPIRED = "responses.expired", "Responses and conversations of programs had been kept long enough."
    CONVERSATION_CHANGED = "conversation.changed", "An item of a program's conversation was deleted."
    CONVERSATION_DELETED = "conversation.deleted", "A program's conversation was deleted with all its items."
    QUOTAS_OPENED = "quotas.opened", "Quotas were read at a start; the facts hold how many answers a crash left open."
    QUOTA_SET = "quota.set", "A limit was made, or its amount changed."
    QUOTA_REMOVED = "quota.removed", "A limit was taken away, with its balances."
    QUOTA_REFUSED = "quota.refused", "A limit had no room for a request; once for each person and window."
    LEGAL_HOLD_PUT = "legal_hold.put", "A legal hold was put on a person, a group or a workspace."
    LEGAL_HOLD_LIFTED = "legal_hold.lifted", "A legal hold was lifted."
    RETENTION_BEGUN = "retention.begun", "Somebody had what is due deleted at once, without waiting for the hour."
    RETENTION_STOPPED = "retention.stopped", "Somebody stopped the deleting of what is due; it goes on within the hour."
    RETENTION_PURGED = (
        "retention.purged",
        "What was somebody's had been kept long enough and was deleted; the facts say which class, how much, of when, "
        "and under which rule.",
    )
    RETENTION_REFUSED = (
        "retention.refused",
        "The log was to be deleted earlier than the law has it kept; the facts name the rule. Nothing was changed.",
    )
    ACCESS_REFUSED = "access.refused", "Policy refused an act; the fact `rule` says which rule."

    GUARD_STOPPED = (
        "guard.stopped",
        "The guard refused a question under the label of its data; the facts hold classes and counts, never a value.",
    )

    SERVICE_STARTED = "service.started", "The service started."
    SERVICE_STOPPED = "service.stopped", "The service stopped in good order."
    SANDBOX_DENIED = (
        "sandbox.denied",
        "A confined process tried what none of ours ever tries, and was refused; one for each process and call.",
    )
    SANDBOX_DOWNGRADED = (
        "sandbox.downgraded",
        "A setting allows workers or the service less confinement than `full`; the facts hold its value, where it "
        "stands, and whether anything is missing because of it.",
    )
    ENGINES_OLDER = (
        "engines.older_allowed",
        "Named engines may be older than the oldest build allowed, or not say theirs, as settings allow.",
    )
    SERVICE_DOWNGRADED = (
        "service.downgraded",
        "Another setting gives up what is promised as it comes; the target is the setting.",
    )

    EGRESS_CONNECTED = (
        "egress.connected",
        "A connection to another machine was made; the facts hold its purpose and address, and which entry or setting "
        "allows it. Durable before the first byte of it.",
    )
    EGRESS_CLOSED = (
        "egress.closed",
        "Such a connection ended; the facts hold its bytes out and in, and its length.",
    )
    EGRESS_FAILED = "egress.failed", "A connection to another machine was allowed and did not come about."
    EGRESS_REFUSED = "egress.refused", "Nothing was connected to: the fact `code` says why, `by` which entry or mode."
    EGRESS_ASKED = "egress.asked", "Nothing was connected to, and administrators are asked whether it may be."
    EGRESS_ALLOWED = "egress.allowed", "An administrator allowed connections to a host, for a purpose."
    EGRESS_DENIED = "egress.denied", "An administrator denied connections to a host, for a purpose."
    EGRESS_FORGOTTEN = (
        "egress.forgotten",
        "An entry about a host was taken off the list, or used up: the fact `why`.",
    )
    EGRESS_UNSUPERVISED = (
        "egress.unsupervised",
        "The service started with `egress.mode = open`: what nobody denied goes out without being asked about.",
    )

    BACKUP_BEGUN = "backup.begun", "A backup of everything is to be written; durable before its first byte."
    BACKUP_MADE = "backup.made", "A backup of everything was finished; the facts hold its name, and what is in it."
    BACKUP_REHEARSED = (
        "backup.rehearsed",
        "Somebody said that they restored a backup elsewhere to see that it works; the target names the backup.",
    )
    BACKUP_RESTORED = "backup.restored", "Everything here was restored from a backup; the facts hold which."
    DATABASE_MOVED = "database.moved", "Everything in the database was moved into another; the last entry of the move."

    AUDIT_KEY_MADE = (
        "audit.key_made",
        "The log has another signing key from now on, for the second signature; the facts hold its fingerprint.",
    )
    AUDIT_ANCHORED = (
        "audit.anchored",
        "A checkpoint was put where the service cannot change it; the facts say where, and of how many entries.",
    )
    AUDIT_ANCHOR_FAILED = (
        "audit.anchor_failed",
        "A checkpoint could not be put somewhere, or what came back does not hold; once until it works again.",
    )
    ATTESTATION_MADE = (
        "attestation.made",
        "An account of this installation was made and signed; the facts hold its hash, its colour and the nonce.",
    )
    AUDIT_READ = "audit.read", "Somebody read the log."
    AUDIT_EXPORTED = "audit.exported", "Entries of the log were handed out in another form; durable before the first."
    REPORT_READ = "report.read", "Somebody was given a report made of the log; the facts say which, and of when."
    REVIEW_SIGNED = "review.signed", "Somebody signed that they have reviewed the activity of a period."
    EVIDENCE_CHECKED = (
        "evidence.checked",
        "Controls were looked at and some came to something else than before; the facts hold which, and to what.",
    )
    EVIDENCE_MADE = "evidence.made", "An evidence pack was made; the facts hold its digest, and which controls failed."
    AUDIT_VERIFIED = "audit.verified", "Somebody had the log verified; the facts hold the verdict."
