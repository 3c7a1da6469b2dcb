"""Each check: gathered facts → `met`, `failed` or `not seen`, and what was seen, in a sentence. Pure.

The first line of a check's docstring says what it looks at; packs hand it out. `not seen` is for what there is nothing
of (no worker runs, no such workspace): it is no failure, and it shows nothing either.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from intramural.core.actor import Label
from intramural.core.retention import DAY_MS, below_floor, floor_sentence
from intramural.services.evidence.facts import Declared, Facts, Place

Outcome = Literal["met", "failed", "not seen"]

#: Guesses of one name's password in an hour: twice what the settings come with. A limit above it limits nothing.
MOST_GUESSES_AN_HOUR = 240
#: A session unused for a working day ends, as the settings come; longer is until tomorrow.
MOST_IDLE_S = 8 * 3600
#: What people keep is held against what it comes to once a month.
VAULT_CHECK_DAYS = 31
#: An overseer who has looked at no answer for so long oversees in name.
REVIEW_DAYS = 31
#: A month, in which programs are replaced and settings changed.
ATTESTATION_DAYS = 31
#: Deleting looks every hour; one round may be missed.
PURGE_MS = 2 * 3_600_000
#: Names listed in a sentence; of the others it says how many.
_LISTED = 5
_NAME_CHARS = 80
#: Others than the owner may look into neither folder.
_OTHERS = 0o077
#: What reads models, or texts of people's: it has no business with a network.
_READERS = frozenset({"worker", "child"})


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check found."""

    outcome: Outcome
    value: str


Check = Callable[[Facts], Seen]


def met(value: str) -> Seen:
    return Seen("met", value)


def failed(value: str) -> Seen:
    return Seen("failed", value)


def nothing(value: str) -> Seen:
    return Seen("not seen", value)


def _if(holds: bool, value: str) -> Seen:
    return met(value) if holds else failed(value)


# what confines --------------------------------------------------------------------------------------------------------


def workers_confined(facts: Facts) -> Seen:
    """What a throwaway child could not do when the service started: network, files, calls to the kernel."""
    return _if(facts.machine.confinement == "full", f"{facts.machine.confinement}: {facts.machine.layers}")


def processes_confined(facts: Facts) -> Seen:
    """What the kernel says of every worker at this moment: network interfaces, seccomp, no new privileges."""
    workers = [each for each in facts.machine.processes if each.role in _READERS]
    if not workers:
        return nothing("No worker runs at this moment.")
    open_ones = [
        each.name for each in workers if {*each.interfaces} - {"lo"} or not each.seccomp or not each.no_new_privileges
    ]
    if open_ones:
        return failed(f"Not confined: {_names(open_ones)}.")
    return met(f"{_number(len(workers), 'process', 'processes')}: no network but their own, seccomp, no new privileges")


def service_sealed(facts: Facts) -> Seen:
    """What the service put in force around itself when it started."""
    machine = facts.machine
    if machine.seal is None:
        return nothing("No service runs here: a command opened the house for a moment.")
    return _if(machine.seal == "full", f"{machine.seal}: {', '.join(machine.seal_layers) or 'nothing'}")


def data_private(facts: Facts) -> Seen:
    """The modes of the data directory and of the secrets in it."""
    modes = facts.machine.data_mode, facts.machine.secrets_mode
    said = f"data directory {modes[0]:04o}, secrets {modes[1]:04o}"
    return _if(not any(each & _OTHERS for each in modes), said)


def attested(facts: Facts) -> Seen:
    """The newest attestation of this installation: when it was made, and its colour."""
    at_ms, colour = facts.machine.attested_ms, facts.machine.attested
    if at_ms is None:
        return failed("None was made.")
    holds = colour != "red" and _lately(facts, at_ms, ATTESTATION_DAYS)
    return _if(holds, f"{colour}, {_age(facts, at_ms, ATTESTATION_DAYS)}")


# where things may go --------------------------------------------------------------------------------------------------


