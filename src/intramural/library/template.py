"""An auditor of chat templates: parses Jinja, never renders it.

A chat template is a program that came with the weights. The engine will run it on every conversation, so it may only
do what chat templates need: walk over the messages and tools, test roles, and write their text between markers. What
it may not do is in `finding.Danger`; each finding is of one of two severities:

- *refused*: no chat template needs it, and it reaches out of the template or past the auditor itself (the way to the
  interpreter, other templates, what cannot be parsed). Nobody can release such a file.
- *quarantined*: some honest templates do it, and so do hostile ones (a macro that calls itself, a branch on a person's
  words). The file is kept but not served until an administrator releases it with a reason.

The parser recurses with the nesting of its input, so nesting is bounded from the token stream before it runs, and the
tree is walked with a list, not with recursion.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

import msgspec
from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.ext import Extension, do, loopcontrols
from jinja2.parser import Parser

from intramural.library.descent import comes_to_an_end, has_only_trees, looped, root_of
from intramural.library.finding import RELEASABLE, Danger, Finding


def _finding(danger: Danger, line: int, message: str) -> Finding:
    return Finding(danger.value, line, message[:MAX_MESSAGE], "quarantined" if danger in RELEASABLE else "refused")


MAX_TEMPLATE_BYTES = 64 << 10
#: In one file: the one that is used, and those for tools, retrieval and the like.
MAX_TEMPLATES = 16
#: Each is followed wherever it leads.
MAX_MACROS = 64
MAX_MESSAGE = 200
#: Of one template: more of them say nothing more.
MAX_FINDINGS = 50
MAX_DEPTH = 64
#: `not not not …` and `a if b else c if d else …` recurse in the parser without a bracket.
MAX_CHAIN = 32
#: Steps of one rendering, taking every list of the conversation to have `LIST_ITEMS` items.
MAX_COST = 300_000_000
LIST_ITEMS = 32
MAX_CONSTANT_LOOP = 64
#: No chat template counts this far; a range or a repetition could.
MAX_NUMBER = 256
MAX_LOOPED_TEXT = 64
#: How many times longer than the conversation a variable may become in sixteen rounds of every assignment.
MAX_GROWTH = 20_000
GROWTH_ROUNDS = 16

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]{1,15}://|\bwww\.|\b\d{1,3}(?:\.\d{1,3}){3}\b", re.IGNORECASE)
_MARKUP = re.compile(r"\s*(?:[<\[{|/(][^\s].{0,62}[>\]}|)]|<\S{1,62}|\S{1,62}>|\W*)\s*", re.DOTALL)
_WORD = re.compile(r"\w", re.UNICODE)
_PLAIN_CONTROL = frozenset("\n\r\t")
_HIDDEN = frozenset({"Cf", "Cc", "Co", "Cs"})

_FILTERS = frozenset({
    "abs", "capitalize", "count", "default", "d", "dictsort", "escape", "e", "first", "float", "groupby", "indent",
    "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr",
    "replace", "reverse", "round", "safe", "select", "selectattr", "sort", "string", "sum", "title", "tojson",
    "trim", "truncate", "unique", "upper",
})  # fmt: skip
_TESTS = frozenset({
    "boolean", "callable", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "gt", "in",
    "integer", "iterable", "le", "lower", "lt", "mapping", "ne", "none", "number", "odd", "sameas", "sequence",
    "string", "true", "undefined", "upper", "==", "!=", "<", ">", "<=", ">=",
})  # fmt: skip
_FUNCTIONS = frozenset({"raise_exception", "strftime_now", "namespace", "range", "dict", "joiner"})
_METHODS = frozenset({
    "append", "capitalize", "count", "endswith", "extend", "find", "get", "index", "items", "isalpha", "isdigit",
    "isnumeric", "isspace", "join", "keys", "lower", "lstrip", "next", "removeprefix", "removesuffix", "replace",
    "rfind", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper", "update", "values",
})  # fmt: skip
#: The parts of a message which hold what somebody wrote.
_CONTENT = frozenset({"content", "text", "reasoning_content", "reasoning", "thinking", "arguments"})
#: The fields by which templates tell the parts of a message from each other.
_PART_FIELDS = frozenset({
    "audio", "audio_url", "file", "image", "image_url", "input_audio", "input_image", "text", "video", "video_url",
})  # fmt: skip
#: Fields that say what something is, whoever wrote it.
_KINDS = frozenset({"type", "role"})


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks the assistant's words for training; here it is just its body."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares it so

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


_ENVIRONMENT = Environment(extensions=[loopcontrols, do, _Generation], autoescape=False)  # noqa: S701 - never renders


def audit(template: str, field: str = "tokenizer.chat_template") -> tuple[Finding, ...]:
    """The reasons not to serve `template`, the key `field` of its file; empty when it is sound.

    In the order found, those that nobody may allow first; at most `MAX_FINDINGS`.
    """
    found = sorted(_found(template), key=lambda each: each.severity == "quarantined")[:MAX_FINDINGS]
    return tuple(msgspec.structs.replace(each, field=field) for each in found)


def _found(template: str) -> tuple[Finding, ...]:
    before = tuple(_before_parsing(template))
    if any(each.severity == "refused" for each in before):
        return before
    try:
        tree = Parser(_ENVIRONMENT, template).parse()
    except TemplateSyntaxError as error:
        return (*before, _finding(Danger.SYNTAX, error.lineno, f"{error.message}."))
    except (RecursionError, ValueError, OverflowError) as error:  # too deep, or a number of thousands of digits
        return (*before, _finding(Danger.SYNTAX, 1, f"It cannot be parsed ({type(error).__name__})."))
    return (*before, *_in_tree(tree))


def _before_parsing(template: str) -> Iterator[Finding]:
    if len(template.encode("utf-8", "surrogatepass")) > MAX_TEMPLATE_BYTES:
        yield _finding(Danger.SIZE, 1, f"It is longer than {MAX_TEMPLATE_BYTES} bytes.")
        return
    for number, line in enumerate(template.split("\n"), 1):
        hidden = [c for c in line if unicodedata.category(c) in _HIDDEN and c not in _PLAIN_CONTROL]
        if hidden:
            yield _finding(Danger.CHARACTERS, number, f"It has the invisible character U+{ord(hidden[0]):04X}.")
    try:
        tokens = list(_ENVIRONMENT.lex(template))
    except TemplateSyntaxError as error:
        yield _finding(Danger.SYNTAX, error.lineno, f"{error.message}.")
        return
    too_deep = _too_deep(tokens)
    if too_deep:
        yield _finding(Danger.DEPTH, too_deep, f"It is nested more than {MAX_DEPTH} deep.")


_OPENING_BLOCKS = frozenset({"if", "for", "macro", "call", "filter", "block", "with", "autoescape", "generation"})


def _too_deep(tokens: list[tuple[int, str, str]]) -> int:
    """The line where nesting passes the limit, or 0. Counts what makes the parser recurse, rather too much."""
    brackets = blocks = run = elses = 0
    begun = setting = False
    for line, kind, text in tokens:
        if kind == "whitespace":
            continue
        if kind in ("block_begin", "variable_begin"):
            brackets = run = elses = 0
        if begun and kind == "name":
            blocks += (text in _OPENING_BLOCKS) - (text.startswith("end") and blocks > 0)
            setting = text == "set"
        begun = kind == "block_begin"
        if kind == "operator":
            brackets += (text in "([{") - (text in ")]}")
        elses += kind == "name" and text in ("else", "if")
        setting = setting and text != "="
        if setting and kind == "block_end":  # {% set x %}…{% endset %}
            blocks, setting = blocks + 1, False
        run = run + 1 if text in ("not", "-", "+") else 0
        if max(brackets, blocks) > MAX_DEPTH or max(run, elses) > MAX_CHAIN:
            return line
    return 0


def _in_tree(tree: nodes.Template) -> Iterator[Finding]:
    stack: list[tuple[nodes.Node, int]] = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            yield _finding(Danger.DEPTH, node.lineno, f"It is nested more than {MAX_DEPTH} deep.")
            return  # what follows recurses
        stack.extend((child, depth + 1) for child in node.iter_child_nodes())
    if sum(1 for _ in tree.find_all(nodes.Macro)) > MAX_MACROS:
        yield _finding(Danger.SIZE, 1, f"It has more than {MAX_MACROS} macros.")
        return
    known = _Names.of(tree)
    if len(known.macros) < sum(1 for _ in tree.find_all(nodes.Macro)):
        yield _finding(Danger.CALL, 1, "It defines a macro twice.")
    for scope, its_nodes in _scopes(tree):
        for node in its_nodes:
            yield from _of_node(node, known, scope)
    if known.recursive:
        yield _finding(Danger.RECURSION, 1, f"The macro {known.recursive!r} calls itself.")
        return  # its cost has no bound
    cost = _Cost(known).of(tree)
    if cost > MAX_COST:
        yield _finding(Danger.COST, 1, f"One answer could take {cost} steps to render.")
    if _growth(tree) > MAX_GROWTH:
        yield _finding(Danger.GROWTH, 1, "A text in it grows out of proportion to the conversation.")


@dataclass(frozen=True, slots=True)
class _Names:
    """What the template's own names mean."""

    macros: dict[str, nodes.Macro]
    content: dict[str, frozenset[str]]  # by macro, and `_TOP`: variables that hold what somebody wrote
    parts: dict[str, frozenset[str]]  # likewise: variables that hold one part of a message, as an image or a text
    words: frozenset[str]  # variables that hold the template's own words
    long_texts: frozenset[str]  # variables that hold more than `MAX_LOOPED_TEXT` characters of the template's own
    recursive: str | None  # a macro that calls itself, for which no end was proved
    descending: frozenset[str]  # macros that call themselves and come to an end

    @staticmethod
    def of(tree: nodes.Template) -> "_Names":
        macros = {macro.name: macro for macro in tree.find_all(nodes.Macro)}
        assigned = list(_assignments(tree.find_all(nodes.Node)))
        texts = {
            (name, each.value) for name, value in assigned for each in _said(value) if isinstance(each, nodes.Const)
        }
        words = frozenset(name for name, text in texts if _is_word(text))
        long = frozenset(name for name, text in texts if isinstance(text, str) and len(text) > MAX_LOOPED_TEXT)
        calls = _calls(macros)
        unique = len(macros) == sum(1 for _ in tree.find_all(nodes.Macro))
        alone = [name for name in macros if name in calls[name] and _calls_itself_only(name, calls)]
        proved = bool(alone) and unique and has_only_trees(tree)
        descending = frozenset(name for name in alone if proved and comes_to_an_end(macros[name]))
        content = _content(tree, macros)
        return _Names(
            macros, content, _parts(tree, macros, content), words, long, _find_recursion(calls, descending), descending
        )


