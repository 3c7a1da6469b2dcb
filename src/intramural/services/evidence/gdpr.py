"""GDPR, Regulation (EU) 2016/679. Data. The record of article 30 and the inputs of article 35 are made in `record`."""

from intramural.services.evidence.packs import Pack, Provision


def _rule(place: str, title: str, asks: str, *controls: str, remains: str = "") -> Provision:
    word = "articles" if " " in place else "article"
    return Provision(f"GDPR, {word} {place}", title, asks, controls, remains)


GDPR = Pack(
    "gdpr",
    "GDPR",
    "Regulation (EU) 2016/679: the record of processing (article 30) as this installation is configured, what an "
    "impact assessment (article 35) can take from it, and evidence for the articles below. What is outside this "
    "installation is not in it.",
    (
        _rule("5(1)(b)", "Purpose limitation", "Collect for specified purposes, and use it for no others.",
              "purposes-named", remains="Which purposes are legitimate."),
        _rule("5(1)(c)", "Data minimisation", "Use no more than is necessary.",
              "guard-health", "guard-education", "guard-names", "texts-limited",
              remains="What people are told to leave out. Redaction finds part of what tells who somebody is."),
        _rule("5(1)(e)", "Storage limitation", "Keep it no longer than is necessary.",
              "kept-for-a-time", "deleted-in-time", remains="Which time is necessary."),
        _rule("5(1)(f)", "Integrity and confidentiality", "Protect it from unauthorised use, loss and damage.",
              "words-sealed", "others-unread", "kept-whole"),
        _rule("5(2)", "Accountability", "Be able to show that the principles are kept.",
              "log-verifies", "log-anchored", "answers-traceable", "log-kept"),
        _rule("6", "Lawfulness", "Have a legal basis for every processing.", remains="The legal basis."),
        _rule("8(1)", "Children's consent", "Below the age that the state chose, have who holds parental "
              "responsibility consent.", "consent-asked", "ages-young",
              remains="Verifying who consented (article 8(2))."),
        _rule("12 to 14", "Information to people", "Tell people what is done with their data.",
              "people-informed", "told-of-ai", remains="The words, and all that articles 13 and 14 list."),
        _rule("15 and 20", "Access and portability", "Give people a copy of what is theirs.", "own-access",
              "disclosures-recorded", remains="People who are written about and have no account here."),
        _rule("17", "Erasure", "Erase on request, where the article says so.", "erased-stay-erased", "deleted-in-time",
              remains="Deciding about requests, and telling those who received the data (article 19)."),
        _rule("25", "Protection by design and by default", "By default process only what is necessary, and for people "
              "whom it concerns.", "texts-limited", "others-unread", "way-out-decided"),
        _rule("28", "Processors", "Use only processors that give sufficient guarantees, under a contract.",
              "answered-inside", remains="The contracts with recipients that the record lists."),
        _rule("32(1)(a)", "Security: encryption", "As is appropriate, encrypt.",
              "words-sealed", "key-locked", "reached-encrypted", "reaches-encrypted"),
        _rule("32(1)(b)", "Security: confidentiality, integrity, availability, resilience",
              "Ensure them on an ongoing basis.",
              "workers-confined", "processes-confined", "service-sealed", "data-private", "second-factor",
              "administrators-by-passkey", "guesses-limited", "sessions-end", "models-trusted",
              remains="The machine, its building, and the network around it."),
        _rule("32(1)(c)", "Security: restoring", "Be able to restore access in a timely manner after an incident.",
              "backed-up", "restore-rehearsed"),
        _rule("32(1)(d)", "Security: regular testing", "Regularly test and evaluate the measures.",
              "restore-rehearsed", "activity-reviewed", "attested",
              remains="Evaluating them; packs of some months are material."),
        _rule("32(4)", "People who act under the controller's authority", "They process only on its instructions.",
              "emergency-by-two", "auditor-named", "shut-out", "keys-end", "names-unique",
              remains="The instructions."),
        _rule("33", "Notifying a breach", "Notify the authority within 72 hours.", "activity-reviewed", "log-verifies",
              remains="Noticing what happens outside this service, and notifying."),
        _rule("44", "Transfers to third countries", "Transfer only under the conditions of chapter V.",
              "answered-inside", "way-out-decided", remains="Where the recipients in the record are."),
    ),
)  # fmt: skip
