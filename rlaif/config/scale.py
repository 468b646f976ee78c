"""Options of a run that is spread over several workers: where they are and what each gets.

These options change how fast a run is, not its results, so a resumed run may have others. Connects to nothing.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from rlaif.config.base import Config


class ScaleConfig(Config):
    """Where sampling and judging are computed."""

    engine: Literal["local", "ray"] = "local"
    """Where sampling and judging are computed. local: in this process. ray: by the workers of a Ray cluster, each with
    its own copy of the policy or the judge; needs the extra `ray` (docs/scale.md). A judge behind an endpoint is asked
    from this process."""
    address: str = "local"
    """The Ray cluster. local: one that is started for this run on this machine. auto: the one that this machine belongs
    to. host:port: the cluster with this head node."""
    num_workers: int = Field(2, ge=1, le=4096)
    """Number of workers, over all nodes."""
    cpus_per_worker: float = Field(1.0, gt=0, le=4096)
    """CPU cores that each worker gets."""
    gpus_per_worker: float = Field(0.0, ge=0, le=1024)
    """GPUs that each worker gets; a worker without one computes on its cores."""
    batch_size: int = Field(192, ge=1, le=100_000)
    """Questions that are sent to a worker together. Responses are sampled in batches of `sampling.batch_size`."""

    @property
    def is_spread(self) -> bool:
        """Whether the workers of a cluster compute, not this process."""
        return self.engine == "ray"

    @field_validator("address")
    @classmethod
    def _is_reached_directly(cls, address: str) -> str:
        if address.startswith("ray://"):
            raise ValueError("Ray Data works on a node of the cluster only: run rlaif there, with address: auto")
        return address
