"""Options of the judge: who judges, through which engine, and what it may cost at most.

Key and address of an endpoint are no options: they stand in the environment, under names that these options give.
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
"""Of all judges of a run together."""


class JudgeModelConfig(ModelConfig):
    """A judge: a local model, one behind an endpoint, or a function."""

    engine: Literal["transformers", "vllm", "openai", "scripted"] = "transformers"
    """What runs it. transformers: a local model. vllm: the same model in a process of its own, which needs
    the extra `vllm` (docs/scale.md). openai: a server with the OpenAI chat API, its address in
    OPENAI_BASE_URL; `path` is the name it serves the model under, `revision` any word of yours that tells two models
    behind one name apart. scripted: `path` is module:function, see rlaif/models/scripted_engine.py."""
    dtype: Annotated[Literal["float32", "bfloat16", "float16"], FOLLOWS_JUDGE] = "float32"
    """Number format of the weights. null: float32 for the front desk's judge and on a CPU, bfloat16 for any other judge
    on an NVIDIA GPU."""
    vllm: VllmConfig = VllmConfig()
    """How vLLM runs it; only for `engine: vllm`."""

    @property
    def is_local(self) -> bool:
        """Whether its files are on this machine, its tokenizer too."""
        return self.engine in ("transformers", "vllm")


class EndpointConfig(Config):
    """How a server is asked; only for `engine: openai`."""

    base_url_env: str = "OPENAI_BASE_URL"
    """Environment variable that holds the server's address, such as http://localhost:8000/v1."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; not set: no key is sent."""
    concurrency: int = Field(64, ge=1, le=4096)
    """Questions under way at once."""
    max_retries: int = Field(6, ge=0, le=1000)
    """How often a request is sent again after 429, 5xx, a lost connection or a broken body."""
    timeout_s: float = Field(120.0, gt=0, le=MAX_SECONDS)
    """Longest wait for one reply."""
    deadline_s: float = Field(600.0, gt=0, le=MAX_SECONDS)
    """Longest time for one question, all its retries included."""
    requests_per_minute: float | None = Field(None, gt=0, le=1e9)
    """The server's limit on requests; all questions share it."""
    tokens_per_minute: float | None = Field(None, gt=0, le=1e12)
    """The server's limit on prompt and reply tokens together."""
    prompt_price: float | None = Field(None, ge=0, le=1e9)
    """Price of a million prompt tokens, in any currency."""
    reply_price: float | None = Field(None, ge=0, le=1e9)
    """Price of a million reply tokens, those of its thinking included."""
    batch_api: bool = False
    """Submit the questions as files to the server's batch endpoint, which answers them within a day for less money;
    the run ends there and --resume collects the answers. The same as --batch-api."""
    batch_discount: float = Field(0.5, ge=0, lt=1)
    """Share of both prices that the batch endpoint takes off."""
    logprobs: Literal["auto", "yes", "no"] = "auto"
    """Ask for log-probabilities of the verdict. auto: go on without where the server never gives any; yes: a reply
    without them is a failure; no: the verdict alone."""
    num_votes: int = Field(1, ge=1, le=99)
    """Draws per question where there are no log-probabilities; their share is the label."""
    temperature: float | None = Field(0.0, ge=0, le=100)
    """Sampling temperature; null sends none, for judges that refuse it. Several votes need one above 0, or null."""
    max_reply_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    """Longest reply, thinking included; null: the template's reason and 16 for the verdict. Judges that think need
    thousands."""
    extra_body: dict[str, Any] = {}
    """Further fields of each request, such as {reasoning_effort: low}; kept with the run, so no secrets."""

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
    """Another model as a judge; what is null is as in `judge.model`."""

    engine: Literal["transformers", "vllm", "openai", "scripted"] | None = None
    """As in `judge.model`; an endpoint is asked as `judge.endpoint` says."""
    path: str | None = None
    """Model folder, hub id or served name; null: the judge's own."""
    revision: str | None = None
    """Commit or tag of a hub model."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Number format of the computation."""
    device: str | None = None
    """cpu, cuda, cuda:1, mps, or auto."""


