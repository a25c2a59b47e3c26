"""Training loop, which knows no evaluator, objective or dataset by name."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from vaebench.data.batches import Batches
from vaebench.model import Model
from vaebench.objectives.base import Objective
from vaebench.runner import training_warnings as alarms
from vaebench.runner.averaging import weights_to_keep
from vaebench.runner.checkpoint import State
from vaebench.runner.meter import REMEDIES, Meter, NotFiniteError
from vaebench.runner.schedules import SeesValidation
from vaebench.runner.step import Step
from vaebench.seeding import random_state, restore_random_state

log = logging.getLogger(__name__)

Numbers = dict[str, float]


@dataclass
class Progress:
    """Progress of a training; with the states of its modules, everything that resuming needs."""

    step: int = 0
    epoch: int = 0
    """Finished epochs."""
    batch: int = 0
    """Finished batches of the current epoch."""
    best_value: float = -float("inf")
    """Best value of the objective's criterion on validation data."""
    best_epoch: int = 0
    impatience: int = 0
    """Epochs since the last better value, not counting the first `Training.patient_epochs`."""
    seconds: float = 0.0
    """Training time so far, over all attempts."""
    stopped: str = ""
    """Why the training ended; empty until then."""


@dataclass
class Training:
    """State and callbacks of the training loop. All mutable state is in here, and in `state()`."""

    model: Model
    objective: Objective
    optimizer: torch.optim.Optimizer
    auxiliary_optimizer: torch.optim.Optimizer | None
    schedule: LRScheduler
    step: Step
    batches: Batches
    validate: Callable[[], Numbers]
    num_steps: int
    patience: int | None
    patient_epochs: float
    """Epochs at the start that do not count towards the patience."""
    checkpoint_seconds: float
    save: Callable[[int, State], None]
    record: Callable[[dict[str, Any]], None]
    stop_requested: Callable[[], bool]
    show_bar: bool
    progress: Progress = field(default_factory=Progress)
    best_model: State = field(default_factory=dict)

    def __post_init__(self) -> None:
        device = self.batches.device
        self.meter = Meter(device)
        self.finished_steps = torch.zeros((), dtype=torch.int64, device=device)
        self.saved_at = self.clocked_at = time.monotonic()

    def clock(self) -> float:
        """Return the seconds since the last call."""
        before, self.clocked_at = self.clocked_at, time.monotonic()
        return self.clocked_at - before

    def state(self) -> State:
        """Return everything that determines the rest of the training, as tensors and plain values."""
        auxiliary = self.auxiliary_optimizer
        return {
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "best_model": self.best_model,
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "auxiliary_optimizer": None if auxiliary is None else auxiliary.state_dict(),
            "meter": self.meter.state_dict(),
            "random": random_state(),
        }

    def load_state(self, state: State) -> None:
        progress = dict(state["progress"])
        if "best_elbo" in progress:  # an old checkpoint, from before objectives had a criterion
            progress["best_value"] = progress.pop("best_elbo")
        self.progress = Progress(**progress)
        self.model.load_state_dict(state["model"])
        self.best_model = state["best_model"]
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.auxiliary_optimizer:
            # Checkpoints of version 0.1 call it "own_optimizer".
            name = "auxiliary_optimizer" if "auxiliary_optimizer" in state else "own_optimizer"
            self.auxiliary_optimizer.load_state_dict(state[name])
        self.meter.load_state_dict(state["meter"])
        self.finished_steps.fill_(self.progress.step)
        restore_random_state(state["random"])


def fit(training: Training) -> None:
    """Train until a limit is reached or a stop is requested; the caller reads `progress`.

    The limits are the number of steps, the patience, and the end that a schedule sets. Raises NotFiniteError
    with the first step at which a quantity was not finite.
    """
    progress = training.progress
    label = {"initial": progress.step, "total": training.num_steps, "disable": not training.show_bar}
    with tqdm(desc="training", unit="step", dynamic_ncols=True, **label) as bar:  # type: ignore[call-overload]
        while not progress.stopped:
            run_epoch(training, bar)
            if training.stop_requested():
                return
            with weights_to_keep(training.optimizer):
                line = finish_epoch(training)
            bar.set_postfix_str(summary(line["valid"], training.model))
            log.log(logging.DEBUG if training.show_bar else logging.INFO, "%s", one_line(line, training))
    save(training)


def run_epoch(training: Training, bar: tqdm[Any]) -> None:
    """Train the rest of the current epoch, saving checkpoints; return early if a stop is requested."""
    progress = training.progress
    training.model.train()
    while progress.batch < len(training.batches) and progress.step < training.num_steps:
        x = training.batches(progress.epoch, progress.batch)
        training.finished_steps.fill_(progress.step)
        training.meter.add(training.step(x, training.finished_steps), len(x), progress.step)
        progress.step += 1
        progress.batch += 1
        bar.update()
        stop = training.stop_requested()
        if stop or time.monotonic() - training.saved_at > training.checkpoint_seconds:
            save(training)
        if stop:
            return


def save(training: Training) -> None:
    """Save a checkpoint; the time that this takes does not count as training time."""
    training.progress.seconds += training.clock()
    training.save(training.progress.step, training.state())
    training.saved_at = training.clocked_at = time.monotonic()


def finish_epoch(training: Training) -> dict[str, Any]:
    """Validate, keep the best weights, decide whether the training ends, and record the epoch line."""
    progress = training.progress
    train = training.meter.read()
    valid = training.validate()
    if not abs(valid["elbo"]) < float("inf"):
        raise NotFiniteError(f"The validation ELBO was not finite after step {progress.step}. {REMEDIES}")
    progress.epoch += 1
    progress.batch = 0
    criterion = training.objective.criterion
    if valid[criterion] > progress.best_value:
        progress.best_value, progress.best_epoch, progress.impatience = valid[criterion], progress.epoch, 0
        training.best_model = copy.deepcopy(training.model.state_dict())
    elif progress.epoch > training.patient_epochs:
        progress.impatience += 1
    ended = ""
    if isinstance(training.schedule, SeesValidation):
        ended = training.schedule.see(valid[criterion])
    if progress.step >= training.num_steps:
        progress.stopped = "all steps done"
    elif ended:
        progress.stopped = ended
    elif training.patience is not None and progress.impatience >= training.patience:
        progress.stopped = f"no better validation {criterion} for {training.patience} epochs"
    training.meter.reset()
    alarms.warn(progress.epoch, train, valid)
    progress.seconds += training.clock()
    line = {
        "epoch": progress.epoch,
        "step": progress.step,
        "train": train,
        "valid": valid,
        "seconds": round(progress.seconds, 3),
    }
    training.record(line)
    return line


def summary(valid: Numbers, model: Model) -> str:
    """Return the main validation numbers as text."""
    summarised = f"ELBO {valid['elbo']:.2f}" if model.has_density else f"objective {valid['elbo']:.2f}"
    if "kl" in valid:
        summarised += f", KL {valid['kl']:.2f}"
    if "active_units" in valid:
        summarised += f", active units {valid['active_units']}"
    if "perplexity_bound" in valid:
        summarised += f", perplexity < {valid['perplexity_bound']:.1f}"
    return summarised


def one_line(line: dict[str, Any], training: Training) -> str:
    """Return the log line of an epoch, with the estimated remaining time."""
    progress = training.progress
    remaining = progress.seconds / max(progress.step, 1) * (training.num_steps - progress.step)
    return (
        f"epoch {line['epoch']} step {line['step']}/{training.num_steps} loss {line['train']['loss']:.3f} "
        f"valid {summary(line['valid'], training.model)} ETA {remaining:.0f} s"
    )
