"""Fetch all that a run needs, where the network is, so that it needs none.

python -m corpus.fetch model=1.4b step=133000 steps=10000
python -m corpus.fetch experiment=dose_response         all runs of a study

The computing nodes of a cluster often have no network. Arguments are those of
run.py. It prints what the run will take, and then brings the weights of every
step that it loads, tokenizer, benchmarks, index maps and rows. What is there
already is not fetched again; an interrupted fetch goes on where it was. The
last line says which revision of the rows was fetched, and the fingerprint of
the segment.
"""

import json
import sys
from dataclasses import asdict

import torch
from tqdm import tqdm

from conf.compose import configure, jobs
from conf.finding import (
    check_start,
    find_benchmarks,
    find_corpus,
    find_precision,
    find_rows,
    find_segment,
    given_suite,
    planned_device,
)
from conf.needs import check_room, checkpoints_read
from conf.plan import fetch_lines
from conf.schema import RunConfig
from corpus.plan import plan_text
from corpus.rows import Corpus
from corpus.segment import Segment, combined_fingerprint, fingerprint
from eval import load_items
from foundation import UserError, run_command, size_text
from interventions.gendered_words import published_swaps

_MULTIRUN = ("-m", "--multirun")


def main(arguments: list[str]) -> None:
    """Fetch for each run of what is asked for. Like run.py this command connects the parts; it is no part of them.

    Raises:
        UserError: something cannot be fetched, or the disk or the cache cannot hold it.
    """
    settings = [argument for argument in arguments if argument not in _MULTIRUN]
    if options := [argument for argument in settings if argument.startswith("-")]:
        raise UserError(f"{options[0]} is no option of this command; its arguments are NAME=VALUE, without dashes")
    read: set[str] = set()
    for job in jobs(settings):
        fetch_run(configure(job), read)


def fetch_run(config: RunConfig, read: set[str]) -> None:
    """Fetch what one run needs.

    Args:
        read: rows that were read for other runs, which are not read again; those of this run are added.
    """
    check_start(config)
    segment = find_segment(config, find_corpus(config.corpus))
    sys.stdout.write(plan_text(fetch_lines(config, segment)))
    first, stop = rows_read(config, segment)
    check_cache(segment.corpus, first, stop)
    suites = checkpoints_read(config, segment)
    check_room(config, suites)
    segment.corpus.identity()  # a run tells of its corpus, of which it may read no row
    for suite, steps in suites:
        for step in tqdm(steps, "checkpoints", unit="checkpoint", disable=None):
            suite.fetch(step)
    for benchmark in find_benchmarks(config, segment).values():
        load_items(benchmark)
    if config.intervention.name == "gendered_words":
        published_swaps()
    rows = json.dumps([config.corpus, config.step, config.steps, asdict(config.training), first, stop], default=str)
    if rows not in read and first < stop:
        read_rows(segment, first, stop)
    read.add(rows)


def rows_read(config: RunConfig, segment: Segment) -> tuple[int, int]:
    """First row that the run reads, here or on a GPU, and the one behind its last."""
    suite = given_suite(config)
    devices = (planned_device(config), torch.device("cuda"))
    found = [find_rows(config, segment, suite, find_precision(config, device)) for device in devices]
    return min(first for first, _ in found), max(stop for _, stop in found)


def check_cache(corpus: Corpus, first: int, stop: int) -> None:
    """Raise UserError where the cache would not keep all rows: the beginning would be gone when the end has come."""
    cost = corpus.cost(first, stop)
    if cost.cache is not None and not cost.cache.holds(cost.needed_bytes):
        raise UserError(
            f"the run reads {size_text(cost.needed_bytes)}, more than the cache keeps at corpus.cache_gib="
            f"{cost.cache.max_bytes >> 30}; raise it here and in the run, or take fewer steps"
        )


def read_rows(segment: Segment, first: int, stop: int) -> None:
    """Read every row once, and print the fingerprint of those of the segment, where all of it is read."""
    corpus = segment.corpus
    corpus.expect(first, stop)
    start = segment.first_row(segment.step)
    if not first <= start <= segment.stop_row <= stop:
        read(corpus, range(first, stop), segment.sequences_per_step)
        return
    read(corpus, range(first, start), segment.sequences_per_step)
    steps = tqdm(range(segment.step, segment.stop), "reading the segment", unit="step", disable=None)
    sha256 = combined_fingerprint(fingerprint(segment.batch(step)) for step in steps)
    read(corpus, range(segment.stop_row, stop), segment.sequences_per_step)
    revision = corpus.identity().get("revision")
    pin = f"corpus.revision={revision} " if revision else ""
    sys.stdout.write(f"{pin}segment_sha256={sha256}\n")


def read(corpus: Corpus, rows: range, at_once: int) -> None:
    """Read rows that lie beside the segment."""
    for first in tqdm(rows[::at_once], "reading beside the segment", unit="step", disable=None if rows else True):
        corpus.rows(first, min(first + at_once, rows.stop))


if __name__ == "__main__":
    run_command(main, __doc__)