class PanelJudgeConfig(Config):
    """A further judge; what it does not say is as in `judge`."""

    model: OtherModelConfig = OtherModelConfig()
    """Who judges; it must be another model than every other judge's."""
    endpoint: dict[str, Any] = {}
    """Those options of `judge.endpoint` that are others for this judge, such as {base_url_env: OTHER_URL}."""
    template: str | None = None
    """Judge template: a path, or a name from prompts/; null: the one of `judge`; `pair` where that is the
    front desk's and this judge is another model."""
    weight: float = Field(1.0, gt=0, le=1e6)
    """How much its label of a pair counts beside the other judges'."""


class JudgeConfig(Config):
    """Who judges and how."""

    model: JudgeModelConfig = JudgeModelConfig()
    """The judge; the first one, where `panel` names more."""
    weight: float = Field(1.0, gt=0, le=1e6)
    """How much its label of a pair counts beside those of the panel's other judges."""
    panel: tuple[PanelJudgeConfig, ...] = ()
    """Further judges: each is asked all questions too, one judge after another, and a pair's label is the weighted
    mean of theirs. What one does not say is as in `judge`; the caps below hold for all of them together."""
    endpoint: EndpointConfig = EndpointConfig()
    """How a server is asked; only for `engine: openai`."""
    template: Annotated[str, FOLLOWS_JUDGE] = "pair"
    """Judge template: a path, or a name from prompts/. null: frontdesk_pair for the front desk's judge, which can read
    no other; `pair`, a reason and then the verdict, for any other judge."""
    principles: Literal["each", "together", "sampled"] = "each"
    """How the principles are asked. each: a question for each, combined by weight. together: all in one question,
    their weights untold. sampled: one for each pair, drawn in proportion to the weights."""
    both_orders: bool = True
    """Ask each pair in both orders; one order alone is marked as not debiased."""
    num_shuffles: int | None = Field(None, ge=1, le=1024)
    """Only for a template that ranks: the orders in which it is shown a prompt's responses, the rotations first; null:
    as many as there are responses, so that each stands in each place once."""
    batch_tokens: int = Field(131072, ge=1, le=1_000_000_000)
    """Prompt and reply tokens of the questions that a local judge is asked together, shared ones counted for each."""
    min_label_mass: float = Field(0.5, ge=0, le=1)
    """A verdict on which the judge put less probability than this is a failed judgement."""
    max_attempts: int = Field(3, ge=1, le=1000)
    """How often a failed question is asked, over all resumptions. While questions that got no answer at all from a
    server have attempts left, their stage stays open and the command ends with exit status 1; an answer that cannot be
    used (empty, cut off, refused, without a verdict) is dropped by name and closes it."""
    max_calls: int | None = Field(None, ge=1, le=10**12)
    """The run stops before it sends its judges more requests than this, retries included. A request counts once it is
    sent. A local judge's batch is asked whole or not at all. Raise it and --resume."""
    max_tokens: int | None = Field(None, ge=1, le=10**15)
    """The run stops before its judges' prompts and replies together may hold more tokens than this."""
    max_cost: float | None = Field(None, gt=0, le=1e12)
    """The run stops before its judges may cost more than this; needs endpoint.prompt_price and endpoint.reply_price."""

    def with_other(
        self,
        model: OtherModelConfig,
        *,
        template: str | None,
        endpoint: Mapping[str, Any] | None = None,
        weight: float | None = None,
    ) -> JudgeConfig:
        """Another judge, alone: as this one in all that is not said. Caps are the run's and not a judge's."""
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
        """Every judge by itself, this one first."""
        return (
            self.model_copy(update={"panel": ()}) if self.panel else self,
            *(
                self.with_other(one.model, template=one.template, endpoint=one.endpoint, weight=one.weight)
                for one in self.panel
            ),
        )

    @model_validator(mode="after")
    def _panel_can_be(self) -> Self:
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
        """What makes it another model; where a model is computed or asked does not."""
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
