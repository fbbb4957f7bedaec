"""How every command of the kit begins and ends: help, one line for a mistake, an exit status."""

import contextlib
import errno
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import cast

from foundation.errors import UserError
from foundation.interruption import Interrupted
from foundation.secrets import SecretsHidden, without_secrets

_AGAIN = "then give the same command again: what is whole is kept"
_REMEDIES = {
    errno.ENOSPC: f"make room, {_AGAIN}",
    errno.EDQUOT: f"make room within the quota, {_AGAIN}",
    errno.EROFS: "name a place that can be written",
    errno.EACCES: "name a place that you may read and write, or change its permissions",
    errno.EPERM: "name a place that you may read and write, or change its permissions",
    errno.EEXIST: "move it away, or name another place: a directory is made there",
    errno.ENOTDIR: "what lies above it is a file; name another place",
    errno.EISDIR: "it is a directory, where a file has to be; name another place",
    errno.ENAMETOOLONG: "name a shorter path",
}
_LEVELS = {"httpx2": logging.WARNING, "huggingface_hub.utils._http": logging.ERROR, "fontTools": logging.WARNING}


def run_command(main: Callable[[list[str]], None], usage: str | None) -> None:
    """Run a command on the arguments of the program; `usage` is printed where there are none or help is asked for."""
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print((usage or "").strip())
        return
    handler = logging.StreamHandler()
    handler.setFormatter(SecretsHidden("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    quiet_libraries()
    cast(io.TextIOWrapper, sys.stdout).reconfigure(errors="replace")
    with mistakes_in_one_line():
        main(arguments)


def quiet_libraries() -> None:
    """Keep the hub's client from telling of every request and try, and the maker of PDFs' fonts of every glyph."""
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def mistakes_in_one_line() -> Iterator[None]:
    """End the program with one line where the block meets a mistake that the user can mend.

    With HYDRA_FULL_ERROR=1 in the environment, as the block begins, it ends with the traceback instead.
    """
    in_full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        with file_errors_for_users():
            yield
    except UserError as error:
        if in_full:
            raise
        sys.exit(one_line(error))
    except SystemExit as end:
        if in_full and end.__cause__ is not None:  # so run.py ends: Hydra adds a line to what is raised through it
            raise end.__cause__ from None
        raise
    except KeyboardInterrupt as interruption:
        print("interrupted: the same command (a run: with the same hydra.run.dir) goes on from here", file=sys.stderr)
        sys.exit(128 + (interruption.signal if isinstance(interruption, Interrupted) else signal.SIGINT))


@contextlib.contextmanager
def file_errors_for_users() -> Iterator[None]:
    """Raise UserError, with the remedy, for what the operating system refuses and the user can mend."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0)
        if remedy is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise UserError(f"{where}{error.strerror}; {remedy}") from error


def one_line(error: Exception) -> str:
    """What is told of an error that the user can mend."""
    return "error: " + without_secrets(" ".join(str(error).split()))
