"""How rlaif itself is installed: its name on the package index, the line that adds an extra, and other packages of the
same name.

On the index the name `rlaif` belongs to another package, which writes rlaif/__init__.py too. Installs nothing.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable
from pathlib import Path

DISTRIBUTION = "rlaif-pipeline"
_PACKAGE = Path(__file__).parents[1]


def extra_line(extra: str, *, package: Path = _PACKAGE) -> str:
    """The command that adds an extra to this installation: a clone is installed from its folder."""
    root = package.parent
    if not is_clone(root):
        return f'pip install "{DISTRIBUTION}[{extra}]"'
    return f'pip install -e "{"." if root == Path.cwd() else root}[{extra}]"'


def is_clone(root: Path) -> bool:
    """Whether a folder is a checkout of this project."""
    project = root / "pyproject.toml"
    return project.is_file() and f'name = "{DISTRIBUTION}"' in project.read_text(encoding="utf-8")


def find_foreign(search_path: Iterable[str] = sys.path, *, package: Path = _PACKAGE) -> list[str]:
    """Sentences about other packages called `rlaif`: installed beside this one, over it, or found in its place."""
    found = []
    folders = [Path(entry) for entry in dict.fromkeys(search_path) if entry]
    for distribution in importlib.metadata.distributions(name="rlaif", path=list(map(str, folders))):
        found.append(f"a package called rlaif {distribution.version} is installed, which is not this program")
        break
    init = package / "__init__.py"
    if not init.is_file() or "__version__" not in init.read_text(encoding="utf-8", errors="replace"):
        found.append(f"{init} is another package's file")
    for folder in folders:
        for other in (folder / "rlaif" / "__init__.py", folder / "rlaif.py"):
            if other.is_file() and other.parent.resolve() != package.resolve():
                found.append(f"{other} is another package or module called rlaif")
    return found
