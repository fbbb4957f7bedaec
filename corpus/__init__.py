"""The fixed data order: rows of tokens in the order in which training sees them, segments by step, fingerprints."""

from corpus.build import build_corpus
from corpus.rows import Corpus, open_corpus
from corpus.segment import Segment, combined_fingerprint, fingerprint

__all__ = ["Corpus", "Segment", "build_corpus", "combined_fingerprint", "fingerprint", "open_corpus"]
