"""What it costs and buys to train a part of the weights: all, the last layers, adapters, named ones, side by side.

    python benchmarks/freezing.py [--seeds 0] [--only NAME]

On the front desk, each training in a process of its own. sft: 256 simulated demonstrations, two passes; the loss per
token of 100 demonstrations of held-out scenes. ppo: 12 steps of 16 prompts with 4 responses, rewarded by the simulated
truth of the demo's constitution (0 to 1); the reward and the KL of 256 responses to held-out prompts, same draws.
Memory is the peak of the training beyond what its process held before. Gradients and Adam's two moments are counted: 12
bytes for each trained weight. Rates are the front desk's own, for adapters also ten times these. Every row is kept as
soon as it is there, and no finished one is done again. Writes benchmarks/results/freezing.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ppo_memory import held_mib, peak_mib

from rlaif.config.load import load_config
from rlaif.config.ppo import PpoConfig
from rlaif.config.run import RunConfig
from rlaif.config.sft import SftConfig
from rlaif.frontdesk.replies import make_demonstrations
from rlaif.frontdesk.truth import measure
from rlaif.frontdesk.world import make_prompts
from rlaif.models.local.decode import decode, row_uniforms
from rlaif.models.open import load_model
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.methods.held_out import measure_held_out
from rlaif.policy.methods.sft import train_sft
from rlaif.policy.ppo.batching import TokenSequence, micro_batches, pad_batch
from rlaif.policy.ppo.passes import compute_logprobs
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.rewards.episodes import Episode
from rlaif.policy.task import TrainedPolicy
from rlaif.records import Demonstration, Prompt

RESULTS = Path(__file__).parent / "results" / "freezing.json"
LORA: dict[str, Any] = {"train": "lora", "lora": {"rank": 8, "alpha": 16}}
CASES: dict[str, tuple[dict[str, Any], float]] = {
    "all": ({}, 1.0),
    "last 2 of 3 layers": ({"train": "last_layers", "num_layers": 2}, 1.0),
    "last of 3 layers": ({"train": "last_layers", "num_layers": 1}, 1.0),
    "adapters of rank 8": (LORA, 1.0),
    "adapters of rank 8, rate x 10": (LORA, 10.0),
    "the same on the last layer": ({"train": "lora", "lora": {"rank": 8, "alpha": 16, "num_layers": 1}}, 10.0),
    'names ["*.mlp.*"]': ({"train": "names", "names": ("*.mlp.*",)}, 1.0),
}  # fmt: skip
"""Options of the weights, and a factor on the learning rate."""
BYTES = 12
"""Of a trained weight: its gradient and Adam's two moments, in float32."""
HELD_OUT_SEED = 20_000


def write_demonstrations(*, seed: int, num: int) -> list[tuple[Prompt, Demonstration]]:
    rows = [(Prompt.from_chat(row.messages), row.response) for row in make_demonstrations(seed=seed, n=num)]
    return [(prompt, Demonstration(prompt_id=prompt.id, response=response)) for prompt, response in rows]


def reward(prompt: Prompt, response: str) -> float:
    """How far a response is courteous, and twice as much, brief: the demo's constitution, by the simulated truth."""
    truth = measure([message.model_dump() for message in prompt.messages], response)
    return (truth["courteous"] + 2 * truth["brief"]) / 300


def run_sft(base: LoadedModel, weights: dict[str, Any], *, rate: float, seed: int) -> tuple[TrainedPolicy, Any]:
    demonstrations = write_demonstrations(seed=1, num=256)
    config = SftConfig.model_validate(
        {"learning_rate": rate * load_config().sft.learning_rate, "num_epochs": 2, **weights}
    )
    trained = train_sft(base=base, demonstrations=demonstrations, config=config, seed=seed)

    def look() -> dict[str, float]:
        held_out = write_demonstrations(seed=2, num=100)
        loss = measure_held_out(held_out, base=base, trained=trained.model, config=config)
        return {"loss_before": loss.before or 0.0, "loss": loss.after or 0.0}

    return trained, look