def way_out_decided(facts: Facts) -> Seen:
    """The mode of the way out, as it is in force."""
    way = facts.way
    said = f"{way.egress}; {_number(len(way.recipients), 'destination is', 'destinations are')} allowed"
    return _if(way.egress in ("sealed", "supervised"), said)


def answered_inside(facts: Facts) -> Seen:
    """Which engines answer, as `engines.toml` names them."""
    outside = facts.way.outside
    return failed(f"Outside: {_names(outside)}.") if outside else met("No engine is outside the institution.")


def reached_encrypted(facts: Facts) -> Seen:
    """Where the service listens, and whether a TLS proxy stands in front."""
    way = facts.way
    here = way.listens in ("127.0.0.1", "::1", "localhost")
    how = "behind TLS" if way.https else "from this machine only" if here else "without TLS"
    return _if(here or way.https, f"listens on {way.listens}, {how}")


def reaches_encrypted(facts: Facts) -> Seen:
    """Addresses of other machines in the settings: engines, anchors, the database."""
    plain = facts.way.plain
    return failed(f"Without encryption: {_names(plain)}.") if plain else met("None is named without encryption.")


# what people wrote ----------------------------------------------------------------------------------------------------


def words_sealed(facts: Facts) -> Seen:
    """Whether all that people keep was sealed under keys of their own."""
    return _if(facts.vault.sealed, "sealed" if facts.vault.sealed else "Something an older version kept is in clear.")


def key_locked(facts: Facts) -> Seen:
    """What locks the installation's key, as its file says."""
    lock = facts.vault.lock
    return _if(bool(lock), f"locked by {lock}" if lock else "The key lies in a file, for whoever can read it.")


def kept_whole(facts: Facts) -> Seen:
    """The last time that all was held against what it comes to, and what was not as it was left."""
    vault = facts.vault
    if vault.checked_ms is None:
        return nothing("It was never looked at.")
    said = f"{_day(vault.checked_ms)}: {vault.wrong} not as they were left"
    return _if(vault.wrong == 0 and _lately(facts, vault.checked_ms, VAULT_CHECK_DAYS), said)


def erased_stay_erased(facts: Facts) -> Seen:
    """The list of erased people against the keys that are there."""
    vault = facts.vault
    if not vault.erased:
        return nothing("Nobody was erased yet.")
    return _if(not vault.returned, f"{vault.erased} erased, of {vault.returned} there is a key again")


# the log --------------------------------------------------------------------------------------------------------------


def log_verifies(facts: Facts) -> Seen:
    """The whole log, entry by entry, against its signed checkpoints."""
    log = facts.log
    return failed(log.wrong) if log.wrong else met(f"{log.size} entries, root {log.root}")


def log_anchored(facts: Facts) -> Seen:
    """How long ago a checkpoint was put where this machine's administrator cannot change it."""
    return _if(facts.log.anchors == "green", facts.log.anchored)


def activity_reviewed(facts: Facts) -> Seen:
    """How far the last signed activity review reaches, and how often one is due."""
    log = facts.log
    if not log.review_days:
        return failed("Nobody needs to sign a review (audit.review_every_days is 0).")
    return failed(log.missed_review) if log.missed_review else met(f"due every {log.review_days} days, none is missed")


def _log_kept(facts: Facts, *, label: Label | None) -> Seen:
    places = [each for each in facts.kept.places if label is None or each.label == label]
    if not places:
        return nothing(f"Nothing here is labelled {label}.")
    for each in places:
        if floor := below_floor(each.label, each.days):
            return failed(f"{each.name}: {floor_sentence(floor, each.days['log'])}")
    if facts.log.purged_earlier:
        return failed("Texts of the log were deleted earlier than the law has it; the log says which.")
    began = "not begun" if facts.log.begins_ms is None else f"begins {_day(facts.log.begins_ms)}"
    return met(f"{_number(len(places), 'place', 'places')}; the log {began}, entries are never deleted")


def log_kept(facts: Facts) -> Seen:
    """For how long each place keeps texts of the log, against six months; and what was deleted of them."""
    return _log_kept(facts, label=None)


