"""Files and directories that are either whole or absent, whatever happens to the process that writes them."""

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import filelock
import platformdirs

log = logging.getLogger(__name__)

_ASIDE = ".aside-"
_TELL_AFTER_S = 60.0


def cache_directory() -> Path:
    """Where fetched and built files are kept: the platform's user cache (on Linux `$XDG_CACHE_HOME` decides)."""
    return platformdirs.user_cache_path("pythia-counterfactual", ensure_exists=True)


@contextlib.contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """Yield a fresh path beside `target`; whatever still stands there when the block fails is removed.

    An OSError that names no file, as that of a full disk, or the fresh path, names `target`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.parent / f"{_ASIDE}{target.name}-{uuid.uuid4().hex[:12]}"
    try:
        yield aside
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(aside)):
            error.filename = str(target)
        raise
    finally:
        if aside.is_dir():
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a path to write to; when the block ends well, that file takes the place of `path`, else `path` stays.

    Args:
        durable: also after a power cut. Waiting for the disk is not needed for what is checked when it is read.
    """
    with _aside(path) as aside:
        yield aside
        if durable:
            _sync(aside)
        aside.replace(path)
        if durable:
            _sync(path.parent)


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
            _sync(file)
        if path.exists():
            raise FileExistsError(errno.EEXIST, "another process has made it meanwhile", str(path))
        aside.rename(path)
        _sync(path.parent)


def remove_directory(path: Path) -> None:
    """Remove a directory so that it is never seen half empty."""
    with _aside(path) as aside:
        path.rename(aside)


def remove_leftovers(directory: Path) -> None:
    """Remove what killed writers left anywhere below `directory`. Call it only while nobody else writes there."""
    for leftover in sorted(directory.rglob(f"{_ASIDE}*"), reverse=True):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def remove_unfinished(path: Path) -> None:
    """Remove what killed writers of the file `path` left. Call it only while nobody else writes that file."""
    for leftover in path.parent.glob(f"{_ASIDE}{path.name}-*"):
        leftover.unlink(missing_ok=True)


def _acquire_and_tell(lock: filelock.BaseFileLock, path: Path) -> None:
    while True:
        try:
            lock.acquire(timeout=_TELL_AFTER_S)
            return
        except filelock.Timeout:
            log.warning("still waiting for the process that holds %s; has it been stopped?", path)


@contextlib.contextmanager
def exclusive(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock file `path` for the block; the operating system frees it when the process dies.

    Args:
        path: the lock file; it stays behind, empty.
        wait: wait for the present holder, or raise `filelock.Timeout` at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if not wait:
            raise
        log.info("waiting for another process that works on %s", path.with_suffix(""))
        _acquire_and_tell(lock, path)
    try:
        yield
    finally:
        lock.release()


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
