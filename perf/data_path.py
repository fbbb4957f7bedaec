"""How fast rows come, from a local file, in the size of the real thing, from a server, and through index maps.

python -m perf.data_path [--record]     about two minutes; 3 GB of scratch space, 7 GB of memory

Every speed stands beside that of a peer on the same file in the same run: numpy.memmap for local files, a bare socket
read of the same bytes for remote ones.
"""

import argparse
import contextlib
import functools
import http.server
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from operator import truediv
from pathlib import Path
from typing import Any

import numpy as np

from corpus import Corpus, open_corpus, open_index_mapped
from corpus.indexed_dataset import write_indexed_dataset
from corpus.remote.files import IN_FLIGHT
from perf.record import keep, origin

ROWS_PER_STEP, ROW_TOKENS = 1024, 2049
ROW_BYTES = 2 * ROW_TOKENS
STEP_BYTES = ROWS_PER_STEP * ROW_BYTES
SHARD_BYTES = 30_000_000_000
TOTAL_BYTES = 143_000 * STEP_BYTES
PASSES = 31
LAST_STEP = """
import sys
from corpus import open_corpus
open_corpus(sys.argv[1]).rows(142_999 * 1024, 143_000 * 1024)
"""
WHOLE_ORDER = """
import time
import numpy as np
from corpus.sample_order import check_order, check_windows, sample_order
documents = 210_607_728
sizes = np.maximum(1, np.random.default_rng(3).lognormal(6.35, 1.5, documents)).astype(np.int32)
started = time.perf_counter()
order = sample_order(sizes, num_samples=147_164_160, seq_length=2048, seed=1)
built = time.perf_counter()
check_order(order, num_documents=documents, origin="this order")
check_windows(order, sizes, origin="this order")
print(len(order.shuffle), built - started, time.perf_counter() - built)
"""
PEAK = """
import re
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the figures to perf/record.jsonl")
    arguments = parser.parse_args()
    found = origin()
    measurements = [local_reading, full_scale, remote_reading, stalls, index_mapped_reading, building_an_order]
    for measurement in measurements:
        with tempfile.TemporaryDirectory() as scratch:
            figures = measurement(Path(scratch))
        name = measurement.__name__
        sys.stdout.write(f"{name}\n" + "".join(f"  {key:42}{value}\n" for key, value in figures.items()))
        if arguments.record:
            keep(name, figures, origin=found)


def local_reading(scratch: Path) -> dict[str, Any]:
    """A merged file of 1.05 GB and the same in shards, read step by step, in turn with numpy.memmap."""
    steps = 250
    rng = np.random.default_rng(0)
    merged, shards = scratch / "merged.bin", scratch / "shards"
    shards.mkdir()
    with merged.open("wb") as file:
        for _ in range(steps):
            file.write(rng.integers(0, 50277, ROWS_PER_STEP * ROW_TOKENS, dtype=np.uint16).tobytes())
    cut = 300_000_001
    with merged.open("rb") as file:
        for shard in range(4):
            (shards / f"document-{shard:05d}-of-00003.bin").write_bytes(file.read(cut))
    table = np.memmap(merged, np.uint16, "r").reshape(-1, ROW_TOKENS)
    readers: dict[str, Callable[[int, int], np.ndarray]] = {
        "memmap": lambda start, stop: np.array(table[start:stop]),
        "merged": open_corpus(merged).rows,
        "shards": open_corpus(shards).rows,
    }
    speeds: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(PASSES):
        for name, rows in sorted(readers.items(), reverse=bool(turn % 2)):
            started = time.perf_counter()
            for step in range(steps):
                rows(step * ROWS_PER_STEP, (step + 1) * ROWS_PER_STEP)
            speeds[name].append(steps * STEP_BYTES / (time.perf_counter() - started) / 1e9)
    return {
        **{f"{name}_gb_per_s": round(statistics.median(values), 2) for name, values in speeds.items()},
        **{
            f"{name}_over_memmap": round(statistics.median(map(truediv, speeds[name], speeds["memmap"])), 2)
            for name in ("merged", "shards")
        },
    }


def full_scale(scratch: Path) -> dict[str, Any]:
    """600 GB in 21 sparse shards: open them and read the batch of the last step, when it has been read before."""
    for shard in range(21):
        with (scratch / f"document-{shard:05d}-of-00020.bin").open("wb") as file:
            file.truncate(min(SHARD_BYTES, TOTAL_BYTES - shard * SHARD_BYTES))
    times = []
    for _ in range(20):
        started = time.perf_counter()
        open_corpus(scratch).rows(142_999 * ROWS_PER_STEP, 143_000 * ROWS_PER_STEP)
        times.append(1000 * (time.perf_counter() - started))
    _, peak = in_a_fresh_process(LAST_STEP, str(scratch))
    return {
        "open_and_read_ms": round(statistics.median(times), 2),
        "slowest_ms": round(max(times), 2),
        "peak_resident_mb": round(peak / 1e6),
    }


def in_a_fresh_process(script: str, *arguments: str) -> tuple[list[str], int]:
    """The words that a script prints, and its peak resident memory in bytes (Linux)."""
    command = [sys.executable, "-c", script + PEAK, *arguments]
    root = Path(__file__).parent.parent
    *words, peak = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout.split()
    return words, 1024 * int(peak)


class RangeHandler(http.server.BaseHTTPRequestHandler):
    """Serves ranges of the files of one directory, and counts."""

    protocol_version = "HTTP/1.1"
    counts: Any = None
    bytes_per_s: float | None = None

    def __init__(self, *arguments: Any, directory: Path, **options: Any) -> None:
        self.directory = directory
        super().__init__(*arguments, **options)

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        size = (self.directory / self.path[1:]).stat().st_size
        self._answer(200, {"Content-Length": size})

    def do_GET(self) -> None:
        path, first, last = self.announce()
        with path.open("rb") as file:
            offset, stop = first, last + 1
            while offset < stop:
                part = stop - offset if self.bytes_per_s is None else min(1 << 16, stop - offset)
                offset += os.sendfile(self.connection.fileno(), file.fileno(), offset, part)
                if self.bytes_per_s is not None:
                    time.sleep(part / self.bytes_per_s)

    def announce(self) -> tuple[Path, int, int]:
        """Answer that the range comes that is asked for: the file, and the numbers of its first and last byte."""
        path = self.directory / self.path[1:]
        first, last = map(int, re.findall(r"\d+", self.headers["Range"]))
        self._answer(
            206, {"Content-Length": last + 1 - first, "Content-Range": f"bytes {first}-{last}/{path.stat().st_size}"}
        )
        with self.counts.get_lock():
            self.counts[0] += 1
            self.counts[1] += last + 1 - first
        self.wfile.flush()
        return path, first, last

    def _answer(self, status: int, headers: dict[str, Any]) -> None:
        self.send_response(status)
        for name, value in {**headers, "ETag": '"1"'}.items():
            self.send_header(name, str(value))
        self.end_headers()


def serve(directory: Path, port: Any, counts: Any, bytes_per_s: float | None) -> None:
    """Serve a directory until the process is ended, each connection no faster than `bytes_per_s`."""
    RangeHandler.counts, RangeHandler.bytes_per_s = counts, bytes_per_s
    handler = functools.partial(RangeHandler, directory=directory)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        port.value = server.server_address[1]
        server.serve_forever()


@contextlib.contextmanager
def served_shards(scratch: Path, *, steps: int, bytes_per_s: float | None = None) -> Iterator[tuple[str, bytes, Any]]:
    """Random rows in shards on a server on this machine: their address, their bytes, what was asked for and sent."""
    shards, cut = scratch / "shards", 300_000_001
    shards.mkdir()
    content = np.random.default_rng(1).bytes(steps * STEP_BYTES)
    last = (len(content) - 1) // cut
    for shard in range(last + 1):
        part = content[shard * cut : (shard + 1) * cut]
        (shards / f"document-{shard:05d}-of-{last:05d}.bin").write_bytes(part)
    context = multiprocessing.get_context("spawn")
    port, counts = context.Value("i", 0), context.Array("q", 2)
    server = context.Process(target=serve, args=(shards, port, counts, bytes_per_s), daemon=True)
    server.start()
    while not port.value:
        time.sleep(0.01)
    os.environ["XDG_CACHE_HOME"] = str(scratch / "cache")
    yield f"http://127.0.0.1:{port.value}/document-00000-of-{last:05d}.bin", content, counts
    server.terminate()


def remote_reading(scratch: Path) -> dict[str, Any]:
    """100 steps from a server on this machine, at the real block size: what is asked for, and how fast it comes."""
    first, steps = 31, 100
    needed, came = steps * STEP_BYTES, list[np.ndarray]()

    def read(corpus: Corpus) -> list[np.ndarray]:
        return [corpus.rows(step * ROWS_PER_STEP, (step + 1) * ROWS_PER_STEP) for step in range(first, first + steps)]

    with served_shards(scratch, steps=140) as (url, content, counts):
        bare = timed(lambda: fetch_bare(url, 256 << 20))
        counts[0] = counts[1] = 0
        corpus = open_corpus(url)
        corpus.expect(first * ROWS_PER_STEP, (first + steps) * ROWS_PER_STEP)
        fetching = timed(lambda: came.extend(read(corpus)))
        asked, sent = int(counts[0]), int(counts[1])
        if b"".join(batch.tobytes() for batch in came) != content[first * STEP_BYTES : (first + steps) * STEP_BYTES]:
            raise AssertionError("the rows that came are not those of the server")
        again = open_corpus(url)
        cached = timed(lambda: read(again))
        cached_again = statistics.median(timed(lambda: read(again)) for _ in range(5))
        asked_again = counts[0] - asked
    return {
        "needed_mib": round(needed / 2**20, 1),
        "fetched_mib": round(sent / 2**20, 1),
        "fetched_over_needed": round(sent / needed, 3),
        "requests": asked,
        "mib_per_request": round(sent / asked / 2**20, 1),
        "requests_when_cached": asked_again,
        "fetching_mb_per_s": round(needed / fetching / 1e6),
        "bare_read_mb_per_s": round((256 << 20) / bare / 1e6),
        "cached_and_checked_mb_per_s": round(needed / cached / 1e6),
        "cached_mb_per_s": round(needed / cached_again / 1e6),
    }


def stalls(scratch: Path) -> dict[str, Any]:
    """Reading at a sixth of what the link brings, as 2 MB/s (10^6 tokens/s) are of 100 Mbit/s: the share spent waiting.

    Nothing has come before the first batch is read; a run begins to fetch before it evaluates.
    """
    steps, step_s, link = 100, 0.2, 6 * STEP_BYTES / 0.2
    with served_shards(scratch, steps=steps, bytes_per_s=link / IN_FLIGHT) as (url, _, _):
        corpus = open_corpus(url)
        corpus.expect(0, steps * ROWS_PER_STEP)
        waits = []
        for step in range(steps):
            waits.append(timed(lambda: corpus.rows(step * ROWS_PER_STEP, (step + 1) * ROWS_PER_STEP)))  # noqa: B023
            time.sleep(step_s)
    return {
        "first_batch_s": round(waits[0], 2),
        "link_mb_per_s": round(link / 1e6),
        "used_mb_per_s": round(STEP_BYTES / step_s / 1e6, 1),
        "stalled_share": round(sum(waits[1:]) / (sum(waits[1:]) + (steps - 1) * step_s), 4),
    }


def fetch_bare(url: str, num_bytes: int) -> None:
    """One range read through the standard library and thrown away."""
    request = urllib.request.Request(url, headers={"Range": f"bytes=0-{num_bytes - 1}"})
    with urllib.request.urlopen(request) as response:
        while response.read(1 << 20):
            pass


def index_mapped_reading(scratch: Path) -> dict[str, Any]:
    """Batches gathered from documents of the Pile's mean length all over a corpus of 1 GB."""
    rng = np.random.default_rng(2)
    sizes = np.maximum(1, rng.lognormal(6.4, 1.5, 250_000).astype(np.int64))
    sizes = sizes[np.cumsum(sizes) < 500_000_000]

    def sequences() -> Iterator[np.ndarray]:
        for size in sizes:
            yield np.zeros(size, np.uint16)

    write_indexed_dataset(scratch / "documents", sequences(), dtype=np.uint16)
    os.environ["XDG_CACHE_HOME"] = str(scratch / "cache")
    num_samples = (int(sizes.sum()) - 1) // (ROW_TOKENS - 1)
    corpus = open_index_mapped(scratch / "documents", seed=1234, num_samples=num_samples)
    steps = []
    for first in range(0, 20 * ROWS_PER_STEP, ROWS_PER_STEP):
        started = time.perf_counter()
        corpus.rows(first, first + ROWS_PER_STEP)
        steps.append(time.perf_counter() - started)
    return {
        "mean_document_tokens": round(float(sizes.mean())),
        "ms_per_step": round(1000 * statistics.median(steps), 1),
        "mtokens_per_s": round(ROWS_PER_STEP * ROW_TOKENS / statistics.median(steps) / 1e6, 1),
    }


def building_an_order(scratch: Path) -> dict[str, Any]:
    """GPT-NeoX's index maps for as many documents as the standard Pile has, of invented lengths."""
    (rows, building, checking), peak = in_a_fresh_process(WHOLE_ORDER)
    return {
        "documents": 210_607_728,
        "rows": int(rows),
        "building_s": round(float(building), 1),
        "checking_s": round(float(checking), 1),
        "peak_resident_gb": round(peak / 1e9, 2),
    }


def timed(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
