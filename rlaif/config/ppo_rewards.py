"""Options of PPO's rewards: where a response's score comes from, and how several sources are weighted.

One class serves all kinds of sources. The kind is the one of `model`, `judge`, `function` and `url` that a source
gives, and options of the other kinds are refused by name. Calls nothing and loads nothing.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, model_validator

from rlaif.config.addresses import find_address_fault
from rlaif.config.base import Config, refuse_idle

RUN = "run"
"""Name of the reward model that the run trains."""

Ranks = Literal["centred", "normal"]
RewardKind = Literal["model", "judge", "function", "url"]
KINDS: tuple[RewardKind, ...] = ("model", "judge", "function", "url")
OPTIONS_OF: dict[RewardKind, tuple[str, ...]] = {
    "model": ("revision", "dtype", "members", "variance_coefficient"),
    "judge": ("template", "ranks"),
    "function": ("batched",),
    "url": ("api_key_env", "batch_size", "concurrency", "max_retries", "timeout_s"),
}


class RewardConfig(Config):
    """A source of rewards, given by exactly one of model, judge, function and url."""

    model: Annotated[str, Field(min_length=1)] | None = None
    """A reward model. run: the one that the run trains. Otherwise the folder or hub id of a model with one label; its
    tokenizer may be another one, because it reads the text, by its own chat template."""
    judge: bool = False
    """true: the run's judge scores each response; the ledger keeps its answers."""
    function: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    """A Python function module:function of (prompt, response, reference) that returns a number."""
    url: str | None = None
    """Address of a server that gets episodes by POST and answers with their rewards, see docs/rewards.md."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$", max_length=40)] | None = None
    """Name of the source in metrics and report; null: made from the source, such as the function's name."""
    weight: float = Field(1.0, ge=-1e6, le=1e6)
    """Weight of the source's scores in the sum; below 0 they are a penalty."""
    standardise: bool | None = None
    """Scale the source's scores to mean 0 and standard deviation 1 on the reference policy's responses. null: with
    several sources yes, with one as ppo.standardise_scores says; never with `ranks`."""
    revision: str | None = None
    """Commit or tag of a hub model, null: its newest; only for `model`."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the model's computation; only for `model`."""
    members: Literal["mean", "worst", "mean_less_variance"] = "mean"
    """What several reward models that were trained together (reward_model.num_members) come to. mean: the mean of their
    rewards. worst: the least. mean_less_variance: the mean less variance_coefficient times their variance. The last two
    keep PPO from responses about which they disagree; only for `model`."""
    variance_coefficient: float = Field(0.5, ge=0, le=1e6)
    """Weight of the variance in members: mean_less_variance; only for `model`."""
    template: str | None = None
    """Judge template of `kind: score` or `contrast`, with `ranks` of `kind: ranking` or `pair`; null: the judge's
    template where it is of such a kind, else one that comes with rlaif. Only for `judge`."""
    ranks: Ranks | None = None
    """The judge compares the responses to a prompt with one another, and their places are the rewards. centred: from -1
    for the last to 1 for the first, evenly spaced. normal: as many ordered draws from a normal distribution have them,
    so that the ends stand out. null: each response is scored by itself. Only for `judge`."""
    batched: bool = False
    """Call the function once with lists of prompts, responses and references; it returns a list. Only for
    `function`."""
    api_key_env: str | None = None
    """Environment variable that holds a key, sent as a bearer token; null: none is sent. Only for `url`."""
    batch_size: int = Field(32, ge=1, le=100_000)
    """Episodes in one request; only for `url`."""
    concurrency: int = Field(8, ge=1, le=4096)
    """Requests sent at once; only for `url`."""
    max_retries: int = Field(6, ge=0, le=1000)
    """How often a request is sent again after status 429 or 5xx, a lost connection, no reply in time or a broken reply;
    only for `url`."""
    timeout_s: float = Field(60.0, gt=0, le=7 * 24 * 3600.0)
    """Longest wait for one reply, in seconds; only for `url`."""

    @property
    def kind(self) -> RewardKind:
        return next(kind for kind in KINDS if self._gives(kind))

    @property
    def label(self) -> str:
        """Name of the source in metrics and report."""
        if self.name is not None:
            return self.name
        match self.kind:
            case "model":
                return "reward_model" if self.model == RUN else PurePath(self.model or "").name
            case "judge":
                return "judge"
            case "function":
                return (self.function or "").partition(":")[2]
            case "url":
                return urlsplit(self.url or "").hostname or "url"

    def _gives(self, kind: str) -> bool:
        value: Any = getattr(self, kind)
        return value is not None and value is not False

    @model_validator(mode="after")
    def _is_one_source(self) -> Self:
        given = [kind for kind in KINDS if self._gives(kind)]
        if len(given) != 1:
            names = "none" if not given else " and ".join(given)
            raise ValueError(f"a source of rewards names one of model, judge, function and url, and this {names}")
        for kind, names_of in OPTIONS_OF.items():
            for name in names_of:
                if kind != given[0] and getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(
                        f"{name} is an option of a source with `{kind}`, and this is one with `{given[0]}`"
                    )
        return self

    @model_validator(mode="after")
    def _variance_counts(self, info: ValidationInfo) -> Self:
        if self.members != "mean_less_variance":
            refuse_idle(self, {"variance_coefficient": ()}, when=f"with members: {self.members}", info=info)
        return self

    @model_validator(mode="after")
    def _ranks_have_their_scale(self) -> Self:
        if self.ranks is not None and self.standardise:
            raise ValueError("the rewards of ranks have mean 0 within each prompt already: leave standardise out")
        return self

    @model_validator(mode="after")
    def _counts(self) -> Self:
        if self.weight == 0:
            raise ValueError("a source with weight 0 would be asked for nothing: leave it out")
        return self

    @model_validator(mode="after")
    def _url_is_an_address(self) -> Self:
        if self.url is not None and (fault := find_address_fault(self.url, with_query=True)):
            raise ValueError(
                f"url {fault}: write it as http://localhost:8000/score, and put a key into the variable that "
                "api_key_env names"
            )
        return self


def find_sources(rewards: tuple[RewardConfig, ...]) -> tuple[RewardConfig, ...]:
    """Every source; where none is given, the run's reward model."""
    return rewards or (RewardConfig(model=RUN),)


def uses_run_model(rewards: tuple[RewardConfig, ...]) -> bool:
    """Whether the reward model that the run trains is one of them."""
    return any(source.model == RUN for source in find_sources(rewards))


def check_labels(rewards: tuple[RewardConfig, ...]) -> None:
    """Raise ValueError where two sources have the same name."""
    labels = [source.label for source in rewards]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f'two sources of rewards are called "{label}": give each a name of its own by `name`')
