"""How every command of the kit begins and ends: help, one line for a mistake, an exit status."""

import contextlib
import errno
import io
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from foundation.cache import CACHE_REMEDY, cache_directory
from foundation.errors import UserError
from foundation.interruption import Interrupted
from foundation.secrets import SecretsHidden, without_secrets

_AGAIN = "then give the same command again: what is whole is kept"
_ANOTHER = "name a place on another file system"
_OF_A_RUN = "for a run set hydra.run.dir"
_REMEDIES = {
    errno.ENOSPC: f"make room, {_AGAIN}",
    errno.EDQUOT: f"make room within the quota, {_AGAIN}",
    errno.EROFS: f"name a place that can be written ({_OF_A_RUN})",
    errno.EACCES: f"name a place that you may read and write ({_OF_A_RUN}), or change its permissions",
    errno.EPERM: f"name a place that you may read and write ({_OF_A_RUN}), or change its permissions",
    errno.EEXIST: "move it away, or name another place: a directory is made there",
    errno.ENOTEMPTY: "move it away, or name another place: a directory is made there",
    errno.ENOTDIR: "what lies above it is a file; name another place",
    errno.EISDIR: "it is a directory, where a file has to be; name another place",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.ELOOP: "its links lead in a circle; name another place",
    errno.EILSEQ: f"that file system cannot hold such a name; {_ANOTHER}",
    errno.EFBIG: f"that file system, or ulimit -f, cannot hold a file of that size; {_ANOTHER}",
    errno.EXDEV: f"that file system cannot rename what lies in one directory; {_ANOTHER}",
    errno.ENOSYS: f"that file system cannot do what is needed; {_ANOTHER}",
    errno.EOPNOTSUPP: f"that file system cannot do what is needed; {_ANOTHER}",
    errno.ENODEV: f"that file system cannot map files into memory; {_ANOTHER}",
    errno.EBUSY: f"another program has it in use, or it is mounted by itself; end that, or {_ANOTHER}",
    errno.ETXTBSY: f"another program has it in use; end that, or {_ANOTHER}",
    errno.ESTALE: f"another machine has replaced it, or its server was started anew; wait a minute, {_AGAIN}",
    errno.EIO: f"the disk or its server fails; look after it (dmesg), {_AGAIN}",
    errno.EREMOTEIO: f"the disk or its server fails; look after it (dmesg), {_AGAIN}",
    errno.ENOTCONN: f"the file system is no longer connected; mount it again, {_AGAIN}",
    errno.ESHUTDOWN: f"the file system is no longer connected; mount it again, {_AGAIN}",
    errno.ETIMEDOUT: f"the file system did not answer; wait for it, {_AGAIN}",
    errno.EMFILE: f"raise the number of files that a process may open (ulimit -n 4096), {_AGAIN}",
    errno.ENFILE: f"too many files are open on this machine; end other programs, {_AGAIN}",
    errno.ENOLCK: f"that file system has no locks; {_ANOTHER}",
}
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
_LEVELS = {"httpx2": logging.WARNING, "huggingface_hub.utils._http": logging.ERROR, "fontTools": logging.WARNING}


def run_command(main: Callable[[list[str]], None], usage: str | None, *, needs_arguments: bool = True) -> None:
    """Run a command on the arguments of the program; `usage` is printed for those who ask, or give none."""
    arguments = sys.argv[1:]
    if (needs_arguments and not arguments) or {"-h", "--help"} & set(arguments):
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
        remedy = _remedy(error)
        if remedy is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise UserError(f"{where}{error.strerror}; {remedy}") from error


def remedy_for(text: str) -> str | None:
    """The remedy for what a library in Rust says of an `os error`, which Python would raise as OSError; else None."""
    number = re.search(r"os error (\d+)", text)
    return None if number is None else _REMEDIES.get(int(number[1]), f"name another place, {_AGAIN}")


def _remedy(error: OSError) -> str | None:
    if error.errno in _NOT_WRITABLE and _lies_in_cache(error.filename):
        return f"the cache does not hold all that is needed, and cannot be written to: {CACHE_REMEDY}"
    return _REMEDIES.get(error.errno or 0)


def _lies_in_cache(place: object) -> bool:
    return isinstance(place, str) and Path(place).absolute().is_relative_to(cache_directory().absolute())


def one_line(error: Exception) -> str:
    """What is told of an error that the user can mend."""
    return "error: " + without_secrets(" ".join(str(error).split()))
