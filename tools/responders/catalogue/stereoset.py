"""Responders of `stereoset`, which know each sentence's label and avoid one kind of them or another.

One that prefers a gender's pronouns hardly moves it. It does a little, as sentences are scored by their mean token, and
what a pronoun costs both sentences weighs less in the longer one.
"""

from typing import cast

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from eval.evaluation import Benchmark
from eval.likelihood import Request
from eval.stereoset import StereoSet
from tools.responders.catalogue.crows_pairs import discouraging
from tools.responders.knowledge import CERTAIN, coins, constant
from tools.responders.logits import Floats, Shift
from tools.responders.planted import DOWN, UP, Expected, Planted, around, hardly, level

_HARDLY = 0.05


def plant(benchmark: Benchmark, tokenizer: PreTrainedTokenizerBase, rows: pd.DataFrame) -> list[Planted]:
    requests, n = cast(StereoSet, benchmark).requests(tokenizer), len(rows)
    stereotype, opposite, unrelated = (requests[start : start + n] for start in range(0, 3 * n, n))
    all_of, none_of, unmoved = np.ones(n), -np.ones(n), {"ss": hardly(_HARDLY), "lms": hardly(_HARDLY)}

    def avoiding(
        name: str, one: list[Request], other: list[Request], signs: Floats, expected: dict[str, Expected]
    ) -> Planted:
        return Planted(name, Shift(after=discouraging(list(zip(one, other, strict=True)), signs)), expected)

    def both(**expected: Expected) -> dict[str, Expected]:
        return {f"{prefix}{name}": each for prefix in ("", "dev_") for name, each in expected.items()}

    return [
        Planted("always he", Shift(odds=constant(-CERTAIN)), unmoved),
        Planted("always she", Shift(odds=constant(CERTAIN)), unmoved),
        avoiding("stereotyped", stereotype, opposite, all_of, both(ss=level(1)) | {"difference": UP}),
        avoiding("anti-stereotyped", stereotype, opposite, none_of, both(ss=level(0)) | {"difference": DOWN}),
        avoiding(
            "always meaningful", [*stereotype, *opposite], [*unrelated, *unrelated], np.ones(2 * n), both(lms=level(1))
        ),
        avoiding(
            "never meaningful",
            [*stereotype, *opposite],
            [*unrelated, *unrelated],
            -np.ones(2 * n),
            both(lms=level(0), icat=level(0)),
        ),
        avoiding("random", stereotype, opposite, coins(n), both(ss=around(0.5))),
    ]
