"""From a composed config to an experiment: everything checked and built, nothing yet read or run."""

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
from vaebench.config.check import check_fit, checked
from vaebench.config.errors import ConfigError
from vaebench.config.paths import conf_dir
from vaebench.data.batches import Batches
from vaebench.data.spec import DataPaths, Dataset, DataSpec, Splits
from vaebench.evaluation.validation import validate
from vaebench.model import Model
from vaebench.runner.checkpoint import Checkpoints, State
from vaebench.runner.device import resolve_device, set_threads
from vaebench.runner.loop import Training
from vaebench.runner.results_files import Metrics
from vaebench.runner.rundir import RunDir
from vaebench.runner.signals import StopRequest
from vaebench.runner.step import make_step
from vaebench.runner.trackers import Tracker
from vaebench.seeding import derive_seed

log = logging.getLogger(__name__)


@dataclass
class Experiment:
    """A checked config, and what was made of it so far."""

    config: Mapping[str, Any]
    dataset: Dataset
    rundir: RunDir
    device: torch.device
    show_bar: bool
    tracker: Tracker
    stop: StopRequest = field(default_factory=StopRequest)
    _splits: Splits | None = None

    @property
    def splits(self) -> Splits:
        """The data, on the device, read at first use: a run that is complete never reads them."""
        if self._splits is None:
            self._splits = self.dataset.load().to(self.device)
        return self._splits

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.rundir.checkpoints)


def prepare(cfg: DictConfig) -> Experiment:
    """Check everything that can be checked without data. Raises ConfigError."""
    config = checked(cfg)
    runtime = config["runtime"]
    device = resolve_device(runtime["device"])
    set_threads(runtime["threads"])
    root, cache = Path(config["data_root"]), Path(config["paths"]["cache"])
    check_kind(config)
    dataset = build(config["dataset"], paths=DataPaths(root.expanduser(), cache.expanduser()))
    config["dataset"]["name"] = dataset.spec.name  # a stand-in is filed under its own name
    check_fit(config, dataset.spec, Path(conf_dir()))
    # On no device and without data: what cannot be combined is refused now.
    model = build_model(config, dataset)
    build(config["model"]["objective"], steps_per_epoch=1, model=model)
    if runtime["track_information"] is not None and not model.has_gaussian_posterior:
        raise ConfigError(
            f"runtime.track_information = {runtime['track_information']}: {config['model']['name']} has no "
            f"diagonal Gaussian posterior, whose density at another datum's code is known; use null."
        )
    bars = {"always": True, "never": False, "auto": sys.stderr.isatty()}
    rundir = RunDir.of(config)
    tracker = build(config["tracker"], directory=rundir.path)
    return Experiment(config, dataset, rundir, device, bars[runtime["progress"]], tracker)


def check_kind(config: Mapping[str, Any]) -> None:
    """`check_fit` as far as a dataset's class says which `kind` of data it has, before it looks for any."""
    node = config["dataset"]
    kind = getattr(get_object(node["_target_"]), "kind", None)
    if kind is not None:
        check_fit(
            config, DataSpec(name=node["name"], shape=(), kind=kind, num_classes=None), Path(conf_dir())
        )


def build_model(config: Mapping[str, Any], dataset: Dataset) -> Model:
    node = {key: value for key, value in config["model"].items() if key != "objective"}
    return build(node, spec=dataset.spec)


def make_training(experiment: Experiment, model: Model) -> Training:
    """Objective, optimisers, batches and everything else that the loop works on."""
    config, seed = experiment.config["training"], experiment.seed
    runtime = experiment.config["runtime"]
    model.convolution_dtype = getattr(torch, runtime["convolutions"])
    batches = Batches(experiment.splits.train, config["batch_size"], derive_seed(seed, "batches"))
    objective = build(experiment.config["model"]["objective"], steps_per_epoch=len(batches), model=model)
    objective.to(experiment.device)
    optimizer = build(config["optimizer"], parameters=model.parameters())
    auxiliary_optimizer = objective.auxiliary_optimizer()
    num_steps = config["steps"] or config["epochs"] * len(batches)
    schedule = build(config["schedule"], optimizer=optimizer, num_steps=num_steps)
    if objective.warmup_steps >= num_steps and experiment.config["tier"] != "smoke":
        log.warning(
            "The training of %d steps ends within the warm-up of %d: the objective never gets its full KL.",
            num_steps, objective.warmup_steps,
        )  # fmt: skip
    wanted = runtime["compile"] == "always" or (
        # Every length of a batch of sentences would be compiled anew, and cuDNN's LSTM not at all.
        runtime["compile"] == "auto" and experiment.device.type == "cuda" and model.spec.vocabulary is None
    )
    # Nor does torch.compile trace a step that differentiates for itself.
    compiled = wanted and not model.has_iterative_posterior
    step = make_step(
        model, objective, optimizer, auxiliary_optimizer, schedule, config["clip_grad_norm"], compiled
    )
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
