"""rlaif's files and which of them each one imports, read from their source.

Every import statement counts, also those inside functions and behind TYPE_CHECKING.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "rlaif"


@cache
def module_files() -> dict[str, str]:
    """Module name -> its file below rlaif/, for every module and package."""
    files = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        names = ("rlaif", *path.relative_to(PACKAGE).with_suffix("").parts)
        files[".".join(names[:-1] if names[-1] == "__init__" else names)] = path.relative_to(PACKAGE).as_posix()
    return files


def imported_names(tree: ast.Module, *, package: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The dotted names that a module imports, as their parts; `package` is the module's own package."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = (*base, *(node.module or "").split(".")) if node.module else base
            found |= {(*stem, alias.name) for alias in node.names}
    return found


@cache
def imported_files(file: str) -> frozenset[str]:
    """The files of rlaif that a file of rlaif imports; both are paths below rlaif/.

    A name that a package only hands on counts as imported from the package and from the file that has it.
    """
    package = ("rlaif", *Path(file).parts[:-1])
    modules = module_files()
    found = set()
    for name in imported_names(_parse(file), package=package):
        stem = ".".join(name[:-1])
        if module := modules.get(".".join(name)):
            found.add(module)
        elif module := modules.get(stem):
            found |= {module, _handed_on(module).get(name[-1], module)}
    return frozenset(found - {file})


@cache
def _handed_on(file: str) -> dict[str, str]:
    """Name -> the file that a package's `__init__` imports it from."""
    if Path(file).name != "__init__.py":
        return {}
    modules, package = module_files(), ("rlaif", *Path(file).parts[:-1])
    names = imported_names(_parse(file), package=package)
    return {name[-1]: modules[".".join(name[:-1])] for name in names if ".".join(name[:-1]) in modules}


@cache
def _parse(file: str) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def circles(graph: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Each group of files that import one another in a circle. graph: file -> the files that it imports."""
    reached = {file: _reachable(file, graph) for file in graph}
    groups = {tuple(sorted(other for other in reached[file] if file in reached[other])) for file in graph}
    return sorted(list(group) for group in groups if group)


def _reachable(file: str, graph: Mapping[str, Collection[str]]) -> set[str]:
    """The files that a file imports, and those that they import, and so on; itself only where it is in a circle."""
    found: set[str] = set()
    waiting = list(graph[file])
    while waiting:
        if (other := waiting.pop()) not in found:
            found.add(other)
            waiting += graph[other]
    return found


def loose_files() -> list[str]:
    """The modules directly under rlaif/."""
    return sorted(path.name for path in PACKAGE.glob("*.py"))


def room_folders() -> list[str]:
    """The packages directly under rlaif/."""
    return sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
