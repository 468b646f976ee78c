"""SFT and RL on functions and their compositions: which of them reaches compositions it was never trained on?

    python benchmarks/code_sft_rl.py [--seeds 5]

A toy of arXiv:2406.10305. Eight functions on strings of four digits are the atoms. `AC>3141` asks for A(C(3141)), and
the answer names each function with its result, the inner one first: `;C1413;A3141`. A two-layer model that has learnt
the atoms is trained further on some of the 56 ordered pairs of different functions, and measured on the others, by the
last string of its greedy answer:

    atoms                only atoms, as many steps more
    atoms + compositions atoms and a few demonstrations of the training pairs
    ... + SFT            then about as many optimizer steps as RL takes, again on the same demonstrations
    ... + RL             then RL on the same prompts, with reft's reward (1, 0.1, 0)
    RL from scratch      the model of the atoms, RL on these prompts without a demonstration of any pair
    RL after a handful   one demonstration of each training pair first

A finished seed is kept in the results, and the next call goes on after it. Expected by the paper: compositions beat
atoms alone, and RL on the same prompts is at least as good as SFT on pairs never trained on. Reported as it comes.
Writes benchmarks/results/code_sft_rl.json; no target.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from rlaif.config.ift import IftConfig
from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_guards import GuardsConfig
from rlaif.config.verifier import ReftConfig
from rlaif.evaluation.verifier import Verifier
from rlaif.files.atomic import write_atomically
from rlaif.policy.methods.ift import compute_losses, train_on_sequences
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.rewards.verified import VerifierReward
from rlaif.records import Message, Prompt

RESULTS = Path(__file__).parent / "results" / "code_sft_rl.json"
LENGTH = 4
MOST_TOKENS = 2 * (LENGTH + 2) + 1
"""Of an answer about two functions, with its end."""
NUM_PAIRS, NUM_PER_PAIR = 24, 30
"""Pairs that are trained on, and demonstrations of each."""
ATOM_STEPS, RL_STEPS, RL_RATE = 400, 60, 3e-4
ATOMS: dict[str, Callable[[list[int]], list[int]]] = {
    "A": lambda x: x[::-1],
    "B": sorted,
    "C": lambda x: [*x[1:], x[0]],
    "D": lambda x: [(digit + 1) % 10 for digit in x],
    "E": lambda x: [9 - digit for digit in x],
    "F": lambda x: [x[1], x[0], x[3], x[2]],
    "G": lambda x: [x[0], x[1], x[1], x[0]],
    "H": lambda x: [x[0]] * LENGTH,
}
TOKENS = "0123456789ABCDEFGH>;"
PAD, END = len(TOKENS), len(TOKENS) + 1
PAIRS = [(outer, inner) for outer in ATOMS for inner in ATOMS if outer != inner]


# ---- the world


class Task(NamedTuple):
    """A question and its right answer."""

    question: str
    answer: str

    @property
    def sequence(self) -> TokenSequence:
        return TokenSequence(encode(self.question), [*encode(self.answer), END])

    @property
    def result(self) -> str:
        return self.answer[-LENGTH:]

    @property
    def prompt(self) -> Prompt:
        return Prompt(messages=(Message(role="user", content=self.question),), reference=self.result)


def encode(text: str) -> list[int]:
    return [TOKENS.index(letter) for letter in text]


def make_task(names: Sequence[str], generator: random.Random) -> Task:
    """Names of functions, the innermost last, applied to a random string."""
    digits = [generator.randrange(10) for _ in range(LENGTH)]
    question = f"{''.join(names)}>{''.join(map(str, digits))}"
    answer = ""
    for name in reversed(names):
        digits = ATOMS[name](digits)
        answer += f";{name}{''.join(map(str, digits))}"
    return Task(question, answer)


class Letters:
    """Text <-> token ids, for PPO."""

    pad_token_id = PAD
    stop_token_ids = (END,)

    def encode(self, chat: Any) -> list[int]:
        return encode("".join(message.text for message in chat))

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(TOKENS[i] for i in ids if i < PAD)


def find_result(prompt: Sequence[dict[str, str]], response: str) -> str | None:
    """The last string of four digits, where the response ends with one."""
    last = response[-LENGTH:]
    return last if len(last) == LENGTH and last.isdigit() else None


@torch.no_grad()
def measure(model: PreTrainedModel, tasks: Sequence[Task]) -> float:
    """Share of tasks whose greedy answer ends with the right string. All questions are equally long."""
    ids = torch.tensor([encode(task.question) for task in tasks])
    start = ids.shape[1]
    for _ in range(MOST_TOKENS):
        ids = torch.cat([ids, model(input_ids=ids).logits[:, -1].argmax(dim=-1)[:, None]], dim=1)
    answers = [Letters().decode(_until_end(row)) for row in ids[:, start:].tolist()]
    return statistics.fmean(find_result([], found) == task.result for found, task in zip(answers, tasks, strict=True))


def _until_end(row: Sequence[int]) -> Sequence[int]:
    return row[: row.index(END)] if END in row else row


# ---- training


def learn_atoms(*, seed: int) -> PreTrainedModel:
    """A model that answers questions about single functions, from fresh ones in every step."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=24, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=32, pad_token_id=PAD, tie_word_embeddings=False,
    )  # fmt: skip
    return train_more(LlamaForCausalLM(config), num_steps=ATOM_STEPS, rate=3e-3, generator=random.Random(seed))