#: The scope outside all macros. No macro can have this name.
_TOP = ""


def _scopes(tree: nodes.Template) -> list[tuple[str, list[nodes.Node]]]:
    """The nodes outside all macros, and those of each; a macro's name, arguments and defaults are its own."""
    found: dict[str, list[nodes.Node]] = {_TOP: []}
    stack: list[tuple[nodes.Node, str]] = [(tree, _TOP)]
    while stack:
        node, scope = stack.pop()
        if isinstance(node, nodes.Macro):
            scope = node.name
        found.setdefault(scope, []).append(node)
        stack.extend((child, scope) for child in reversed(list(node.iter_child_nodes())))
    return list(found.items())


def _content(tree: nodes.Template, macros: dict[str, nodes.Macro]) -> dict[str, frozenset[str]]:
    """Which variables hold what somebody wrote: copies of it, and parameters that it is passed on as."""
    scopes = _scopes(tree)
    assigned = {scope: list(_assignments(its_nodes)) for scope, its_nodes in scopes}
    own: dict[str, set[str]] = {_TOP: set()}
    for macro in macros.values():
        own[macro.name] = {arg.name for arg in macro.args} | {target for target, _ in assigned[macro.name]}
    passed = [(scope, *each) for scope, its_nodes in scopes for each in _passed(its_nodes, macros)]
    content: dict[str, set[str]] = {scope: set() for scope, _ in scopes}
    for _ in range(6):  # a copy of a copy of a copy …
        for scope, its_assignments in assigned.items():
            seen = content[scope] | (content[_TOP] - own[scope])
            content[scope] |= {name for name, value in its_assignments if _touches_content(value, seen)}
        for scope, callee, parameter, value in passed:
            if _touches_content(value, content[scope] | (content[_TOP] - own[scope])):
                content[callee].add(parameter)
    return {scope: frozenset(content[scope] | (content[_TOP] - own[scope])) for scope, _ in scopes}


