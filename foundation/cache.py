"""Where the kit keeps what it has fetched and built, also on machines where there is little place for that."""

import errno
import functools
import logging
import os
from pathlib import Path

import platformdirs

from foundation.files import write_bytes
from foundation.temporary import NAME, temporary_directory

log = logging.getLogger(__name__)

CACHE_REMEDY = "set XDG_CACHE_HOME to a directory that can be written"
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def cache_directory() -> Path:
    """Where fetched and built files are kept: the platform's user cache (on Linux `$XDG_CACHE_HOME` decides).

    It need not be there yet, and one that can only be read is as good where it holds all that is needed. Without a home
    directory, as in a container that runs as a user of the host, it is a directory for temporary files.

    Raises:
        UserError: there is no such place, as `temporary_directory`.
    """
    try:
        named = platformdirs.user_cache_path(NAME)
    except RuntimeError:  # there is no home directory
        return _stand_in(Path("~/.cache", NAME))
    if os.environ.get("XDG_CACHE_HOME", "").strip() or _exists_or_can_be_made(named):
        return named
    return _stand_in(named)


def _exists_or_can_be_made(directory: Path) -> bool:
    if not directory.is_absolute():  # there is no home directory, and "~" stands for itself
        return False
    nearest = next(place for place in (directory, *directory.parents) if place.exists())
    return nearest == directory or os.access(nearest, os.W_OK | os.X_OK)


@functools.cache
def _stand_in(named: Path) -> Path:
    directory = temporary_directory()
    log.warning(
        "the cache %s cannot be made, so %s takes its place, which may not last; %s to keep what is fetched and built",
        *(named, directory, CACHE_REMEDY),
    )
    return directory


def remember(path: Path, content: str | bytes) -> None:
    """Write a file of the cache that only saves work the next time; in a cache that is read-only it is left out."""
    try:
        write_bytes(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        log.debug("%s is not kept", path, exc_info=error)
