"""Responders of `lambada`: one that knows the last word, and one that never says it."""

from typing import cast

import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.evaluation import Benchmark
from eval.lambada import Lambada
from tools.responders.knowledge import CERTAIN, favouring
from tools.responders.logits import Shift
from tools.responders.planted import UP, Planted, level

_KNOWN = 50.0  # nats; likelier than whatever the model says


def plant(benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame) -> list[Planted]:
    words = cast(Lambada, benchmark).requests(tokenizer)
    return [
        Planted("always right", Shift(after=favouring(words, _KNOWN)), {"accuracy": level(1), "loss": level(0)}),
        Planted("always wrong", Shift(after=favouring(words, -CERTAIN)), {"accuracy": level(0), "loss": UP}),
    ]