def _parts(
    tree: nodes.Template, macros: dict[str, nodes.Macro], content: dict[str, frozenset[str]]
) -> dict[str, frozenset[str]]:
    """Variables that are only ever one item of what somebody wrote as it came: of a list a part, of a text a letter."""
    scopes = _scopes(tree)
    made: set[tuple[str, str]] = set()  # (scope, variable): not as it came, so perhaps a list of a text's words
    for scope, its_nodes in scopes:
        made |= {(scope, name) for name, value in _assignments(its_nodes) if _root(value) is None}
        made |= {(callee, name) for callee, name, value in _passed(its_nodes, macros) if _root(value) is None}
    found: dict[str, frozenset[str]] = {}
    for scope, its_nodes in scopes:
        items: set[str] = set()
        own = {arg.name for each in its_nodes if isinstance(each, nodes.Macro) for arg in each.args}
        others = set(own)
        for each in its_nodes:
            if isinstance(each, nodes.For | nodes.Assign | nodes.AssignBlock):
                is_item = isinstance(each, nodes.For) and _touches_content(each.iter, content[scope])
                root = _root(each.iter) if isinstance(each, nodes.For) else None
                as_it_came = (
                    is_item and root is not None and not {(scope, root), (scope if root in own else _TOP, root)} & made
                )
                (items if as_it_came else others).update(_targets(each.target))
        found[scope] = frozenset(items - others)
    return found


