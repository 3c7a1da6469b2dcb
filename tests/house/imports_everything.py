"""Import every module of this package and every package that it needs to run, and say what reached for a network
meanwhile. With `--whole` every module of those packages: 3,400 of them.

Prints JSON: `reached` (event, arguments), `ours` (modules of this package that could not be imported, and why),
`others` (how many were imported), `left_out` (those that need what is not here: another system, an extra). Native code
passes Python's hooks: run it in a sink.
"""

import contextlib
import importlib
import importlib.metadata
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

REACHING = {
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo",
    "socket.sendto", "socket.sendmsg", "urllib.Request",
}  # fmt: skip
"""What a module has no business to do when it is imported (audit events of CPython). Making a socket, or binding one to
this machine, reaches nobody: urllib3 finds out so whether there is IPv6."""
_LOOPBACK = {"127.0.0.1", "::1"}
#: Programs, and tests of the packages' own, which nobody imports.
_NOT_MODULES = re.compile(r"(^|\.)(__main__|tests?|testing|conftest|setup|_pytest\w*|benchmarks?|examples?)(\.|$)")
_MODULE = re.compile(r"[\w/]+(\.py|\.abi3\.so|\.cpython-[\w-]+\.so|\.so)")


def required(root: str) -> set[str]:
    """The distributions that `root` needs to run here, itself included, without extras."""
    found: set[str] = set()
    wanted = [root]
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in found:
            continue
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # for another system
            continue
        found.add(name)
        wanted += [re.split(r"[^\w.-]", each, maxsplit=1)[0] for each in needs if "extra ==" not in each]
    return found


def modules(distributions: Iterable[str]) -> Iterator[str]:
    for name in sorted(distributions):
        for file in importlib.metadata.files(name) or ():
            path = str(file)
            if found := _MODULE.fullmatch(path):
                module = path.removesuffix(found[1]).removesuffix("/__init__").replace("/", ".")
                if not _NOT_MODULES.search(module):
                    yield module


def ours() -> Iterator[str]:
    import intramural

    (root,) = intramural.__path__
    for folder, _, files in os.walk(root):
        inside = os.path.relpath(folder, os.path.dirname(root)).replace(os.sep, ".")
        for file in files:
            if file.endswith(".py") and not inside.startswith("intramural.storage.migrations"):
                yield f"{inside}.{file[:-3]}".removesuffix(".__init__")


def main() -> None:
    reached: list[Any] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in REACHING and not any(repr(each) in repr(arguments) for each in _LOOPBACK):
            reached.append((event, repr(arguments)[:200]))

    own, others = list(ours()), list(modules(required("intramural") - {"intramural"}))
    if "--whole" not in sys.argv:
        others = [name for name in others if "." not in name]
    sys.addaudithook(hook)
    wrong: dict[str, str] = {}
    left_out: dict[str, str] = {}
    warnings.simplefilter("ignore")
    for name in (*own, *others):
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                importlib.import_module(name)
        except BaseException as error:
            (wrong if name in own else left_out)[name] = repr(error)[:200]
    print(json.dumps({"reached": reached, "ours": wrong, "left_out": left_out, "others": len(others), "own": len(own)}))


if __name__ == "__main__":
    main()
