"""Time of a training epoch in vaebench and in pythae, in turn: seconds, loss curves, ratio of the medians.

Trains the 784-500-50-500-784 VAE on 50,000 binarised MNIST images with batch 100, Adam 1e-3 and equal initial
weights. Both are timed over one pass through the training data, without validation or checkpoints: pythae's
`BaseTrainer.train_step` and vaebench's `run_epoch`. The last line is the ratio of the medians.

    python -m scripts.bench_training [--precision medium] [--pairs 5] [--device cpu]
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from tqdm import tqdm

from scripts.bench_common import load_mnist, our_vae, pythae_vae
from vaebench.data.batches import Batches
from vaebench.data.spec import Splits
from vaebench.models.latent import LatentModel
from vaebench.objectives.elbo import ELBO
from vaebench.runner.loop import Training, run_epoch
from vaebench.runner.optimizers import adam
from vaebench.runner.schedules import constant
from vaebench.runner.step import make_step

BATCH, LR = 100, 1e-3

Epoch = Callable[[], float]
"""Function that trains one epoch and returns the mean loss per example in nats."""


def our_epoch(model: LatentModel, splits: Splits, seed: int, device: torch.device) -> Epoch:
    batches = Batches(splits.train.to(device), BATCH, seed)
    model.to(device)
    objective = ELBO(len(batches), model, beta=1.0, warmup_epochs=0.0, free_bits=0.0, num_samples=1)
    optimizer = adam(model.parameters(), lr=LR, betas=(0.9, 0.999), weight_decay=0.0)
    schedule = constant(optimizer, num_steps=10**9)
    compiled = device.type == "cuda"
    training = Training(
        model=model, objective=objective, optimizer=optimizer, auxiliary_optimizer=None, batches=batches,
        step=make_step(model, objective, optimizer, None, schedule, None, compiled), schedule=schedule,
        validate=dict, num_steps=10**9, patience=None, patient_epochs=0, checkpoint_seconds=math.inf,
        save=lambda step, state: None, record=lambda line: None, stop_requested=lambda: False, show_bar=False,
    )  # fmt: skip

    def epoch() -> float:
        run_epoch(training, tqdm(disable=True))
        loss = training.meter.read()["loss"]
        training.meter.reset()
        training.progress.epoch += 1
        training.progress.batch = 0
        return loss

    return epoch


def pythae_epoch(model: Any, splits: Splits, folder: str, device: torch.device) -> Epoch:
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    assert splits.train.y is not None
    trainer = BaseTrainer(
        model,
        train_dataset=BaseDataset(splits.train.x, splits.train.y),
        training_config=BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            learning_rate=LR,
            optimizer_cls="Adam",
            no_cuda=device.type == "cpu",
        ),
    )
    trainer.prepare_training()
    numbers = iter(range(1, 10**9))
    return lambda: float(trainer.train_step(next(numbers)))


def timed(epoch: Epoch, device: torch.device) -> tuple[float, float]:
    started = time.perf_counter()
    loss = epoch()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started, loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--precision", default="highest", choices=["highest", "high", "medium"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    logging.disable(logging.INFO)
    device = torch.device(options.device)
    splits = load_mnist()
    ours, again = our_vae(seed=0), our_vae(seed=1)
    with tempfile.TemporaryDirectory() as folder:
        theirs = pythae_epoch(pythae_vae(ours), splits, folder, device)
        mine = our_epoch(ours, splits, 0, device)
        other_seed = our_epoch(again, splits, 1, device)  # measures how much the loss varies with the seed
        seconds: dict[str, list[float]] = {"ours": [], "pythae": []}
        losses: dict[str, list[float]] = {"ours": [], "pythae": [], "ours, another seed": []}
        print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {options.precision}")
        print("epoch   seconds: ours  pythae    loss: ours  pythae  ours, another seed")
        for pair in range(options.pairs + 1):
            # pythae has no such setting, so that it runs with the default.
            torch.set_float32_matmul_precision(options.precision)
            our_seconds, our_loss = timed(mine, device)
            _, other_loss = timed(other_seed, device)
            torch.set_float32_matmul_precision("highest")
            their_seconds, their_loss = timed(theirs, device)
            losses["ours"].append(our_loss)
            losses["pythae"].append(their_loss)
            losses["ours, another seed"].append(other_loss)
            note = "  (warm-up, not counted)" if pair == 0 else ""
            if pair > 0:
                seconds["ours"].append(our_seconds)
                seconds["pythae"].append(their_seconds)
            print(
                f"{pair + 1:5d} {our_seconds:14.3f} {their_seconds:7.3f} {our_loss:13.3f} {their_loss:7.3f} "
                f"{other_loss:8.3f}{note}"
            )
    between = max(abs(a - b) for a, b in zip(losses["ours"][1:], losses["pythae"][1:], strict=True))
    by_chance = max(
        abs(a - b) for a, b in zip(losses["ours"][1:], losses["ours, another seed"][1:], strict=True)
    )
    print(f"loss curves after epoch 1: at most {between:.3f} nats apart; two of our seeds {by_chance:.3f}")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"median seconds per epoch: ours {medians['ours']:.3f}, pythae {medians['pythae']:.3f}")
    print(f"ratio {medians['ours'] / medians['pythae']:.3f}")


if __name__ == "__main__":
    main()
