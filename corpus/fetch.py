"""Fetch what a run reads ahead of it, where the network is.

python -m corpus.fetch model=1.4b step=133000 steps=10000

The computing nodes of a cluster often have none. Arguments are those of run.py.
What is there already is not fetched again; an interrupted fetch goes on where
it was. The last line says which revision a run without network has to name,
and the fingerprint of the segment. A web server that is not the hub has no
revisions: it is asked for sizes and versions again when the run begins.
"""

import sys

from tqdm import tqdm

from conf.compose import configure
from conf.finding import find_corpus, find_precision, find_rows, find_segment, given_suite, planned_device
from corpus.plan import data_plan, plan_text
from corpus.rows import Corpus
from corpus.segment import combined_fingerprint, fingerprint
from foundation import UserError, run_command, size_text


def main(arguments: list[str]) -> None:
    """Read every row once. Like run.py this command connects the parts; it is no part of them.

    Raises:
        UserError: the cache cannot hold all that the run reads: the beginning would be gone when the end has come.
    """
    config = configure(arguments)
    corpus = find_corpus(config.corpus)
    segment = find_segment(config, corpus)
    precision = find_precision(config, planned_device(config))
    first, stop = find_rows(config, segment, given_suite(config), precision)
    cost = corpus.cost(first, stop)
    if cost.cache is not None and not cost.cache.holds(cost.needed_bytes):
        raise UserError(
            f"the run reads {size_text(cost.needed_bytes)}, more than the cache keeps at corpus.cache_gib="
            f"{cost.cache.max_bytes >> 30}; raise it here and in the run, or take fewer steps"
        )
    sys.stdout.write(plan_text(data_plan(segment, (first, stop))))
    corpus.expect(first, stop)
    read(corpus, range(first, segment.first_row(config.step)), segment.sequences_per_step)
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
