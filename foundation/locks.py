"""Locks between processes, on one machine or several that share a file system, with or without its help.

A lock is the operating system's where the file system has such locks: it ends with its holder, however that ends. Where
there are none (network and user-space file systems often have none, or for some of their clients only) the lock is a
file that exists while it is held. Each kind tells who holds it, and each heeds the other.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import platform
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

log = logging.getLogger(__name__)

_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_REPLACED = (errno.ENOENT, errno.ESTALE)  # by another process, before it was looked at
_POLL_S = 0.1
_TELL_AFTER_S = 5.0
_TELL_AGAIN_S = 60.0


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        host: the machine's name.
        processes: what numbers processes there: a start of the machine and, in containers, their own numbering. None
            where the system does not say.
        pid: number of the process.
        started: when it started, in ticks since the machine did; None where that is not known.
        since: local time at which it took the lock.
    """

    host: str
    processes: str | None
    pid: int
    started: str | None
    since: str

    def is_gone(self) -> bool:
        """Whether the process is known to have ended; of other machines nothing is known."""
        if self.processes is None or self.processes != _processes():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # another user's
            pass
        started = _start_of(self.pid)
        return started is not None and started != self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


class LockHeldError(Exception):
    """Another process holds the lock; the text says which one, and since when."""


def exclusive_files(path: Path) -> tuple[Path, Path]:
    """The files that may stand while the lock `path` is held."""
    return path, path.with_name(f"{path.name}.held")


@contextlib.contextmanager
def exclusive(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock file `path` for the block.

    Where the file system has locks it ends with the process. Where it has none, that of a process which was killed is
    taken over on the same machine; on another machine nobody can know, and the file to remove is told.

    Args:
        path: the lock file; it stays behind, empty.
        wait: wait for the present holder, or raise LockHeldError at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _Lock(path)
    _take(lock, wait=wait)
    try:
        yield
    finally:
        lock.release()


def _take(lock: "_Lock", *, wait: bool) -> None:
    began = time.monotonic()
    tell_at = began + _TELL_AFTER_S
    while (holder := lock.try_to_take()) is not None:
        if not wait:
            raise LockHeldError(holder)
        if time.monotonic() > tell_at:
            log.warning("waiting, %.0f s so far, for %s", time.monotonic() - began, holder)
            tell_at = time.monotonic() + _TELL_AGAIN_S
        time.sleep(_POLL_S)


class _Lock:
    """One lock, of the operating system on `path` or a file beside it that exists while it is held.

    Each kind writes down that it holds the lock before it looks for the other, so two that come together may both step
    back and try again, but never both go on.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._marker = exclusive_files(path)
        self._descriptor: int | None = None
        self._record = b""

    def try_to_take(self) -> str | None:
        """Take the lock; what holds it, in words, where that is another."""
        own = Holder(platform.node(), _processes(), os.getpid(), _start_of(os.getpid()), _now())
        self._record = json.dumps(asdict(own)).encode()
        try:
            descriptor = _open(self._path)
        except OSError as error:
            if error.errno == errno.ESTALE:
                return f"{self._path}, which another process replaces"
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _HELD:
                holder = _read(self._path)
                return f"{holder or 'another process'}, which holds {self._path} and runs, or has been stopped"
            return self._try_to_mark()
        return self._try_to_keep(descriptor)

    def _try_to_keep(self, descriptor: int) -> str | None:
        """Go on with the operating system's lock, unless a process that cannot see it holds the other kind."""
        self._descriptor = descriptor
        try:
            replaced = not os.path.samestat(os.fstat(descriptor), self._path.stat())
        except OSError as error:
            if error.errno not in _REPLACED:
                self.release()
                raise
            replaced = True
        if replaced:
            os.close(descriptor)
            self._descriptor = None
            return f"{self._path}, which another process replaces"
        with contextlib.suppress(OSError):  # another user's file, or a full disk: the lock holds without its record
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, self._record, 0)
        if holder := self._marked_by():
            self.release()
            return holder
        return None

    def _try_to_mark(self) -> str | None:
        """Make the file that says who holds the lock, where the file system has no locks."""
        if holder := self._marked_by():
            return holder
        try:
            descriptor = os.open(self._marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return f"another process, which has just made {self._marker}"
        try:
            os.write(descriptor, self._record)
        except OSError:
            self._marker.unlink()
            raise
        finally:
            os.close(descriptor)
        other = _read(self._path)
        if other is not None and not other.is_gone():
            self.release()
            return f"{other}; remove {self._path} if it no longer runs"
        return None

    def _marked_by(self) -> str | None:
        """Who holds the lock by its file, in words. That of a process which is gone is removed."""
        holder = _read(self._marker)
        if holder is not None and holder.is_gone():
            _remove_marker(self._marker, holder)
            holder = _read(self._marker)
        if holder is None and not self._marker.exists():
            return None
        return f"{holder or 'another process'}; remove {self._marker} if it no longer runs"

    def release(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)  # which ends the lock
            self._descriptor = None
        elif _content(self._marker) == self._record:
            self._marker.unlink(missing_ok=True)


def _open(path: Path) -> int:
    """A descriptor of the lock file, for reading alone where it is another user's."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        if not path.exists():
            raise
        return os.open(path, os.O_RDONLY)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        if error.errno in _REPLACED:
            return b""
        raise


def _read(path: Path) -> Holder | None:
    """What a holder wrote down; None where nothing is, or not yet."""
    try:
        holder = Holder(**json.loads(_content(path)))
    except (ValueError, TypeError):
        return None
    return holder if isinstance(holder.pid, int) and 0 < holder.pid < 1 << 31 else None


def _remove_marker(marker: Path, gone: Holder) -> None:
    """Remove what a process that is gone left, unless another one of this machine has done so and holds the lock."""
    aside = marker.with_name(f"{marker.name}-{uuid.uuid4().hex[:12]}")
    try:
        marker.rename(aside)
    except FileNotFoundError:
        return
    if _read(aside) != gone:
        aside.rename(marker)
        return
    aside.unlink()


def _processes() -> str | None:
    """What numbers processes here."""
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{start} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _start_of(pid: int) -> str | None:
    """When a process started, in ticks since the machine did; empty where it has ended and is not yet reaped."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return "" if state in "ZX" else fields[18]


def _now() -> str:
    return datetime.now().astimezone().isoformat(" ", "seconds")
