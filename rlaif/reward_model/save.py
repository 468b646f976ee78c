"""A trained reward model -> its folder: weights, tokenizer, chat template, model card and results.

The folder loads as AutoModelForSequenceClassification with one label; the raw logit is the reward. The same training
gives the same bytes, so the folder holds no time and no path. Does not train.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from rlaif.config.reward_model import RewardModelConfig
from rlaif.errors import RunFolderError
from rlaif.files.atomic import replace_directory
from rlaif.files.markdown import inline_code
from rlaif.files.own_files import read_own
from rlaif.ledger.sign_offs import StatedHead
from rlaif.models.weights.loading import LoadedModel
from rlaif.models.weights.saving import write_model
from rlaif.records import Tally, Value
from rlaif.reward_model.early_stop import Kept
from rlaif.reward_model.held_out import HeldOut
from rlaif.reward_model.human_weight import HumanWeight
from rlaif.reward_model.model import with_pad_token

RESULTS = "training.json"


class Results(Value):
    """The figures of a finished training."""

    digest: str
    """Digest of everything that fixes the result: model, data, options, seed."""
    held_out: HeldOut
    reward_mean: float
    reward_std: float
    """Standard deviation of the rewards of the starting policy's responses; `reward_mean` is their mean."""
    num_pairs: int
    """Pairs trained on."""
    human_weight: HumanWeight | None = None
    """The weight of people's rows, where it was chosen by cross-validation."""
    kept: Kept | None = None
    """The step whose weights were kept, where it was chosen."""
    length_leaning: str | None = None
    """The labels' leaning to length, in words, where the rewards leave it out."""

    @property
    def metrics(self) -> dict[str, float]:
        found = {
            "accuracy": self.held_out.accuracy.mean if self.held_out.accuracy else None,
            "log_loss": self.held_out.log_loss,
            "log_loss_floor": self.held_out.log_loss_floor,
            "reward_mean": self.reward_mean,
            "reward_std": self.reward_std,
            "num_pairs": float(self.num_pairs),
            "num_held_out_pairs": float(self.held_out.num_pairs),
            "accuracy_at_most": self.held_out.accuracy_at_most if self.held_out.accuracy_at_most < 1 else None,
            "rated_correlation": self.held_out.rated.correlation if self.held_out.rated else None,
            **(_find_human_metrics(self.human_weight) if self.human_weight else {}),
            "kept_step": float(self.kept.step) if self.kept else None,
        }
        return {name: value for name, value in found.items() if value is not None}


def _find_human_metrics(found: HumanWeight) -> dict[str, float | None]:
    """The weight of people's rows, and how well held-out rows are known with these rows and without them."""
    return {
        **{name: value for trial in found.by_source for name, value in trial.metrics.items()},
        "human_weight": found.weight,
        "human_log_loss_with": found.log_loss_with,
        "human_log_loss_without": found.log_loss_without,
    }


def read_results(folder: Path, *, digest: str) -> Results | None:
    """The results of a finished training, or None where there is none; a folder of another training is refused."""
    path = folder / RESULTS
    if not path.is_file():
        return None
    fix = "restore it from a copy, or remove the folder it is in to train again"
    results = read_own(path, Results.model_validate_json, fix=fix)
    if results.digest != digest:
        raise RunFolderError(
            "the reward model there comes from a training with other data or options",
            where=str(folder),
            fix="put them back, or remove this folder to train again",
        )
    return results


def save_reward_model(
    model: PreTrainedModel,
    *,
    base: LoadedModel,
    out_dir: Path,
    results: Results,
    config: RewardModelConfig,
    tally: Tally,
    dataset_digest: str,
    ledger_head: StatedHead | None,
) -> None:
    """Write `out_dir`, replacing it as a whole."""
    model.config.reward_mean = results.reward_mean
    model.config.reward_std = results.reward_std
    card = render_model_card(
        base=base,
        results=results,
        config=config,
        tally=tally,
        dataset_digest=dataset_digest,
        ledger_head=ledger_head,
    )
    with replace_directory(out_dir) as folder:
        write_model(model, with_pad_token(base.tokenizer, model.config.pad_token_id), folder)
        (folder / "README.md").write_text(card, encoding="utf-8", newline="\n")
        (folder / RESULTS).write_text(_write_results(results) + "\n", encoding="utf-8", newline="\n")


def _write_results(results: Results) -> str:
    """The results as JSON; figures that came later are left out where they say nothing, so that bytes stay the same."""
    held_out = results.held_out
    says_nothing = {"accuracy_at_most": held_out.accuracy_at_most == 1, "rated": held_out.rated is None}
    names = {name for name, is_nothing in says_nothing.items() if is_nothing}
    left_out: dict[str, Any] = {"held_out": names} if names else {}
    left_out |= {name: True for name in ("human_weight", "kept", "length_leaning") if getattr(results, name) is None}
    return results.model_dump_json(indent=1, exclude=left_out or None)


