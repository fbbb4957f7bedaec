"""Blocks of remote files, kept on disk: whole or absent, checked when they are read, bounded in size.

A block file is the block followed by its SHA-256. It appears under its name by one rename, so a process that is killed
leaves whole blocks or none; what a power cut spoils, the hash tells a process when it first reads it. Several processes
may share the directory: who fetches a group of blocks holds the group's lock, which the operating system frees when its
holder dies.
"""

import contextlib
import errno
import hashlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from foundation import atomic_file, exclusive, remove_unfinished

log = logging.getLogger(__name__)

_DIGEST_BYTES = hashlib.sha256().digest_size
_SUFFIX = ".block"
_LEFTOVER_S = 3600.0
_GONE = (errno.ENOENT, errno.ESTALE)  # ESTALE is how NFS says that another machine has replaced or removed a file
_NOT_RENEWED = (*_GONE, errno.EACCES, errno.EPERM, errno.EROFS)  # a cache may be another user's, or read-only


_State = tuple[int, int, int]


def _state(status: os.stat_result) -> _State:
    """What changes when a file is written to, or another takes its place."""
    return status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class Block:
    """Bytes [start, stop) of one file.

    Attributes:
        file: directory that is this file version's own, relative to the store's.
        number: of the block in its file: start / block size.
    """

    file: str
    number: int
    start: int
    stop: int


class BlockStore:
    """A directory of blocks.

    Args:
        directory: may be shared by processes and by files.
        max_bytes: the most that all its blocks together may take. Processes that fetch at once, and threads that read
            at random, may exceed it by what each of them is fetching.
    """

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self._checked: dict[Path, _State] = {}

    def holds(self, block: Block) -> bool:
        """Whether the block is there, not whether it is undamaged."""
        return self._path(block).exists()

    def find(self, block: Block) -> Path | None:
        """The file that begins with the block's bytes; None where it is not there.

        What is read for the first time in this process, or was written to since, is checked against its hash; a damaged
        block is removed, so that it is fetched again, and told.
        """
        path = self._path(block)
        try:
            if self._checked.get(path) != _state(path.stat()):
                with path.open("rb") as file:
                    status, content = os.fstat(file.fileno()), file.read()
                data, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
                if len(data) != block.stop - block.start or hashlib.sha256(data).digest() != digest:
                    log.warning("%s is damaged; it is removed and fetched again", path)
                    if os.path.samestat(status, path.stat()):  # else another process has fetched it again meanwhile
                        path.unlink()
                    return None
                self._checked[path] = _state(status)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self._checked.pop(path, None)
            return None
        return path

    def put(self, block: Block, data: bytes | bytearray) -> None:
        """Keep a block.

        Raises:
            ValueError: `data` has another length than the block.
        """
        if len(data) != block.stop - block.start:
            raise ValueError(f"block {block} is given {len(data)} bytes")
        path = self._path(block)
        with atomic_file(path, durable=False) as aside, aside.open("wb") as file:
            file.write(data)
            file.write(hashlib.sha256(data).digest())
            file.flush()
            state = _state(os.fstat(file.fileno()))
        self._checked[path] = state

    def renew(self, block: Block) -> None:
        """Let a block be among the last to go: it is going to be read."""
        try:
            os.utime(self._path(block))
        except OSError as error:
            if error.errno not in _NOT_RENEWED:
                raise

    @contextlib.contextmanager
    def fetching(self, blocks: Sequence[Block], *, group: int) -> Iterator[None]:
        """Hold the lock of a group of one file's blocks, waiting for another process that fetches the same."""
        with exclusive(self.directory / blocks[0].file / f"{group:06d}.lock", wait=True):
            for block in blocks:
                remove_unfinished(self._path(block))
            yield

    def make_room(self, num_bytes: int) -> None:
        """Remove blocks until `num_bytes` more fit within the bound, first those that came or were renewed longest ago.

        Reading renews nothing: what is read in order would outlive what was fetched ahead and is yet to be read.
        """
        with exclusive(self.directory / "make_room.lock", wait=True):
            entries = sorted(self._entries())
            excess = sum(size for _, size, _ in entries) + num_bytes - self.max_bytes
            for _, size, path in entries:
                if excess <= 0:
                    break
                path.unlink(missing_ok=True)
                self._checked.pop(path, None)
                excess -= size

    def _entries(self) -> Iterator[tuple[int, int, Path]]:
        """(time of arrival or renewal, bytes, path) of every block; what writers killed long ago left is removed."""
        for path in self.directory.rglob(f"*{_SUFFIX}*"):
            try:
                status = path.stat()
                if path.suffix == _SUFFIX:
                    yield status.st_mtime_ns, status.st_size, path
                elif time.time() - status.st_mtime > _LEFTOVER_S:
                    path.unlink()
            except OSError as error:
                if error.errno not in _GONE:
                    raise

    def _path(self, block: Block) -> Path:
        return self.directory / block.file / f"{block.number:06d}{_SUFFIX}"
