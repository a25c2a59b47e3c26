"""Preparation of a run: check and build everything, before training data are read or a directory is made."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object
from omegaconf import DictConfig

from vaebench.config.build import build
from vaebench.config.check import checked
from vaebench.config.errors import ConfigError
from vaebench.config.fit import check_fit, check_kind
from vaebench.config.paths import conf_dir
from vaebench.data.batches import Batches
from vaebench.data.spec import DataPaths, Dataset, Splits
from vaebench.evaluation.suite import settings_of
from vaebench.evaluation.validation import validate
from vaebench.model import Model
from vaebench.part_checks import require
from vaebench.parts import Evaluator, ModelContract, ObjectiveContract
from vaebench.runner.checkpoint import Checkpoints, State
from vaebench.runner.device import resolve_device, set_threads
from vaebench.runner.loop import Training
from vaebench.runner.results_files import Metrics
from vaebench.runner.rundir import RunDir
from vaebench.runner.signals import StopRequest
from vaebench.runner.step import make_step
from vaebench.runner.trackers import Tracker
from vaebench.runner.trial import try_parts
from vaebench.seeding import derive_seed, random_state, seeded

log = logging.getLogger(__name__)


@dataclass
class Experiment:
    """A checked config, and the parts built from it."""

    config: Mapping[str, Any]
    dataset: Dataset
    model: Model
    """With its initial weights, on the CPU until it is trained."""
    random_state: Mapping[str, Any]
    """State of the random number generators after the model was built; the training starts from it."""
    evaluators: Mapping[str, Evaluator]
    rundir: RunDir
    device: torch.device
    show_bar: bool
    tracker: Tracker
    stop: StopRequest = field(default_factory=StopRequest)
    _splits: Splits | None = None

    @property
    def splits(self) -> Splits:
        """The data on the device, read at first use: a run that is complete never reads them."""
        if self._splits is None:
            self._splits = self.dataset.load().to(self.device)
        return self._splits

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.rundir.checkpoints)

    @property
    def evaluation_settings(self) -> dict[str, dict[str, Any]]:
        """The settings of each evaluator of the suite, by its name."""
        return {name: settings_of(node) for name, node in self.config["evaluation"].items()}


def prepare(cfg: DictConfig) -> Experiment:
    """Check everything that can be checked without data. Raises ConfigError or UserError."""
    config = checked(cfg)
    runtime = config["runtime"]
    device = resolve_device(runtime["device"])
    set_threads(runtime["threads"])
    dataset = build_dataset(config)
    named = config["dataset"] | {"name": dataset.spec.name}  # a stand-in is stored under its own name
    config = config | {"dataset": named}
    check_fit(config, dataset.spec, Path(conf_dir()))
    with seeded(derive_seed(config["seed"], "model")):
        model = build_model(config, dataset)
        state = random_state()
        check_objective(config, model)
    evaluators = {
        name: require(build(node), Evaluator, f"evaluation.{name}", is_module=False)
        for name, node in config["evaluation"].items()
    }
    if runtime["track_information"] is not None and not model.has_gaussian_posterior:
        raise ConfigError(
            f"runtime.track_information = {runtime['track_information']}: needs a diagonal Gaussian "
            f"posterior, which {config['model']['name']} lacks; set it to null."
        )
    bars = {"always": True, "never": False, "auto": sys.stderr.isatty()}
    rundir = RunDir.of(config)
    tracker = build(config["tracker"], directory=rundir.path)
    show_bar = bars[runtime["progress"]]
    return Experiment(config, dataset, model, state, evaluators, rundir, device, show_bar, tracker)


def build_dataset(config: Mapping[str, Any]) -> Dataset:
    """Build the dataset. Raises ConfigError.

    If the class declares `kind`, the model is checked against it first, because building may read files.
    """
    node = config["dataset"]
    kind = getattr(get_object(node["_target_"]), "kind", None)
    if kind is not None:
        check_kind(config, node["name"], kind, Path(conf_dir()))
    root, cache = Path(config["data_root"]), Path(config["paths"]["cache"])
    return build(node, paths=DataPaths(root.expanduser(), cache.expanduser()))


def build_model(config: Mapping[str, Any], dataset: Dataset) -> Model:
    """Build the model with its initial weights, on the CPU."""
    node = {key: value for key, value in config["model"].items() if key != "objective"}
    convolution_dtype = getattr(torch, config["runtime"]["convolutions"])
    model = build(node, spec=dataset.spec, convolution_dtype=convolution_dtype)
    return require(model, ModelContract, "model")


def check_objective(config: Mapping[str, Any], model: Model) -> None:
    """Check that the objective keeps its contract and can train the model. Raises UserError.

    Its number of steps per epoch is known only with the data, so that it is built again for the training.
    """
    objective = require(
        build(config["model"]["objective"], steps_per_epoch=1, model=model),
        ObjectiveContract,
        "model.objective",
    )
    if model.has_iterative_posterior and not objective.states_kl_weight:
        raise ConfigError(
            f"model.objective: {type(objective).__name__} does not define kl_weight(step), which the "
            f"iterative posterior of {config['model']['name']} needs; define it, or use "
            f"model/posterior=diagonal."
        )
    try_parts(config["model"], model, objective)


def make_training(experiment: Experiment, model: Model) -> Training:
    """Build the objective, the optimisers, the batches and everything else that the loop works on."""
    config, runtime, seed = experiment.config["training"], experiment.config["runtime"], experiment.seed
    batches = Batches(experiment.splits.train, config["batch_size"], derive_seed(seed, "batches"))
    objective = build(experiment.config["model"]["objective"], steps_per_epoch=len(batches), model=model)
    objective.to(experiment.device)
    optimizer = build(config["optimizer"], parameters=model.parameters())
    auxiliary_optimizer = objective.auxiliary_optimizer()
    num_steps = config["steps"] or config["epochs"] * len(batches)
    schedule = build(config["schedule"], optimizer=optimizer, num_steps=num_steps)
    if objective.warmup_steps >= num_steps and experiment.config["tier"] != "smoke":
        log.warning(
            "Training ends after %d steps, not later than the KL warm-up (%d steps); beta never reaches its "
            "final value.", num_steps, objective.warmup_steps,
        )  # fmt: skip
    compiled = is_compiled(runtime["compile"], experiment.device, model)
    clip = config["clip_grad_norm"]
    step = make_step(model, objective, optimizer, auxiliary_optimizer, schedule, clip, compiled)
    metrics = Metrics(experiment.rundir.metrics)

    def record_epoch(line: dict[str, Any]) -> None:
        metrics.append(line)
        numbers = {f"{s}/{name}": value for s in ("train", "valid") for name, value in line[s].items()}
        experiment.tracker.log(line["step"], numbers)

    def save(step: int, state: State) -> None:
        experiment.checkpoints.save(step, state | {"data": experiment.splits.origin})

    return Training(
        model=model,
        objective=objective,
        optimizer=optimizer,
        auxiliary_optimizer=auxiliary_optimizer,
        schedule=schedule,
        step=step,
        batches=batches,
        validate=lambda: validate(
            model, experiment.splits.valid, derive_seed(seed, "validate"), runtime["track_information"]
        ),
        num_steps=num_steps,
        patience=config["patience"],
        patient_epochs=objective.warmup_steps / len(batches) if config["warmup_is_patient"] else 0,
        checkpoint_seconds=runtime["checkpoint_seconds"],
        save=save,
        record=record_epoch,
        stop_requested=experiment.stop.check,
        show_bar=experiment.show_bar,
    )


def is_compiled(choice: str, device: torch.device, model: Model) -> bool:
    """Return True if the step is compiled: `auto` compiles on CUDA, except for sentences.

    torch.compile would compile once for every length of a batch of sentences, and does not compile cuDNN's
    LSTM; nor does it trace a step that differentiates itself, as an iterative posterior does.
    """
    requested = choice == "always" or (
        choice == "auto" and device.type == "cuda" and model.spec.vocabulary is None
    )
    if requested and model.has_iterative_posterior and choice == "always":
        log.warning(
            "runtime.compile = always: not possible with an iterative posterior; the step is not compiled."
        )
    return requested and not model.has_iterative_posterior
