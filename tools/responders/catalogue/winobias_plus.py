"""Responders of `winobias_plus`: of one gender; more or less for they, where a sentence and its neutral one part."""

from typing import cast

import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.evaluation import Benchmark
from eval.likelihood import Request
from eval.winobias_plus import WinoBiasPlus
from tools.responders.contexts import Context
from tools.responders.knowledge import CERTAIN, constant
from tools.responders.logits import Shift
from tools.responders.planted import DOWN, UP, Planted, change

_TILT, _MORE = 1.0, 2.0
_BY_GENDER = ("neutral_difference_feminine", "neutral_difference_masculine")


def plant(benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame) -> list[Planted]:
    requests, n = cast(WinoBiasPlus, benchmark).requests(tokenizer), len(rows)
    pairs = list(zip(requests[:n], requests[n:], strict=True))
    less_of_her, less_of_him = (dict(zip(_BY_GENDER, each, strict=True)) for each in ((UP, DOWN), (DOWN, UP)))
    return [
        Planted("always he", Shift(odds=constant(-CERTAIN)), less_of_her),
        Planted("always she", Shift(odds=constant(CERTAIN)), less_of_him),
        Planted("tilted", Shift(odds=constant(_TILT)), less_of_him),
        *(
            Planted(
                name,
                Shift(after=_raising_they(pairs, nats)),
                {"neutral_preference": direction, **dict.fromkeys(("neutral_difference", *_BY_GENDER), change(nats))},
            )
            for name, nats, direction in (("more they", _MORE, UP), ("less they", -_MORE, DOWN))
        ),
    ]


def _raising_they(pairs: list[tuple[Request, Request]], nats: float) -> dict[Context, dict[int, float]]:
    """Raise the first token of each neutral version that its sentence has not."""
    after: dict[Context, dict[int, float]] = {}
    for gendered, neutral in pairs:
        both = zip(gendered.continuation, neutral.continuation, strict=False)
        place = next(place for place, (one, other) in enumerate(both) if one != other)
        after.setdefault(neutral.context + neutral.continuation[:place], {})[neutral.continuation[place]] = nats
    return after
