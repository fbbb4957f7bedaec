"""From a command line to a configuration, with every mistake in it named in one line."""

import contextlib
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from conf.schema import RunConfig
from foundation import UserError, check_no_secrets
from training import check_not_v0

CONF = Path(__file__).parent

ConfigStore.instance().store("schema", RunConfig)


def configure(overrides: list[str]) -> RunConfig:
    """The configuration that a command line means, for the commands beside this one."""
    check_arguments(overrides)
    with config_errors_for_users(), hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return typed_config(hydra.compose("config", overrides=[*overrides, "output_dir=''"]))


def typed_config(config: DictConfig) -> RunConfig:
    """The composed configuration as objects.

    Raises:
        UserError: a value that must be set is not, one is out of range or holds a secret, or `+key=value` names no key.
    """
    if missing := OmegaConf.missing_keys(config):
        raise UserError(f"{', '.join(sorted(missing))} must be set")
    values = OmegaConf.to_container(config, resolve=True)
    check_no_secrets(_leaves(values))
    try:
        known = OmegaConf.merge(OmegaConf.structured(RunConfig), values)
    except ConfigKeyError as error:
        raise UserError(f"{error.full_key} is no setting; see python run.py --cfg job") from error
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


def check_arguments(arguments: list[str]) -> None:
    """Tell in one line of a secret, which run.json would keep, and of a choice that a group has not.

    For the latter Hydra would print its search path.
    """
    check_no_secrets((name, value) for name, _, value in (argument.partition("=") for argument in arguments))
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