def run_ppo(base: LoadedModel, weights: dict[str, Any], *, rate: float, seed: int) -> tuple[TrainedPolicy, Any]:
    demo = load_config().ppo
    config = PpoConfig.model_validate({
        **dict(demo), "num_steps": 12, "num_prompts_per_step": 16, "learning_rate": rate * demo.learning_rate,
        "checkpoint_every": 1000, "model": weights,
    })  # fmt: skip

    def score(episodes: Sequence[Episode]) -> list[float]:
        return [reward(episode.prompt, episode.response) for episode in episodes]

    prompts = [Prompt.from_chat(chat) for chat in make_prompts(seed=1, n=200)]
    with tempfile.TemporaryDirectory() as folder:
        trained = train_policy(
            policy=base.model, encoder=base.encoder, prompts=prompts, reward=score, config=config,
            out_dir=Path(folder), seed=seed, resume=False,
        )  # fmt: skip
    return trained, lambda: {**look_at(base, base.model, config, "_before"), **look_at(base, trained.model, config)}


@torch.no_grad()
def look_at(base: LoadedModel, model: Any, config: PpoConfig, suffix: str = "") -> dict[str, float]:
    """Mean reward and KL of responses to held-out prompts."""
    chats = make_prompts(seed=HELD_OUT_SEED, n=64, held_out=True)
    asked = [prompt for prompt in map(Prompt.from_chat, chats) for _ in range(4)]
    ids = [base.encoder.encode(prompt.as_segments()) for prompt in asked]
    drawn = decode(
        model, ids, max_new_tokens=config.response_length, temperature=config.temperature,
        stop_ids=base.encoder.stop_token_ids, pad_id=base.encoder.pad_token_id,
        uniforms=row_uniforms([(HELD_OUT_SEED, row) for row in range(len(asked))], config.response_length),
    )  # fmt: skip
    ended = zip(drawn.token_ids, drawn.finished, strict=True)
    texts = [base.encoder.decode(one[:-1] if is_whole else one) for one, is_whole in ended]
    sequences = [TokenSequence(*pair) for pair in zip(ids, drawn.token_ids, strict=True)]
    kl = 0.0
    for rows in micro_batches(sequences, max_tokens=2048):
        batch = pad_batch([sequences[row] for row in rows], pad_id=base.encoder.pad_token_id, device=model.device)
        of_reference = compute_logprobs(base.model, batch, temperature=config.temperature)
        kl += sum(sum(drawn.logprobs[row]) for row in rows) - float(of_reference.sum())
    rewards = [reward(*pair) for pair in zip(asked, texts, strict=True)]
    return {f"reward{suffix}": statistics.fmean(rewards), f"kl{suffix}": kl / len(asked)}


METHODS = {"sft": run_sft, "ppo": run_ppo}


def work(method: str, name: str, *, seed: int) -> dict[str, Any]:
    """One training, in this process."""
    torch.set_num_threads(1)
    base = load_model(RunConfig().policy, part="policy")
    base.model.float()
    ids = torch.tensor([base.encoder.encode(Prompt.from_chat(make_prompts(seed=3, n=1)[0]).as_segments())])
    base.model(ids).logits.sum().backward()  # what libraries take at their first use
    base.model.zero_grad(set_to_none=True)
    weights, rate = CASES[name]
    before, started = max(held_mib(), 0.0), time.process_time()
    trained, look = METHODS[method](base, weights, rate=rate, seed=seed)
    seconds, peak = time.process_time() - started, peak_mib()
    assert trained.weights is not None
    counts = trained.weights
    return {
        "trained": counts.trained, "frozen": counts.frozen, "moments_mib": round(BYTES * counts.trained / 2**20, 3),
        "peak_mib": round(peak - before, 1), "cpu_s": round(seconds, 1), "steps": trained.steps,
        **{key: round(value, 4) for key, value in look().items()},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", default="", help="method, or method and row, with this in it")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(json.dumps(work(**json.loads(given.worker))))
        return
    result: dict[str, Any] = {"sft": {}, "ppo": {}}
    if given.out.is_file():
        result = {key: value for key, value in json.loads(given.out.read_text()).items() if key in METHODS}
    for seed in given.seeds:
        for method in METHODS:
            for name in CASES:
                if given.only not in f"{method} {name}" or str(seed) in result[method].get(name, {}):
                    continue
                asked = json.dumps({"method": method, "name": name, "seed": seed})
                command = [sys.executable, __file__, "--worker", asked]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(f"{method}, {name} failed:\n{done.stderr[-2000:]}")
                cell = json.loads(done.stdout.splitlines()[-1])
                result[method].setdefault(name, {})[str(seed)] = cell
                about = {"command": "python benchmarks/freezing.py", "machine": platform.machine()}
                given.out.write_text(json.dumps({**about, **result}, indent=1) + "\n", encoding="utf-8")
                print(f"{method}, {name}, seed {seed}: {cell}", flush=True)


if __name__ == "__main__":
    main()
