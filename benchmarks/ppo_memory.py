"""Memory of log-probabilities at a large vocabulary: ours in chunks, beside all logits at once.

    python benchmarks/ppo_memory.py [--tokens 256] [--hidden 896] [--vocab 151936]

Forward and backward from hidden states through a head that is not trained itself, each in a separate process: the
peak of its memory, less what it held before. Prints one line of JSON; benchmarks/ppo.py asks for it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlaif.policy.ppo.token_logprobs import compute_token_logprobs

SMALLER = 8
"""How many times smaller the vocabulary of the second measurement is."""


def in_chunks(hidden: Tensor, tokens: Tensor, head: nn.Linear) -> Tensor:
    return compute_token_logprobs(hidden, tokens, head=head, temperature=1.0).logprobs


def all_at_once(hidden: Tensor, tokens: Tensor, head: nn.Linear) -> Tensor:
    return torch.log_softmax(head(hidden).float(), dim=-1).gather(1, tokens[:, None]).squeeze(1)


WAYS = {"ours": in_chunks, "full_logits": all_at_once}


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def held_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure(way: str, *, tokens: int, hidden: int, vocab: int) -> float:
    """MiB beyond what was taken before: the inputs, the head, and what libraries take at their first use."""
    torch.set_num_threads(1)
    head = nn.Linear(hidden, vocab, bias=False).requires_grad_(False)
    small = nn.Linear(hidden, 8, bias=False).requires_grad_(False)
    states = torch.randn(tokens, hidden, requires_grad=True)
    ids = torch.randint(0, vocab, (tokens,))
    WAYS[way](states[:2], ids[:2] % 8, small).sum().backward()
    states.grad = torch.zeros_like(states)
    before = held_mib()
    WAYS[way](states, ids, head).sum().backward()
    return max(0.0, peak_mib() - before)


def compare(*, tokens: int, hidden: int, vocab: int) -> dict[str, Any]:
    found: dict[str, Any] = {"tokens": tokens, "hidden": hidden, "vocab": vocab}
    for size in (vocab, vocab // SMALLER):
        found[str(size)] = {}
        for way in WAYS:
            given = json.dumps({"way": way, "tokens": tokens, "hidden": hidden, "vocab": size})
            command = [sys.executable, __file__, "--worker", given]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[str(size)][way] = round(float(done.stdout), 1)
    found["times_less"] = round(found[str(vocab)]["full_logits"] / max(1.0, found[str(vocab)]["ours"]), 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--vocab", type=int, default=151_936)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(measure(**json.loads(given.worker)))
        return
    print(json.dumps(compare(tokens=given.tokens, hidden=given.hidden, vocab=given.vocab)))


if __name__ == "__main__":
    main()
