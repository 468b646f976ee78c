"""The errors a user can meet: each says what happened, where, and what to do.

Every error has its exit code (0 done, 1 the run failed, 2 bad input, 3 the run folder is in use, 4 the run
waits for people, 130 interrupted).
Does not print and does not exit: the command line does both, in one place. `describe_names` says what a misspelt
name may have meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

MAX_NAMES = 20
"""Names that a message lists at most."""


class RlaifError(Exception):
    """A failure in one sentence: what happened, where, and what to do."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what = what
        self.where = where
        self.fix = fix
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        where = f" ({self.where})" if self.where else ""
        fix = f": {self.fix}" if self.fix else ""
        return f"{self.what}{where}{fix}"


class InputError(RlaifError):
    """Something the user gave cannot be used; nothing was started."""

    exit_code = 2


class ConfigError(InputError):
    """A key or value of the configuration is wrong."""


class ConstitutionError(InputError):
    """A principle file is wrong, or the judge does not understand it."""


class TemplateError(InputError):
    """A judge template is wrong or not allowed."""


class DataError(InputError):
    """Prompts, demonstrations, samples or verdicts cannot be read."""


class ModelError(InputError):
    """A model folder cannot be used."""


class RunFolderError(InputError):
    """The run folder is missing, already used, or holds another run."""


class RunFolderInUse(RlaifError):
    """Another process works in this run folder."""

    exit_code = 3


class LedgerError(RlaifError):
    """The ledger cannot be opened, written or verified."""


class FileError(RlaifError):
    """A file could not be read or written while a run was under way; completed work is saved."""


class TrainingError(RlaifError):
    """Training cannot continue: a loss is not finite, or no data are left."""


class FunctionError(RlaifError):
    """A function of the user did something else than return a value that can be used."""


class Interrupted(RlaifError):
    """The run was stopped from outside; completed work is saved."""

    exit_code = 130


class StageError(RlaifError):
    """A stage produced nothing that the next one could use."""


class GateClosed(StageError):
    """A gate closed inside a round: the next stage would work on what cannot be trusted. `where` is its option."""


class WaitsForPeople(RlaifError):
    """A run that waits for the answers of people: no failure, and nothing is lost."""

    exit_code = 4


class OtherProcessFailed(RlaifError):
    """Another process of the team failed and reported why; this process ends with the same exit code."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("another process failed")
        self.exit_code = exit_code


def describe_names(wrong: str, known: Sequence[str], *, noun: str) -> str:
    """What a name that does not exist may have meant, and the names that exist: the `fix` of a refusal.

    noun: what the names are, in the plural, such as "the runs".
    """
    near = difflib.get_close_matches(wrong, known, n=1)
    more = f", and {len(known) - MAX_NAMES} more" if len(known) > MAX_NAMES else ""
    meant = f'did you mean "{near[0]}"? ' if near else ""
    return f"{meant}{noun} are {', '.join(name[:80] for name in known[:MAX_NAMES]) or 'none'}{more}"
