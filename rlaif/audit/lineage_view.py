"""Lineages -> named facts under titles, in the order in which a reader follows them.

Words only: what is counted stands in the values. Texts come from principle files and models: whoever prints them makes
them harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rlaif.audit.influence import Influence, RoundUse
from rlaif.audit.lineage import Lineage
from rlaif.audit.traced import TracedHead, TracedJudge, TracedModel, TracedRound
from rlaif.audit.view import Fact, Section
from rlaif.records.base import REDACTED
from rlaif.report.wording import format_count
from rlaif.run.stages import find_stage

IDS_SHOWN = 5


def lineage_view(lineage: Lineage) -> tuple[Section, ...]:
    """The model first, then the rounds that it was made of, and the ledger that says so."""
    sections = [] if lineage.model is None else [_describe_model(lineage, lineage.model)]
    sections += [Section(f"round {one.round} of run {one.run}", tuple(_round_facts(one))) for one in lineage.rounds]
    return (*sections, Section("ledger", tuple(_ledger_facts(lineage.ledger, lineage.head))))


def influence_view(found: Influence) -> tuple[Section, ...]:
    """What was followed, what each round made of it, and the models that it reached."""
    sections = [Section(found.subject, tuple(_wording_facts(found)))]
    sections += [Section(f"round {one.round} of run {one.run}", tuple(_use_facts(one))) for one in found.rounds]
    models = [Fact(f"{one.model.kind}, round {one.model.round}", _describe_reached(one.model, one.how))
              for one in found.models] or [Fact("models", "none")]  # fmt: skip
    return (
        *sections,
        Section("models that it reached", tuple(models)),
        Section("ledger", tuple(_ledger_facts(found.ledger, found.head))),
    )


def _describe_model(lineage: Lineage, model: TracedModel) -> Section:
    facts = [
        Fact("card", f"{model.card_id} of run {model.run}, round {model.round}"),
        Fact("model", model.model_id),
        Fact("weights sha256", _describe_weights(model, same=lineage.is_same_weights)),
        *(Fact(name, key) for name, key in model.made_from.items()),
        *(Fact("made of", sentence) for sentence in lineage.given),
    ]
    if lineage.card_head is not None:
        facts.append(Fact("its README's head", _describe_card_head(lineage.card_head)))
    return Section(model.kind, tuple(facts))


def _describe_weights(model: TracedModel, *, same: bool | None) -> str:
    if same is None:
        return f"{model.weights or 'not known'}: not compared with the folder's"
    return f"{model.weights}: {'those in the folder' if same else 'NOT those in the folder, which was changed since'}"


def _describe_card_head(head: TracedHead) -> str:
    row = f"row {head.seq}" if head.seq else "a row that it does not name"
    return f"{head.hex}, {row}: {'in this ledger' if head.is_in_chain else 'NOT the head of that row in this ledger'}"


def _round_facts(one: TracedRound) -> Iterator[Fact]:
    digest = f" ({one.constitution_id}, file sha256 {one.constitution_digest})" if one.constitution_id else ""
    yield Fact("constitution", f"{one.constitution}{digest}")
    for principle in one.principles:
        yield Fact("principle", f"{principle.id}, weight {principle.weight:g}: {principle.text}")
    yield Fact("prompts", _describe_counts(one.prompts, of="from"))
    yield Fact("responses", _describe_counts(one.samples, of="by"))
    for judge in one.judges:
        yield Fact("judge", _describe_judge(judge))
    if one.failed:
        yield Fact("failed judgements", _describe_counts(one.failed, of=""))
    yield Fact("comparisons", _describe_counts(one.comparisons, of="under"))
    yield Fact("preferences", _describe_counts(one.preferences, of="by"))
    if one.labels:
        yield Fact("labels of people", _describe_counts(one.labels, of="by"))
    for key in one.calibration_ids:
        yield Fact("calibration", key)
    for model in one.models:
        yield Fact(model.kind, f"{model.model_id} in {model.name or 'a folder that is not known'}")


def _describe_counts(counts: Mapping[str, int], *, of: str) -> str:
    """A total with its parts, such as `1500: 1200 by judge, 300 by human`."""
    parts = ", ".join(f"{count} {of} {name or 'nowhere'}".replace("  ", " ") for name, count in counts.items())
    return f"{sum(counts.values())}: {parts}" if parts else "none"


def _describe_judge(judge: TracedJudge) -> str:
    stage = find_stage(judge.stage)
    how = "imported verdicts" if judge.is_imported else f"template sha256 {judge.template_digest or 'not known'}"
    return f"{judge.name}: {judge.num_judgements} in {judge.stage if stage is None else stage.name}, {how}"


def _wording_facts(found: Influence) -> Iterator[Fact]:
    for wording in found.wordings:
        text = REDACTED if wording.text is None else wording.text
        yield Fact("text", f"{text} (sha256 {wording.digest}, {format_count(wording.num_comparisons, 'comparison')})")


def _use_facts(one: RoundUse) -> Iterator[Fact]:
    weight = "" if one.weight is None else f", weight {one.weight:g}"
    yield Fact("constitution", f"{one.constitution or 'not known'}{weight}")
    if one.num_comparisons or one.num_judgements:
        yield Fact("decided", _describe_decided(one))
    if one.num_preferences:
        split = "" if one.num_train is None else f": {one.num_train} to train on, {one.num_held_out} held out"
        yield Fact("preferences", f"{one.num_preferences}{split}")
        ids = one.preference_ids[:IDS_SHOWN]
        more = one.num_preferences - len(ids)
        yield Fact("such as" if more else "namely", f"{', '.join(ids)}{f' and {more} more' if more else ''}")
    if one.num_in_training:
        yield Fact("in training", f"{one.num_in_training} judgements were rewards or checks of the policy's training")
    if one.num_evaluated:
        yield Fact("evaluation", format_count(one.num_evaluated, "comparison"))


def _describe_decided(one: RoundUse) -> str:
    compared = format_count(one.num_comparisons, "comparison")
    return f"{compared} of {format_count(one.num_judgements, 'judgement')}"


def _describe_reached(model: TracedModel, how: str) -> str:
    return f"{model.model_id} of run {model.run}: {how}"


def _ledger_facts(path: str, head: TracedHead) -> Iterator[Fact]:
    yield Fact("file", path)
    yield Fact("head", f"{head.seq} {head.hex}")
