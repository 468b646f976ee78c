"""`module:function` in the configuration -> the function; modules of the working directory are found too.

Importing a module runs it, so only modules that the user names are imported. Calls no function; one of the user's that
is called later raises `FunctionError`, whatever it does.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from rlaif.config.user_code import Printed, run_user_code
from rlaif.errors import ConfigError, FunctionError, RlaifError, describe_names

CALLED_WITH = {
    "reward": ("prompt", "response", "reference"),
    "measure": ("prompt", "response"),
    "answer finder": ("prompt", "response"),
    "verifier": ("prompt", "response", "reference"),
    "scripted judge": ("question",),
}
"""Purpose of a function -> what it is called with, in this order."""


def load_function(spec: str, *, what: str, where: str) -> Callable[..., Any]:
    """The function that "module:function" names; refused where it cannot be called with what is given to it.

    what: its purpose, one of `CALLED_WITH`. where: the option, for messages.
    """
    module_name, colon, function_name = spec.partition(":")
    if not (colon and module_name and function_name):
        raise ConfigError(f'"{spec}" names no {what}', where=where, fix="write module:function")
    if is_ours(spec):
        found: Callable[..., Any] = getattr(_import_ours(module_name, what=what, where=where), function_name, None)  # type: ignore[assignment]
    else:
        describe = functools.partial(_describe_import, f'the module "{module_name}" of {what} "{spec}"', option=where)
        read = functools.partial(_import, module_name, function_name)
        found = run_user_code(read, printed=Printed(spec), describe=describe, home=_file_of(module_name))
    if not callable(found):
        raise ConfigError(
            f'the module "{module_name}" has no function "{function_name}"',
            where=where,
            fix=describe_names(function_name, _list_functions(module_name), noun="its functions"),
        )
    _refuse_other_arguments(found, spec=spec, what=what, where=where)
    return found if is_ours(spec) else _guard(found, spec=spec, what=what)


def _refuse_other_arguments(function: Callable[..., Any], *, spec: str, what: str, where: str) -> None:
    given = CALLED_WITH[what]
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a function in C does not say what it takes
        return
    try:
        signature.bind(*given)
    except TypeError as error:
        raise ConfigError(
            f'the {what} "{spec}" is called with {", ".join(given)}, and cannot be: {error}',
            where=", ".join(part for part in (where, place_of(function)) if part),
            fix=f"let it take {len(given)} argument{'s' if len(given) > 1 else ''}, in this order",
        ) from error


def _import_ours(module_name: str, *, what: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise  # it is there, and what it needs is not
        fix = "check its name; `rlaif.evaluation.measures:count_words` is a measure that comes with rlaif"
        raise ConfigError(f'rlaif has no module "{module_name[:80]}" for a {what}', where=where, fix=fix) from error


def _list_functions(module_name: str) -> list[str]:
    """The functions and classes that a module, which was imported, defines itself."""
    there = vars(sys.modules[module_name]).items() if module_name in sys.modules else ()
    return [
        name
        for name, value in there
        if callable(value) and getattr(value, "__module__", "") == module_name and not name.startswith("_")
    ]


def is_ours(spec: str) -> bool:
    """Whether rlaif brings the function: an error in it is ours and is shown whole."""
    return spec.startswith(("rlaif.", "rlaif:"))


def place_of(function: Callable[..., Any]) -> str:
    """Where a function is defined, as file:line; empty where it has no source."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"


def _import(module_name: str, function_name: str) -> object:
    _let_working_directory_be_found(module_name)
    return getattr(importlib.import_module(module_name), function_name, None)


def _file_of(module_name: str) -> str:
    """The file of a module in the working directory, to find its lines in a traceback."""
    return str(Path.cwd().joinpath(*module_name.split(".")).with_suffix(".py"))


def _describe_import(module: str, happened: str, place: str, *, option: str) -> RlaifError:
    where = ", ".join(part for part in (option, place) if part)
    for missing in ("raised ImportError: ", "raised ModuleNotFoundError: "):
        if happened.startswith(missing):
            return ConfigError(
                f"{module} cannot be imported: {happened.removeprefix(missing)}",
                where=where,
                fix="check its name, and start rlaif in the folder that holds it or install it",
            )
    return ConfigError(
        f"{module} cannot be imported: it {happened}", where=where, fix="fix the module, or name another"
    )


def _guard(function: Callable[..., Any], *, spec: str, what: str) -> Callable[..., Any]:
    """The function, except that whatever it does beside returning a value becomes a `FunctionError`."""
    printed, defined = Printed(spec), place_of(function)
    home = defined.rpartition(":")[0]

    def describe(happened: str, place: str) -> RlaifError:
        return FunctionError(
            f'the {what} "{spec}" {happened}',
            where=place or defined,
            fix="fix the function; what was finished is kept, and --resume continues",
        )

    @functools.wraps(function)
    def guarded(*given: Any) -> Any:
        found = run_user_code(lambda: function(*given), printed=printed, describe=describe, home=home)
        if inspect.iscoroutine(found):
            found.close()
            raise describe("is asynchronous, and nothing waits for its answer", "")
        return found

    return guarded


def _let_working_directory_be_found(module_name: str) -> None:
    # At the end of the path, so that a file in the working directory never takes the place of a library.
    top = module_name.partition(".")[0]
    here = str(Path.cwd())
    if here not in sys.path and importlib.util.find_spec(top) is None:
        sys.path.append(here)
        importlib.invalidate_caches()
