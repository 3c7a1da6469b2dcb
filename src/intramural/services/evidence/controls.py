"""Every control: one plain sentence, the check that shows it, what turns it off, and what to do when it fails. Data."""

from collections.abc import Mapping
from dataclasses import dataclass

from intramural.services.evidence import checks
from intramural.services.evidence.checks import Check


@dataclass(frozen=True, slots=True)
class Control:
    """`says`: what holds while it is met. `off`: what makes it fail. `mend`: what to do then."""

    id: str
    says: str
    check: Check
    off: str
    mend: str

    @property
    def looks(self) -> str:
        """What the check looks at."""
        return (self.check.__doc__ or "").partition("\n")[0]


_ALL = (
    Control(
        "workers-confined", "Every process that runs a model is confined by the kernel as far as this product can.",
        checks.workers_confined, "sandbox.required_level below `full`, or a kernel that lacks a layer",
        "`intramural doctor` names the layer that is missing; set sandbox.required_level to `full`.",
    ),
    Control(
        "processes-confined", "The processes that read models have no network and no new privileges.",
        checks.processes_confined, "sandbox.required_level = `no-netns`", "Set sandbox.required_level to `full`.",
    ),
    Control(
        "service-sealed", "The service itself has given up what it does not need.",
        checks.service_sealed, "sandbox.seal other than `full`", "Set sandbox.seal to `full`, and restart.",
    ),
    Control(
        "data-private", "The data directory is readable by the service's own user alone.",
        checks.data_private, "a mode that lets others in", "chmod 700 on the data directory and on `secrets` in it.",
    ),
    Control(
        "attested", "Somebody has lately looked at what runs here and what it reaches, and nothing was wrong.",
        checks.attested, "no attestation for a month, or a red one",
        "`intramural attest` makes one, and says what is red (docs/attestation.md).",
    ),
    Control(
        "way-out-decided", "Nothing is sent to another machine that nobody here decided on.",
        checks.way_out_decided, "egress.mode = `open`", "Set egress.mode to `supervised` or `sealed`.",
    ),
    Control(
        "answered-inside", "Questions are answered on the institution's own machines.",
        checks.answered_inside, "an engine in engines.toml with `outside`", "Take the engine out of engines.toml.",
    ),
    Control(
        "reached-encrypted", "What people send to the service is encrypted on its way, or does not leave the machine.",
        checks.reached_encrypted, "server.host of a network without server.https",
        "Put a TLS proxy in front and set server.https.",
    ),
    Control(
        "reaches-encrypted", "What the service sends to other machines is encrypted on its way.",
        checks.reaches_encrypted, "an address without TLS in engines.toml, anchors.* or storage.url",
        "Use https (of the database: sslmode=verify-full).",
    ),
    Control(
        "words-sealed", "What people write lies encrypted on the disk, under a key for each of them.",
        checks.words_sealed, "a database of an older version, before it was sealed", "Restart: it is sealed then.",
    ),
    Control(
        "key-locked", "The key to everything is locked by something that does not lie beside it.",
        checks.key_locked, "vault.lock = `none`, or `auto` without a passphrase",
        "Set vault.passphrase_file or vault.lock, then `intramural vault change-key`.",
    ),
    Control(
        "kept-whole", "What people keep is as they left it.",
        checks.kept_whole, "something in the database that was changed past the service, or a month without a look",
        "`intramural vault check` names it; restore it from a backup, or accept it as it lies.",
    ),
    Control(
        "erased-stay-erased", "Who was erased cannot be read again.",
        checks.erased_stay_erased, "an older backup put back without the list of erased people",
        "Restart with the newest list (vault.erased_file): they are erased again.",
    ),
    Control(
        "log-verifies", "The log of what happened is whole and unchanged.",
        checks.log_verifies, "an entry that was edited, deleted, moved or cut off",
        "Keep everything as it is, and compare with checkpoints held outside: docs/audit.md.",
    ),
    Control(
        "log-anchored", "Somebody outside holds a checkpoint of the log that is at most a day old.",
        checks.log_anchored, "no anchors.*, or one that cannot be reached",
        "Name an anchor (docs/anchors.md); `intramural log anchor` tries it now.",
    ),
    Control(
        "activity-reviewed", "Somebody regularly reviews what happened, and signs it.",
        checks.activity_reviewed, "audit.review_every_days = 0, or a review that is missed",
        "`intramural report hipaa-activity-review --sign-off NOTE`.",
    ),
    Control(
        "log-kept", "The log is kept for six months at least.",
        checks.log_kept, "retention of `log` below the floor, written past the service",
        "Give every workspace the days that the law has, or none: docs/lifecycle.md.",
    ),
    Control(
        "log-kept-health", "The log about patients' data is kept for six years at least.",
        checks.log_kept_health, "retention of `log` below 2,192 days where the label is `phi`",
        "Give these workspaces 2,192 days, or none.",
    ),
    Control(
        "log-kept-education", "The log about pupils' records is kept as long as these.",
        checks.log_kept_education, "retention of `log` below that of chats and files where the label is `education`",
        "Give these workspaces as many days for `log` as for chats and files, or none.",
    ),
    Control(
        "answers-traceable", "Of every answer the log says which model made it, of which bytes, and under which rule.",
        checks.answers_traceable, "an engine elsewhere, of whose models nothing is known",
        "Look at the receipts of the newest answers (docs/receipts.md).",
    ),
    Control(
        "disclosures-recorded", "Whoever reads what is another's is in the log, with whose it was.",
        checks.disclosures_recorded, "an entry that does not name the owner, or a log that does not verify",
        "`intramural audit verify`, then `intramural report ferpa-99.32`.",
    ),
    Control(
        "names-unique", "Everybody has a name and an identifier of their own.",
        checks.names_unique, "a name given twice, past the service", "Rename one of them.",
    ),
    Control(
        "second-factor", "Nobody comes in with a password alone.",
        checks.second_factor, "access.second_factor_for other than `everyone`",
        "Set access.second_factor_for to `everyone`.",
    ),
    Control(
        "administrators-by-passkey", "Administrators sign in by passkey.",
        checks.administrators_by_passkey, "access.passkey_for = `nobody`",
        "Set access.passkey_for to `administrators`.",
    ),
    Control(
        "guesses-limited", "Passwords cannot be guessed at will.",
        checks.guesses_limited, "access.login_attempts raised, or its window shortened",
        "Set access.login_attempts and access.login_window_s back.",
    ),
    Control(
        "sessions-end", "A session that nobody uses ends within a working day.",
        checks.sessions_end, "access.session_idle_s above 8 hours", "Set access.session_idle_s lower.",
    ),
    Control(
        "shut-out", "Who was shut out is not let in.",
        checks.shut_out, "somebody who is shut out and whom the service lets in",
        "Remove them, and report the mistake.",
    ),
    Control(
        "keys-end", "Every key for programs has an end.",
        checks.keys_end, "a key without an end", "Make keys with `--days`, and revoke the others.",
    ),
    Control(
        "emergency-possible", "In an emergency somebody can read what is needed.",
        checks.emergency_possible, "nobody to ask, or with break_glass.second_person nobody else to agree",
        "Let a second administrator or an auditor in.",
    ),
    Control(
        "emergency-by-two", "Nobody opens what is another's alone.",
        checks.emergency_by_two, "break_glass.second_person = false", "Set break_glass.second_person.",
    ),
    Control(
        "others-unread", "Administrators and auditors cannot read what people wrote.",
        checks.others_unread, "a policy that lets them", "Report the mistake: no setting does this.",
    ),
    Control(
        "auditor-named", "Somebody who is no administrator reads the log.",
        checks.auditor_named, "nobody with the role auditor", "`intramural user add NAME --role auditor`.",
    ),
    Control(
        "own-access", "Everybody can have a copy of what is kept of them, and see who was shown it.",
        checks.own_access, "a rule in policy.toml that refuses it", "Take the rule out of policy.toml.",
    ),
    Control(
        "kept-for-a-time", "What people keep goes after a time that was decided.",
        checks.kept_for_a_time, "a place without days for chats or files",
        "Set retention.chat_days and retention.file_days, and `--keep` of each workspace.",
    ),
    Control(
        "deleted-in-time", "What is due is deleted.",
        checks.deleted_in_time, "a round of deleting that ended early, or none for two hours",
        "`intramural retention status` says what ended it.",
    ),
    Control(
        "texts-limited", "Texts beside the log are kept for a time, or not at all.",
        checks.texts_limited, "audit.record_prompts without days for `log`",
        "Set audit.record_prompts to false, or retention.log_days and `--keep log=` of each workspace.",
    ),
    Control(
        "backed-up", "There is a recent backup.",
        checks.backed_up, "no backup finished within evidence.backup_days", "`intramural backup FOLDER`, every night.",
    ),
    Control(
        "restore-rehearsed", "Somebody has tried to restore a backup.",
        checks.restore_rehearsed, "nobody said so within evidence.rehearsal_days",
        "Restore one elsewhere (docs/databases.md), then `intramural evidence rehearsed NAME`.",
    ),
    Control(
        "guard-health", "What tells who a patient is does not reach a model as it was written.",
        checks.guard_health, "guard.rules that let a class pass under `phi`", "Take the rule out of guard.rules.",
    ),
    Control(
        "guard-education", "What tells who a pupil is does not reach a model as it was written.",
        checks.guard_education, "guard.rules that let a class pass under `education`",
        "Take the rule out of guard.rules.",
    ),
    Control(
        "guard-names", "Names are looked for in every text about patients and pupils.",
        checks.guard_reads_names, "guard.names = `off`, or the extra `intramural[guard]` not installed",
        "Install `intramural[guard]` and set guard.names to `required`.",
    ),
    Control(
        "purposes-named", "Who asks about patients or pupils says what for.",
        checks.purposes_named, "a workspace labelled `phi` or `education` without purposes",
        "`intramural workspace set NAME --purpose …`.",
    ),
    Control(
        "consent-asked", "Children use models only with a guardian's consent.",
        checks.consent_asked, "consent.below = 0, or an [[age]] table that asks for none",
        "Set consent.below to 13 or more.",
    ),
    Control(
        "ages-young", "Whose age nobody said counts as a minor.",
        checks.ages_young, "consent.unknown_age = `adult`", "Set consent.unknown_age to `13-15` or `under-13`.",
    ),
    Control(
        "told-of-ai", "Everybody is told that they talk to an AI.",
        checks.told_of_ai, "consent.ai_notice = `off`", "Set consent.ai_notice to `shown` or `blocking`.",
    ),
    Control(
        "answers-labelled", "Answers say that an AI wrote them.",
        checks.answers_labelled, "consent.label_answers = false", "Set consent.label_answers.",
    ),
    Control(
        "people-informed", "The institution tells people in its own words how it uses AI.",
        checks.people_informed, "no notice of the institution's own", "`intramural notice set …` (docs/consent.md).",
    ),
    Control(
        "overseen", "Somebody oversees every use of high risk.",
        checks.overseen, "a declared workspace whose overseers are all shut out",
        "`intramural use oversee WORKSPACE PERSON`.",
    ),
    Control(
        "outputs-reviewed", "Those who oversee look at answers.",
        checks.outputs_reviewed, "no review in a declared workspace for a month",
        "An overseer reviews one: `POST /intramural/v1/reviews` (docs/consent.md).",
    ),
    Control(
        "models-trusted", "Models are loaded only if their origin is established.",
        checks.models_trusted, "library.required_trust = `local`",
        "Set library.required_trust to `pinned`, `attested` or `signed` (docs/trust.md).",
    ),
)  # fmt: skip

CONTROLS: Mapping[str, Control] = {each.id: each for each in _ALL}
