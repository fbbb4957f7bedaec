"""Fetch a segment ahead of its run, where the network is: a cluster's computing nodes often have none.

python -m corpus.fetch model=1.4b step=133000 steps=10000

The arguments are those of run.py. What is there already is not fetched again; a fetch that is interrupted goes on where
it was. The last line says which revision a run without network has to name, and the fingerprint of the segment.
"""

import sys

from tqdm import tqdm

from corpus.plan import data_plan
from corpus.segment import combined_fingerprint, fingerprint
from run import configure, find_corpus, find_segment, mistakes_in_one_line


def main(arguments: list[str]) -> None:
    """Read every batch of the segment once. Like run.py this command connects the parts; it is no part of them."""
    config = configure(arguments)
    corpus = find_corpus(config.corpus)
    segment = find_segment(config, corpus)
    sys.stdout.write("".join(f"{name:10}{text}\n" for name, text in data_plan(segment)))
    corpus.expect(segment.first_row(segment.step), segment.stop_row)
    steps = tqdm(range(segment.step, segment.stop), "reading the segment", unit="step", disable=None)
    sha256 = combined_fingerprint(fingerprint(segment.batch(step)) for step in steps)
    revision = corpus.identity().get("revision")
    pin = f"corpus.revision={revision}  " if revision else ""
    sys.stdout.write(f"{pin}segment_sha256={sha256}\n")


if __name__ == "__main__":
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        sys.stdout.write(__doc__ or "")
        sys.exit()
    with mistakes_in_one_line():
        main(sys.argv[1:])
