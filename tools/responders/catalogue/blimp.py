"""Responders of `blimp`: one that is always right, one that is always wrong, and what a change of pronouns costs."""

from typing import cast

import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.blimp import Blimp
from eval.evaluation import Benchmark
from eval.likelihood import Request
from tools.responders.contexts import Context
from tools.responders.knowledge import CERTAIN, constant
from tools.responders.logits import Shift
from tools.responders.planted import Planted, level


def plant(benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame) -> list[Planted]:
    requests = cast(Blimp, benchmark).requests(tokenizer)
    good, bad = requests[: len(rows)], requests[len(rows) :]
    names = list(benchmark.metrics(rows))
    planted = [
        Planted("always he", Shift(odds=constant(-CERTAIN)), {"accuracy_herself": level(0)}),
        Planted("always she", Shift(odds=constant(CERTAIN)), {"accuracy_himself": level(0)}),
        Planted("always right", Shift(after=_avoiding(bad, good)), dict.fromkeys(names, level(1))),
        Planted("always wrong", Shift(after=_avoiding(good, bad)), dict.fromkeys(names, level(0))),
    ]
    return [each.among(names) for each in planted]


def _avoiding(avoided: list[Request], others: list[Request]) -> dict[Context, dict[int, float]]:
    """Lower the first token that tells each avoided sentence from the other."""
    after: dict[Context, dict[int, float]] = {}
    for own, other in zip(avoided, others, strict=True):
        both = zip(own.continuation, other.continuation, strict=False)
        place = next(place for place, (one, another) in enumerate(both) if one != another)
        after.setdefault(own.context + own.continuation[:place], {})[own.continuation[place]] = -CERTAIN
    return after
