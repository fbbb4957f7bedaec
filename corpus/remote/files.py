"""Remote files read like local ones: by aligned blocks that are fetched once, ahead of time, and kept."""

import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any

from tqdm import tqdm

from corpus.byte_source import CacheBound, Cost, pieces, read_file
from corpus.remote.blocks import Block, BlockStore
from corpus.remote.listing import Listing, RemoteFile, RemotePlace
from foundation import UserError

log = logging.getLogger(__name__)

BLOCK_BYTES = 8 << 20
REQUEST_BYTES = 128 << 20
IN_FLIGHT = 4

_POLL_S = 0.2  # how often a reader looks whether another process has brought its block
_ATTEMPTS = 3


@dataclass(frozen=True)
class _Part:
    """What a read takes from one block: bytes [offset, offset + length) of block `block` of file number `file`."""

    file: int
    block: Block
    offset: int
    length: int


@dataclass(frozen=True)
class _Group:
    """Blocks of one file that one request can bring.

    Attributes:
        file: index of the file.
        number: of the aligned group in its file.
        blocks: those of its blocks that are wanted, in order.
    """

    file: int
    number: int
    blocks: tuple[Block, ...]

    @property
    def key(self) -> tuple[int, int]:
        return self.file, self.number


@dataclass
class _Fetch:
    """A group that a thread is fetching, or has fetched."""

    group: _Group
    done: bool = False
    error: BaseException | None = None


@dataclass
class _Ahead:
    """The groups that were announced: which is the next to fetch, and how far reading has come."""

    groups: list[_Group] = field(default_factory=list)
    place: dict[tuple[int, int], int] = field(default_factory=dict)
    next: int = 0
    reached: int = 0


