"""A run in five verbs: prepare, train, evaluate, record, report."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from vaebench.errors import UserError
from vaebench.evaluation.base import Context
from vaebench.evaluation.suite import Entry, is_done, run_one
from vaebench.layout import run_name
from vaebench.model import Model
from vaebench.parts import Evaluator
from vaebench.runner import provenance
from vaebench.runner.data_fingerprint import require_same_data
from vaebench.runner.device import matmul_precision
from vaebench.runner.loop import fit
from vaebench.runner.prepare import Experiment, make_training, prepare
from vaebench.runner.results_files import Metrics, Results
from vaebench.runner.signals import Interrupted
from vaebench.runner.summary import summary_table
from vaebench.seeding import derive_seed, restore_random_state, seeded

log = logging.getLogger(__name__)


class RunFailedError(UserError):
    """Failure of an evaluator; status.json names the failed ones, and run.log has their tracebacks."""


def run(cfg: DictConfig) -> Mapping[str, Any]:
    """Do the part of the run that is not done yet, and return the content of its results.json.

    Raises ConfigError before anything is read or written, RunFailedError if an evaluator failed.
    """
    experiment = prepare(cfg)
    rundir = experiment.rundir
    with rundir.claimed(experiment.config), experiment.stop:
        results = Results(rundir.results, identity(experiment))
        todo = missing(experiment, results)
        if not todo and rundir.status().get("state") == "complete":
            log.info("Already complete; nothing to do (fresh=true starts a new version).")
            return report(experiment, results)
        try:
            rundir.set_status("running")
            rundir.add_attempt(provenance.attempt(experiment.device, precision_of(experiment)))
            model = train(experiment, results)
            evaluate(experiment, model, todo, results)
        except Interrupted as signal:
            rundir.set_status("interrupted", reason=signal.signal_name)
            log.warning("Interrupted by %s; the same command resumes the run.", signal.signal_name)
            raise
        except KeyboardInterrupt:  # a second Ctrl-C does not wait for the end of the step
            rundir.set_status("interrupted", reason="SIGINT, twice")
            raise
        except BaseException as error:
            log.debug("The run failed:\n%s", traceback.format_exc())  # for run.log; the caller prints it
            rundir.set_status("failed", reason=f"{type(error).__name__}: {error}")
            raise
        record(experiment, results)
    return report(experiment, results)


def train(experiment: Experiment, results: Results) -> Model:
    """Train what is left to train, and return the model with the weights of its best validation epoch."""
    config, checkpoints = experiment.config, experiment.checkpoints
    restore_random_state(experiment.random_state)
    model = experiment.model.to(experiment.device)
    best = checkpoints.best()
    if best is None:
        training = make_training(experiment, model)
        if (state := checkpoints.latest()) is not None:
            require_same_data(state.pop("data", {}), experiment.splits.origin, experiment.rundir.path)
            training.load_state(state)
            log.info("Resuming at step %d of %d.", training.progress.step, training.num_steps)
        else:
            with seeded(derive_seed(experiment.seed, "start")):
                model.init_from_data(training.batches(0, 0))
        Metrics(experiment.rundir.metrics).rewind(training.progress.epoch)
        log.info("Training in %s on %s.", experiment.rundir.path, experiment.device)
        try:
            with matmul_precision(config["runtime"]["matmul_precision"]):
                fit(training)
        finally:
            experiment.tracker.close()
        experiment.stop.raise_if_requested()
        progress = training.progress
        best = {
            "model": training.best_model,
            "facts": {
                "epochs": progress.epoch,
                "steps": progress.step,
                "best_epoch": progress.best_epoch,
                f"best_valid_{training.objective.criterion}": progress.best_value,
                "stopped": progress.stopped,
                "parameters": sum(p.numel() for p in model.parameters()),
                "data": experiment.splits.origin,
                "seconds": round(progress.seconds, 3),
            },
        }
        checkpoints.save_best(best)
    else:
        require_same_data(best["facts"]["data"], experiment.splits.origin, experiment.rundir.path)
    results.put_training(best["facts"])
    model.load_state_dict(best["model"])
    return model.eval()


def missing(experiment: Experiment, results: Results) -> dict[str, Evaluator]:
    """Return the evaluators of the suite whose numbers are missing, failed, or of an older version."""
    settings = experiment.evaluation_settings
    return {
        name: evaluator
        for name, evaluator in experiment.evaluators.items()
        if not is_done(results.find(name, settings[name]), evaluator.version)
    }


def evaluate(experiment: Experiment, model: Model, todo: Mapping[str, Evaluator], results: Results) -> None:
    """Run the evaluators of `todo`, storing the numbers of each as soon as it has them."""
    runtime = experiment.config["runtime"]
    context = Context(
        model=model,
        splits=experiment.splits,
        spec=experiment.dataset.spec,
        seed=derive_seed(experiment.seed, "evaluate"),
        directory=experiment.rundir.path,
        history=Metrics(experiment.rundir.metrics).read(),
        batch_bytes=runtime["eval_batch_mib"] * 2**20,
        show_bar=experiment.show_bar,
        check_stop=experiment.stop.raise_if_requested,
    )
    precision = runtime["evaluation_matmul_precision"]
    with matmul_precision(precision):
        for name, evaluator in todo.items():
            experiment.stop.raise_if_requested()
            settings = experiment.evaluation_settings[name]
            outputs = results.output_files(name, evaluator.version, settings)
            entry = run_one(name, evaluator, settings, context, outputs)
            results.put(entry | {"matmul_precision": precision})
    if not failed(experiment, results):
        context.close()


def record(experiment: Experiment, results: Results) -> None:
    """Set the run's final state. Raises RunFailedError if an evaluator of this suite failed."""
    if names := failed(experiment, results):
        reason = f"evaluators failed: {', '.join(names)}"
        experiment.rundir.set_status("failed", reason=reason)
        raise RunFailedError(f"{reason}; tracebacks are in {experiment.rundir.path}/run.log")
    experiment.rundir.set_status("complete")


def report(experiment: Experiment, results: Results) -> Mapping[str, Any]:
    """Print the main numbers and the run directory; return the content of results.json."""
    print(summary_table(suite_entries(experiment, results), results.content, experiment.rundir.path))
    return results.content


def failed(experiment: Experiment, results: Results) -> list[str]:
    """Return the names of the evaluators of this suite that failed."""
    return [entry["name"] for entry in suite_entries(experiment, results) if entry["status"] == "failed"]


def suite_entries(experiment: Experiment, results: Results) -> list[Entry]:
    """Return the stored entries of this suite, in its order."""
    entries = (results.find(name, settings) for name, settings in experiment.evaluation_settings.items())
    return [entry for entry in entries if entry is not None]


def identity(experiment: Experiment) -> dict[str, Any]:
    """Return the facts that identify the run in results.json."""
    name = run_name(experiment.rundir.path)
    return {
        "dataset": name.dataset,
        "model": name.model,
        "hash": name.hash8,
        "seed": experiment.seed,
        "version": name.version,
        "tier": experiment.config["tier"],
    }


def precision_of(experiment: Experiment) -> dict[str, str]:
    """Return the numerical precisions that provenance.json records."""
    keys = ("matmul_precision", "convolutions", "evaluation_matmul_precision")
    return {key: experiment.config["runtime"][key] for key in keys}
