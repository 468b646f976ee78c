"""Options of the judge: who judges, through which engine, and what it may cost at most.

An endpoint's key and address are not options: they are in environment variables, which these options name.
Does not read the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from rlaif.config.base import FOLLOWS_JUDGE, Config
from rlaif.config.models import FRONTDESK, MAX_TOKENS, ModelConfig, VllmConfig

RESERVED_BODY = (
    "messages", "model", "n", "stream", "logprobs", "top_logprobs", "temperature", "max_tokens",
    "max_completion_tokens",
)  # fmt: skip
"""Fields of a request that rlaif sets itself."""


MAX_SECONDS = 7 * 24 * 3600.0
CAPS = ("max_calls", "max_tokens", "max_cost")
"""Options that limit what all judges of a run use together."""


class JudgeModelConfig(ModelConfig):
    """A judge: a local model, one behind an endpoint, or a function."""

    engine: Literal["transformers", "vllm", "openai", "scripted"] = "transformers"
    """What runs the judge. transformers: a local model. vllm: a local model that vLLM runs in a separate process; needs
    the extra `vllm` (docs/scale.md). openai: a server with the OpenAI chat API, whose address is in OPENAI_BASE_URL;
    `path` is the name under which it serves the model, `revision` any word of yours that tells two models behind one
    name apart. scripted: a Python function; `path` is module:function, see rlaif/models/scripted_engine.py."""
    dtype: Annotated[Literal["float32", "bfloat16", "float16"], FOLLOWS_JUDGE] = "float32"
    """Number format of the weights. null: float32 for the front desk's judge and on a CPU, bfloat16 for any other judge
    on an NVIDIA GPU."""
    vllm: VllmConfig = VllmConfig()
    """How vLLM runs the judge; only for `engine: vllm`."""

    @property
    def is_local(self) -> bool:
        """Whether the model's files, with its tokenizer, are on this machine."""
        return self.engine in ("transformers", "vllm")


class EndpointConfig(Config):
    """How a server is asked; only for `engine: openai`."""

    base_url_env: str = "OPENAI_BASE_URL"
    """Environment variable that holds the server's address, such as http://localhost:8000/v1."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the server's key; where it is not set, no key is sent."""
    concurrency: int = Field(64, ge=1, le=4096)
    """Requests sent at once; 16 to 256 are usual."""
    max_retries: int = Field(6, ge=0, le=1000)
    """How often a request is sent again after status 429 or 5xx, a lost connection or a broken reply."""
    timeout_s: float = Field(120.0, gt=0, le=MAX_SECONDS)
    """Longest wait for one reply, in seconds."""
    deadline_s: float = Field(600.0, gt=0, le=MAX_SECONDS)
    """Longest time for one question, all its retries included, in seconds."""
    requests_per_minute: float | None = Field(None, gt=0, le=1e9)
    """The server's limit on requests per minute, over all questions; null: none."""
    tokens_per_minute: float | None = Field(None, gt=0, le=1e12)
    """The server's limit on prompt and reply tokens together, per minute; null: none."""
    prompt_price: float | None = Field(None, ge=0, le=1e9)
    """Price of a million prompt tokens, in any currency; null: no costs are counted."""
    reply_price: float | None = Field(None, ge=0, le=1e9)
    """Price of a million reply tokens, thinking included, in the same currency; null: no costs are counted."""
    batch_api: bool = False
    """Submit the questions as files to the server's batch endpoint, which answers within a day at a lower price. The
    run then ends, and --resume collects the answers. The same as --batch-api."""
    batch_discount: float = Field(0.5, ge=0, lt=1)
    """Share of both prices that the batch endpoint takes off; 0.5 is half price."""
    logprobs: Literal["auto", "yes", "no"] = "auto"
    """Whether to ask for log-probabilities of the verdict. auto: ask, and do without where the server never gives any.
    yes: a reply without them is a failure. no: use the verdict alone."""
    num_votes: int = Field(1, ge=1, le=99)
    """Replies drawn per question where there are no log-probabilities; the share of each verdict among them is the
    label. 1, or 3 to 9, are usual."""
    temperature: float | None = Field(0.0, ge=0, le=100)
    """Sampling temperature. null: send none, for judges that refuse it. Several votes need one above 0, or null."""
    max_reply_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    """Longest reply in tokens, thinking included. null: the template's limit for the reason, and 16 for the verdict.
    Judges that think need thousands."""
    extra_body: dict[str, Any] = {}
    """Further fields of each request, such as {reasoning_effort: low}; stored with the run, so no secrets."""

    @model_validator(mode="after")
    def _body_is_free(self) -> Self:
        if taken := sorted(set(self.extra_body) & set(RESERVED_BODY)):
            raise ValueError(f"extra_body may not hold {', '.join(taken)}: rlaif sets it itself")
        return self

    @model_validator(mode="after")
    def _votes_differ(self) -> Self:
        if self.num_votes > 1 and self.temperature == 0:
            raise ValueError("several votes at temperature 0 are one vote: give a temperature above 0, or null")
        return self

    @property
    def has_prices(self) -> bool:
        return self.prompt_price is not None and self.reply_price is not None


