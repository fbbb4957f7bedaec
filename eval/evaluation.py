"""What a benchmark is, which ones there are, and how all of them are evaluated in one pass."""

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import pandas as pd
from transformers import GPTNeoXForCausalLM, PreTrainedTokenizerBase

from eval.blimp import Blimp
from eval.crows_pairs import CrowsPairs, CrowsPairsFrench, CrowsPairsRevised
from eval.held_out import HeldOut
from eval.lambada import Lambada
from eval.likelihood import Request, Scores, score_requests
from eval.occupations import Occupations
from eval.pronoun_prior import PronounPrior
from eval.statistics import Metric
from eval.winobias import WinoBias
from eval.winogender import Winogender
from foundation import UserError


class Benchmark(Protocol):
    """Items that become requests, whose scores become rows, which become metrics."""

    @property
    def name(self) -> str: ...

    def requests(self, tokenizer: PreTrainedTokenizerBase) -> list[Request]:
        """What to ask the model."""

    def rows(self, scores: Scores) -> pd.DataFrame:
        """One row for each example, from the scores of all requests in their order."""

    def metrics(self, rows: pd.DataFrame) -> dict[str, Metric]:
        """A pure function of the rows, so that stored rows can be summarized again."""


BENCHMARKS: dict[str, type[Benchmark]] = {
    benchmark.name: benchmark
    for benchmark in (
        *(WinoBias, CrowsPairs, PronounPrior, Occupations, HeldOut),
        *(CrowsPairsRevised, CrowsPairsFrench, Winogender, Lambada, Blimp),
    )
}


def load_benchmark(name: str, **options: Any) -> Benchmark:
    """The benchmark of that name; `options` are the fields of its class.

    Raises:
        UserError: there is no such benchmark.
    """
    if name not in BENCHMARKS:
        raise UserError(f"there is no benchmark {name!r}; choose from {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name](**options)


def evaluate(
    model: GPTNeoXForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    *,
    benchmarks: Sequence[str | Benchmark] = ("winobias", "crows_pairs", "pronoun_prior", "occupations"),
    tokens_per_batch: int = 8192,
    progress: bool | None = None,
) -> dict[str, pd.DataFrame]:
    """Rows of each benchmark, one for each example, by name.

    Args:
        model: see `score_requests`.
        tokenizer: the one that the model was trained with.
        benchmarks: names or benchmarks; by default those of a run.
        tokens_per_batch: bounds rows times longest row of a forward pass.
        progress: show a progress bar; None shows it on a terminal only.

    Raises:
        UserError: a name is unknown, or a benchmark's data cannot be had.
    """
    chosen = [load_benchmark(each) if isinstance(each, str) else each for each in benchmarks]
    requests = [benchmark.requests(tokenizer) for benchmark in chosen]
    scores = iter(
        score_requests(model, list(itertools.chain(*requests)), tokens_per_batch=tokens_per_batch, progress=progress)
    )
    return {
        benchmark.name: benchmark.rows(list(itertools.islice(scores, len(own))))
        for benchmark, own in zip(chosen, requests, strict=True)
    }
