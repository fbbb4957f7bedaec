"""From a command line to a configuration, with every mistake in it named in one line."""

import contextlib
import difflib
import importlib.util
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from conf.schema import RunConfig
from foundation import UserError, check_no_secrets
from training import check_not_v0

CONF = Path(__file__).parent

ConfigStore.instance().store("schema", RunConfig)

# Hydra's own, without and with a value
_OPTIONS = {"-h", "--help", "--hydra-help", "--version", "--resolve", "-r", "--run", "-m", "--multirun", "-i", "--info"}
_OPTIONS |= {"-sc", "--shell-completion"}
_OPTIONS_OF_A_VALUE = {"-c", "--cfg", "-p", "--package", "-cn", "--config-name", "--experimental-rerun"}
_OTHER_CHOICES = {"-cp", "--config-path", "-cd", "--config-dir"}
_INFO = {"all", "config", "defaults", "defaults-tree", "plugins", "searchpath"}

# the extra of pyproject.toml that installs each launcher
_LAUNCHERS = {"basic": None, "joblib": "joblib", "submitit_slurm": "slurm", "submitit_local": "slurm"}
_PLUGINS = {"joblib": "hydra_plugins.hydra_joblib_launcher", "slurm": "hydra_plugins.hydra_submitit_launcher"}

# what to do about a fault, by a sign of it in the text of Hydra or OmegaConf
_REMEDIES = {
    "converted to Integer": "write a whole number",
    "converted to Float": "write a number",
    "valid bool": "write true or false",
    "not Optional": "write a value",
    "expected one of": "choose one of them",
    "Environment variable": "set it, or write the value itself",
    "add --multirun": "with python run.py -m, each value is a run",
}
_REMEDY = "python run.py --cfg job shows every setting and its value"


def configure(overrides: list[str]) -> RunConfig:
    """The configuration that a command line means, for the commands beside this one."""
    if options := [argument for argument in overrides if argument.startswith("-")]:
        raise UserError(f"{options[0]} is no option of this command; its arguments are NAME=VALUE, without dashes")
    check_arguments(overrides)
    with config_errors_for_users(), hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return typed_config(hydra.compose("config", overrides=[*overrides, "output_dir=''"]))


def jobs(overrides: list[str]) -> list[list[str]]:
    """What each job sets of the study that a command line means; a single run is a study of one.

    Raises:
        UserError: the command line, or the experiment that it names, cannot be read.
    """
    with config_errors_for_users(), hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        same = [str(given.input_line) for given in parser.parse_overrides(overrides) if not given.is_sweep_override()]
        composed = hydra.compose("config", overrides=[*same, "output_dir=''"], return_hydra_config=True)
        swept = [f"{key}={values}" for key, values in (composed.hydra.sweeper.params or {}).items()]
        choices: dict[str, list[str]] = {}
        for given in parser.parse_overrides([*swept, *overrides]):
            key, values = given.get_key_element(), [str(given.input_line)]
            if given.is_sweep_override():
                values = [f"{key}={value}" for value in given.sweep_string_iterator()]
            choices[key] = values
        return [list(job) for job in itertools.product(*choices.values())]


def typed_config(config: DictConfig) -> RunConfig:
    """The composed configuration as objects.

    Raises:
        UserError: a value that must be set is not, is out of range, not finite or a secret, or `+key=value` names no
            key.
    """
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise UserError(f"{', '.join(missing)} must be set; add {missing[0]}=VALUE")
    values = OmegaConf.to_container(config, resolve=True)
    _check_finite(values)
    check_no_secrets(_leaves(values))
    try:
        known = OmegaConf.merge(OmegaConf.structured(RunConfig), values)
    except ConfigKeyError as error:
        raise UserError(_no_setting(str(error.full_key))) from error
    return cast(RunConfig, OmegaConf.to_object(known))


def _leaves(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The name and the text of every value."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _leaves(value, f"{name}.{key}".strip("."))
    elif isinstance(values, list):
        for value in values:
            yield from _leaves(value, name)
    elif values is not None:
        yield name, str(values)


def _check_finite(values: Any, name: str = "") -> None:
    """Raise UserError for an infinity or NaN anywhere in a configuration: run.json could not hold it."""
    if isinstance(values, dict):
        for key, value in values.items():
            _check_finite(value, f"{name}.{key}".removeprefix("."))
    elif isinstance(values, float) and not math.isfinite(values):
        raise UserError(f"{name}={values} is no finite number; write one")


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
        raise UserError(
            f"{setting!r} cannot be read ({reason}); expected NAME=VALUE, and quotes within quotes around a value with "
            f"commas, brackets or =: 'NAME=\"a=b\"'"
        ) from error
    if override.key_or_group in ("hydra.run.dir", "hydra.sweep.dir") and override.value() == "":
        raise UserError(f"{setting} names no directory, expected the path of one; leave it out for a new directory")
    return override


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


@contextlib.contextmanager
def errors_through_hydra() -> Iterator[None]:
    """Within the block Hydra raises what goes wrong, where by itself it prints a text of its own and exits."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


@contextlib.contextmanager
def config_errors_for_users() -> Iterator[None]:
    """Raise UserError for what Hydra and OmegaConf find wrong with the configuration."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_told(error)) from error


def _told(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, HydraException) else error
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        return _no_setting(str(cause.full_key))
    text, _, _ = str(error).partition("Config search path")
    if cause is not None and cause is not error:
        text = f"{text.removeprefix('Error merging override ')}: {cause}"
    internal = ("full_key:", "object_type=", "reference_type=", "See https")
    lines = [line.strip() for line in text.splitlines() if not line.strip().startswith(internal)]
    told = " ".join(filter(None, lines))
    return f"{told}; {next((remedy for sign, remedy in _REMEDIES.items() if sign in told), _REMEDY)}"


def _no_setting(full_key: str) -> str:
    parent, _, name = full_key.rpartition(".")
    kind: Any = RunConfig
    for part in filter(None, parent.split(".")):
        hint = get_type_hints(kind).get(part) if is_dataclass(kind) else None
        kind = next((each for each in (hint, *get_args(hint)) if is_dataclass(each)), None)
    known = [field.name for field in fields(kind)] if is_dataclass(kind) else []
    if not parent:
        known += [path.name for path in CONF.iterdir() if any(path.glob("*.yaml"))]
    nearest = difflib.get_close_matches(name, known, n=1)
    remedy = f"did you mean {parent}{'.' if parent else ''}{nearest[0]}?" if nearest else "see python run.py --cfg job"
    return f"{full_key} is no setting; {remedy}"