class OtherModelConfig(Config):
    """Another model as a judge; an option that is null is as in `judge.model`."""

    engine: Literal["transformers", "vllm", "openai", "scripted"] | None = None
    """What runs the model, as in `judge.model`; requests to a server are sent as in `judge.endpoint`."""
    path: str | None = None
    """Model folder, hub id or served name; null: that of `judge.model`."""
    revision: str | None = None
    """Commit or tag of a hub model."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Number format of the weights; null: that of `judge.model`."""
    device: str | None = None
    """Device to compute on: cpu, cuda, cuda:1, mps, or auto; null: that of `judge.model`."""


class PanelJudgeConfig(Config):
    """A further judge; an option that it does not give is as in `judge`."""

    model: OtherModelConfig = OtherModelConfig()
    """The model that judges; no two judges may be the same model."""
    endpoint: dict[str, Any] = {}
    """Options of `judge.endpoint` that differ for this judge, such as {base_url_env: OTHER_URL}."""
    template: str | None = None
    """Judge template: a path, or a name from prompts/. null: the template of `judge`, or `pair` where that one is the
    front desk's and this judge is another model."""
    weight: float = Field(1.0, gt=0, le=1e6)
    """Weight of this judge's label of a pair in the mean over the judges."""


class JudgeConfig(Config):
    """Who judges and how."""

    model: JudgeModelConfig = JudgeModelConfig()
    """The judge's model; with a `panel`, that of its first judge."""
    weight: float = Field(1.0, gt=0, le=1e6)
    """With a `panel`: weight of this judge's label of a pair in the mean over the judges."""
    panel: tuple[PanelJudgeConfig, ...] = ()
    """Further judges. Every judge answers all questions, one judge after another, and a pair's label is the weighted
    mean over the judges. An option that one does not give is as in `judge`; max_calls, max_tokens and max_cost limit
    all judges together."""
    endpoint: EndpointConfig = EndpointConfig()
    """How requests are sent to a server; only for `engine: openai`."""
    template: Annotated[str, FOLLOWS_JUDGE] = "pair"
    """Judge template: a path, or a name from prompts/. null: frontdesk_pair for the front desk's judge, which can read
    no other; for any other judge `pair`, which asks for a reason and then the verdict."""
    principles: Literal["each", "together", "sampled"] = "each"
    """How the judge is asked about the principles. each: a question for each, combined by weight. together: all in one
    question, without their weights. sampled: one principle for each pair, drawn in proportion to the weights."""
    both_orders: bool = True
    """Ask about each pair in both orders, which cancels the judge's bias for a place. false: in one order, at half the
    cost; the comparisons are marked as not debiased."""
    num_shuffles: int | None = Field(None, ge=1, le=1024)
    """Only for a template that ranks: number of orders in which a prompt's responses are shown, rotations first. null:
    as many as there are responses, so that each is shown in each place once."""
    batch_tokens: int = Field(131072, ge=1, le=1_000_000_000)
    """Most prompt and reply tokens in one batch of a local judge's questions; tokens that questions share count for
    each of them."""
    min_label_mass: float = Field(0.5, ge=0, le=1)
    """Least total probability of the template's verdicts; where the judge put less on them, the judgement failed."""
    max_attempts: int = Field(3, ge=1, le=1000)
    """How often a question is asked at most, over all resumes. While questions that got no answer from a server have
    attempts left, their stage stays open and the command ends with exit status 1. A question whose answer cannot be
    used (empty, cut off, refused, without a verdict) is dropped and counted by its cause."""
    max_calls: int | None = Field(None, ge=1, le=10**12)
    """Most requests to the run's judges, retries included; null: no limit. The run stops before it would send more:
    raise the limit and --resume. A request counts once it is sent. A local judge's batch is asked whole or not at
    all."""
    max_tokens: int | None = Field(None, ge=1, le=10**15)
    """Most tokens in the prompts and replies of the run's judges; null: no limit. The run stops before it could use
    more."""
    max_cost: float | None = Field(None, gt=0, le=1e12)
    """Most that the run's judges may cost; null: no limit. The run stops before it could cost more. Needs
    endpoint.prompt_price and endpoint.reply_price."""

    def with_other(
        self,
        model: OtherModelConfig,
        *,
        template: str | None,
        endpoint: Mapping[str, Any] | None = None,
        weight: float | None = None,
    ) -> JudgeConfig:
        """Options of another judge alone: this judge's, changed by what is given. The caps are the run's: left out."""
        said = model.model_dump(exclude_none=True)
        kept = self.model.model_dump(exclude={"revision"} if "path" in said else set())
        changed = {
            "model": {**kept, **said},
            "endpoint": {**self.endpoint.model_dump(), **(endpoint or {})},
            "template": template or self.template,
            "weight": weight or self.weight,
        }
        return JudgeConfig.model_validate(self.model_dump(exclude={"panel", *CAPS}) | changed)

    def judges(self) -> tuple[JudgeConfig, ...]:
        """The options of each judge alone, this one first."""
        return (
            self.model_copy(update={"panel": ()}) if self.panel else self,
            *(
                self.with_other(one.model, template=one.template, endpoint=one.endpoint, weight=one.weight)
                for one in self.panel
            ),
        )

    @model_validator(mode="after")
    def _panel_is_valid(self) -> Self:
        known: list[dict[str, Any]] = [self._identity()]
        for number, one in enumerate(self.panel, start=2):
            try:
                other = self.with_other(one.model, template=one.template, endpoint=one.endpoint)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                option = ".".join(str(part) for part in first["loc"])
                said = str(first.get("ctx", {}).get("error", first["msg"]))
                if first["type"] == "extra_forbidden":
                    said = "is not an option"
                raise ValueError(f"judge {number} of the panel: {f'{option}: ' if option else ''}{said}") from None
            if other._identity() in known:
                raise ValueError(
                    f"judge {number} of the panel is a model that judges already; its answers would be counted twice. "
                    "Name another model, or tell two models behind one name apart by `revision`"
                )
            known.append(other._identity())
        return self

    def _identity(self) -> dict[str, Any]:
        """Options that tell one model from another; where a model is computed does not."""
        return self.model.model_dump(exclude={"device"})

    @model_validator(mode="after")
    def _money_needs_prices(self) -> Self:
        if self.max_cost is not None:
            served = [judge.endpoint for judge in self.judges() if judge.model.engine == "openai"]
            if not served or not all(endpoint.has_prices for endpoint in served):
                raise ValueError(
                    "max_cost needs `model.engine: openai` and both prices, endpoint.prompt_price and "
                    "endpoint.reply_price, for every judge that a server answers for"
                )
        return self

    @model_validator(mode="after")
    def _batches_need_a_server(self) -> Self:
        if self.endpoint.batch_api and self.model.engine != "openai":
            raise ValueError("endpoint.batch_api needs `model.engine: openai`: only a server has a batch endpoint")
        return self

    @model_validator(mode="after")
    def _other_engines_have_a_path(self) -> Self:
        if not self.model.is_local and self.model.path == FRONTDESK:
            means = "the name under which the server serves it" if self.model.engine == "openai" else "module:function"
            raise ValueError(f"`engine: {self.model.engine}` needs model.path: {means}")
        return self
