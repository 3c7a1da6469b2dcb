"""Under which heading the help lists a command: forty-eight in a row say nothing to whoever comes new."""

from collections.abc import Mapping

from cyclopts import App, Group

#: In the order of a first day, each with its commands.
HEADINGS: Mapping[str, tuple[str, ...]] = {
    "Begin": ("serve", "run", "chat", "connect", "doctor", "top", "version"),
    "Models": ("search", "fit", "pull", "ls", "show", "ps", "rm"),
    "Whether models can be trusted": ("inspect", "verify", "release", "sign", "sync", "bundle", "sbom"),
    "People and what they may": ("user", "people", "group", "role", "workspace", "key", "quota", "policy"),
    "Rules for people": ("age", "consent", "notice", "use", "guard"),
    "What happened, and proof of it": ("audit", "log", "report", "attest", "evidence", "egress", "witness"),
    "What is kept": ("backup", "restore", "db", "retention", "hold", "vault", "break-glass"),
}


def put_under_headings(cli: App) -> None:
    """Sort the commands of `cli` under `HEADINGS`; one that is named there and missing is a KeyError."""
    for order, (heading, names) in enumerate(HEADINGS.items()):
        group = Group(heading, sort_key=order)
        for place, name in enumerate(names):
            cli[name].group = group
            cli[name].sort_key = place
    about = Group("About this program", sort_key=len(HEADINGS))
    for flag in ("--help", "--version"):
        cli[flag].group = about
