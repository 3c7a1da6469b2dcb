"""Operations of the OpenAI and Anthropic clients, read from their generated source: what each method sends and expects.

Both packages come from the same generator: a method of a resource ends in `self._post("/path", body=…, cast_to=…)`.
"""

import ast
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator
from functools import reduce
from operator import or_
from types import ModuleType
from typing import Any

from conformance.spec import IN_BODY, IN_PATH, IN_QUERY, Field, Operation
from conformance.values import is_union

_LISTS = "_get_api_list"
_METHODS = {"_get": "GET", "_post": "POST", "_put": "PUT", "_patch": "PATCH", "_delete": "DELETE", _LISTS: "GET"}
#: The last two travel as headers.
_NOT_SENT = frozenset(
    {"self", "extra_headers", "extra_query", "extra_body", "timeout", "betas", "workspace_id", "user_profile_id"}
)


def operations(package: str, *, without: tuple[str, ...] = ()) -> list[Operation]:
    """Every operation of `package` (`openai` or `anthropic`), except below the resources named in `without`."""
    root = importlib.import_module(f"{package}.resources")
    found: dict[str, Operation] = {}
    for module in _modules(root):
        group = module.__name__.removeprefix(f"{package}.resources.")
        if group.startswith(without):
            continue
        for operation in _in_module(module):
            found.setdefault(operation.key, operation)
    return sorted(found.values(), key=lambda each: (each.path, each.method))


def _modules(root: ModuleType) -> Iterator[ModuleType]:
    names = [info.name for info in pkgutil.walk_packages(root.__path__, root.__name__ + ".") if not info.ispkg]
    # Where a beta repeats a path, the settled one comes first.
    for name in sorted(names, key=lambda each: (".beta." in each, each)):
        yield importlib.import_module(name)


def _in_module(module: ModuleType) -> Iterator[Operation]:
    tree = ast.parse(inspect.getsource(module))
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("Async") or "With" in node.name:
            continue
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not _overload(method):
                yield from _in_method(module, node.name, method)


def _overload(method: ast.FunctionDef) -> bool:
    return any("overload" in ast.unparse(each) for each in method.decorator_list)


def _in_method(module: ModuleType, owner: str, method: ast.FunctionDef) -> Iterator[Operation]:
    for call in ast.walk(method):
        name = call.func.attr if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) else ""
        if name not in _METHODS or not isinstance(call, ast.Call) or not call.args:
            continue
        path = _path(call.args[0])
        if path is None:
            continue
        words = {each.arg: each.value for each in call.keywords if each.arg}
        verb = words.get("method")
        query = _keys(words.get("options"), "query")
        yield Operation(
            group=f"{module.__name__.split('.resources.')[1]}.{method.name}",
            method=str(verb.value).upper() if isinstance(verb, ast.Constant) else _METHODS[name],
            path=path,
            fields=_fields(module, owner, method, path, query),
            answer=_resolve(module, words.get("cast_to") or words.get("model")),
            event=_inside(_resolve(module, words.get("stream_cls"))),
            paged=name == _LISTS,
            multipart="files" in words,
        )


def _path(node: ast.expr) -> str | None:
    """`"/files"`, `path_template("/files/{file_id}", …)`, with the query that some paths carry taken off."""
    if isinstance(node, ast.Call) and node.args:
        return _path(node.args[0])
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("/"):
        return node.value.partition("?")[0].removeprefix("/v1")
    return None


def _keys(node: ast.expr | None, keyword: str) -> frozenset[str]:
    """Names in the dictionary that `keyword=maybe_transform({...})` holds, anywhere inside `node`."""
    names: set[str] = set()
    for each in ast.walk(node) if node is not None else ():
        if isinstance(each, ast.keyword) and each.arg == keyword:
            for inner in ast.walk(each.value):
                if isinstance(inner, ast.Dict):
                    names |= {str(key.value) for key in inner.keys if isinstance(key, ast.Constant)}
    return frozenset(names)


def _fields(
    module: ModuleType, owner: str, method: ast.FunctionDef, path: str, query: frozenset[str]
) -> tuple[Field, ...]:
    function = getattr(getattr(module, owner), method.name)
    hints = _hints(module, function)
    fields = []
    for name in inspect.signature(inspect.unwrap(function)).parameters:
        if name in _NOT_SENT:
            continue
        kind, required = _without_markers(hints.get(name, Any))
        where = IN_PATH if f"{{{name}}}" in path else IN_QUERY if name in query else IN_BODY
        fields.append(Field(name, kind, where, required))
    return tuple(fields)


def _hints(module: ModuleType, function: Any) -> dict[str, Any]:
    plain = inspect.unwrap(function)
    namespace = {**vars(typing), **vars(module)}
    hints = {}
    for name, text in plain.__annotations__.items():
        try:
            hints[name] = eval(text, namespace) if isinstance(text, str) else text
        except NameError:
            hints[name] = Any  # a name that the module imports for type checkers only
    return hints


def _without_markers(kind: Any) -> tuple[Any, bool]:
    """A parameter's type without `Omit` and `NotGiven`, and whether it lacked them (then it must be given)."""
    parts = typing.get_args(kind) if is_union(typing.get_origin(kind)) else (kind,)
    kept = tuple(each for each in parts if getattr(each, "__name__", "") not in ("Omit", "NotGiven"))
    return (reduce(or_, kept) if kept else Any), len(kept) == len(parts)


def _resolve(module: ModuleType, node: ast.expr | None) -> Any:
    if node is None:
        return None
    if isinstance(node, ast.Call) and node.args:  # cast(Any, Type) and the like
        return _resolve(module, node.args[-1])
    try:
        found = eval(ast.unparse(node), {**vars(typing), **vars(module)})
    except (NameError, AttributeError, TypeError):
        return None
    return None if getattr(found, "__name__", "") == "NoneType" else found


def _inside(kind: Any) -> Any:
    """`ChatCompletionChunk` of `Stream[ChatCompletionChunk]`."""
    arguments = typing.get_args(kind)
    return arguments[0] if arguments else None
