"""Explanation of Hydra's errors in one message, with the nearest legal choice."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from vaebench.config.commandline import CommandLine
from vaebench.config.errors import ConfigError, did_you_mean
from vaebench.errors import UserError

NULL_GROUP = "Config group override must be a string or a list"
"""Hydra's message, in a ValueError, for `model=null`."""

NO_OPTION = re.compile(r"(?:In '[^']*': )?Could not load '([^']+)/([^'/]+)'")
"""Hydra's message for an unknown option in a list of options."""
NOT_THERE = re.compile(r"(?:Could not (?:override|delete|delete from config\.)|but config group) '([^'@]+)'")
CHOSEN_TWICE = re.compile(
    r"Multiple values for (\S+)\.|(\S+) appears more than once in the final defaults list"
)


def is_mistake(error: BaseException) -> bool:
    """Return True if the error is a mistake of the user, not of the code."""
    if isinstance(error, OSError):  # an OSError without a file is a library that cannot be loaded
        return error.filename is not None or isinstance(error, HydraException)
    return isinstance(error, (UserError, HydraException, OmegaConfBaseException, MarkedYAMLError)) or (
        isinstance(error, ValueError) and NULL_GROUP in str(error)
    )


def explain(error: BaseException) -> str:
    """Return one message: this mistake, and those of the command line that Hydra did not reach."""
    line = CommandLine.of(sys.argv[1:])
    problems: list[str] = []
    while True:
        problem, culprit = _diagnosis(error, line)
        problems.append(problem)
        rest = line.without(culprit)
        if rest == line:  # the mistake is in a file, which cannot be left out
            break
        # Without the intended option, overrides of its keys would look misspelt.
        line = rest.choices() if culprit in line.groups else rest
        try:
            from vaebench.config.check import checked  # imported here because it imports torch

            checked(line.composed())
        except ConfigError as more:
            problems += more.problems
        except Exception as another:
            if is_mistake(another):
                error = another
                continue
        break
    return str(ConfigError(*problems))


def _diagnosis(error: BaseException, line: CommandLine) -> tuple[str, str]:
    """Return the problem, and the key or group on the command line that causes it, or ''."""
    message = str(error).strip()
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        if group.startswith("experiment/"):  # the name of an experiment includes its folder
            group, name = "experiment", str(error.missing_cfg_file).removeprefix("experiment/")
        options = line.options(group) or error.options
        return (
            f"{group} = {name!r}: no such option{did_you_mean(name, options)}{_where(error, group, line)}",
            group,
        )
    if match := NO_OPTION.match(message):
        group, name = match.groups()
        return f"{group} = {name!r}: no such option{did_you_mean(name, line.options(group))}", group
    if NULL_GROUP in message:
        culprit = next(
            choice for choice in line.choices().overrides if not isinstance(choice.value(), (str, list))
        )
        group, name = culprit.key_or_group, culprit.get_value_element_as_str()
        return f"{group} = {name}: no such option{did_you_mean(name, line.options(group))}", group
    if match := NOT_THERE.search(message):
        return _no_such_key(match[1], line) + _where(error, match[1], line), match[1]
    if match := CHOSEN_TWICE.match(message):
        group = match[1] or match[2]
        return f"{group}: chosen twice; `{group}=...`, without a +, replaces the default option", ""
    if isinstance(error, OverrideParseException):
        return f"{error.override}: {_not_parsed(message)}", ""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem_mark.name}, line {error.problem_mark.line + 1}: {error.problem}", ""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; choose a writable folder with paths.outputs=...", ""
    if isinstance(error.__cause__, OmegaConfBaseException):
        message += f"\n{error.__cause__}"
    return message, ""


def _not_parsed(message: str) -> str:
    """Return why an override cannot be parsed: its form, or a character that needs quotes."""
    _, *rest = message.splitlines()
    if message.startswith("LexerNoViableAlt") or "token recognition error" in message:
        return "contains a character that Hydra accepts only in quotes; write \"key='value'\""
    return f"expected key=value ({rest[0].split(' expecting ')[0]})"


def _where(error: BaseException, key: str, line: CommandLine) -> str:
    """Return the file that the mistake is in, as ` (in FILE)`; '' if it is on the command line."""
    file = re.match(r"In '(?!train'|hydra/)([^']+)': ", str(error).strip())
    return f" (in {file[1]}.yaml)" if file and line.without(key) == line else ""


def _no_such_key(key: str, line: CommandLine) -> str:
    """Return a message with the first part of `key` that does not exist, and the nearest existing keys."""
    if key.startswith("hydra"):
        return f"{key}: no such key; `vaebench --cfg hydra` lists Hydra's keys"
    if "/" in key:
        return f"{key}: no such group{did_you_mean(key, line.groups)}"
    try:
        config = line.choices().composed()
    except Exception:  # the choices themselves may be wrong
        config = CommandLine.of([]).composed()
    everything = OmegaConf.to_container(config, resolve=False)
    here: Any = everything
    path: list[str] = []
    for part in key.split("."):
        path.append(part)
        if not isinstance(here, Mapping) or part not in here:
            break
        here = here[part]
    else:  # the first job of the sweep has the key
        return f"{key}: the default options lack this key; in a sweep over options, write ++{key}=..."
    wrong = f"{'.'.join(path)}: no such key"
    if not isinstance(here, Mapping):
        return f"{wrong}; {'.'.join(path[:-1])} has no keys"
    elsewhere = [
        other for other in (*line.groups, *_leaves(everything)) if re.split("[./]", other)[-1] == path[-1]
    ]
    if elsewhere:
        return f"{wrong}; did you mean {' or '.join(repr(other) for other in elsewhere[:3])}?"
    siblings = {*here} - {"_target_"} | ({"experiment"} if here is everything else set())
    return wrong + did_you_mean(path[-1], siblings)


def _leaves(value: Any, path: str = "") -> Iterable[str]:
    if not isinstance(value, Mapping):
        yield path
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{path}.{key}" if path else str(key))
