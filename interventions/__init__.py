"""Interventions: pure functions that rewrite rows of token ids and account for every change."""

from interventions.arms import INTERVENTIONS, load_intervention
from interventions.examples import swap_examples
from interventions.intervention import Intervention
from interventions.ledger import SKIP_REASONS, Ledger

__all__ = ["INTERVENTIONS", "SKIP_REASONS", "Intervention", "Ledger", "load_intervention", "swap_examples"]
