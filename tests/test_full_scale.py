"""The size of the real thing without its data: 600 GB in 21 sparse shards, with marks in the holes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from corpus import Segment, open_corpus

ROW_BYTES, ROWS_PER_STEP, STEPS = 2 * 2049, 1024, 143_000
SHARD_BYTES = 30_000_000_000  # no whole number of rows: rows lie across the seams
TOTAL_BYTES = ROW_BYTES * ROWS_PER_STEP * STEPS


def write_mark(directory, position, mark):
    """Write bytes at a position of the shards laid end to end, as two writes where they lie across a seam."""
    while mark:
        shard, offset = divmod(position, SHARD_BYTES)
        part = mark[: SHARD_BYTES - offset]
        with (directory / f"document-{shard:05d}-of-00020.bin").open("r+b") as file:
            file.seek(offset)
            file.write(part)
        position, mark = position + len(part), mark[len(part) :]


@pytest.fixture(scope="module")
def pile(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pile")
    sizes = [SHARD_BYTES] * 20 + [TOTAL_BYTES - 20 * SHARD_BYTES]
    for shard, size in enumerate(sizes):
        with (directory / f"document-{shard:05d}-of-00020.bin").open("wb") as file:
            try:
                file.truncate(size)
            except OSError as error:
                pytest.skip(f"this file system has no sparse files of 30 GB ({error})")
    if sum(path.stat().st_blocks for path in directory.iterdir()):
        pytest.skip("this file system fills the holes of sparse files")
    return directory


def tokens_of(step):
    """Three tokens that name a step."""
    return np.array([step % 50_000, step // 50_000, 4242], "<u2")


def test_the_shards_have_the_published_sizes():
    assert TOTAL_BYTES == 600_078_336_000
    assert TOTAL_BYTES - 20 * SHARD_BYTES == 78_336_000
    assert SHARD_BYTES % ROW_BYTES


def test_a_thousand_steps_are_where_they_should_be(pile):
    steps = [0, 1, STEPS - 1, *np.random.default_rng(0).choice(STEPS, 1000, replace=False).tolist()]
    for step in steps:
        write_mark(pile, step * ROWS_PER_STEP * ROW_BYTES, tokens_of(step).tobytes())
    corpus = open_corpus(pile, num_rows=STEPS * ROWS_PER_STEP)
    for step in steps:
        rows = corpus.rows(step * ROWS_PER_STEP, step * ROWS_PER_STEP + 1)
        assert rows[0, :3].tolist() == tokens_of(step).tolist(), step
        assert not rows[0, 3:].any()


@pytest.mark.parametrize("seam", range(1, 21))
def test_rows_across_a_seam_come_from_both_shards(pile, seam):
    row = seam * SHARD_BYTES // ROW_BYTES
    first = row * ROW_BYTES
    mark = np.arange(seam, seam + 2049, dtype="<u2")
    write_mark(pile, first, mark.tobytes())
    assert first < seam * SHARD_BYTES < first + ROW_BYTES
    np.testing.assert_array_equal(open_corpus(pile).rows(row - 1, row + 2)[1], mark)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_the_last_batch_reads_in_little_memory(pile):
    script = (
        "import re, sys; from corpus import open_corpus; corpus = open_corpus(sys.argv[1]);"
        "batch = corpus.rows(142_999 * 1024, 143_000 * 1024); assert batch.shape == (1024, 2049);"
        "print(1024 * int(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1]))"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", script, pile], capture_output=True, text=True, check=True, cwd=root)
    assert int(done.stdout) < 200_000_000


def test_the_segments_of_the_paper_end_where_the_corpus_ends(pile):
    corpus = open_corpus(pile)
    for first in (133_000, 113_000):
        segment = Segment(corpus, first, STEPS - first, ROWS_PER_STEP, rows_before=first * ROWS_PER_STEP)
        assert segment.stop_row == corpus.num_rows == 146_432_000
        assert segment.first_row(first) * ROW_BYTES == {133_000: 558_114_816_000, 113_000: 474_187_776_000}[first]
