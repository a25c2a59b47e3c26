"""Evaluators of a suite: each runs with its own seed, and a failing one does not stop the others."""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vaebench.evaluation.base import Context, NotApplicableError
from vaebench.evaluation.output_files import OutputFiles
from vaebench.parts import Evaluator
from vaebench.seeding import derive_seed, seeded

log = logging.getLogger(__name__)

Entry = dict[str, Any]


def settings_of(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options of an evaluator that may change its numbers; an entry is found by them."""
    return {key: value for key, value in node.items() if key not in ("_target_", "if_unlabelled")}


def is_done(entry: Mapping[str, Any] | None, version: int) -> bool:
    """Return True if a stored entry is valid: it did not fail, and its evaluator has not changed since."""
    return entry is not None and entry["status"] != "failed" and entry["version"] >= version


def run_one(
    name: str,
    evaluator: Evaluator,
    settings: Mapping[str, Any],
    context: Context,
    outputs: OutputFiles | None = None,
) -> Entry:
    """Return an entry for results.json: complete, not applicable with the reason, or failed with a traceback.

    `outputs` names the files that the evaluator saves. Non-finite values are logged as a warning and stored
    as null, since JSON has no such numbers.
    """
    entry: Entry = {"name": name, "version": evaluator.version, "settings": dict(settings)}
    outputs = OutputFiles(context.directory) if outputs is None else outputs
    started = time.perf_counter()
    try:
        with seeded(derive_seed(context.seed, "evaluation", name)):
            measurements = list(evaluator.run(context.with_outputs(outputs)))
        entry |= {"status": "complete", "measurements": [asdict(m) for m in measurements]}
        entry["files"] = outputs.saved
        if bad := [m.name for m in measurements if not math.isfinite(m.value)]:
            log.warning("evaluation.%s: not finite, stored as null: %s", name, ", ".join(bad))
    except NotApplicableError as reason:
        entry |= {"status": "not_applicable", "reason": str(reason), "measurements": []}
    except Exception:
        log.exception("evaluation.%s failed; the other evaluators continue", name)
        entry |= {"status": "failed", "traceback": traceback.format_exc(), "measurements": []}
    entry["seconds"] = round(time.perf_counter() - started, 3)
    log.info("evaluation.%s %s in %.1f s", name, entry["status"].replace("_", " "), entry["seconds"])
    return entry
