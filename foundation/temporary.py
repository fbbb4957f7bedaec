"""A place for temporary files, also in a container that has none."""

import os
import tempfile
from pathlib import Path

from foundation.errors import UserError

NAME = "pythia-counterfactual"
_MEMORY = "/dev/shm"  # can be written to also in containers that are otherwise read-only


def provide_temporary_files() -> None:
    """Give libraries a place for temporary files where there is none; torch asks for one when it is imported."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        if os.access(_MEMORY, os.W_OK | os.X_OK):
            tempfile.tempdir = os.environ["TMPDIR"] = _MEMORY


def temporary_directory() -> Path:
    """A directory of this user's on this machine, which may be gone tomorrow.

    Raises:
        UserError: it cannot be made, or belongs to another user.
    """
    try:
        directory = Path(tempfile.gettempdir()) / f"{NAME}-{os.getuid()}"
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"there is no place for temporary files ({error}); set TMPDIR, and XDG_CACHE_HOME where there is no home "
            f"directory, to directories that can be written"
        ) from error
    status = directory.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise UserError(f"{directory} can be written by other users; set TMPDIR to a directory of your own")
    return directory
