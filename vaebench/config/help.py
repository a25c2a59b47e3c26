"""Text of `vaebench --help`. Hydra's own help composes every file of every group, which is slow."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import OmegaConf

from vaebench.config.commandline import CommandLine

TEXT = """\
vaebench: how much does a VAE's latent code know about the data, and at what likelihood?

One command trains, evaluates and saves a run; the same command again resumes it.

  vaebench                                               a VAE on scikit-learn's digits, under a minute
  vaebench dataset=mnist evaluation=full                 another dataset, every measure
  vaebench -m dataset=mnist seed=0,1,2                   a sweep; add hydra/launcher=joblib for all cores
  vaebench model.latent_dim=20 model.objective.beta=4    any value of the config below
  vaebench fresh=true                                    a new version; the old one is kept
  vaebench --cfg job --resolve                           the composed config; nothing is run
  eval "$(vaebench -sc install=bash)"                    completion with TAB; --hydra-help has more flags

== Groups (group=option) ==
{groups}

== Config (key=value) ==
{config}"""


def help_text(words: Sequence[str]) -> str:
    """Return the help text, with the config that the overrides among `words` compose."""
    line = CommandLine.of(words)
    groups = [(group, line.options(group)) for group in line.groups if "experiment/" not in group]
    listed = "\n".join(f"{group}: {', '.join(options)}" for group, options in groups if options)
    return TEXT.format(groups=listed, config=OmegaConf.to_yaml(line.composed()).strip())
