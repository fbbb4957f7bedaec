"""The fixed data order: rows of tokens in the order in which training sees them, segments by step, fingerprints."""

from corpus.build import build_corpus
from corpus.index_mapped import lacking_map_bytes, open_index_mapped
from corpus.opening import open_corpus
from corpus.pile import open_pile
from corpus.plan import data_plan, plan_text, times_text
from corpus.rows import Corpus
from corpus.segment import Segment, combined_fingerprint, fingerprint

__all__ = [
    "Corpus",
    "Segment",
    "build_corpus",
    "combined_fingerprint",
    "data_plan",
    "fingerprint",
    "lacking_map_bytes",
    "open_corpus",
    "open_index_mapped",
    "open_pile",
    "plan_text",
    "times_text",
]
