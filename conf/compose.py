"""From a command line to a configuration, with every mistake in it named in one line."""

import contextlib
import difflib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from conf.schema import RunConfig
from foundation import UserError
from training import check_not_v0

CONF = Path(__file__).parent

ConfigStore.instance().store("schema", RunConfig)


def configure(overrides: list[str]) -> RunConfig:
    """The configuration that a command line means, for the commands beside this one."""
    check_choices(overrides)
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
        UserError: a value that must be set is not, one is out of range, or `+key=value` names no key.
    """
    if missing := OmegaConf.missing_keys(config):
        raise UserError(f"{', '.join(sorted(missing))} must be set")
    try:
        known = OmegaConf.merge(OmegaConf.structured(RunConfig), OmegaConf.to_container(config, resolve=True))
    except ConfigKeyError as error:
        raise UserError(f"{error.full_key} is no setting; see python run.py --cfg job") from error
    return cast(RunConfig, OmegaConf.to_object(known))


def check_choices(arguments: list[str]) -> None:
    """Name the choices of a group in one line where Hydra would print its search path."""
    for argument in arguments:
        if "(" in argument or argument.startswith("--config-dir"):
            return  # Hydra's own syntax for many choices, or choices that lie elsewhere
        group, _, choice = argument.partition("=")
        known = sorted(path.stem for path in (CONF / group).glob("*.yaml")) if group.isidentifier() else []
        for name in choice.strip("[]").replace(" ", "").split(",") if known else []:
            if group == "model":
                check_not_v0(name)
            if name not in {*known, "null", ""}:
                nearest = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {nearest[0]}?" if nearest else "choose one of them"
                raise UserError(f"{group}={name} is unknown; known are {', '.join(known)}: {hint}")


@contextlib.contextmanager
def config_errors_for_users() -> Iterator[None]:
    """Raise UserError for what Hydra and OmegaConf find wrong with the configuration."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        reason = f": {error.__cause__}" if isinstance(error, HydraException) and error.__cause__ else ""
        raise UserError(f"{error}{reason}") from error
