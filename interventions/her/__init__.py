"""Which her is him and which is his: learned from the corpus, or asked of a language model."""

from interventions.her.corpus_reader import Accuracy, CorpusReader, HerReader, share_by_expectation_maximisation
from interventions.her.language_model import LanguageModelReader

__all__ = ["Accuracy", "CorpusReader", "HerReader", "LanguageModelReader", "share_by_expectation_maximisation"]