def log_kept_health(facts: Facts) -> Seen:
    """For how long places labelled `phi` keep texts of the log, against six years; and what was deleted of them."""
    return _log_kept(facts, label="phi")


def log_kept_education(facts: Facts) -> Seen:
    """For how long places labelled `education` keep texts of the log, against the life of the records."""
    return _log_kept(facts, label="education")


def answers_traceable(facts: Facts) -> Seen:
    """The newest answers: whether their entries name model, digest, engine, parameters and rule."""
    log = facts.log
    if not log.answers:
        return nothing("No answer is in the log yet.")
    newest = _number(log.answers, "newest answer", "newest answers")
    return _if(not log.lacking, f"{newest}, of which {log.lacking} lack something")


def disclosures_recorded(facts: Facts) -> Seen:
    """The newest entries about somebody reading what is another's: whether each says whose it is; and the log."""
    log = facts.log
    if log.wrong:
        return failed(log.wrong)
    if not log.disclosures:
        return nothing("Nobody has read what is another's.")
    newest = _number(log.disclosures, "newest entry", "newest entries")
    return _if(not log.unnamed, f"{newest}, of which {log.unnamed} do not say whose")


# who comes in ---------------------------------------------------------------------------------------------------------


def names_unique(facts: Facts) -> Seen:
    """The names of everybody who is here."""
    twice = facts.people.names_twice
    if twice:
        return failed(f"More than once: {_names(twice)}.")
    return met(_number(len(facts.people.people), "person is let in", "people are let in") + ", each name once")


def second_factor(facts: Facts) -> Seen:
    """Whose sign-in asks for more than a password."""
    access = facts.access
    return _if(
        "everyone" in (access.second_factor_for, access.passkey_for),
        f"a second factor for {access.second_factor_for}, a passkey for {access.passkey_for}",
    )


def administrators_by_passkey(facts: Facts) -> Seen:
    """Whose sign-in asks for a passkey, and how many administrators have one."""
    administrators = [each for each in facts.people.people if each.role == "administrator"]
    having = sum(1 for each in administrators if each.passkeys)
    said = f"asked of {facts.access.passkey_for}; {having} of {len(administrators)} administrators have one"
    return _if(facts.access.passkey_for in ("administrators", "everyone"), said)


def guesses_limited(facts: Facts) -> Seen:
    """How many failed sign-ins a name and an address may have."""
    access = facts.access
    tries = f"{access.login_attempts} a name, {access.login_attempts_per_address} an address"
    said = f"{tries}, in {access.login_window_s:g} s"
    if access.login_window_s <= 0:
        return failed(said)
    hourly = access.login_attempts * 3600 / access.login_window_s
    return _if(0 < hourly <= MOST_GUESSES_AN_HOUR and access.login_attempts_per_address > 0, said)


def sessions_end(facts: Facts) -> Seen:
    """After how long a session ends that nobody uses."""
    idle_s = facts.access.session_idle_s
    return _if(0 < idle_s <= MOST_IDLE_S, f"after {idle_s / 60:g} minutes without use")


def shut_out(facts: Facts) -> Seen:
    """Whether the service would let in somebody who was shut out."""
    people = facts.people
    if people.let_in:
        return failed(f"Still let in: {_names(people.let_in)}.")
    if not people.shut_out:
        return nothing("Nobody is shut out.")
    return met(f"{people.shut_out} shut out, none is let in")


def keys_end(facts: Facts) -> Seen:
    """Which keys of programs end by themselves."""
    people = facts.people
    if not people.keys:
        return nothing("There is no key.")
    return _if(not people.endless_keys, f"{people.endless_keys} of {people.keys} keys have no end")


def emergency_possible(facts: Facts) -> Seen:
    """Whether there is somebody who can ask in an emergency, and another to agree where one has to."""
    may_ask = sum(1 for each in facts.people.people if each.role == "administrator")
    may_agree = facts.people.log_readers
    enough = may_ask > 0 and (may_agree > 1 or not facts.people.second_person)
    needed = "has to agree" if facts.people.second_person else "need not agree"
    return _if(enough, f"{may_ask} can ask, {may_agree} can agree; a second person {needed}")


