"""Files and directories that are either whole or absent, whatever happens to the process that writes them."""

import contextlib
import errno
import functools
import glob
import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

_ASIDE = ".aside-"
_NO_FLUSH = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_FLUSH_OF_DIRECTORY = {*_NO_FLUSH, errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR}
_STILL_OPEN = {errno.ENOTEMPTY, errno.EBUSY, errno.ESTALE}


@contextlib.contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """Yield a fresh path beside `target`; whatever still stands there when the block fails is removed.

    An OSError that names no file, as that of a full disk, or the fresh path, names `target`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.parent / f"{_ASIDE}{target.name}-{uuid.uuid4().hex[:12]}"
    try:
        with named_in_errors(target, aside):
            yield aside
    finally:
        _remove(aside)


@contextlib.contextmanager
def named_in_errors(path: Path, *others: Path) -> Iterator[None]:
    """Let an OSError that names no file, as that of a full disk, or one of some others, name `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, *map(str, others)):
            error.filename = str(path)
        raise


def _remove(leftover: Path) -> None:
    """Remove a file or directory. What NFS keeps of it, as long as it is open, stays for the next time."""
    try:
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in _STILL_OPEN:
            raise
        log.warning("%s is still in use, and removed at the next start", leftover)


def sync(file: int | Path) -> None:
    """Return once a file (a descriptor or path) or directory is on the disk, where its file system can say so.

    One that cannot (many network, user-space and overlay file systems, for directories above all) has written what it
    was given in its own time; a power cut may then undo it.
    """
    is_directory = isinstance(file, Path) and file.is_dir()
    try:
        descriptor = os.open(file, os.O_RDONLY) if isinstance(file, Path) else file
        try:
            os.fsync(descriptor)
        finally:
            if isinstance(file, Path):
                os.close(descriptor)
    except OSError as error:
        if error.errno not in (_NO_FLUSH_OF_DIRECTORY if is_directory else _NO_FLUSH):
            raise
        _tell_of_no_flush(error.strerror)


@functools.cache
def _tell_of_no_flush(reason: str) -> None:
    log.info("the file system cannot be told to write to the disk (%s): a power cut may undo what is written", reason)


@contextlib.contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a path to write to; when the block ends well, that file takes the place of `path`, else `path` stays.

    Args:
        durable: also after a power cut. Waiting for the disk is not needed for what is checked when it is read.
    """
    with _aside(path) as aside:
        yield aside
        if durable:
            sync(aside)
        aside.replace(path)
        if durable:
            sync(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part."""
    with atomic_file(path) as aside:
        aside.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, atomically."""
    write_bytes(path, text.encode())


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a directory to fill; when the block ends well it is renamed to `path`, which must not exist.

    Raises:
        FileExistsError: `path` is there already: its writer should have looked before it worked.
    """
    with _aside(path) as aside:
        aside.mkdir()
        yield aside
        for file in sorted(aside.rglob("*")):
            sync(file)
        if path.exists():
            raise FileExistsError(errno.EEXIST, "another process has made it meanwhile", str(path))
        aside.rename(path)
        sync(path.parent)


def remove_directory(path: Path) -> None:
    """Remove a directory so that it is never seen half empty.

    A directory of a container's image cannot be renamed as a whole; its entries go one by one.
    """
    with _aside(path) as aside:
        try:
            path.rename(aside)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _remove(path)


def remove_leftovers(directory: Path) -> None:
    """Remove what killed writers left anywhere below `directory`. Call it only while nobody else writes there."""
    for leftover in sorted(directory.rglob(f"{_ASIDE}*"), reverse=True):
        _remove(leftover)


def remove_unfinished(path: Path) -> None:
    """Remove what killed writers of the file `path` left. Call it only while nobody else writes that file."""
    for leftover in path.parent.glob(f"{_ASIDE}{glob.escape(path.name)}-*"):
        leftover.unlink(missing_ok=True)


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
