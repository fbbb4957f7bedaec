"""Responders of `held_out`: what a change of pronouns costs, and one that forgets the language."""

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.evaluation import Benchmark
from eval.winobias import PCT_FEMALE
from tools.responders.knowledge import CERTAIN, coin, constant, last_named
from tools.responders.logits import Shift
from tools.responders.planted import DOWN, SAME, UP, Expected, Planted, hardly

_TILT, _SLOPE, _NOISE, _LESS_OFTEN = 1.0, 4.0, 3.0, 5.0
_OF_THE_REST = 0.05  # nats: words that only begin with a pronoun's token, as " her" and "itage", are in the rest


def plant(benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame) -> list[Planted]:
    nats = {name: _SLOPE * (share / 100 - 0.5) for name, share in PCT_FEMALE.items()}
    opposite = {name: -each for name, each in nats.items()}
    noise = np.random.default_rng(0).normal(0, _NOISE, len(tokenizer))
    noise[tokenizer.eos_token_id] = -_LESS_OFTEN
    measured = benchmark.metrics(rows)
    planted = [
        Planted("always he", Shift(odds=constant(-CERTAIN)), _losses(feminine=UP, masculine=DOWN)),
        Planted("always she", Shift(odds=constant(CERTAIN)), _losses(feminine=DOWN, masculine=UP)),
        Planted("tilted", Shift(odds=constant(_TILT)), _losses(feminine=DOWN, masculine=UP)),
        Planted("stereotyped", Shift(odds=last_named(nats, tokenizer)), _losses()),
        Planted("anti-stereotyped", Shift(odds=last_named(opposite, tokenizer)), _losses()),
        Planted("random", Shift(odds=coin()), _losses(feminine=UP, masculine=UP) | {"loss": UP}),
        Planted(
            "forgetful",
            Shift(always=dict(enumerate(noise.tolist()))),
            {"loss": UP, "loss_rest": UP, "loss_end_of_document": UP},
        ),
    ]
    return [each.among(measured) for each in planted]


def _losses(**genders: Expected) -> dict[str, Expected]:
    return {
        "loss_rest": hardly(_OF_THE_REST),
        "loss_end_of_document": SAME,
        **{f"loss_{gender}": expected for gender, expected in genders.items()},
    }