def emergency_by_two(facts: Facts) -> Seen:
    """Whether a second person has to agree before anything of another's is opened."""
    second = facts.people.second_person
    return _if(second, "A second person has to agree." if second else "One administrator is enough.")


def others_unread(facts: Facts) -> Seen:
    """What the policy answers when administrators and auditors ask to read what is another's."""
    readers = facts.people.readers
    return failed(f"Allowed: {_names(readers)}.") if readers else met("Refused, unless an opening lasts.")


def auditor_named(facts: Facts) -> Seen:
    """Who besides administrators can read the log."""
    others = [each.username for each in facts.people.people if each.role == "auditor"]
    return _if(bool(others), _number(len(others), "auditor is", "auditors are") + " let in")


def own_access(facts: Facts) -> Seen:
    """What the policy answers when somebody asks for what is their own: a copy, receipts, who was shown it."""
    refused = facts.people.refused_own
    return failed(f"Refused: {_names(refused)}.") if refused else met("Everybody may have what is their own.")


# how long things stay -------------------------------------------------------------------------------------------------


def kept_for_a_time(facts: Facts) -> Seen:
    """For how many days chats and files are kept in each place."""
    endless = [each.name for each in facts.kept.places if not {"chat", "file"} <= each.days.keys()]
    if endless:
        return failed(f"Kept for ever: {_names(endless)}.")
    return met(f"{_number(len(facts.kept.places), 'place has', 'places have')} days for chats and files")


def deleted_in_time(facts: Facts) -> Seen:
    """How the last round of deleting what is due went."""
    kept = facts.kept
    if kept.purge_error:
        return failed(f"It ended early: {kept.purge_error}.")
    if kept.purged_ms is None:
        return nothing("No round has ended since the service started.")
    return _if(facts.now_ms - kept.purged_ms <= PURGE_MS, f"a round ended {_time(kept.purged_ms)}")


def texts_limited(facts: Facts) -> Seen:
    """Whether texts are kept beside the log, and until when."""
    if not facts.kept.texts_beside_log:
        return met("None is kept: the log has sizes and commitments.")
    endless = [each.name for each in facts.kept.places if "log" not in each.days]
    return failed(f"Kept for ever: {_names(endless)}.") if endless else met("Kept for a time in every place.")


def backed_up(facts: Facts) -> Seen:
    """When a backup was last finished."""
    at, days = facts.kept.backed_up_ms, facts.evidence.backup_days
    return failed("None was finished.") if at is None else _if(_lately(facts, at, days), _age(facts, at, days))


def restore_rehearsed(facts: Facts) -> Seen:
    """When somebody last said that they restored a backup, or this installation was restored from one."""
    at, days = facts.kept.rehearsed_ms, facts.evidence.rehearsal_days
    return failed("Nobody said that they did.") if at is None else _if(_lately(facts, at, days), _age(facts, at, days))


# the guard ------------------------------------------------------------------------------------------------------------


def _guarded(facts: Facts, label: Label) -> Seen:
    if not _of(facts, label):
        return nothing(f"Nothing here is labelled {label}.")
    passing = facts.models.lets_pass[label]
    if passing:
        return failed(f"Let pass: {_names(passing)}.")
    return met("What tells who somebody is gets replaced or stopped, as docs/guard.md lists it.")


def guard_health(facts: Facts) -> Seen:
    """What becomes of each class of finding under the label `phi`."""
    return _guarded(facts, "phi")


def guard_education(facts: Facts) -> Seen:
    """What becomes of each class of finding under the label `education`."""
    return _guarded(facts, "education")


def guard_reads_names(facts: Facts) -> Seen:
    """Whether a model of the language looks for names where labels ask for it."""
    labels = [label for label in _SENSITIVE if _of(facts, label)]
    if not labels:
        return nothing("Nothing here is labelled phi or education.")
    blind = sorted({each for label in labels for each in facts.models.blind[label]})
    return (
        failed(f"Nobody looks for: {_names(blind)}.")
        if blind
        else met("Names, places and organisations are looked for.")
    )


