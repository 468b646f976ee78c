"""`module:function` in the configuration -> the function; modules of the working directory are found too.

Importing a module runs it, so only modules that the user names are imported. Calls no function.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlaif.errors import ConfigError


def load_function(spec: str, *, what: str, where: str) -> Callable[..., Any]:
    """The function that "module:function" names. In messages, `what` is its purpose and `where` the option."""
    module_name, colon, function_name = spec.partition(":")
    if not (colon and module_name and function_name):
        raise ConfigError(f'"{spec}" names no {what}', where=where, fix="write module:function")
    _let_working_directory_be_found(module_name)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f'the module "{module_name}" of {what} "{spec}" cannot be imported: {error}',
            where=where,
            fix="check its name, and start rlaif in the folder that holds it or install it",
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ConfigError(
            f'the module "{module_name}" has no function "{function_name}"',
            where=where,
            fix="check the function's name",
        )
    found: Callable[..., Any] = function
    return found


def _let_working_directory_be_found(module_name: str) -> None:
    # At the end of the path, so that a file in the working directory never takes the place of a library.
    top = module_name.partition(".")[0]
    here = str(Path.cwd())
    if here not in sys.path and importlib.util.find_spec(top) is None:
        sys.path.append(here)
        importlib.invalidate_caches()
