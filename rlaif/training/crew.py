"""The processes beside the first one: they wait, do their share of each job that the first one sends, and wait again.

The first process goes through the pipeline, and calls the others in where a model is trained. They hold no lock, open
no ledger and write nothing. What a job is, and how it is done, is for whoever calls: see `follow`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any

from rlaif.console import notes, say
from rlaif.errors import InputError
from rlaif.training.team import Team


def call_in(team: Team, job: Any) -> None:
    """All other processes begin this job. The first one must begin it next."""
    team.ask_first(lambda: job)


def dismiss(team: Team) -> None:
    """Let the other processes end: there is nothing more to train."""
    team.ask_first(lambda: None)


def follow(team: Team, handlers: Mapping[type, Callable[..., None]]) -> None:
    """All that a process does which is not the first one.

    handlers: type of a job -> the function that does a follower's share of it, called with the job and `team=`.
    """
    # The first process alone decides when to end; one that loses it ends as well.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    while (job := _wait_for_job(team)) is not None:
        try:
            handlers[type(job)](job, team=team)
        except InputError as error:  # what goes wrong in training goes wrong in all, and the first one reports it
            notes.quiet = False
            say(f"process {team.rank}: {error.sentence}")
            raise


def _wait_for_job(team: Team) -> Any:
    return team.ask_first(lambda: None)
