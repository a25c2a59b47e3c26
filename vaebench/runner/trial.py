"""Trial of parts from other packages: two examples of zeros pass through the model before the run."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from vaebench.errors import UserError
from vaebench.model import Model
from vaebench.parts import Loss, ObjectiveContract

NUM_SAMPLES, NUM_EXAMPLES = 3, 2


def try_parts(node: Mapping[str, Any], model: Model, objective: ObjectiveContract) -> None:
    """Check output shapes if any part is from another package. Raises UserError.

    The parts of vaebench itself are covered by its tests, and are not tried.
    """
    foreign = [target for target in targets(node) if not target.startswith("vaebench.")]
    if not foreign:
        return
    dtype = torch.float32 if model.spec.vocabulary is None else torch.int64
    x = torch.zeros(NUM_EXAMPLES, *model.spec.shape, dtype=dtype)
    model.eval()
    try:
        with torch.no_grad():
            _check_densities(model, x)
            if has_foreign_output(node):  # else a slow autoregressive decoder would sample for nothing
                _check_images(model, x)
        _check_objective(model, objective, x)
    except UserError:
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"model: two examples of zeros, {list(x.shape)}, do not pass through {', '.join(foreign)}: "
            f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno}); the contracts of "
            f"parts are in vaebench.parts."
        ) from error
    finally:
        model.train()


def targets(node: Any) -> Iterator[str]:
    """Yield every `_target_` in a config."""
    if isinstance(node, Mapping):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for inner in node.values():
            yield from targets(inner)


def has_foreign_output(node: Mapping[str, Any]) -> bool:
    """Return True if the model's class, its decoder or its likelihood is from another package."""
    parts = [{"_target_": node["_target_"]}, node.get("decoder"), node.get("likelihood")]
    return any(not target.startswith("vaebench.") for part in parts for target in targets(part))


def _check_densities(model: Model, x: Tensor) -> None:
    samples, examples = NUM_SAMPLES, NUM_EXAMPLES
    q = model.encode(x)
    expect("q(z|x).mean", q.mean, (examples, model.latent_dim))
    p = model.prior_distribution()
    z = q.rsample(samples)
    expect("q(z|x).rsample", z, (samples, examples, model.latent_dim))
    expect("p(z).log_prob", p.log_prob(z), (samples, examples))
    expect("q(z|x).log_prob", q.log_prob(z), (samples, examples))
    terms = model.terms(x, samples, q, p)
    expect("log p(x|z)", terms.log_px_z, (samples, examples))


def _check_images(model: Model, x: Tensor) -> None:
    z = model.prior_distribution().rsample(len(x))
    expect("a sample of p(x|z)", model.sample_x(z), tuple(x.shape))
    if model.spec.vocabulary is None:  # sentences have no mean
        expect("the mean of p(x|z)", model.decode_mean(z.unsqueeze(0), x), (1, *x.shape))


def _check_objective(model: Model, objective: ObjectiveContract, x: Tensor) -> None:
    """Compute a loss with gradients enabled: an objective may take some itself."""
    loss = objective(model.terms(x, objective.num_samples), torch.zeros(()), model)
    if not isinstance(loss, Loss):
        raise UserError(
            f"model.objective: {type(objective).__name__} returned {type(loss).__name__}, "
            f"expected vaebench.parts.Loss."
        )
    expect("the objective's loss", loss.total, ())


def expect(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Raise UserError if the shape differs."""
    if tuple(tensor.shape) != shape:
        raise UserError(f"model: {name} has shape {list(tensor.shape)}, expected {list(shape)}.")