def _root(node: nodes.Node) -> str | None:
    """The variable that `node` takes something out of, with nothing done to it."""
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        node = node.node
    return node.name if isinstance(node, nodes.Name) else None


def _passed(its_nodes: Iterable[nodes.Node], macros: dict[str, nodes.Macro]) -> Iterator[tuple[str, str, nodes.Node]]:
    """(macro, parameter, value) for every argument of every call of a macro."""
    for call in its_nodes:
        if isinstance(call, nodes.Call) and isinstance(call.node, nodes.Name) and call.node.name in macros:
            parameters = [arg.name for arg in macros[call.node.name].args]
            for parameter, value in zip(parameters, call.args, strict=False):
                yield call.node.name, parameter, value
            for keyword in call.kwargs:
                yield call.node.name, keyword.key, keyword.value


def _assignments(its_nodes: Iterable[nodes.Node]) -> Iterator[tuple[str, nodes.Node]]:
    for each in its_nodes:
        match each:
            case nodes.Assign(target=target, node=value) | nodes.For(target=target, iter=value):
                yield from ((name, value) for name in _targets(target))
            case nodes.AssignBlock(target=target, body=body):
                for name in _targets(target):
                    yield name, nodes.Block(name, body, False, False, lineno=each.lineno)


def _targets(target: nodes.Node) -> Iterator[str]:
    if isinstance(target, nodes.Name):
        yield target.name
    elif isinstance(target, nodes.NSRef):
        yield f"{target.name}.{target.attr}"
    elif isinstance(target, nodes.Tuple):
        for item in target.items:
            yield from _targets(item)


