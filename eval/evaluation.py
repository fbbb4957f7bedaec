"""What a benchmark is, which ones there are, and how all of them are evaluated together."""

import itertools
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import pandas as pd
from transformers import GPTNeoXForCausalLM, PreTrainedTokenizerBase

from eval.bec_pro import BecPro
from eval.blimp import Blimp
from eval.crows_pairs import CrowsPairs, CrowsPairsFrench, CrowsPairsRevised
from eval.generation import Prompt, generate
from eval.held_out import HeldOut
from eval.lambada import Lambada
from eval.likelihood import Request, Scores, score_requests
from eval.occupations import Occupations
from eval.pronoun_prior import PronounPrior
from eval.statistics import Metric
from eval.stereoset import StereoSet
from eval.winobias import WinoBias, WinoBiasGeneration, WinoBiasPaper
from eval.winobias_plus import WinoBiasPlus
from eval.winogender import Winogender
from foundation import UserError


@runtime_checkable
class LikelihoodBenchmark(Protocol):
    """Items that become requests, whose scores become rows, which become metrics."""

    @property
    def name(self) -> str: ...

    def requests(self, tokenizer: PreTrainedTokenizerBase) -> list[Request]:
        """What to ask the model."""

    def rows(self, scores: Scores) -> pd.DataFrame:
        """One row for each example, from the scores of all requests in their order."""

    def metrics(self, rows: pd.DataFrame) -> dict[str, Metric]:
        """A pure function of the rows, so that stored rows can be summarized again."""


class GenerationBenchmark(Protocol):
    """Items that become prompts, whose continuations become rows, which become metrics."""

    @property
    def name(self) -> str: ...

    def prompts(self) -> list[Prompt]:
        """What the model is to continue."""

    def rows(self, outputs: list[str]) -> pd.DataFrame:
        """One row for each example, from the continuations of all prompts in their order."""

    def metrics(self, rows: pd.DataFrame) -> dict[str, Metric]:
        """A pure function of the rows, so that stored rows can be summarized again."""


Benchmark: TypeAlias = LikelihoodBenchmark | GenerationBenchmark

BENCHMARKS: dict[str, type[LikelihoodBenchmark] | type[GenerationBenchmark]] = {
    WinoBias.name: WinoBias,
    CrowsPairs.name: CrowsPairs,
    PronounPrior.name: PronounPrior,
    Occupations.name: Occupations,
    WinoBiasPaper.name: WinoBiasPaper,
    WinoBiasGeneration.name: WinoBiasGeneration,
    HeldOut.name: HeldOut,
    CrowsPairsRevised.name: CrowsPairsRevised,
    CrowsPairsFrench.name: CrowsPairsFrench,
    Winogender.name: Winogender,
    Lambada.name: Lambada,
    Blimp.name: Blimp,
    BecPro.name: BecPro,
    StereoSet.name: StereoSet,
    WinoBiasPlus.name: WinoBiasPlus,
}


def load_benchmark(name: str, **options: Any) -> Benchmark:
    """The benchmark of that name; `options` are the fields of its class.

    Raises:
        UserError: there is no such benchmark, or it has no such option.
    """
    if name not in BENCHMARKS:
        raise UserError(f"there is no benchmark {name!r}; choose from {', '.join(BENCHMARKS)}")
    known = [field.name for field in fields(BENCHMARKS[name]) if field.init]  # type: ignore[arg-type]  # all are dataclasses
    if unknown := [option for option in options if option not in known]:
        raise UserError(f"benchmarks.{name}.{unknown[0]} is no option of it; known are {', '.join(known) or 'none'}")
    return BENCHMARKS[name](**options)


def load_items(benchmark: Benchmark) -> None:
    """Read what a benchmark's items are made of, which fetches what is not here: its properties that are kept."""
    for name in dir(type(benchmark)):
        if isinstance(getattr(type(benchmark), name), cached_property):
            getattr(benchmark, name)


