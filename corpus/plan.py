"""What a run's data will take, told before anything is fetched."""

import shutil
import textwrap

from corpus.byte_source import Cost
from corpus.segment import Segment
from foundation import size_text

_LINKS = {"100 Mbit/s": 100e6 / 8, "1 Gbit/s": 1e9 / 8}


def data_plan(segment: Segment, rows: tuple[int, int] | None = None) -> list[tuple[str, str]]:
    """Lines (what, how much) on the data of a segment; fetches none of it.

    Blocks that earlier runs left in the cache count as there, if the last listing of the corpus is still right.

    Args:
        rows: first that is read and the one behind the last, where more is read than the segment.
    """
    first, stop = segment.first_row(segment.step), segment.stop_row
    read_first, read_stop = rows or (first, stop)
    corpus = segment.corpus
    if read_first == read_stop:
        return [("rows", f"none of {corpus.location}: nothing is trained, and none are held out")]
    cost = corpus.cost(read_first, read_stop)
    if not read_first <= first < stop <= read_stop:
        held_out = f"{read_first:,} to {read_stop - 1:,} (both included), {corpus.row_tokens:,} tokens each"
        return [("corpus", corpus.location), ("rows", f"{held_out}, that models are compared on"), *_cost_lines(cost)]
    lines = [
        ("corpus", corpus.location),
        ("steps", f"{segment.step:,} to {segment.stop - 1:,}, {segment.sequences_per_step:,} rows each"),
        ("rows", f"{first:,} to {stop - 1:,} (both included), {corpus.row_tokens:,} tokens each"),
    ]
    if read_first < first:
        lines.append(
            (
                "before",
                f"{first - read_first:,} rows, from {read_first:,}, that Adam's moments or the intervention learn from",
            )
        )
    if read_stop > stop:
        lines.append(("after", f"{read_stop - stop:,} rows that models are compared on, or learned from"))
    return lines + _cost_lines(cost)


def _cost_lines(cost: Cost) -> list[tuple[str, str]]:
    """What rows take to fetch and to keep."""
    lines = [("data", size_text(cost.needed_bytes))]
    if cost.cache is None:
        return [*lines, ("to fetch", "nothing: it is on this machine")]
    if not cost.fetch_bytes:
        return [*lines, ("to fetch", "nothing: all of it is in the cache")]
    requests = f"{cost.requests:,} request{'s' * (cost.requests != 1)}"
    free = shutil.disk_usage(cost.cache.existing_directory).free
    lines += [
        ("to fetch", f"{size_text(cost.fetch_bytes)}, in whole blocks, by {requests}"),
        ("time", f"{times_text(cost.fetch_bytes)}; a run trains while it comes"),
        ("cache", f"{cost.cache.directory}: at most {size_text(cost.cache.max_bytes)}; {size_text(free)} are free"),
    ]
    if not cost.cache.holds(cost.needed_bytes):
        lines.append(
            ("note", "the cache is smaller than the segment: a second arm fetches it again; see corpus.cache_gib")
        )
    if min(cost.fetch_bytes, cost.cache.max_bytes) > free:
        lines.append(
            ("note", "the disk has too little room for that; set corpus.cache_gib, or XDG_CACHE_HOME elsewhere")
        )
    return lines


def plan_text(lines: list[tuple[str, str]], *, width: int = 80) -> str:
    """The lines of a plan as text no wider than `width`, but for words that are."""
    return "".join(
        textwrap.fill(
            text,
            width,
            initial_indent=f"{name:10}",
            subsequent_indent=" " * 10,
            break_long_words=False,
            break_on_hyphens=False,
        )
        + "\n"
        for name, text in lines
    )


def times_text(num_bytes: int) -> str:
    """How long bytes take to come, over a slow link and a fast one."""
    return ", ".join(f"{time_text(num_bytes / rate)} at {link}" for link, rate in _LINKS.items())


def time_text(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
