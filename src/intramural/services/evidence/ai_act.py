"""EU AI Act, Regulation (EU) 2024/1689: articles 12, 19 and 26, and what belongs to them. Data."""

from intramural.services.evidence.packs import Pack, Provision


def _rule(place: str, title: str, asks: str, *controls: str, remains: str = "") -> Provision:
    word = "articles" if " " in place else "article"
    return Provision(f"EU AI Act, {word} {place}", title, asks, controls, remains)


AI_ACT = Pack(
    "ai-act",
    "EU AI Act",
    "Regulation (EU) 2024/1689, articles 12, 19 and 26, with 4, 5, 14, 27 and 50. Most of it applies to uses of high "
    "risk; which uses are, and from which day on which article applies, the institution finds out.",
    (
        _rule("4", "AI literacy", "See that who works with AI systems knows enough about them.", "people-informed",
              remains="Teaching them."),
        _rule("5", "Prohibited practices", "Use AI for none of them.",
              remains="Not doing it: what the article prohibits cannot be declared here, and can be asked."),
        _rule("12(1)", "Record-keeping", "The system records events automatically over its lifetime.",
              "log-verifies", "answers-traceable"),
        _rule("12(2)", "Traceability", "What is recorded lets risks be identified and the use be monitored.",
              "answers-traceable", "log-anchored", "disclosures-recorded"),
        _rule("14 and 26(2)", "Human oversight", "Assign it to people with competence, training and authority.",
              "overseen", "outputs-reviewed", remains="Their competence, training, authority and time."),
        _rule("19(1)", "Logs kept by the provider", "Keep logs under one's control for six months at least.",
              "log-kept", remains="Whether the institution is a provider of what it built on this."),
        _rule("26(1)", "Use by the instructions", "Use the system as its instructions for use say.", "models-trusted",
              remains="Having the instructions of each model, and following them."),
        _rule("26(4)", "Input data", "As far as it is under one's control, input data is relevant and sufficiently "
              "representative.", "purposes-named", "guard-health", "guard-education", "answers-traceable",
              remains="Relevance and representativeness. The log has of every input its size, a commitment and the "
              "documents that were used."),
        _rule("26(5)", "Monitoring", "Monitor the operation; inform the provider and authorities of risks and serious "
              "incidents.", "activity-reviewed", "outputs-reviewed", remains="Informing them, and suspending the use."),
        _rule("26(6)", "Logs kept by the deployer", "Keep logs under one's control for six months at least.",
              "log-kept", "log-verifies", "backed-up"),
        _rule("26(7)", "Information of workers", "Before use at work, inform workers and their representatives.",
              "people-informed", remains="Informing representatives, by the rules of the country."),
        _rule("26(9)", "Impact assessment under the GDPR", "Use what the provider says for the assessment.",
              remains="The assessment; `intramural evidence gdpr` has what this installation can say for it."),
        _rule("26(11)", "Information of people about whom it helps to decide", "Tell them of it.",
              "people-informed", "told-of-ai", remains="People who have no account here."),
        _rule("26(12)", "Cooperation with authorities", "Cooperate with them.", "log-verifies", "auditor-named",
              remains="Answering them: `intramural log export` hands out what can be verified elsewhere."),
        _rule("27", "Fundamental rights impact assessment", "Public bodies and some others assess it before "
              "the first use.", remains="The assessment."),
        _rule("50(1)", "Telling people that they talk to an AI", "They are informed, unless it is obvious.",
              "told-of-ai"),
        _rule("50(2)", "Marking what an AI wrote", "Outputs are marked in a machine-readable way.", "answers-labelled",
              remains="What happens to a text when somebody copies it elsewhere."),
    ),
)  # fmt: skip
