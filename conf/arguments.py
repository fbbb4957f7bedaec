"""A command line as it is written, looked at before Hydra, whose text on a mistake is its usage or its search path."""

import contextlib
import difflib
import importlib.util
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, QuotedString
from hydra.errors import HydraException

from conf.paths import quoted
from foundation import UserError, check_no_secrets
from training import check_not_v0

CONF = Path(__file__).parent

# Hydra's own, without and with a value
_OPTIONS = {"-h", "--help", "--hydra-help", "--version", "--resolve", "-r", "--run", "-m", "--multirun", "-i", "--info"}
_OPTIONS |= {"-sc", "--shell-completion"}
_OPTIONS_OF_A_VALUE = {"-c", "--cfg", "-p", "--package", "-cn", "--config-name", "--experimental-rerun"}
_OTHER_CHOICES = {"-cp", "--config-path", "-cd", "--config-dir"}
_INFO = {"all", "config", "defaults", "defaults-tree", "plugins", "searchpath"}

# the extra of pyproject.toml that installs each launcher
_LAUNCHERS = {"basic": None, "joblib": "joblib", "submitit_slurm": "slurm", "submitit_local": "slurm"}
_PLUGINS = {"joblib": "hydra_plugins.hydra_joblib_launcher", "slurm": "hydra_plugins.hydra_submitit_launcher"}


def check_arguments(arguments: Sequence[str]) -> None:
    """Name what is wrong with a command line as it is written, where Hydra would print its usage or its search path.

    Raises:
        UserError: an option is unknown, or stands between settings; an argument sets nothing; a group has no such
            choice, or a launcher is not installed; a value is a secret, which run.json would keep.
    """
    check_no_secrets((name, value) for name, _, value in (argument.partition("=") for argument in arguments))
    known_here = not any(argument.partition("=")[0] in _OTHER_CHOICES for argument in arguments)
    for setting in _settings(arguments):
        override = _parsed(setting)
        if override.key_or_group == "hydra/launcher":
            _check_launcher(str(override.value()))
        elif known_here and override.key_or_group.isidentifier() and not override.is_delete():
            _check_group(setting, override)


def _settings(arguments: Sequence[str]) -> list[str]:
    """The arguments that are no options. Hydra takes them in one piece only."""
    settings: list[str] = []
    last_option, ended = "", False
    waiting = iter(arguments)
    for argument in waiting:
        name, _, value = argument.partition("=")
        if not argument.startswith("-"):
            if ended:
                raise UserError(f"{last_option} stands between settings; put it before them: run.py {last_option} ...")
            settings.append(argument)
            continue
        last_option, ended = argument, bool(settings)
        if name in _OPTIONS_OF_A_VALUE | _OTHER_CHOICES and not value:
            last_option = f"{argument} {next(waiting, '')}".rstrip()
        elif name in ("-i", "--info") and not value and set(arguments) & _INFO:
            last_option = f"{argument} {next(waiting)}"
        elif name not in _OPTIONS | _OPTIONS_OF_A_VALUE | _OTHER_CHOICES:
            raise UserError(
                f"{argument} is no option (python run.py --hydra-help tells which there are); a setting has no dashes: "
                f"NAME=VALUE"
            )
    return settings


def _parsed(setting: str) -> Override:
    try:
        override = OverridesParser.create().parse_override(setting)
    except HydraException as error:
        reason = (str(error).splitlines() or ["it is empty"])[0]
        raise UserError(f"{setting!r} cannot be read ({reason}); {_readable(setting)}") from error
    if override.key_or_group in ("hydra.run.dir", "hydra.sweep.dir") and override.value() == "":
        raise UserError(f"{setting} names no directory, expected the path of one; leave it out for a new directory")
    return override


def _readable(setting: str) -> str:
    """What to write in place of a setting that cannot be read."""
    name, equals, value = setting.partition("=")
    with contextlib.suppress(HydraException):
        OverridesParser.create().parse_override(written := quoted(name, value))
        if equals:
            return f"mend it, or, if all behind the = is text, write {shlex.quote(written)}"
    return "expected NAME=VALUE"


def _check_group(setting: str, override: Override) -> None:
    """Raise UserError where the choice among the files of a directory beside this one is none."""
    group, value = override.key_or_group, override.value()
    known = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    if not known:
        return
    if isinstance(value, Glob):
        chosen: list[Any] = value.filter(known)
    elif isinstance(value, ChoiceSweep):
        chosen = value.list
    else:
        chosen = value if isinstance(value, list) else [value]
    names = ["" if name is None else name.text if isinstance(name, QuotedString) else str(name) for name in chosen]
    if not any(names) and group != "experiment":
        raise UserError(f"{setting} chooses nothing; known are {', '.join(known)}: choose one of them")
    for name in names:
        if group == "model":
            check_not_v0(name)
        if name not in {*known, ""}:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else "choose one of them"
            raise UserError(f"{group}={name} is unknown; known are {', '.join(known)}: {hint}")


def _check_launcher(name: str) -> None:
    if name not in _LAUNCHERS:
        raise UserError(f"hydra/launcher={name} is unknown; known are {', '.join(_LAUNCHERS)}: choose one of them")
    extra = _LAUNCHERS[name]
    if extra is not None and not _is_installed(_PLUGINS[extra]):
        raise UserError(f'hydra/launcher={name} needs a package that is not installed: pip install -e ".[{extra}]"')


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would lie in
        return False
