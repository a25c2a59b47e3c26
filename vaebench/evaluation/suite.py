"""Running evaluators one by one, each with its own seed, none able to take the others down."""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from vaebench.evaluation.base import Context, Evaluator, NotApplicableError
from vaebench.evaluation.output_files import Filing
from vaebench.seeding import derive_seed, seeded

log = logging.getLogger(__name__)

Entry = dict[str, Any]


def settings_of(node: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry says that it was computed with, and is found by: what may change its numbers."""
    return {key: value for key, value in node.items() if key not in ("_target_", "if_unlabelled")}


def is_done(entry: Mapping[str, Any] | None, version: int) -> bool:
    """Whether a filed entry still stands: it did not fail, and its evaluator is no newer."""
    return entry is not None and entry["status"] != "failed" and entry["version"] >= version


def run_one(
    name: str,
    evaluator: Evaluator,
    settings: Mapping[str, Any],
    context: Context,
    taken: Collection[str] = (),
) -> Entry:
    """An entry for results.json: complete, not applicable with the reason, or failed with the traceback.

    Its files are named by the evaluator, except where other entries have `taken` such a name. What came out
    infinite or NaN is told; JSON has no such numbers, so that its value is filed as null.
    """
    entry: Entry = {"name": name, "version": evaluator.version, "settings": dict(settings)}
    context.filing = Filing(context.directory, taken, settings)
    started = time.perf_counter()
    try:
        with seeded(derive_seed(context.seed, "evaluation", name)):
            measurements = list(evaluator.run(context))
        entry |= {"status": "complete", "measurements": [asdict(m) for m in measurements]}
        entry["files"] = context.filing.filed
        if bad := [m.name for m in measurements if not math.isfinite(m.value)]:
            log.warning("evaluation.%s: %s came out infinite or NaN", name, ", ".join(bad))
    except NotApplicableError as reason:
        entry |= {"status": "not_applicable", "reason": str(reason), "measurements": []}
    except Exception:
        log.exception("evaluation.%s failed; the others go on", name)
        entry |= {"status": "failed", "traceback": traceback.format_exc(), "measurements": []}
    entry["seconds"] = round(time.perf_counter() - started, 3)
    log.info("evaluation.%s %s in %.1f s", name, entry["status"].replace("_", " "), entry["seconds"])
    return entry
