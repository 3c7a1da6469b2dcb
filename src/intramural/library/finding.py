"""What is found about chat templates, in words; `template` finds it, in the confined process."""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec


class Danger(StrEnum):
    """What a template may not do. The values are error codes and never change their meaning."""

    SIZE = "template_size"
    DEPTH = "template_depth"
    SYNTAX = "template_syntax"
    CHARACTERS = "template_characters"  # direction marks and invisible code points: a reader sees another text
    ADDRESS = "template_address"  # a URL or IP address written into every conversation
    IMPORT = "template_import"
    UNDERSCORES = "template_underscores"  # the way from any object to the interpreter
    FILTER = "template_filter"
    TEST = "template_test"
    CALL = "template_call"
    METHOD = "template_method"
    LOOP = "template_loop"
    RECURSION = "template_recursion"
    COST = "template_cost"
    GROWTH = "template_growth"
    CONTENT_BRANCH = "template_content_branch"  # says something of its own when a person's text has some word in it


Severity = Literal["refused", "quarantined"]

#: What an administrator may release. All else is refused whatever anyone says.
RELEASABLE = frozenset({
    Danger.CHARACTERS, Danger.ADDRESS, Danger.FILTER, Danger.TEST, Danger.CALL, Danger.METHOD, Danger.LOOP,
    Danger.RECURSION, Danger.COST, Danger.GROWTH, Danger.CONTENT_BRANCH,
})  # fmt: skip


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One reason not to serve a template: `code` is a `Danger`, `line` counts from 1, `field` is the key it is in."""

    code: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,64}\Z")]
    line: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
    message: Annotated[str, msgspec.Meta(max_length=200)]
    severity: Severity
    field: Annotated[str, msgspec.Meta(max_length=256)] = "tokenizer.chat_template"