def evaluate(
    model: GPTNeoXForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    *,
    benchmarks: Sequence[str | Benchmark] = ("winobias", "crows_pairs", "pronoun_prior", "occupations"),
    model_name: str = "the model",
    tokens_per_batch: int = 8192,
    progress: bool | None = None,
) -> dict[str, pd.DataFrame]:
    """Rows of each benchmark, one for each example, by name: all likelihoods in one pass, all generations in another.

    Args:
        model: see `score_requests`.
        tokenizer: the one that the model was trained with.
        benchmarks: names or benchmarks; by default those of a run.
        model_name: what messages call the model.
        tokens_per_batch: bounds rows times longest row of a forward pass.
        progress: show progress bars; None shows it on a terminal only.

    Raises:
        UserError: a name is unknown, a benchmark's data cannot be had, or the model's numbers are not finite.
    """
    chosen = [load_benchmark(each) if isinstance(each, str) else each for each in benchmarks]
    scored = [benchmark for benchmark in chosen if isinstance(benchmark, LikelihoodBenchmark)]
    continued = [benchmark for benchmark in chosen if not isinstance(benchmark, LikelihoodBenchmark)]
    rows: dict[str, pd.DataFrame] = {}
    if scored:
        rows |= _score(
            model, tokenizer, scored, model_name=model_name, tokens_per_batch=tokens_per_batch, progress=progress
        )
    if continued:
        rows |= _continue(
            model, tokenizer, continued, model_name=model_name, tokens_per_batch=tokens_per_batch, progress=progress
        )
    return {benchmark.name: rows[benchmark.name] for benchmark in chosen}


def _score(
    model: GPTNeoXForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    benchmarks: Sequence[LikelihoodBenchmark],
    *,
    model_name: str,
    tokens_per_batch: int,
    progress: bool | None,
) -> dict[str, pd.DataFrame]:
    requests = [benchmark.requests(tokenizer) for benchmark in benchmarks]
    pooled = list(itertools.chain(*requests))
    scores = iter(score_requests(model, pooled, tokens_per_batch=tokens_per_batch, progress=progress))
    rows = {}
    for benchmark, own in zip(benchmarks, requests, strict=True):
        own_scores = list(itertools.islice(scores, len(own)))
        _check_finite(benchmark.name, own, own_scores, tokenizer, model_name=model_name)
        rows[benchmark.name] = benchmark.rows(own_scores)
    return rows


def _check_finite(
    benchmark: str, requests: Sequence[Request], scores: Scores, tokenizer: PreTrainedTokenizerBase, *, model_name: str
) -> None:
    """Raise UserError where a log-probability is no number: it would count as an answer all the same."""
    for place, (request, score) in enumerate(zip(requests, scores, strict=True)):
        if np.isfinite(score).all():
            continue
        value = score[~np.isfinite(score)][0]
        text = tokenizer.decode(list(request.context + request.continuation))[-60:]
        raise UserError(
            f"{benchmark}: a log-probability of {model_name} is {value} in request {place}, which ends in {text!r}; "
            f"the model's activations overflow or its weights are damaged: evaluate another checkpoint, or in fp32"
        )


def _continue(
    model: GPTNeoXForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    benchmarks: Sequence[GenerationBenchmark],
    *,
    model_name: str,
    tokens_per_batch: int,
    progress: bool | None,
) -> dict[str, pd.DataFrame]:
    prompts = [benchmark.prompts() for benchmark in benchmarks]
    pooled = list(itertools.chain(*prompts))
    outputs = iter(
        generate(model, tokenizer, pooled, model_name=model_name, tokens_per_batch=tokens_per_batch, progress=progress)
    )
    return {
        benchmark.name: benchmark.rows(list(itertools.islice(outputs, len(own))))
        for benchmark, own in zip(benchmarks, prompts, strict=True)
    }
