"""Interventions: pure functions that rewrite rows of token ids and account for every change."""

from interventions.arm import Arm
from interventions.arms import INTERVENTIONS, load_intervention
from interventions.dose import Dose, Unit
from interventions.examples import swap_examples
from interventions.facts import fact_sentences
from interventions.her import CorpusReader, HerReader, LanguageModelReader
from interventions.intervention import Intervention
from interventions.ledger import GROUPS, OUTCOMES, SKIP_REASONS, Ledger

__all__ = [
    "GROUPS",
    "INTERVENTIONS",
    "OUTCOMES",
    "SKIP_REASONS",
    "Arm",
    "CorpusReader",
    "Dose",
    "HerReader",
    "Intervention",
    "LanguageModelReader",
    "Ledger",
    "Unit",
    "fact_sentences",
    "load_intervention",
    "swap_examples",
]