def train_more(model: PreTrainedModel, *, num_steps: int, rate: float, generator: random.Random) -> PreTrainedModel:
    """Steps on fresh questions about single functions, in place."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    for step in range(num_steps):
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / 50) * (1 - step / num_steps)
        batch = [make_task([generator.choice(list(ATOMS))], generator).sequence for _ in range(128)]
        found = compute_losses(model, batch, lam=0.0, pad_id=PAD)
        loss = found.losses.sum() / found.mask.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def fine_tune(model: PreTrainedModel, tasks: Sequence[Task], *, num_epochs: int, seed: int) -> PreTrainedModel:
    """SFT of a copy: lam 0 and gamma 0 are SFT."""
    trained = copy.deepcopy(model)
    config = IftConfig(num_epochs=num_epochs, batch_size=32, learning_rate=1e-3, lam=0.0, gamma=0.0)
    train_on_sequences(trained, [task.sequence for task in tasks], config=config, pad_id=PAD, seed=seed)
    return trained.eval()


def reinforce(model: PreTrainedModel, tasks: Sequence[Task], *, seed: int) -> PreTrainedModel:
    """RLOO with the verifier's reward, on the same prompts."""
    guards = GuardsConfig(
        kl_ceiling=None, max_length_factor=None, max_eos_drop=None, max_repetition_rise=None, evaluate_every=None
    )
    config = PpoConfig(
        algorithm="rloo", num_steps=RL_STEPS, num_prompts_per_step=64, num_samples_per_prompt=4,
        response_length=MOST_TOKENS, learning_rate=RL_RATE, num_ppo_epochs=2, kl_coef=0.01, guards=guards,
        missing_eos_penalty=0.0, checkpoint_every=RL_STEPS, sample_every=RL_STEPS,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        return train_policy(
            policy=model,
            encoder=Letters(),
            prompts=[task.prompt for task in tasks],
            reward=VerifierReward(Verifier(find_result, tolerance=0.0), ReftConfig()),
            config=config,
            out_dir=Path(folder),
            seed=seed,
            resume=False,
        ).model


# ---- the study


def run_seed(seed: int) -> dict[str, Any]:
    """Every arm's share of right answers, on atoms, on the trained pairs (other strings) and on the others."""
    started = time.process_time()
    generator = random.Random(seed)
    trained_pairs = generator.sample(PAIRS, NUM_PAIRS)
    others = [pair for pair in PAIRS if pair not in trained_pairs]
    demonstrations = [make_task(pair, generator) for pair in trained_pairs for _ in range(NUM_PER_PAIR)]
    mixed = [*demonstrations, *(make_task([name], generator) for name in ATOMS for _ in range(2 * NUM_PER_PAIR))]
    handful = demonstrations[::NUM_PER_PAIR]
    tests = {
        "atoms": [make_task([name], generator) for name in ATOMS for _ in range(50)],
        "trained_pairs": [make_task(pair, generator) for pair in trained_pairs for _ in range(25)],
        "held_out_pairs": [make_task(pair, generator) for pair in others for _ in range(10)],
    }
    base = learn_atoms(seed=seed)
    fine_tuned = fine_tune(base, mixed, num_epochs=10, seed=seed)
    few = fine_tune(base, [*handful, *mixed[len(demonstrations) :: 4]], num_epochs=10, seed=seed)
    steps = 10 * len(mixed) // 32
    models = {
        "atoms": train_more(copy.deepcopy(base), num_steps=steps, rate=1e-3, generator=random.Random(seed)),
        "atoms + compositions": fine_tuned,
        "... + SFT": fine_tune(fine_tuned, mixed, num_epochs=3, seed=seed + 1000),
        "... + RL": reinforce(fine_tuned, mixed, seed=seed),
        "RL from scratch": reinforce(base, mixed, seed=seed),
        "handful": few,
        "RL after a handful": reinforce(few, mixed, seed=seed),
    }
    found = {name: {kind: measure(model, tasks) for kind, tasks in tests.items()} for name, model in models.items()}
    for name, row in found.items():
        print(f"seed {seed}, {name}: {row}", flush=True)
    return {"seed": seed, "arms": found, "cpu_s": round(time.process_time() - started)}


def summarise(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, and in how many of them one arm is above another on held-out pairs."""
    arms = list(runs[0]["arms"])
    kinds = list(runs[0]["arms"][arms[0]])
    return {
        "num_seeds": len(runs),
        "arms": {
            arm: {
                kind: {
                    "mean": statistics.fmean(values := [run["arms"][arm][kind] for run in runs]),
                    "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
                }
                for kind in kinds
            }
            for arm in arms
        },
        "held_out_pairs": {
            f"{better} against {worse}": [
                run["arms"][better]["held_out_pairs"] - run["arms"][worse]["held_out_pairs"] for run in runs
            ]
            for better, worse in (
                ("atoms + compositions", "atoms"), ("... + RL", "... + SFT"), ("... + RL", "atoms + compositions"),
                ("RL from scratch", "atoms"), ("RL after a handful", "handful"),
            )
        },
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    setting = {
        "num_pairs": NUM_PAIRS,
        "per_pair": NUM_PER_PAIR,
        "atom_steps": ATOM_STEPS,
        "rl_steps": RL_STEPS,
        "rl_rate": RL_RATE,
    }
    kept: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    runs = kept["runs"] if kept.get("setting") == setting else []
    for seed in range(len(runs), options.seeds):
        runs.append(run_seed(seed))
        result = {
            "command": f"python benchmarks/code_sft_rl.py --seeds {len(runs)}", "setting": setting,
            **summarise(runs), "runs": runs,
        }  # fmt: skip
        write_atomically(RESULTS, json.dumps(result, indent=1) + "\n")
    print(json.dumps(summarise(runs), indent=1))


if __name__ == "__main__":
    main()
