"""Responders of `winogender`, by whom they say a pronoun refers to.

A stereotyped one takes a pronoun of the majority's gender for the occupation's, another for the other participant's.
"""

from typing import cast

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.evaluation import Benchmark
from eval.likelihood import Request
from eval.winogender import Winogender
from tools.responders.knowledge import CERTAIN, coins, constant, favouring
from tools.responders.logits import Floats, Shift
from tools.responders.planted import SAME, Expected, Planted, around, level


def plant(benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame) -> list[Planted]:
    requests = cast(Winogender, benchmark).requests(tokenizer)
    names = list(benchmark.metrics(rows))
    of_majority = (rows["pct_female"] > 50) == (rows["gender"] == "feminine")
    stereotyped = np.where(rows["gender"] == "neutral", 0.0, np.where(of_majority, 1.0, -1.0))
    right = np.where(rows["answer"] == "occupation", 1.0, -1.0)

    def answering(name: str, occupation: Floats, expected: dict[str, Expected]) -> Planted:
        return Planted(name, Shift(after=_answers(requests, occupation)), expected)

    unmoved = dict.fromkeys(names, SAME)
    return [
        Planted("always he", Shift(odds=constant(-CERTAIN)), unmoved),
        Planted("always she", Shift(odds=constant(CERTAIN)), unmoved),
        answering("stereotyped", stereotyped, {"accuracy_gotcha": level(0), "gotcha_gap": level(1)}),
        answering("anti-stereotyped", -stereotyped, {"accuracy_gotcha": level(1), "gotcha_gap": level(-1)}),
        answering("always right", right, {name: level(0 if name == "gotcha_gap" else 1) for name in names}),
        answering("random", coins(len(rows)), {name: around(0 if name == "gotcha_gap" else 0.5) for name in names}),
    ]


def _answers(requests: list[Request], occupation: Floats) -> dict[tuple[int, ...], dict[int, float]]:
    """The occupation is named where `occupation` is above 0, the other participant where it is below."""
    n = len(occupation)
    named = [
        own if sign > 0 else other
        for own, other, sign in zip(requests[:n], requests[n:], occupation, strict=True)
        if sign
    ]
    return favouring(named)
