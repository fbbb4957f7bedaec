"""What a run's data will take, told before anything is fetched."""

import shutil
from pathlib import Path

from corpus.segment import Segment

_LINKS = {"100 Mbit/s": 100e6 / 8, "1 Gbit/s": 1e9 / 8}


def data_plan(segment: Segment) -> list[tuple[str, str]]:
    """Lines (what, how much) on the data of a segment. Asks no server and fetches nothing.

    What an earlier run fetched is counted as there, if its listing of the corpus is still right.
    """
    first, stop = segment.first_row(segment.step), segment.stop_row
    corpus = segment.corpus
    cost = corpus.cost(first, stop)
    lines = [
        ("corpus", corpus.location),
        (
            "segment",
            f"steps {segment.step:,} to {segment.stop - 1:,}: rows {first:,} to {stop - 1:,}, {stop - first:,} of "
            f"{corpus.row_tokens:,} tokens",
        ),
        ("data", gigabytes(cost.needed_bytes)),
    ]
    if cost.cache_bytes is None or cost.cache_directory is None:
        return [*lines, ("fetched", "nothing: it is on this machine")]
    if not cost.fetch_bytes:
        return [*lines, ("fetched", "nothing: all of it is in the cache")]
    requests = f"{cost.requests:,} request{'s' * (cost.requests != 1)}"
    lines.append(("to fetch", f"{gigabytes(cost.fetch_bytes)}, in whole blocks, by {requests}"))
    times = ", ".join(f"{duration(cost.fetch_bytes / rate)} at {link}" for link, rate in _LINKS.items())
    lines.append(("time", f"{times}; training goes on while it comes"))
    free = shutil.disk_usage(_existing(cost.cache_directory)).free
    lines.append(
        ("cache", f"{cost.cache_directory}, at most {gigabytes(cost.cache_bytes)}, {gigabytes(free)} are free")
    )
    kept = min(cost.cache_bytes, cost.needed_bytes)
    if cost.needed_bytes > cost.cache_bytes:
        lines.append(
            ("note", "the cache holds less than the segment: the second arm fetches it again; corpus.cache_gib")
        )
    if kept > free + cost.needed_bytes - cost.fetch_bytes:
        lines.append(
            ("note", "the disk has less room than that; set corpus.cache_gib, or XDG_CACHE_HOME to another disk")
        )
    return lines


def gigabytes(num_bytes: int) -> str:
    """A size in the unit that suits it (10^9 bytes are a gigabyte)."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.4g} {unit}"
    return f"{num_bytes} bytes"


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _existing(path: Path) -> Path:
    """The path, or the nearest directory above it that exists."""
    return next(place for place in (path, *path.parents) if place.exists())
