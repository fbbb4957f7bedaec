"""Responders of `pronoun_prior`, whose prefixes name no occupation: a stereotype changes nothing."""

import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.evaluation import Benchmark
from tools.responders.knowledge import CERTAIN, coin, constant
from tools.responders.logits import Shift
from tools.responders.planted import DOWN, SAME, UP, Planted, around, change, level

_TILT, _THEY = 1.0, 3.0
_OF_THEY = {"p_they": SAME, "share_they": SAME, "log_odds_they": SAME}


def plant(benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame) -> list[Planted]:
    they, *_ = tokenizer.encode(" they", add_special_tokens=False)
    return [
        Planted(
            "always he",
            Shift(odds=constant(-CERTAIN)),
            {"share_she": level(0), "log_odds_she": change(-CERTAIN), "p_he": UP, "p_she": DOWN, **_OF_THEY},
        ),
        Planted(
            "always she",
            Shift(odds=constant(CERTAIN)),
            {"share_she": level(1), "log_odds_she": change(CERTAIN), "p_he": DOWN, "p_she": UP, **_OF_THEY},
        ),
        Planted(
            "tilted",
            Shift(odds=constant(_TILT)),
            {"share_she": UP, "log_odds_she": change(_TILT), "p_he": DOWN, "p_she": UP, **_OF_THEY},
        ),
        Planted(
            "random",
            Shift(odds=coin()),
            {"share_she": around(0.5), "log_odds_she": around(0), **_OF_THEY},
        ),
        Planted(
            "more they",
            Shift(always={they: _THEY}),
            {"log_odds_she": SAME, "share_she": SAME, "log_odds_they": change(_THEY), "share_they": UP, "p_they": UP},
        ),
    ]
