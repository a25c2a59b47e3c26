"""Overrides of a command line, which can be composed without the wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig

from vaebench.config.paths import conf_dir

CONFIG_DIR = ("--config-dir", "-cd")


@dataclass(frozen=True)
class CommandLine:
    """Overrides of a command line, and the folders that are searched for their options."""

    overrides: tuple[Override, ...]
    folders: tuple[Path, ...]

    @classmethod
    def of(cls, words: Sequence[str]) -> CommandLine:
        """Read the words after the program's name; ignore those that are not overrides."""
        folders = [Path(conf_dir())]
        for flag, value in pairwise([*words, ""]):
            name, equals, joined = flag.partition("=")
            if name in CONFIG_DIR:
                folders.append(Path(joined if equals else value).absolute())
        parsed = [_parsed(word) for word in words if not word.startswith("-")]
        return cls(tuple(override for override in parsed if override is not None), tuple(folders))

    @property
    def groups(self) -> list[str]:
        """Names of the config groups: `dataset`, `model`, `model/encoder`, ..."""
        return sorted(
            {
                str(path.relative_to(root))
                for root in self.folders
                for path in root.rglob("*")
                if path.is_dir() and path != root / "paper"  # published numbers, not options
            }
        )

    def options(self, group: str) -> list[str]:
        """Return the options of `group`; the name of an experiment includes its folder."""
        pattern = "**/*.yaml" if group == "experiment" else "*.yaml"
        files_and_roots = (
            (path, root / group) for root in self.folders for path in (root / group).glob(pattern)
        )
        return sorted({str(path.relative_to(root).with_suffix("")) for path, root in files_and_roots})

    def choices(self) -> CommandLine:
        """Return the command line with only the overrides that choose options of groups."""
        groups = self.groups
        return self._only(lambda override: override.key_or_group in groups)

    def without(self, key: str) -> CommandLine:
        """Return the command line without the overrides of `key`."""
        return self._only(lambda override: override.key_or_group != key)

    def composed(self) -> DictConfig:
        """Return the composed config, of a sweep that of its first job. Raises the exceptions of Hydra."""
        searched = ",".join(f"file://{folder}" for folder in self.folders[1:])
        words = [f"hydra.searchpath=[{searched}]", *self._first_words()]
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(self.folders[0]), version_base="1.3"):
            return compose("train", overrides=words)

    def _first_words(self) -> list[str]:
        return [_first_of(override, self.options(override.key_or_group)) for override in self.overrides]

    def _only(self, keep: Callable[[Override], bool]) -> CommandLine:
        return replace(self, overrides=tuple(filter(keep, self.overrides)))


def _parsed(word: str) -> Override | None:
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:
        return None
    return None if override.is_hydra_override() else override


def _first_of(override: Override, options: Sequence[str]) -> str:
    """Return the override, with its first value if it is a sweep; a glob selects from `options`."""
    if not override.is_sweep_override():
        return str(override.input_line)
    swept: Any = override.value()
    if isinstance(swept, Glob):
        first = next(iter(swept.filter(list(options))), "")
    else:
        first = next(override.sweep_string_iterator())
    return f"{override.get_key_element()}={first}"
