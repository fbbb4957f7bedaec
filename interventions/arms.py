"""The interventions by name."""

import difflib

from transformers import PreTrainedTokenizerBase

from foundation import UserError
from interventions.intervention import Intervention
from interventions.lexicon import MASCULINE_TO_FEMININE
from interventions.none import Unmodified
from interventions.pronoun_swap import PronounSwap
from interventions.vocabulary import read_vocabulary

_SWAPS = {"masculine_to_feminine": MASCULINE_TO_FEMININE}
INTERVENTIONS = ("none", *_SWAPS)


def load_intervention(name: str, *, tokenizer: PreTrainedTokenizerBase, seed: int = 0) -> Intervention:
    """Build an intervention for rows that `tokenizer` made.

    Args:
        name: one of `INTERVENTIONS`.
        tokenizer: byte-level BPE, as Pythia's.
        seed: for arms that draw at random; neither of these does, so it is no part of their identity.

    Raises:
        UserError: there is no such intervention, or the tokenizer is of another kind.
    """
    if name not in INTERVENTIONS:
        nearest = difflib.get_close_matches(name, INTERVENTIONS, n=1)
        advice = f"did you mean {nearest[0]}? " if nearest else ""
        raise UserError(f"intervention={name} is unknown; {advice}known are {', '.join(INTERVENTIONS)}")
    vocabulary = read_vocabulary(tokenizer)
    if name == "none":
        return Unmodified(name, vocabulary=vocabulary)
    return PronounSwap(name, _SWAPS[name], tokenizer=tokenizer, vocabulary=vocabulary)
