"""Schema of the fixed parts of the config. Other parts (`Node`) are checked against signatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval

from vaebench.ranges import AtLeastTwo, Count, NonNegative, Positive

Node = dict[str, Any]
"""A mapping with a `_target_`; the keyword-only parameters of its constructor are the legal keys."""


@dataclass(frozen=True)
class Training:
    """Duration and optimisation of the training: part of a run's identity."""

    epochs: Count
    steps: Count | None
    """Duration in optimiser steps, in place of `epochs`; null uses `epochs`."""
    batch_size: Count
    optimizer: Node
    schedule: Node
    clip_grad_norm: Positive | None
    """Gradients are scaled down to this norm; null does not clip."""
    patience: Count | None
    """Stop after this many epochs without a better value of the objective's criterion on validation data;
    null never stops early. The criterion of most objectives is the ELBO at beta 1."""
    warmup_is_patient: bool
    """Whether the patience ignores the epochs of the objective's warm-up."""


@dataclass(frozen=True)
class Runtime:
    """Execution on this machine: never part of a run's identity."""

    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: Count | None
    """CPU threads; null shares the machine's cores among the launcher's jobs."""
    matmul_precision: Literal["highest", "high", "medium"]
    """Precision of float32 matrix products in training: medium allows bfloat16, high TF32."""
    evaluation_matmul_precision: Literal["highest", "high", "medium"]
    convolutions: Literal["float32", "bfloat16"]
    """Precision of convolutional decoders in training, by autocast; evaluations use float32."""
    compile: Literal["auto", "always", "never"]
    """torch.compile of the step; auto compiles on CUDA, where kernel launches limit small networks, except
    for sentences. A model with an iterative posterior is never compiled."""
    checkpoint_seconds: NonNegative
    """A checkpoint is written at the first step after this many seconds since the last."""
    progress: Literal["auto", "always", "never"]
    """Progress bars; auto shows them on a terminal, and logs one line per epoch elsewhere."""
    track_information: AtLeastTwo | None
    """Number of validation examples for the mutual information in each epoch line; null leaves it out."""
    eval_batch_mib: Annotated[float, Ge(0.1)]
    """Memory in MiB that one chunk of an evaluation may use for the data it decodes."""


@dataclass(frozen=True)
class Paths:
    """Folders of results and of derived data: never part of a run's identity."""

    outputs: str
    cache: str


@dataclass(frozen=True)
class Config:
    """The whole config, in the order of conf/train.yaml."""

    dataset: Node
    model: Node
    training: Training
    evaluation: dict[str, Node]
    runtime: Runtime
    tracker: Node
    tier: Literal["full", "reduced", "smoke"]
    seed: Annotated[int, Interval(ge=0, lt=2**32)]
    fresh: bool
    data_root: str
    paths: Paths
