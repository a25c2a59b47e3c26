"""Time of the IW-NLL of vaebench and of pythae's `get_nll` on equal weights, per decoded sample.

Trains the 784-500-50-500-784 VAE for a few epochs, copies the weights to pythae, and estimates -log p(x) of
the first test images with S samples each, in turn. Prints times in microseconds and both estimates, with the
Monte Carlo error of vaebench's. The last line is the ratio of the median times.

    python -m scripts.bench_nll [--images 100] [--samples 1000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from scripts.bench_common import load_mnist, our_vae, pythae_vae
from scripts.bench_training import our_epoch
from vaebench.data.spec import DataSpec, Splits
from vaebench.evaluation.base import Context
from vaebench.evaluation.likelihood.nll import ImportanceSampledNLL
from vaebench.models.latent import LatentModel


def our_nll(
    model: LatentModel, splits: Splits, images: int, samples: int, seed: int, device: torch.device
) -> tuple[float, float]:
    """Return the NLL in nats and its Monte Carlo standard error; the time includes encoding."""
    with tempfile.TemporaryDirectory() as folder:
        context = Context(
            model=model, splits=splits, spec=DataSpec("mnist", (1, 28, 28), "binary", 10), seed=seed,
            directory=Path(folder), history=[],
        )  # fmt: skip
        evaluator = ImportanceSampledNLL(num_samples=samples, num_data=images, subset="first")
        values = {m.name: m.value for m in evaluator.run(context)}
    return values["nll_nats"], values["nll_mc_error"]


@torch.no_grad()
def pythae_nll(model: object, x: Tensor, samples: int, seed: int) -> float:
    """Return pythae's estimate of the NLL in nats; `get_nll` returns the mean of log p(x)."""
    torch.manual_seed(seed)
    return -float(model.get_nll(x, n_samples=samples, batch_size=min(samples, 100)))  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1000, help="a multiple of 100, else pythae rounds it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--epochs", type=int, default=2, help="number of training epochs before the measurement"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    if options.samples % 100:
        parser.error("--samples must be a multiple of 100: pythae decodes whole batches of 100")
    device = torch.device(options.device)
    splits = load_mnist()
    ours = our_vae(seed=0)
    epoch = our_epoch(ours, splits, 0, device)
    for _ in range(options.epochs):
        epoch()
    theirs = pythae_vae(ours.cpu()).to(device).eval()
    ours = ours.to(device).eval()
    splits = splits.to(device)
    x = splits.test.x[: options.images].float()
    decoded = options.images * options.samples
    print(
        f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads; {decoded} decoded samples"
    )
    print("round   us/sample: ours  pythae    NLL: ours (MC error)   pythae")
    times: dict[str, list[float]] = {"ours": [], "pythae": []}
    values: dict[str, list[float]] = {"ours": [], "pythae": []}
    error = 0.0
    for number in range(options.rounds):
        started = time.perf_counter()
        value, error = our_nll(ours, splits, options.images, options.samples, number, device)
        times["ours"].append((time.perf_counter() - started) / decoded * 1e6)
        values["ours"].append(value)
        started = time.perf_counter()
        values["pythae"].append(pythae_nll(theirs, x, options.samples, number))
        times["pythae"].append((time.perf_counter() - started) / decoded * 1e6)
        print(
            f"{number + 1:5d} {times['ours'][-1]:16.2f} {times['pythae'][-1]:7.2f} "
            f"{value:13.4f} ({error:.4f}) {values['pythae'][-1]:12.4f}"
        )
    means = {name: statistics.fmean(numbers) for name, numbers in values.items()}
    # Both means are over equally many rounds of the same estimator, each with this Monte Carlo error.
    apart = abs(means["ours"] - means["pythae"]) / (error * math.sqrt(2 / options.rounds))
    print(f"NLL: ours {means['ours']:.4f}, pythae {means['pythae']:.4f}: {apart:.1f} standard errors apart")
    print(f"ratio {statistics.median(times['ours']) / statistics.median(times['pythae']):.3f}")


if __name__ == "__main__":
    main()
