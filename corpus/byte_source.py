"""The bytes of a corpus, in one file or in many, here or elsewhere, as one run of bytes."""

import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

from foundation import UserError

_SHARD = re.compile(r"(?P<stem>.+)-(?P<index>\d{5})-of-(?P<last>\d{5})\.bin")


@dataclass(frozen=True)
class CacheBound:
    """Where fetched blocks are kept, and how many bytes of them are, at most.

    Attributes:
        reserve: bytes that may come while others are yet to go.
    """

    directory: Path
    max_bytes: int
    reserve: int

    def holds(self, num_bytes: int) -> bool:
        """Whether so much stays until all of it has come."""
        return num_bytes <= self.max_bytes - self.reserve

    @property
    def existing_directory(self) -> Path:
        """The directory, or the nearest one above it that is there."""
        return next(place for place in (self.directory, *self.directory.parents) if place.exists())


@dataclass(frozen=True)
class Cost:
    """What it takes to read a part of a corpus.

    Attributes:
        needed_bytes: of the part itself.
        fetch_bytes: to fetch for it over the network, in whole blocks; what the cache holds is not counted.
        requests: range requests for that; up to one more a shard boundary where the shards were never listed.
        cache: None where nothing is fetched.
    """

    needed_bytes: int
    fetch_bytes: int = 0
    requests: int = 0
    cache: CacheBound | None = None


class ByteSource(Protocol):
    """Bytes that are read by position.

    Attributes:
        location: where they lie, in the user's words.
    """

    @property
    def location(self) -> str: ...

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def read(self, start: int, into: memoryview) -> None:
        """Fill `into`, a view of bytes, with the bytes from `start` on."""
        ...

    def expect(self, start: int, stop: int) -> None:
        """Announce that bytes [start, stop) will be read, in order: what is far away begins to come."""
        ...

    def cost(self, start: int, stop: int) -> Cost:
        """What reading bytes [start, stop) takes now. Fetches nothing."""
        ...

    def identity(self) -> dict[str, Any]:
        """What tells these bytes from others, as far as it is known without reading them all."""
        ...


@dataclass(frozen=True)
class Piece:
    """A part of one file that a read covers: bytes [offset, offset + length) of file number `file`."""

    file: int
    offset: int
    length: int


def pieces(sizes: Sequence[int], start: int, stop: int) -> Iterator[Piece]:
    """Where bytes [start, stop) of files laid end to end lie.

    Raises:
        ValueError: the files hold no such bytes.
    """
    ends = list(accumulate(sizes))
    if not 0 <= start <= stop <= (ends[-1] if ends else 0):
        raise ValueError(f"bytes {start}..{stop} of {ends[-1] if ends else 0}")
    file = bisect_right(ends, start)
    while start < stop:
        length = min(stop, ends[file]) - start
        if length:
            yield Piece(file, start - (ends[file] - sizes[file]), length)
        start += length
        file += 1


def shard_names(names: Iterable[str], *, where: str) -> list[str]:
    """The one `.bin`, or the one whole series of shards, among `names`, in order.

    Pythia numbers shards by the last one: document-00000-of-00020.bin to document-00020-of-00020.bin are 21.

    Args:
        names: of files.
        where: they lie, for the message.

    Raises:
        UserError: there is no `.bin`, more than one choice, or a shard is missing.
    """
    binaries = sorted(name for name in names if name.endswith(".bin") and not name.startswith("."))  # hidden: macOS's
    binaries.sort(key=lambda name: _SHARD.fullmatch(name) is not None)  # in the message, merged files come first
    choices = list(dict.fromkeys(series_of(name)[0] for name in binaries))
    if not choices:
        raise UserError(f"{where} holds no .bin file; name the place of the preshuffled shards or of a merged .bin")
    if len(choices) > 1:
        raise UserError(f"{where} holds {' and '.join(choices)}; name the one that is meant")
    whole = series_of(choices[0])
    missing = sorted(set(whole) - set(binaries))
    if missing:
        raise UserError(
            f"{where} holds {len(whole) - len(missing)} of {len(whole)} shards, {missing[0]} is not among them; fetch "
            f"it too (shards are numbered from 0 to the number in their names)"
        )
    return whole


def series_of(name: str) -> list[str]:
    """Names of the whole series that a shard belongs to, as EleutherAI/pythia `utils/shard_memmap.py` gives them.

    A `.bin` that is no shard stands alone.
    """
    match = _SHARD.fullmatch(name)
    if match is None:
        return [name]
    stem, last = match["stem"], int(match["last"])
    return [f"{stem}-{index:05d}-of-{last:05d}.bin" for index in range(last + 1)]


def stem_of(name: str) -> str:
    """What a `.bin`, or all the shards of a series, and their `.idx` are called without their endings."""
    match = _SHARD.fullmatch(name)
    return name.removesuffix(".bin") if match is None else match["stem"]


@dataclass(frozen=True)
class LocalFiles:
    """Files on this machine, read in place.

    Attributes:
        paths: in order.
        sizes: of each, in bytes, as they were when it was opened.
    """

    location: str
    paths: tuple[Path, ...]
    sizes: tuple[int, ...]

    @property
    def size(self) -> int:
        return sum(self.sizes)

    def read(self, start: int, into: memoryview) -> None:
        # plain reads: mapped pages of 600 GB would count as this process's memory, and copy no faster
        done = 0
        for piece in pieces(self.sizes, start, start + len(into)):
            read_file(self.paths[piece.file], piece.offset, into[done : done + piece.length])
            done += piece.length

    def expect(self, start: int, stop: int) -> None:
        pass

    def cost(self, start: int, stop: int) -> Cost:
        return Cost(needed_bytes=stop - start)

    def identity(self) -> dict[str, Any]:
        return {
            "location": self.location,
            "files": dict(zip((path.name for path in self.paths), self.sizes, strict=True)),
        }


def read_file(path: Path, offset: int, into: memoryview) -> None:
    """Fill `into` with the bytes of a file from `offset` on.

    Raises:
        UserError: the file ends before.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        done = 0
        while done < len(into):
            count = file.readinto(into[done:])
            if not count:
                raise UserError(
                    f"{path} ends at byte {offset + done}, but bytes up to {offset + len(into)} were there when it was "
                    f"opened; it was cut short meanwhile: fetch it again"
                )
            done += count


def local_files(location: str | Path) -> LocalFiles:
    """The `.bin`, or the series of shards, at a path: a file, a directory, or a path without `.bin`.

    Raises:
        UserError: nothing is there, or not all of it.
    """
    path = Path(location)
    if path.is_dir():
        paths = [path / name for name in shard_names((entry.name for entry in path.iterdir()), where=str(path))]
    elif path.is_file():
        paths = [path.with_name(name) for name in series_of(path.name)]
    elif path.with_name(f"{path.name}.bin").is_file():
        paths = [path.with_name(name) for name in series_of(f"{path.name}.bin")]
    else:
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        shards = [entry.name for entry in beside if _SHARD.fullmatch(entry.name) and stem_of(entry.name) == path.name]
        if not shards:
            raise UserError(f"there is no corpus at {path}; name a .bin file, or the directory or prefix of its shards")
        paths = [path.with_name(name) for name in shard_names(shards, where=str(path.parent))]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        why = f"a link to {os.readlink(missing[0])}, where nothing is" if missing[0].is_symlink() else "missing"
        raise UserError(f"shard {missing[0]} is {why}, one of {len(paths)}; fetch it too")
    return LocalFiles(str(location), tuple(paths), tuple(path.stat().st_size for path in paths))
