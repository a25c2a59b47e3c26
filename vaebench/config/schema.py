"""The closed parts of the configuration. Open parts (`Node`) are checked against constructor signatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval

from vaebench.ranges import AtLeastTwo, Count, NonNegative, Positive

Node = dict[str, Any]
"""A mapping with a `_target_`: whatever its constructor's keyword-only parameters say."""


@dataclass(frozen=True)
class Training:
    """How long and how: part of a run's identity."""

    epochs: Count
    steps: Count | None
    """Where given, the duration in optimiser steps; `epochs` is then not read."""
    batch_size: Count
    optimizer: Node
    schedule: Node
    clip_grad_norm: Positive | None
    """Gradients are scaled down to this norm; null leaves them."""
    patience: Count | None
    """Stop after this many epochs without a better value of the objective's criterion on validation data, for
    most the ELBO at beta 1; null never stops early."""
    warmup_is_patient: bool
    """Whether the epochs of the objective's warm-up are left out of the patience."""


@dataclass(frozen=True)
class Runtime:
    """How it runs here: never part of a run's identity."""

    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: Count | None
    """CPU threads; null shares the machine's cores among the launcher's jobs."""
    matmul_precision: Literal["highest", "high", "medium"]
    """Of float32 matrix products in training: medium allows bfloat16, high TF32."""
    evaluation_matmul_precision: Literal["highest", "high", "medium"]
    convolutions: Literal["float32", "bfloat16"]
    """What convolutional decoders are trained in, by autocast; evaluations are in float32."""
    compile: Literal["auto", "always", "never"]
    """torch.compile of the step; auto compiles on CUDA, where small networks are bound by launches.
    A model whose posterior refines itself runs as it is."""
    checkpoint_seconds: NonNegative
    """A checkpoint is written at the first step after this many seconds since the last."""
    progress: Literal["auto", "always", "never"]
    """Bars on a terminal, a log line an epoch elsewhere."""
    track_information: AtLeastTwo | None
    """Of how many validation data the mutual information is in each epoch's line; null leaves it out."""
    eval_batch_mib: Annotated[float, Ge(0.1)]
    """Memory that one chunk of an evaluation may take for the data it decodes."""


@dataclass(frozen=True)
class Paths:
    """Where results go and where derived data are kept: never part of a run's identity."""

    outputs: str
    cache: str


@dataclass(frozen=True)
class Config:
    """The whole of it, in the order of conf/train.yaml."""

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
