"""Paths on a command line as users write them: any characters, ~ for the home directory, no quotes within quotes."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString, Sweep
from hydra.errors import HydraException

from foundation import UserError

_PATHS = re.compile(
    r"\+{0,2}(model\.(checkpoints|tokenizer)|audit\.checkpoints|corpus\.(location|text|documents|maps)"
    r"|benchmarks\.\w+\.path|hydra\.(run|sweep)\.dir)"
)

_BETWEEN_COMMAS = r"""(?:'(?:\\.|[^'])*'|"(?:\\.|[^"])*"|[^,])+"""
_UNREADABLE = object()


def names_a_path(setting: str) -> bool:
    """Whether the value of a setting is a path, or may be one."""
    return _PATHS.fullmatch(setting) is not None


def quote_paths(arguments: Sequence[str]) -> list[str]:
    """The arguments with what Hydra's grammar takes for something else than the path that it is in quotes.

    Values that Hydra reads as they are stay so. In a sweep (-m) a comma outside quotes parts two paths. Else it
    belongs to the path, unless what it parts are places that are there.

    Raises:
        UserError: there is no home directory for a ~, or a path is not UTF-8.
    """
    in_sweep = bool({"-m", "--multirun"} & set(arguments))
    return [_with_quoted_path(argument, in_sweep=in_sweep) for argument in arguments]


def quoted(name: str, value: str) -> str:
    """The setting NAME=VALUE as Hydra reads it, whatever the value holds."""
    return f"{name}={QuotedString(value, Quote.single).with_quotes()}"


def expand_home(name: str, value: str) -> str:
    """A path with the home directory for its ~.

    Raises:
        UserError: there is none.
    """
    expanded = os.path.expanduser(value)
    if expanded.startswith("~"):
        raise UserError(
            f"{name}={value}: there is no home directory {value.partition('/')[0]}; write the whole path, or "
            f"./{value} if that is its name"
        )
    return expanded


def _with_quoted_path(argument: str, *, in_sweep: bool) -> str:
    name, equals, value = argument.partition("=")
    if not (equals and names_a_path(name)):
        return argument
    _check_utf8(argument)
    read = _read(name, value)
    if isinstance(read, Sweep) and (in_sweep or _parts_places(value)):
        return argument
    if in_sweep and read is _UNREADABLE and "," in value:
        return f"{name}={','.join(_item(name, each) for each in re.findall(_BETWEEN_COMMAS, value))}"
    return f"{name}={_item(name, value)}"


def _item(name: str, value: str) -> str:
    """One path, in quotes where it needs them."""
    read = _read(name, value)
    if read is None or read == value == os.path.expanduser(value):
        return value
    in_quotes = isinstance(read, str) and value[0] in "'\""
    if isinstance(read, str) and "\\" in value and not in_quotes:
        return value  # commas and the like with Hydra's own sign before them
    path = expand_home(name, read if in_quotes else value)
    return value if path == read else quoted(name, path).removeprefix(f"{name}=")


def _read(name: str, value: str) -> Any:
    """What Hydra reads the value as; `_UNREADABLE` where it cannot."""
    try:
        return OverridesParser.create().parse_override(f"{name}={value}").value()
    except HydraException:
        return _UNREADABLE


def _parts_places(value: str) -> bool:
    """Whether two places that are there were meant, of which a run takes one."""
    return not Path(value).exists() and all(Path(each).exists() for each in value.split(","))


def _check_utf8(argument: str) -> None:
    try:
        argument.encode()
    except UnicodeEncodeError:
        shown = argument.encode(errors="replace").decode()
        raise UserError(
            f"{shown} is not UTF-8, which run.json has to be; give it another name, or a link to it: ln -s OLD NEW"
        ) from None
