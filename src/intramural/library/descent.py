"""Does a macro that calls itself always come to an end, and soon? Pure; for `template`.

Templates that write out a tool's parameters call themselves for what is nested in them. That is sound exactly where the
conversation's own nesting bounds it (requests are refused beyond 64 levels), and this proves it, or gives up:

- each call of itself is inside a loop over its first parameter, or over a part of it, so that nothing is called for
  what is empty or not there;
- each passes on what the innermost such loop has in hand, or a part of that: strictly less than it was given;
- on any way through the body there is at most one, so no part of the conversation is visited twice;
- a text is not taken for a list of its characters, which are texts again;
- nothing can make a list or mapping that contains itself.

What is not proved is not thereby harmful: it is for a person to look at.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from jinja2 import nodes

#: They could put a thing into itself.
_CHANGING_METHODS = frozenset({"append", "extend", "insert", "setdefault", "update"})
_MAPPING_FILTERS = frozenset({"dictsort", "items"})


class _Unproved(Exception):
    """Some step of the proof does not hold."""


def comes_to_an_end(macro: nodes.Macro) -> bool:
    """Whether `macro`, which calls itself and no other macro that calls it, is bounded by what it is given.

    In a template of which `has_only_trees` holds, and where no other macro has its name.
    """
    if not macro.args:
        return False
    parameter = macro.args[0].name
    relied_on = {parameter, *(name for loop in macro.find_all(nodes.For) for name in _names(loop.target))}
    assigned = {name for each in macro.find_all(nodes.Assign) for name in _names(each.target)}
    assigned |= {name for each in macro.find_all(nodes.AssignBlock) for name in _names(each.target)}
    if relied_on & assigned or any(True for _ in macro.find_all((nodes.Macro, nodes.With, nodes.CallBlock))):
        return False
    try:
        return _Proof(macro.name).calls(macro.body, _Scope(frozenset({parameter}), False)) <= 1
    except _Unproved:
        return False


@dataclass(frozen=True)
class _Scope:
    """`parts`: variables that hold the parameter, or once `inside` a loop, something less than it."""

    parts: frozenset[str]
    inside: bool
    no_texts: tuple[nodes.Node, ...] = ()


class _Proof:
    def __init__(self, name: str) -> None:
        self._name = name

    def calls(self, statements: Iterable[nodes.Node], scope: _Scope) -> int:
        """The most calls of itself on any way through `statements`. Raises _Unproved."""
        return sum(self._of(each, scope) for each in statements)

    def _of(self, node: nodes.Node, scope: _Scope) -> int:
        if not self._mentions([node]):
            return 0
        match node:
            case nodes.If():
                return self._of_if(node, scope)
            case nodes.For():
                return self._of_loop(node, scope)
            case nodes.Output() | nodes.Assign():
                return self._of_expressions(node, scope)
        raise _Unproved

    def _of_if(self, node: nodes.If, scope: _Scope) -> int:
        """At most one branch is taken; in each it is known what the tests before it said."""
        most = 0
        for branch in (node, *node.elif_):
            if self._mentions([branch.test]):
                raise _Unproved
            yes, no = _no_texts(branch.test)
            most = max(most, self.calls(branch.body, replace(scope, no_texts=(*scope.no_texts, *yes))))
            scope = replace(scope, no_texts=(*scope.no_texts, *no))
        return max(most, self.calls(node.else_, scope))

    def _of_loop(self, node: nodes.For, scope: _Scope) -> int:
        if self._mentions([node.iter, *([] if node.test is None else [node.test])]) or node.recursive or node.else_:
            raise _Unproved
        over, is_mapping = looped(node.iter)
        root = root_of(over)
        if root is None or root not in scope.parts or not (is_mapping or over in scope.no_texts):
            raise _Unproved
        taken = frozenset(_names(node.target))
        known = tuple(each for each in scope.no_texts if root_of(each) not in taken)
        return self.calls(node.body, _Scope(taken, True, known))

    def _of_expressions(self, node: nodes.Node, scope: _Scope) -> int:
        calls = [each for each in node.find_all(nodes.Call) if _is_name(each.node, self._name)]
        mentions = sum(_is_name(each, self._name) for each in node.find_all(nodes.Name))
        if mentions != len(calls) or not scope.inside:
            raise _Unproved
        for each in calls:
            if not each.args or each.dyn_args is not None or each.dyn_kwargs is not None:
                raise _Unproved
            if root_of(each.args[0]) not in scope.parts:
                raise _Unproved
        return len(calls)

    def _mentions(self, found: Sequence[nodes.Node]) -> bool:
        return any(_is_name(each, self._name) or _mentioned(each, self._name) for each in found)


def _mentioned(node: nodes.Node, name: str) -> bool:
    return any(each.name == name for each in node.find_all(nodes.Name))


def _is_name(node: nodes.Node, name: str) -> bool:
    return isinstance(node, nodes.Name) and node.name == name


def _names(target: nodes.Node) -> list[str]:
    return [each.name for each in (target, *target.find_all(nodes.Name)) if isinstance(each, nodes.Name)]


def root_of(node: nodes.Node) -> str | None:
    """The variable of which `node` is a part by names: `x`, `x.y`, `x["y"]["z"]`; a number could pick a letter."""
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        if isinstance(node, nodes.Getitem) and not (
            isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str)
        ):
            return None
        node = node.node
    return node.name if isinstance(node, nodes.Name) else None


def looped(iterated: nodes.Node) -> tuple[nodes.Node, bool]:
    """What is looped over, and whether it cannot but be a mapping: `x | dictsort`, `x.items()`."""
    if isinstance(iterated, nodes.Filter) and iterated.name in _MAPPING_FILTERS and iterated.node is not None:
        return iterated.node, True
    if isinstance(iterated, nodes.Call) and isinstance(iterated.node, nodes.Getattr) and iterated.node.attr == "items":
        return iterated.node.node, True
    return iterated, False


def _no_texts(test: nodes.Node) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """What is certainly no text where `test` holds, and where it does not."""
    match test:
        case nodes.Not(node=inner):
            yes, no = _no_texts(inner)
            return no, yes
        case nodes.And(left=left, right=right):
            return _no_texts(left)[0] + _no_texts(right)[0], []
        case nodes.Test(node=tested, name="string"):
            return [], [tested]
        case nodes.Test(node=tested, name="mapping"):
            return [tested], []
    return [], []


def has_only_trees(tree: nodes.Template) -> bool:
    """No list, mapping or namespace can come to contain itself."""
    if any(each.attr in _CHANGING_METHODS for each in tree.find_all(nodes.Getattr)):
        return False
    namespaces = {
        name
        for each in tree.find_all(nodes.Assign)
        if _mentioned_call(each.node, "namespace")
        for name in _names(each.target)
    }
    read = sum(each.name in namespaces and each.ctx == "load" for each in tree.find_all(nodes.Name))
    attributes = sum(
        isinstance(each.node, nodes.Name) and each.node.name in namespaces for each in tree.find_all(nodes.Getattr)
    )
    return read == attributes  # a namespace is only ever used for one of its attributes


def _mentioned_call(node: nodes.Node, name: str) -> bool:
    return _is_name(node, name) or _mentioned(node, name)