class RemoteFiles:
    """The files of a place as one run of bytes. Reading waits for what is not there yet; several may read at once.

    What is wanted is fetched in requests of up to `request_bytes`, several at a time, and kept in blocks of
    `block_bytes`: few requests, little fetched beyond what is wanted, and little lost to a kill (the block that a
    connection was in the middle of). What `expect` announces is fetched ahead of reading, as far as a quarter of the
    store.

    Args:
        place: lists the files when something is first read.
        store: keeps the blocks.
        size: bytes that there must be in all, where that is known; None takes what the place has.
        block_bytes: unit of the store.
        request_bytes: most that one request asks for; a multiple of `block_bytes`.
        in_flight: requests at a time.

    Raises:
        UserError: the store is too small for what is in flight; or, when the files are listed, they have another size.
    """

    def __init__(
        self,
        place: RemotePlace,
        store: BlockStore,
        *,
        size: int | None = None,
        block_bytes: int = BLOCK_BYTES,
        request_bytes: int = REQUEST_BYTES,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        if request_bytes % block_bytes:
            raise ValueError(f"request_bytes={request_bytes} is no multiple of block_bytes={block_bytes}")
        if store.max_bytes < 4 * in_flight * request_bytes:
            raise UserError(
                f"the cache may hold {store.max_bytes / 2**30:.3g} GiB, but {in_flight} requests at a time need "
                f"{4 * in_flight * request_bytes / 2**30:.3g} GiB; raise corpus.cache_gib"
            )
        self._place = place
        self._store = store
        self._size = size
        self._block_bytes = block_bytes
        self._request_bytes = request_bytes
        self._in_flight = in_flight
        self._reserve = in_flight * request_bytes + 2 * block_bytes
        self._groups_ahead = store.max_bytes // 4 // request_bytes
        self._changed = threading.Condition()
        self._running: dict[tuple[int, int], _Fetch] = {}
        self._ahead = _Ahead()
        self._awaited: set[Block] = set()
        self._bar: tqdm[Any] | None = None
        self._process = os.getpid()

    @property
    def location(self) -> str:
        return self._place.location

    @property
    def size(self) -> int:
        return self._listing.size if self._size is None else self._size

    def read(self, start: int, into: memoryview) -> None:
        if os.getpid() != self._process:
            raise UserError(
                f"{self.location} was opened in process {self._process} and is read in {os.getpid()}; its fetching "
                f"threads did not come along: open it in the process that reads it"
            )
        parts = list(self._parts(self._listing.files, start, start + len(into)))
        self._advance(parts)
        done = 0
        for part in parts:
            self._read_part(part, parts, into[done : done + part.length])
            done += part.length

    def expect(self, start: int, stop: int) -> None:
        groups = self._groups(self._parts(self._listing.files, start, stop))
        missing = {block for group in groups for block in group.blocks if not self._store.holds(block)}
        with self._changed:
            self._ahead = _Ahead(groups, {group.key: place for place, group in enumerate(groups)})
            self._await(missing)
            self._start_ahead()

    def cost(self, start: int, stop: int) -> Cost:
        known = self._place.known_listing()
        if known is None or self._size not in (None, known.size):
            known = Listing(None, (RemoteFile("", "", self.size, ""),))
        files = known.files
        groups = self._groups(self._parts(files, start, stop))
        runs = [run for group in groups for run in self._missing_runs(group)]
        return Cost(
            needed_bytes=stop - start,
            fetch_bytes=sum(run[-1].stop - run[0].start for run in runs),
            requests=len(runs),
            cache=CacheBound(self._store.directory, self._store.max_bytes, self._reserve),
        )

    def identity(self) -> dict[str, Any]:
        return {
            "location": self._place.base,
            "revision": self._listing.revision,
            "files": {file.name: file.size for file in self._listing.files},
            "versions": {file.name: file.version for file in self._listing.files},
        }

    @cached_property
    def _listing(self) -> Listing:
        listing = self._place.listing()
        if self._size is not None and listing.size != self._size:
            raise UserError(
                f"{self.location} has {listing.size} bytes in {len(listing.files)} files, expected {self._size}: it is "
                f"another corpus, or not all of it; check corpus.location"
            )
        return listing

    def _parts(self, files: Sequence[RemoteFile], start: int, stop: int) -> Iterator[_Part]:
        for piece in pieces([file.size for file in files], start, stop):
            file = files[piece.file]
            offset, end = piece.offset, piece.offset + piece.length
            while offset < end:
                number = offset // self._block_bytes
                first = number * self._block_bytes
                block = Block(self._directory_of(file), number, first, min(first + self._block_bytes, file.size))
                length = min(end, block.stop) - offset
                yield _Part(piece.file, block, offset - block.start, length)
                offset += length

    def _directory_of(self, file: RemoteFile) -> str:
        """A name that changes with everything that a block's bytes depend on."""
        return hashlib.sha256(f"{file.content} {file.size} {self._block_bytes}".encode()).hexdigest()[:32]

    def _groups(self, parts: Iterable[_Part]) -> list[_Group]:
        blocks_per_group = self._request_bytes // self._block_bytes

        def key(part: _Part) -> tuple[int, int]:
            return part.file, part.block.number // blocks_per_group

        return [_Group(*key_, tuple(part.block for part in parts_)) for key_, parts_ in groupby(parts, key)]

    def _missing_runs(self, group: _Group) -> list[list[Block]]:
        """The group's blocks that are not there, as runs without gaps: each is one request."""
        runs: list[list[Block]] = []
        for block in group.blocks:
            if self._store.holds(block):
                continue
            if runs and runs[-1][-1].number + 1 == block.number:
                runs[-1].append(block)
            else:
                runs.append([block])
        return runs

    def _advance(self, parts: Sequence[_Part]) -> None:
        """Reading has come so far: what was announced behind it may be fetched."""
        with self._changed:
            ahead = self._ahead
            for group in self._groups(parts):
                ahead.reached = max(ahead.reached, ahead.place.get(group.key, 0))
            ahead.next = max(ahead.next, ahead.reached)
            self._start_ahead()

    def _read_part(self, part: _Part, parts: Sequence[_Part], into: memoryview) -> None:
        for attempt in range(_ATTEMPTS + 1):
            path = self._store.find(part.block)
            if path is None:
                if attempt < _ATTEMPTS:
                    self._wait_for(part, parts)
                continue
            with contextlib.suppress(FileNotFoundError):  # another process made room just now
                read_file(path, part.offset, into)
                return
        raise UserError(
            f"a block of {self.location} was fetched {_ATTEMPTS} times and was gone or damaged each time; look at the "
            f"disk of {self._store.directory}, and raise corpus.cache_gib if other runs share it"
        )

    def _wait_for(self, part: _Part, parts: Sequence[_Part]) -> None:
        """Return when the block is there, or was: another process may fetch it, or make room for others."""
        with self._changed:
            fetch = self._demand(part, parts)
            while not (fetch.done or self._store.holds(part.block)):
                self._changed.wait(_POLL_S)
            if fetch.error is not None and not self._store.holds(part.block):
                raise fetch.error

    def _demand(self, part: _Part, parts: Sequence[_Part]) -> _Fetch:
        """The fetch that brings a block; its group goes before all others, and fetching ahead goes on behind it."""
        (group,) = (group for group in self._groups(parts) if part.block in group.blocks)
        place = self._ahead.place.get(group.key)
        if place is not None and part.block in self._ahead.groups[place].blocks:
            group = self._ahead.groups[place]
            self._ahead.next = self._ahead.reached = place
        fetch = self._running.get(group.key)
        if fetch is None or part.block not in fetch.group.blocks:
            fetch = self._start(group)
        self._start_ahead()
        return fetch

    def _start_ahead(self) -> None:
        ahead = self._ahead
        while len(self._running) < self._in_flight and ahead.next < len(ahead.groups):
            if ahead.next > ahead.reached + self._groups_ahead:
                break
            group = ahead.groups[ahead.next]
            ahead.next += 1
            for block in group.blocks:
                self._store.renew(block)
            if group.key not in self._running and self._missing_runs(group):
                self._start(group)

    def _start(self, group: _Group) -> _Fetch:
        fetch = _Fetch(group)
        # a daemon: a process that ends, or is interrupted, does not wait for what it no longer needs
        threading.Thread(target=self._run, args=(fetch,), daemon=True).start()
        self._running[group.key] = fetch
        self._await({block for block in group.blocks if not self._store.holds(block)})
        return fetch

    def _run(self, fetch: _Fetch) -> None:
        try:
            self._fetch(fetch.group)
        except BaseException as error:  # whoever waits for the group raises it
            fetch.error = error
            log.debug("fetching a part of %s failed", self.location, exc_info=error)
        with self._changed:
            fetch.done = True
            if self._running.get(fetch.group.key) is fetch:
                del self._running[fetch.group.key]
            if fetch.error is None:
                self._settle(fetch.group.blocks)
                self._start_ahead()
            self._changed.notify_all()

    def _fetch(self, group: _Group) -> None:
        file = self._listing.files[group.file]
        with self._store.fetching(group.blocks, group=group.number):
            for run in self._missing_runs(group):
                self._store.make_room(self._reserve)
                version = None if file.has_one_content else file.version
                start, stop = run[0].start, run[-1].stop
                stream = self._place.client.stream(file.url, start, stop, size=file.size, version=version)
                self._keep(run, stream)

    def _keep(self, run: Sequence[Block], stream: Iterator[bytes]) -> None:
        """Cut a stream into blocks and keep each as soon as it is whole."""
        buffer, left = bytearray(), list(run)
        for piece in stream:
            buffer += piece
            self._progress(len(piece))
            while left and len(buffer) >= left[0].stop - left[0].start:
                block = left.pop(0)
                length = block.stop - block.start
                self._store.put(block, buffer[:length])
                del buffer[:length]
                with self._changed:
                    self._awaited.discard(block)
                    self._changed.notify_all()

    def _await(self, blocks: set[Block]) -> None:
        """Count blocks as coming, on the progress bar too."""
        new = blocks - self._awaited
        self._awaited |= new
        if new and self._bar is None:
            self._bar = tqdm(total=0, desc="fetching the corpus", unit="B", unit_scale=True, disable=None, leave=False)
        if self._bar is not None:
            self._bar.total = (self._bar.total or 0) + sum(block.stop - block.start for block in new)

    def _progress(self, num_bytes: int) -> None:
        with self._changed:
            if self._bar is not None:
                self._bar.update(num_bytes)

    def _settle(self, blocks: Sequence[Block]) -> None:
        """Take blocks that have come another way off the progress bar; it goes when none is awaited any more."""
        here = self._awaited.intersection(blocks)
        self._awaited -= here
        self._progress(sum(block.stop - block.start for block in here))
        if self._bar is not None and not self._awaited:
            self._bar.close()
            self._bar = None