def _reference(node: nodes.Node) -> str | None:
    """The variable `node` reads: `name`, or `name.attribute` of a namespace."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name):
        return f"{node.node.name}.{node.attr}"
    return None


def _field(node: nodes.Node) -> str | None:
    """The field that `node` takes out of something: `x.field` or `x["field"]`."""
    if isinstance(node, nodes.Getattr):
        return node.attr
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        return node.arg.value
    return None


def _every(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    yield from node.find_all(nodes.Node)


def _said(node: nodes.Node) -> Iterator[nodes.Node]:
    """As `_every`, without the names of fields."""
    stack = [node]
    while stack:
        each = stack.pop()
        yield each
        is_field = isinstance(each, nodes.Getattr | nodes.Getitem) and _field(each) is not None
        stack.extend(list(each.iter_child_nodes())[:1] if is_field else each.iter_child_nodes())


def _touches_content(node: nodes.Node, content: set[str] | frozenset[str]) -> bool:
    """Whether a message's text is part of the expression (its type or presence alone do not count)."""
    stack = [node]
    while stack:
        each = stack.pop()
        if isinstance(each, nodes.Test) and each.name in (
            "string",
            "defined",
            "none",
            "mapping",
            "iterable",
            "sequence",
        ):
            continue
        field = _field(each)
        if _reference(each) in content or field in _CONTENT:
            return True
        if field not in _KINDS:
            stack.extend(each.iter_child_nodes())
    return False


def _calls(macros: dict[str, nodes.Macro]) -> dict[str, set[str]]:
    """Which macros each macro mentions: any mention of a macro's name counts as a call."""
    return {
        name: {each.name for each in macro.find_all(nodes.Name) if each.name in macros}
        for name, macro in macros.items()
    }


def _find_recursion(calls: dict[str, set[str]], besides: frozenset[str]) -> str | None:
    """A macro not in `besides` that reaches itself through calls."""
    return next((name for name in calls if name not in besides and name in _reached(calls[name], calls)), None)


def _calls_itself_only(name: str, calls: dict[str, set[str]]) -> bool:
    """Whether no other macro leads `name` back to itself."""
    return name not in _reached(calls[name] - {name}, calls)


