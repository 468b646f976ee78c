"""A judged round, made again from its questions and answers alone, and compared with what the run used.

Everything is computed by the functions that the run itself called. Asks no judge, loads no model, and needs only the
ledger's records and the run's configuration.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from rlaif.audit.compared import Check, compare
from rlaif.constitution.render import JudgeTemplate, template_from_source
from rlaif.errors import LedgerError
from rlaif.judging.bench import Bench
from rlaif.judging.collect import combine_answers
from rlaif.judging.panel import RunJudge, find_judge_ids, find_panel
from rlaif.judging.questions import plan_questions, render_questions
from rlaif.judging.recorded import compare_recorded
from rlaif.judging.setup import pairs_per_prompt
from rlaif.judging.stage import find_judge_name
from rlaif.ledger.queries import list_records
from rlaif.preferences.label import LabelRule
from rlaif.preferences.pairing import Pairing
from rlaif.preferences.people import Labelled, Mix, find_judged, make_relabelling, mix_matched
from rlaif.preferences.stage import DATASET, claims_probability, export_round, pair_round
from rlaif.records import (
    CalibrationCard,
    Comparison,
    HumanLabel,
    Judgement,
    Panel,
    Preference,
    Prompt,
    Question,
    Record,
    Sample,
    SpotCheck,
    Tally,
)
from rlaif.records.base import REDACTED
from rlaif.run.book import Book
from rlaif.run.finished import read_stage
from rlaif.run.round import Round
from rlaif.run.stages import JUDGEMENTS, PREFERENCES, PROMPTS, SAMPLES
from rlaif.sampling.sampler import draw_pairs
from rlaif.stats.logits import canonical_pair
from rlaif.stats.ranks import is_same

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class RoundAgain:
    """The records that a judged round used, to be made again."""

    round: Round
    book: Book

    def _used(self, kind: type[R], *, stage: Any) -> list[R]:
        return self.book.used(stage, kind, round=self.round.number)

    @cached_property
    def prompts(self) -> list[Prompt]:
        return self._used(Prompt, stage=PROMPTS)

    @cached_property
    def samples(self) -> list[Sample]:
        return self._used(Sample, stage=SAMPLES)

    @cached_property
    def questions(self) -> list[Question]:
        return self._used(Question, stage=JUDGEMENTS)

    @cached_property
    def judgements(self) -> list[Judgement]:
        return self._used(Judgement, stage=JUDGEMENTS)

    @cached_property
    def bench(self) -> Bench:
        return Bench(self.round.config, ledger=self.round.ledger, find_stage_dirs=lambda: ())

    @cached_property
    def judges(self) -> list[tuple[str, RunJudge, JudgeTemplate]]:
        """Each judge that was asked: its id, its configuration, and its template as the ledger keeps it."""
        ids = find_judge_ids(self.questions)
        if self.round.is_recorded:
            return []
        digests = {question.judge_id: question.template_digest for question in self.questions}
        found = []
        for judge_id, judge in zip(ids, self.bench.judges, strict=False):
            source = self.round.ledger.text(digests[judge_id] or "")
            if source is None:
                raise LedgerError("a judge's template is not there", where=judge.name, fix="ask for the pack again")
            found.append((judge_id, judge, template_from_source(source, name="the stored template")))
        return found

    @cached_property
    def pairs(self) -> list[tuple[Sample, Sample]]:
        """The pairs that were compared, drawn again by the seed; of recorded verdicts those that have one.

        Texts are compared by their digests, which a redaction leaves.
        """
        by_id = {sample.id: sample for sample in self.samples}
        if self.round.is_recorded:
            asked = dict.fromkeys(tuple(sorted(question.sample_ids)) for question in self.questions)
            return [(by_id[a], by_id[b]) for a, b in asked]
        num = pairs_per_prompt(self.round.config.sampling, template=self.judges[0][2]) if self.judges else 0
        shown = [sample.model_copy(update={"text": sample.text_digests["text"]}) for sample in self.samples]
        drawn = draw_pairs(shown, num_pairs=num, seed=self.round.seed)
        return [(by_id[a.id], by_id[b.id]) for a, b in drawn.pairs]

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """What the run used. Later steps are made of it, because a last bit may be another on another machine."""
        return self._used(Comparison, stage=JUDGEMENTS)

    def _combine_again(self) -> list[Comparison]:
        """The comparisons, combined again from the answers."""
        answers = {judgement.question_id: judgement for judgement in self.judgements}
        if self.round.is_recorded:
            return compare_recorded({question.id: question for question in self.questions}, answers)
        combined: list[Comparison] = []
        for judge_id, _, template in self.judges:
            own = [question for question in self.questions if question.judge_id == judge_id]
            votes: dict[str, list[Question]] = {}
            for question in own:
                if question.draw:
                    votes.setdefault(question.changed(draw=0).id, []).append(question)
            combined += combine_answers(
                [question for question in own if not question.draw], votes=votes, answers=answers, pairs=self.pairs,
                constitution=self.round.constitution, template=template, draw_seed=self.round.draw_seed,
            )  # fmt: skip
        return combined

    @cached_property
    def panel(self) -> Panel:
        return find_panel(
            self.bench.judges, questions=self.questions, comparisons=self.comparisons,
            is_recorded=self.round.is_recorded,
        )  # fmt: skip

    @cached_property
    def rule(self) -> LabelRule:
        return LabelRule(self.round.config.preferences, seed=self.round.seed, fitted_on=self.comparisons)

    @cached_property
    def card(self) -> CalibrationCard | None:
        return next(iter(self._used(CalibrationCard, stage=PREFERENCES)), None)

    @cached_property
    def preferences(self) -> list[Preference]:
        return self._used(Preference, stage=PREFERENCES)

    @cached_property
    def labels(self) -> list[HumanLabel]:
        return self._used(HumanLabel, stage=PREFERENCES)

    @cached_property
    def mix(self) -> Mix:
        """What people's labels add; a calibration that was fitted to another run is taken as its card has it."""
        config = self.round.config.human
        if config.calibration is not None and self.card is not None:
            return Mix(records=(self.card,))
        if not self.labels:
            return Mix()
        brought = [*self._used(Prompt, stage=PREFERENCES), *self._used(Sample, stage=PREFERENCES)]
        return mix_matched(
            self.labels, self._labelled, brought=brought, tally=Tally(num_in=len(self.labels)),
            labels_digest="" if self.card is None else self.card.labels_digest, comparisons=self.comparisons,
            panel=self.panel, rule=self.rule, config=config, draw_seed=self.round.draw_seed,
            is_scaled=claims_probability((one[2] for one in self.judges), is_recorded=self.round.is_recorded),
            transport=None if self.card is None else self.card.transport,
        )  # fmt: skip

    @cached_property
    def _labelled(self) -> Labelled:
        before = self.round.number
        return Labelled(
            constitution=self.round.constitution, round=self.round.number, samples=self.samples, pairs=self.pairs,
            earlier_samples=self.book.used_before(SAMPLES, Sample, round=before),
            earlier_comparisons=self.book.used_before(JUDGEMENTS, Comparison, round=before),
            find_samples=lambda ids: {},
        )  # fmt: skip

    @cached_property
    def pairing(self) -> Pairing:
        """The preferences, labelled again."""
        known = (*self._labelled.earlier_samples, *self.samples, *self.mix.samples)
        relabelling = make_relabelling(self.card, {sample.id: sample.text for sample in known})
        mix = self.mix._replace(relabelling=relabelling)
        return pair_round(self.round, mix, comparisons=self.comparisons, pairs=self.pairs, panel=self.panel)

    def check_questions(self) -> Check:
        """The questions that the configuration and the seed ask for, with the exact prompt of each."""
        if self.round.is_recorded:
            return Check("open", "questions", f"{len(self.questions)}, of recorded verdicts, whose prompts nobody has")
        prompts = {prompt.id: prompt for prompt in self.prompts}
        made: dict[Hashable, Question] = {}
        for judge_id, judge, template in self.judges:
            decoding = next(question.decoding for question in self.questions if question.judge_id == judge_id)
            planned = plan_questions(
                self.pairs, constitution=self.round.constitution, template=template, config=judge.config,
                draw_seed=self.round.draw_seed,
            )  # fmt: skip
            rendered = render_questions(
                planned, prompts=prompts, template=template, judge_id=judge_id, decoding=decoding
            )
            made |= {_question_key(question): question for question, _ in rendered}
        stored = {_question_key(question): question for question in self.questions if not question.draw}
        hidden = {key for key, question in stored.items() if self._is_redacted(question)}
        found = compare(stored, {key: stored.get(key, one) if key in hidden else one for key, one in made.items()})
        left = f", the prompts of {len(hidden)} others not, as a text in them was redacted" if hidden else ""
        said = f"{len(stored)}, drawn again by the seed; {len(stored) - len(hidden)} prompts rendered again{left}"
        return found.as_check("questions", said)

    @cached_property
    def _redacted(self) -> frozenset[str]:
        """Ids of the prompts and samples of which a text was redacted."""
        samples = {sample.id for sample in self.samples if sample.text == REDACTED}
        return frozenset(samples | {p.id for p in self.prompts if any(m.content == REDACTED for m in p.messages)})

    def _is_redacted(self, question: Question) -> bool:
        return not self._redacted.isdisjoint((question.prompt_id, *question.sample_ids))

    def check_comparisons(self) -> Check:
        made = {_comparison_key(one): one for one in self._combine_again()}
        found = compare({_comparison_key(one): one for one in self.comparisons}, made)
        return found.as_check("comparisons", f"{len(self.comparisons)}, combined again")

    def check_agreement(self) -> Check | None:
        """The agreement of judge and people, and the calibration; None where there are no labels."""
        if self.card is None:
            return None
        share = f"judge and people agree on {self.card.before.share.mean:.1%} of {self.card.before.n} items"
        if self.round.config.human.calibration is not None:
            return Check("open", "agreement", f"{share}; it was fitted to another run, and is taken as its card says")
        if self._redacted:
            return Check("open", "agreement", f"{share}; a text was redacted, whose length the calibration reads")
        made = [record for record in self.mix.records if isinstance(record, CalibrationCard)]
        found = compare({"": self.card}, {"": made[0]} if made else {})
        return found.as_check("agreement", f"{share}, fitted again to {len(self.labels)} labels")

    def check_preferences(self) -> Check:
        """The labels, and what was dropped why."""
        if self.card is not None and self._redacted and self.card.map.kind != "identity":
            return Check("open", "preferences", "a text was redacted, whose length the calibration reads")
        made = {_preference_key(one): one for one in self.pairing.preferences}
        found = compare({_preference_key(one): one for one in self.preferences}, made)
        stage = read_stage(self.round.find_folder(PREFERENCES))
        if stage is not None and stage.tally != self.pairing.tally:
            counted = f"its stage counted {stage.tally}, and the answers give {self.pairing.tally}"
            found = found._replace(difference=found.difference or counted)
        return found.as_check("preferences", f"{self.pairing.tally}, labelled again")

    def check_draws(self) -> Check | None:
        """The judge's labels that draws for people were made by; None where none was made of this round."""
        judged = self.judged_labels()
        num = 0
        for check in list_records(self.round.ledger, SpotCheck):
            for item in check.items:
                pair = canonical_pair(*item.sample_ids)
                label = judged.get((pair, item.principle_id))
                if label is None or self.round.run.name not in check.runs:
                    continue
                p = label if pair == item.sample_ids else 1 - label
                if not is_same(p, item.p_judge):
                    said = (
                        f"item {item.item_id} of sheet {check.sheet_id[:12]} has {item.p_judge}, the answers give {p}"
                    )
                    return Check("differs", "draws for people", said)
                num += 1
        return Check("holds", "draws for people", f"{num} items, with the judge's labels made again") if num else None

    def export(self, folder: Path) -> Path:
        """The training file, written again of the preferences that the run used."""
        out = folder / f"round_{self.round.number:02d}" / DATASET
        export_round(
            self.round, self.mix, self.pairing._replace(preferences=self.preferences), prompts=self.prompts,
            samples=self.samples, judge_name=find_judge_name(self.round, self.bench, self.comparisons), out_dir=out,
        )  # fmt: skip
        return out

    def find_hidden_rows(self) -> int:
        """The number of preferences whose texts were redacted."""
        return sum(not self._redacted.isdisjoint((one.prompt_id, *one.sample_ids)) for one in self.pairing.preferences)

    def judged_labels(self) -> Mapping[tuple[tuple[str, str], str], float]:
        """Pair in canonical order and principle -> the judges' label of its first sample."""
        judged = find_judged(
            self.comparisons, constitution=self.round.constitution, panel=self.panel, rule=self.rule,
            draw_seed=self.round.draw_seed,
        )  # fmt: skip
        return {key: label.p_first for key, label in judged.items()}


def _question_key(question: Question) -> Hashable:
    return question.judge_id, question.sample_ids, question.principles


def _comparison_key(comparison: Comparison) -> Hashable:
    return comparison.judge_id, comparison.sample_ids, comparison.principle.wording


def _preference_key(preference: Preference) -> Hashable:
    return preference.prompt_id, preference.sample_ids