def purposes_named(facts: Facts) -> Seen:
    """Which workspaces labelled `phi` or `education` ask for a purpose with every request."""
    places = [each for label in _SENSITIVE for each in _of(facts, label) if each.id and not each.closed]
    if not places:
        return nothing("No open workspace is labelled phi or education.")
    without = [each.name for each in places if not each.purposes]
    return failed(f"None is asked for in: {_names(without)}.") if without else met(f"asked for in all {len(places)}")


# people and what they are told ----------------------------------------------------------------------------------------


def consent_asked(facts: Facts) -> Seen:
    """What the policy answers when a child under 13 without a guardian's consent asks a model."""
    rule = facts.people.child
    said = f"below {facts.consent.below} a guardian consents"
    return met(f"Refused ({rule}); {said}.") if rule else failed(f"Allowed; {said}.")


def ages_young(facts: Facts) -> Seen:
    """As what people count whose age nobody said."""
    return _if(facts.consent.unknown_age != "adult", f"as {facts.consent.unknown_age}")


def told_of_ai(facts: Facts) -> Seen:
    """Whether the notice that one talks to an AI is shown to everybody."""
    return _if(facts.models.notice_of_ai, facts.consent.ai_notice)


def answers_labelled(facts: Facts) -> Seen:
    """Whether answers say that an AI wrote them."""
    return _if(facts.consent.label_answers, "labelled" if facts.consent.label_answers else "not labelled")


def people_informed(facts: Facts) -> Seen:
    """Which notices of the institution's own are shown."""
    titles = facts.models.notices
    return met(_names(titles)) if titles else failed("No notice of the institution's own is shown to anybody.")


def overseen(facts: Facts) -> Seen:
    """Who oversees each workspace that is declared for a use of high risk, and is let in."""
    return _declared(facts, lambda each: each.overseers > 0, "Nobody oversees")


def outputs_reviewed(facts: Facts) -> Seen:
    """When an answer was last reviewed in each workspace that is declared for a use of high risk."""
    return _declared(facts, partial(_reviewed, facts), f"No answer reviewed in {REVIEW_DAYS} days")


def models_trusted(facts: Facts) -> Seen:
    """How well the origin of a model has to be established before it is loaded, and of those that are here."""
    trust = facts.models.required_trust
    here = ", ".join(f"{name}: {level}" for name, level in sorted(facts.models.trusts.items())[:_LISTED])
    return _if(trust != "local", f"{trust} is required; {here or 'no model is here'}")


_SENSITIVE: tuple[Label, ...] = ("phi", "education")


def _of(facts: Facts, label: Label) -> list[Place]:
    return [each for each in facts.kept.places if each.label == label]


def _declared(facts: Facts, holds: Callable[[Declared], bool], otherwise: str) -> Seen:
    declared = facts.models.declared
    if not declared:
        return nothing("No workspace is declared for a use of high risk.")
    lacking = [each.name for each in declared if not holds(each)]
    return failed(f"{otherwise}: {_names(lacking)}.") if lacking else met(f"all {len(declared)}")


def _reviewed(facts: Facts, declared: Declared) -> bool:
    return declared.reviewed_ms is not None and _lately(facts, declared.reviewed_ms, REVIEW_DAYS)


def _lately(facts: Facts, at_ms: int, days: int) -> bool:
    return facts.now_ms - at_ms <= days * DAY_MS


def _age(facts: Facts, at_ms: int, days: int) -> str:
    return f"{_time(at_ms)}, {(facts.now_ms - at_ms) // DAY_MS} days ago; at most {days}"


def _names(names: Iterable[str]) -> str:
    listed: Sequence[str] = list(names)
    more = len(listed) - _LISTED
    return ", ".join(each[:_NAME_CHARS] for each in listed[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _number(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
