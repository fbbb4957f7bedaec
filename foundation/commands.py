"""How every command of the kit begins and ends: help, one line for a mistake, an exit status."""

import contextlib
import errno
import io
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from typing import cast

from foundation.errors import UserError
from foundation.interruption import Interrupted
from foundation.secrets import SecretsHidden, without_secrets


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
    """Keep the hub's client from telling of every request, and the maker of PDFs' fonts of every glyph."""
    for name in ("httpx2", "fontTools"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextlib.contextmanager
def mistakes_in_one_line() -> Iterator[None]:
    """End the program with one line where the block meets a mistake that the user can mend."""
    try:
        yield
    except (UserError, FileExistsError, PermissionError) as error:
        sys.exit(one_line(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        sys.exit(one_line(error))
    except KeyboardInterrupt as interruption:
        print("interrupted: the same command (a run: with the same hydra.run.dir) goes on from here", file=sys.stderr)
        sys.exit(128 + (interruption.signal if isinstance(interruption, Interrupted) else signal.SIGINT))


def one_line(error: Exception) -> str:
    """What is told of an error that the user can mend."""
    return "error: " + without_secrets(" ".join(str(error).split()))