def _reached(begin: Set[str], calls: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    ahead = set(begin)
    while ahead:
        reached |= ahead
        ahead = set().union(*(calls[name] for name in ahead)) - reached
    return reached


def _of_node(node: nodes.Node, known: _Names, scope: str) -> Iterator[Finding]:
    """Findings that one node gives by itself."""

    def found(danger: Danger, message: str) -> Iterator[Finding]:
        yield _finding(danger, node.lineno, message)

    match node:
        case nodes.Import() | nodes.FromImport() | nodes.Include() | nodes.Extends():
            yield from found(Danger.IMPORT, "It loads another template.")
        case nodes.TemplateData(data=str(text)) | nodes.Const(value=str(text)):
            yield from _of_text(node, text)
        case nodes.Name(name=name) | nodes.Getattr(attr=name) | nodes.NSRef(attr=name) if name.startswith("__"):
            yield from found(Danger.UNDERSCORES, f"It reaches for {name!r}.")
        case nodes.Filter(name=name) if name not in _FILTERS or _maps_attr(node):
            yield from found(Danger.FILTER, f"The filter {name!r} is not one that chat templates need.")
        case nodes.Test(name=name) if name not in _TESTS:
            yield from found(Danger.TEST, f"The test {name!r} is not one that chat templates need.")
        case nodes.CallBlock():
            yield from found(Danger.CALL, "It hands a piece of itself to a macro.")
        case nodes.Call():
            yield from _of_call(node, known)
        case nodes.For():
            yield from _of_loop(node, known)
        case nodes.Pow():
            yield from found(Danger.COST, "It raises to a power.")
        case nodes.Mul() if not _indents(node):
            yield from found(Danger.COST, "It multiplies.")
        case nodes.Const(value=int(number)) if abs(number) > MAX_NUMBER:
            yield from found(Danger.COST, f"It uses the large number {str(number)[:20]}.")
        case nodes.If() | nodes.CondExpr() if _speaks_on_content(node, known, scope):
            yield from found(Danger.CONTENT_BRANCH, "It adds words of its own when a message holds certain words.")


def _of_text(node: nodes.Node, text: str) -> Iterator[Finding]:
    if _ADDRESS.search(text):
        yield _finding(Danger.ADDRESS, node.lineno, "It contains a network address.")
    if re.search(r"__\w+__", text) or (isinstance(node, nodes.Const) and text.startswith("__")):
        yield _finding(Danger.UNDERSCORES, node.lineno, "It spells the name of an interpreter's inner part.")
    if any(unicodedata.category(c) in _HIDDEN and c not in _PLAIN_CONTROL for c in text):
        yield _finding(Danger.CHARACTERS, node.lineno, "It has an invisible character, written as an escape.")


def _maps_attr(node: nodes.Filter) -> bool:
    """`map("attr", …)` is the banned filter `attr` by another way, and so is any filter that is named by a value."""
    if node.name not in ("map", "select", "reject"):
        return False
    first = node.args[0] if node.args else None
    allowed = _FILTERS if node.name == "map" else _TESTS
    return first is not None and not (isinstance(first, nodes.Const) and first.value in allowed)


def _of_call(node: nodes.Call, known: _Names) -> Iterator[Finding]:
    called = node.node
    if isinstance(called, nodes.Name):
        if called.name not in _FUNCTIONS and called.name not in known.macros:
            yield _finding(Danger.CALL, node.lineno, f"It calls {called.name!r}.")
    elif isinstance(called, nodes.Getattr):
        if called.attr not in _METHODS:
            yield _finding(Danger.METHOD, node.lineno, f"It calls the method {called.attr!r}.")
    else:
        yield _finding(Danger.CALL, node.lineno, "It calls something that has no name.")


def _of_loop(node: nodes.For, known: _Names) -> Iterator[Finding]:
    if node.recursive:
        yield _finding(Danger.RECURSION, node.lineno, "It has a loop that calls itself.")
    for each in _every(node.iter):
        long = isinstance(each, nodes.Const) and isinstance(each.value, str) and len(each.value) > MAX_LOOPED_TEXT
        if long or (isinstance(each, nodes.Name) and each.name in known.long_texts):
            yield _finding(Danger.LOOP, node.lineno, "It loops over a text of its own.")
    if _loop_items(node.iter) > MAX_CONSTANT_LOOP:
        yield _finding(Danger.LOOP, node.lineno, f"It loops more than {MAX_CONSTANT_LOOP} times over nothing.")


def _loop_items(iterated: nodes.Node) -> int:
    """How often a loop runs: a list that is spelt out, a range of constants, else a list of the conversation."""
    if isinstance(iterated, nodes.List | nodes.Tuple | nodes.Dict):
        return len(iterated.items)
    constants = [each.value for each in _every(iterated) if isinstance(each, nodes.Const) and type(each.value) is int]
    return max([LIST_ITEMS, *map(abs, constants)])


def _indents(node: nodes.Mul) -> bool:
    """`"  " * 4`, the only multiplication that chat templates need."""
    values = [side.value for side in (node.left, node.right) if isinstance(side, nodes.Const)]
    return any(isinstance(each, str) for each in values) and any(
        type(each) is int and each <= LIST_ITEMS for each in values
    )


def _speaks_on_content(node: nodes.If | nodes.CondExpr, known: _Names, scope: str) -> bool:
    """A branch whose test looks for words in somebody's text and which then says something of its own."""
    if isinstance(node, nodes.CondExpr):
        said: list[nodes.Node] = [each for each in (node.expr1, node.expr2) if each is not None]
        return _looks_for_words(node.test, known, scope) and any(_says(each) for each in said)
    if not _looks_for_words(node.test, known, scope):
        return False
    return any(_says(each) for each in (*node.body, *node.elif_, *node.else_))


def _looks_for_words(test: nodes.Node, known: _Names, scope: str) -> bool:
    """Whether some one condition in `test` is about a person's text and about words."""
    if isinstance(test, nodes.And | nodes.Or):
        return any(_looks_for_words(each, known, scope) for each in (test.left, test.right))
    if isinstance(test, nodes.Not):
        return _looks_for_words(test.node, known, scope)
    if not _touches_content(test, known.content[scope]) or _asks_for_kind(test, known.parts[scope]):
        return False
    for each in _every(test):
        if isinstance(each, nodes.Const) and _is_word(each.value) and each.value not in _CONTENT:
            return True
        if isinstance(each, nodes.Const) and type(each.value) is int and each.value > 1:
            return True
        if isinstance(each, nodes.Name) and each.name in known.words:
            return True
    return False


def _asks_for_kind(test: nodes.Node, parts: frozenset[str]) -> bool:
    """`'image' in part`: whether a part of a message has that field."""
    return (
        isinstance(test, nodes.Compare)
        and isinstance(test.expr, nodes.Const)
        and test.expr.value in _PART_FIELDS
        and [each.op for each in test.ops] in (["in"], ["notin"])
        and isinstance(test.ops[0].expr, nodes.Name)
        and test.ops[0].expr.name in parts
    )


def _is_word(value: object) -> bool:
    """Text that people write, unlike markers such as `<think>` or `[/INST]`, line breaks and punctuation."""
    return isinstance(value, str) and not _MARKUP.fullmatch(value)


def _says(node: nodes.Node) -> bool:
    stack = [node]
    while stack:
        each = stack.pop()
        if isinstance(each, nodes.Call) and _reference(each.node) == "raise_exception":
            continue  # goes to the caller, not to the model
        if isinstance(each, nodes.TemplateData) and _WORD.search(each.data) and _is_word(each.data):
            return True
        if isinstance(each, nodes.Const) and _is_word(each.value) and each.value not in _CONTENT:
            return True
        stack.extend(each.iter_child_nodes())
    return False


def _rounds(node: nodes.For) -> int:
    counts = any(isinstance(each, nodes.Call) and _reference(each.node) == "range" for each in _every(node.iter))
    return max(1, MAX_NUMBER if counts else _loop_items(node.iter))


class _Cost:
    """An upper bound of the steps of one rendering. Macros must not be recursive."""

    def __init__(self, known: _Names) -> None:
        self._macros = known.macros
        self._descending = known.descending
        self._known: dict[str, int] = {}

    def of(self, node: nodes.Node) -> int:
        """Recursion is bounded: the tree's depth was checked, and so was that macros do not call themselves."""
        own = 1 + sum(self.of(child) for child in node.iter_child_nodes() if not isinstance(child, nodes.Macro))
        if isinstance(node, nodes.For):
            return own * _rounds(node)
        if isinstance(node, nodes.Name) and node.name in self._macros:
            return own + self._macro(node.name)
        return own

    def _macro(self, name: str) -> int:
        if name not in self._known and name in self._descending:
            self._known[name] = 0  # a call of itself: it goes over each part of what it is given once
            macro = self._macros[name]
            self._known[name] = LIST_ITEMS * sum(self._once(each, {macro.args[0].name}) for each in macro.body)
        elif name not in self._known:
            self._known[name] = sum(self.of(child) for child in self._macros[name].iter_child_nodes())
        return self._known[name]

    def _once(self, node: nodes.Node, parts: Set[str]) -> int:
        """As `of`, but a loop over one of `parts`, which nothing else goes over, counts as one round."""
        if isinstance(node, nodes.For) and root_of(looped(node.iter)[0]) in parts:
            taken = set(_targets(node.target))
            return 1 + sum(self._once(child, taken) for child in node.iter_child_nodes())
        children = [child for child in node.iter_child_nodes() if not isinstance(child, nodes.Macro)]
        own = 1 + sum(self._once(child, parts) for child in children)
        if isinstance(node, nodes.For):
            return own * _rounds(node)
        if isinstance(node, nodes.Name) and node.name in self._macros:
            return own + self._macro(node.name)
        return own


def _growth(tree: nodes.Template) -> int:
    """The most copies of the conversation that any variable can hold after `GROWTH_ROUNDS` rounds of assignments.

    `x = x ~ "more"` grows by a little each round; `x = x ~ x` doubles, and twenty lines of that fill any memory.
    """
    assigned = [
        (name, [reference for each in _every(value) if (reference := _reference(each))])
        for name, value in _assignments(tree.find_all(nodes.Node))
    ]
    copies: dict[str, int] = {}
    for _ in range(GROWTH_ROUNDS):
        for name, references in assigned:
            copies[name] = max(1, min(MAX_GROWTH + 1, sum(copies.get(each, 1) for each in references)))
    return max(copies.values(), default=1)