def render_model_card(
    *,
    base: LoadedModel,
    results: Results,
    config: RewardModelConfig,
    tally: Tally,
    dataset_digest: str,
    ledger_head: StatedHead | None,
) -> str:
    """The folder's README.md."""
    return "\n".join(
        [
            "---",
            "# license: name the licence here before you publish this folder",
            "library_name: transformers",
            "pipeline_tag: text-classification",
            "tags:",
            "- reward-model",
            "- rlaif",
            "---",
            "",
            "# Reward model",
            "",
            "Scores a response to a conversation: the raw logit is the reward, read at the token that ends",
            "the response. Trained on pairs with soft labels (Bradley-Terry), dropout off, in float32.",
            "",
            "| | |",
            "| --- | --- |",
            f"| held-out accuracy | {_accuracy(results.held_out)} |",
            f"| held-out log loss | {_log_loss(results.held_out)} |",
            *_rated(results.held_out),
            f"| reward of the starting policy's responses | mean {results.reward_mean:.4f},"
            f" standard deviation {results.reward_std:.4f} |",
            f"| training pairs | {tally} |",
            *([f"| weight of people's rows | {results.human_weight.describe()} |"] if results.human_weight else []),
            *([f"| steps | {results.kept.describe()} |"] if results.kept else []),
            *([f"| length | {results.length_leaning} |"] if results.length_leaning else []),
            f"| base model | `{base.fingerprint.id}`, weights `{base.fingerprint.weights}` |",
            f"| sha256 of the preference files | {_given(dataset_digest)} |",
            f"| head of the ledger's chain | {_describe_head(ledger_head)} |",
            *_describe_signed(ledger_head),
            f"| training | {_describe_training(config)} |",
            "",
            "Accuracy counts held-out pairs whose label is not one half, each by its row's weight, with the",
            "label as the truth; its 95 % interval takes into account that pairs of one prompt go together.",
            "The floor of the log loss is the labels' own entropy.",
            "",
            "```python",
            "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
            "",
            'path = "path/to/this/folder"',
            "tokenizer = AutoTokenizer.from_pretrained(path)",
            "model = AutoModelForSequenceClassification.from_pretrained(path)",
            'chat = [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]',
            'inputs = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)',
            "reward = model(**inputs).logits[0, 0]",
            "```",
            "",
            "The last token must be the one that ends the assistant's turn: cut off what a template puts",
            "after it. `reward_mean` and `reward_std` in config.json standardise the reward.",
            "",
        ]
    )


def _describe_training(config: RewardModelConfig) -> str:
    if config.train == "readout":
        return "a linear read-out of the mean of all tokens' states, which the last layer's attention computes"
    upper = f"the upper {config.num_layers} layers and the head, " if config.train == "last_layers" else ""
    return (
        f"{upper}{config.num_epochs} epochs, batches of {config.batch_size} pairs, learning rate"
        f" {config.learning_rate:g}, weight decay {config.weight_decay:g}"
    )


def _accuracy(held_out: HeldOut) -> str:
    found = held_out.accuracy
    if found is None:
        return "not measured: no held-out pair has a preferred side"
    ties = f", {held_out.num_ties} ties left out" if held_out.num_ties else ""
    return (
        f"{found.mean:.3f} (95 % interval {found.low:.3f} to {found.high:.3f}; {held_out.num_pairs} pairs of"
        f" {found.n} prompts{ties}{describe_bound(held_out)})"
    )


def describe_bound(held_out: HeldOut) -> str:
    """The highest accuracy that could be reached, in words; empty where the labels do not contradict one another."""
    if held_out.accuracy_at_most == 1:
        return ""
    return f"; at most {held_out.accuracy_at_most:.3f}, as some pairs are labelled both ways"


def _log_loss(held_out: HeldOut) -> str:
    if held_out.log_loss is None or held_out.log_loss_floor is None:
        return "not measured"
    return f"{held_out.log_loss:.4f} nats (a coin .6931, floor {held_out.log_loss_floor:.4f})"


def _rated(held_out: HeldOut) -> list[str]:
    if held_out.rated is None or held_out.rated.correlation is None:
        return []
    found = held_out.rated
    return [f"| held-out ratings and thumbs | correlation {found.correlation:.3f} with {found.num} of them |"]


def _describe_head(head: StatedHead | None) -> str:
    return "not given" if head is None else f"`{head.hex}`, row {head.seq}: see `rlaif audit verify --head`"


def _describe_signed(head: StatedHead | None) -> list[str]:
    return [f"| signed head | {inline_code(one.describe())} |" for one in (() if head is None else head.signed)]


def _given(digest: str) -> str:
    return f"`{digest}`" if digest else "not given"
