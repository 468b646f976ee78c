"""The errors a user can meet: each says what happened, where, and what to do.

Every error has its exit code (0 done, 1 the run failed, 2 bad input, 3 the run folder is in use, 130 interrupted).
Does not print and does not exit: the command line does both, in one place.
"""

from __future__ import annotations


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


class Interrupted(RlaifError):
    """The run was stopped from outside; completed work is saved."""

    exit_code = 130


class StageError(RlaifError):
    """A stage produced nothing that the next one could use."""


class OtherProcessFailed(RlaifError):
    """Another process of the team failed and reported why; this process ends with the same exit code."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("another process failed")
        self.exit_code = exit_code
