"""From settings to a configuration, with every mistake that Hydra and OmegaConf find named in one line."""

import contextlib
import difflib
import itertools
import math
import os
import traceback
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, cast, get_args, get_type_hints

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from conf.arguments import CONF, check_arguments
from conf.paths import expand_home, names_a_path, quote_paths
from conf.schema import RunConfig
from foundation import UserError, check_no_secrets

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
    overrides = quote_paths(overrides)
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
    for name, value in _leaves(values):
        if isinstance(value, float) and not math.isfinite(value):  # run.json could not hold it
            raise UserError(f"{name}={value} is no finite number; write one")
    check_no_secrets((name, str(value)) for name, value in _leaves(values))
    _expand_homes(values)
    try:
        known = OmegaConf.merge(OmegaConf.structured(RunConfig), values)
    except ConfigKeyError as error:
        raise UserError(_no_setting(str(error.full_key))) from error
    return cast(RunConfig, OmegaConf.to_object(known))


def _expand_homes(values: Any, name: str = "") -> None:
    """Put the home directory for the ~ of every path, in place."""
    for key, value in values.items():
        own = f"{name}.{key}".strip(".")
        if isinstance(value, dict):
            _expand_homes(value, own)
        elif isinstance(value, str) and names_a_path(own):
            values[key] = expand_home(own, value)


def _leaves(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The name of every value that is set, and the value; those of a list have the list's name."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _leaves(value, f"{name}.{key}".strip("."))
    elif isinstance(values, list):
        for value in values:
            yield from _leaves(value, name)
    elif values is not None:
        yield name, values


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
    except (AttributeError, AssertionError) as error:  # OmegaConf's own, where it should set what is within a null
        setting = _being_set(error)
        if setting is None:
            raise
        if setting.startswith("model.pretraining."):
            raise UserError(
                f"{setting} cannot be set: this model is published, not pre-trained by the kit, so it has no such "
                f"setting; leave it out, and experiments that sweep it too: the comment at the top of "
                f"conf/experiment/NAME.yaml has the command for Pythia"
            ) from error
        raise UserError(
            f"{setting} cannot be set: it is, or lies within, a section that is null with this model, corpus and "
            f"experiment; {_REMEDY}"
        ) from error


def _being_set(error: Exception) -> str | None:
    """The setting that Hydra was at when an error was raised."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return next((f.f_locals["key"] for f in frames if f.f_code.co_name == "_apply_overrides_to_config"), None)


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
