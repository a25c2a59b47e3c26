"""Entry point: `python -m vaebench.train dataset=mnist model=vae ...`. Imports torch only for a run."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

import hydra
from tqdm import tqdm

from vaebench.config.explain import explain, is_mistake
from vaebench.config.help import help_text
from vaebench.config.paths import conf_dir
from vaebench.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


class Screen(logging.Handler):
    """Log handler that writes to the terminal, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


@hydra.main(config_path=conf_dir(), config_name="train", version_base="1.3")
def job(cfg: DictConfig) -> None:
    """Run one experiment, or one job of a sweep; print its error, since Hydra shows the first job's only."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[Screen(logging.INFO)])
    logging.getLogger("vaebench").setLevel(logging.DEBUG)  # run.log has all levels
    from vaebench.runner.experiment import run

    try:
        run(cfg)
    except Exception as error:
        print(error if isinstance(error, UserError) else traceback.format_exc(), file=sys.stderr)
        error.was_shown = True  # type: ignore[attr-defined]
        raise


def main() -> None:
    """Run Hydra; a mistake of the user ends in one clear message, anything else in its traceback."""
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its exceptions instead of printing them
    # argparse needs all overrides on one side of a flag; this allows `dataset=mnist -m seed=0,1`.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))
    try:
        if {"--help", "-h"} & {*sys.argv[1:]}:
            if hasattr(signal, "SIGPIPE"):  # `--help | head` ends quietly
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            print(help_text(sys.argv[1:]))
            return
        job()
    except Exception as error:
        if getattr(error, "was_shown", False):
            sys.exit(1)
        if wants_traceback or not is_mistake(error):
            raise
        sys.exit(explain(error))


if __name__ == "__main__":
    main()
