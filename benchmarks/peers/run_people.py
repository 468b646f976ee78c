"""GLIDE's and ppi-python's 95 % intervals of simulated draws, each by the estimator it has for the way they were drawn.

Run by benchmarks/people_peers.py in an environment of its own: python run_people.py DRAWS.npz BOUNDS.npz
"""

from __future__ import annotations

import sys

import numpy as np
from glide.estimators import ASIMeanEstimator, ClusteredPPIMeanEstimator, PPIMeanEstimator
from ppi_py import ppi_mean_ci

Array = np.ndarray


def ask_glide(said: Array, judged: Array, *, prompts: Array, probabilities: Array | None) -> tuple[float, float]:
    if probabilities is not None:
        found = ASIMeanEstimator().estimate(said, judged, probabilities)
    elif len(np.unique(prompts)) < len(prompts):
        found = ClusteredPPIMeanEstimator().estimate(said, judged, prompts)
    else:
        found = PPIMeanEstimator().estimate(said, judged)
    return float(found.confidence_interval.lower_bound), float(found.confidence_interval.upper_bound)


def ask_ppi_python(said: Array, judged: Array, *, prompts: Array, probabilities: Array | None) -> tuple[float, float]:
    """Its own tuning of lambda; it has no interval for prompts with several items nor for draws of unlike chances."""
    if probabilities is not None or len(np.unique(prompts)) < len(prompts):
        return float("nan"), float("nan")
    known = ~np.isnan(said)
    low, high = ppi_mean_ci(said[known], judged[known], judged[~known], alpha=0.05)
    return float(np.squeeze(low)), float(np.squeeze(high))


def main() -> None:
    drawn = np.load(sys.argv[1])
    chances = drawn["probabilities"] if "probabilities" in drawn else [None] * len(drawn["said"])
    bounds: dict[str, list[tuple[float, float]]] = {"glide": [], "ppi_python": []}
    for said, judged, probabilities in zip(drawn["said"], drawn["judged"], chances, strict=True):
        for name, ask in (("glide", ask_glide), ("ppi_python", ask_ppi_python)):
            try:
                bounds[name].append(ask(said, judged, prompts=drawn["prompts"], probabilities=probabilities))
            except ValueError:  # GLIDE refuses labels that are all alike
                bounds[name].append((float("nan"), float("nan")))
    np.savez(sys.argv[2], **{name: np.array(found) for name, found in bounds.items()})


if __name__ == "__main__":
    main()
