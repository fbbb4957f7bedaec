"""Responders of `occupations`: the log-odds of she follow from the occupation that the text has named last.

A stereotyped responder knows one source: WinoBias's shares of women, Winogender's, or what the corpus says.
"""

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.evaluation import Benchmark
from eval.occupations import CORPUS
from tools.responders.knowledge import CERTAIN, coin, constant, last_named
from tools.responders.logits import Shift
from tools.responders.planted import DOWN, SAME, UP, Expected, Planted, around, change, level

_TILT, _SLOPE, _REPEATED = 1.0, 4.0, 1.0
_MOST = 1.5 - 0.75 * np.log2(3)  # bits, of a divergence from an even choice
_REGRESSIONS = ("slope_winobias", "slope_winogender", "learned_association", "association_correlation")


def plant(benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame) -> list[Planted]:
    measured = benchmark.metrics(rows)
    regressions = [name for name in _REGRESSIONS if name in measured]
    unmoved = dict.fromkeys(regressions, SAME)
    return [
        Planted(
            "always he",
            Shift(odds=constant(-CERTAIN)),
            {"log_odds_she": change(-CERTAIN), **_divergences(0, 1), **unmoved},
        ),
        Planted(
            "always she",
            Shift(odds=constant(CERTAIN)),
            {"log_odds_she": change(CERTAIN), **_divergences(1, 0), **unmoved},
        ),
        Planted("tilted", Shift(odds=constant(_TILT)), {"log_odds_she": change(_TILT), **unmoved}),
        *(
            Planted(name, Shift(odds=last_named(nats, tokenizer)), expected)
            for name, sign in (("stereotyped", 1), ("anti-stereotyped", -1))
            for nats, expected in _stereotypes(rows, sign)
        ),
        Planted(
            "random",
            Shift(odds=coin()),
            {"log_odds_she": around(0), "divergence": level(_MOST), **{name: around(0) for name in regressions}},
        ),
    ]


def _divergences(she: float, he: float) -> dict[str, Expected]:
    return {
        "divergence": level(_MOST),
        "divergence_feminine": level(she * _MOST),
        "divergence_masculine": level(he * _MOST),
    }


def _stereotypes(rows: pd.DataFrame, sign: int) -> list[tuple[dict[str, float], dict[str, Expected]]]:
    """For each source in the rows what an occupation adds to the log-odds of she, in nats, and what must follow."""
    known = rows.drop_duplicates(["source", "occupation"])
    found: list[tuple[dict[str, float], dict[str, Expected]]] = []
    for source, own in known.groupby("source", sort=False):
        names = own["occupation"].tolist()
        if source == CORPUS:
            nats = sign * _REPEATED * own["corpus_log_odds"]
            up = UP if sign > 0 else DOWN
            expected = {"learned_association": change(sign * _REPEATED), "association_correlation": up}
        else:
            nats = sign * _SLOPE * (own["pct_female"] / 100 - 0.5)
            expected = {f"slope_{source}": change(sign * _SLOPE)}
        found.append((dict(zip(names, nats, strict=True)), expected))
    return found
