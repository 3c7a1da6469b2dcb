"""What bounds somebody's use of models besides rights: their age, their guardian's consent, notices they have to have
read, and oversight of what a workspace is declared for. Pure; asked by `policy.decide` alone.
"""

from collections.abc import Collection

from intramural.access.ages import AgeRules, Feature, Limits
from intramural.access.decision import Decision
from intramural.core.actor import Actor, Unread

#: What is off, in a sentence.
_WHAT: dict[Feature, str] = {
    Feature.USE: "asking models",
    Feature.KEEP: "having conversations kept",
    Feature.TEMPORARY: "asking without anything being kept",
    Feature.FILES: "uploading files and batches",
    Feature.TOOLS: "having a model call functions",
    Feature.AUDIO: "audio",
}
#: What to do instead.
_INSTEAD: dict[Feature, str] = {
    Feature.KEEP: "Ask without keeping it (a temporary chat, `store: false`)",
    Feature.TEMPORARY: "Use a chat that is kept",
    Feature.FILES: "Ask in a chat, without a file",
    Feature.TOOLS: "Ask without `tools`",
}
_ASK = "ask whoever manages your group"


def age_refuses(
    actor: Actor, ages: AgeRules, features: Collection[Feature], model: str | None, *, uses: bool, week_minute: int
) -> Decision | None:
    """What somebody's age refuses. `features` are needed for it; `model`: that it is about; `uses`: one is asked now,
    at a minute of the week.
    """
    age = actor.standing.age
    limits = ages.limits(age, actor.place)
    for feature in features:
        if feature in limits.off:
            instead = _INSTEAD.get(feature)
            return Decision(
                False,
                "off_for_age",
                f"{_WHAT[feature].capitalize()} is off for {_whom(actor, ages)}.",
                f"{instead}, or {_ASK}." if instead else f"{_ASK.capitalize()}.",
            )
    if model is not None and limits.models is not None and model not in limits.models:
        listed = ", ".join(sorted(limits.models))
        message = f"The model {model!r} is not for {_whom(actor, ages)}."
        return Decision(False, "model_not_for_age", message, f"You may use: {listed}.")
    return _asking_refused(actor, ages, limits, week_minute) if uses else None


def _asking_refused(actor: Actor, ages: AgeRules, limits: Limits, week_minute: int) -> Decision | None:
    if limits.purposes is not None and actor.purpose not in limits.purposes:
        listed = " or ".join(sorted(limits.purposes))
        message = f"For {_whom(actor, ages)} models answer for a listed purpose alone."
        return Decision(False, "purpose_not_for_age", message, f"Send X-Intramural-Purpose: {listed}.")
    if limits.hours is not None and not limits.hours.has(week_minute):
        message = f"For {_whom(actor, ages)} models answer at these hours: {limits.hours.text}."
        return Decision(False, "not_at_this_hour", message, "Ask again within them.")
    return None


def consent_refuses(actor: Actor, ages: AgeRules, features: Collection[Feature]) -> Decision | None:
    """What a guardian has not consented to, or no longer."""
    limits = ages.limits(actor.standing.age, actor.place)
    for feature in features:
        if feature in limits.consent and feature not in actor.standing.consents:
            return Decision(
                False,
                "consent_needed",
                f"For {_whom(actor, ages)}, {_WHAT[feature]} needs the consent of a parent or guardian, which is not "
                "recorded, has run out or was withdrawn.",
                "Ask your school or institution for the form; whoever manages your group records it.",
            )
    return None


def notice_refuses(actor: Actor, address: str) -> Decision | None:
    """A notice that they have to have read. `address`: of the page, in front of the place where it is shown."""
    for notice in actor.standing.unread:
        if concerns(actor, notice):
            return Decision(
                False,
                "notice_unread",
                f"Before models answer you, you have to have read the notice {notice.title!r}.",
                f"Sign in on the page ({address}/#/settings/account), read and acknowledge it there, and ask again.",
            )
    return None


def oversight_refuses(actor: Actor) -> Decision | None:
    """What a workspace is declared for, without anybody who oversees it."""
    place = actor.place
    if place is None or not place.uses or place.overseen:
        return None
    return Decision(
        False,
        "oversight_missing",
        f"The workspace {place.name!r} is declared for {', '.join(place.uses)}, and nobody oversees that.",
        "Ask an administrator to name who does (`intramural use oversee`).",
    )


def concerns(actor: Actor, notice: Unread) -> bool:
    """Whether a notice is for this person, where they ask now."""
    return for_audience(actor, notice.audience)


def for_audience(actor: Actor, audience: str) -> bool:
    """Whether `actor` belongs to an audience, where they ask now."""
    kind, _, which = audience.partition(":")
    match kind:
        case "everyone":
            return True
        case "role":
            return actor.role == which
        case "group":
            return which in actor.groups
        case "workspace":
            return actor.workspace == which
        case "age":
            return actor.standing.age == which
    return False


def _whom(actor: Actor, ages: AgeRules) -> str:
    age = actor.standing.age
    where = f" in the workspace {actor.place.name!r}" if actor.place is not None else ""
    said = f"whose age is not known (counted as {ages.unknown})" if age == "unknown" else f"of the age band {age}"
    return f"people {said}{where}"
