import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from eval import BENCHMARKS, Metric, evaluate, load_benchmark, summarize
from eval.generation import Prompt
from eval.likelihood import Request
from foundation import UserError

CONF = Path(__file__).parent.parent / "conf" / "benchmark"


class OneToken:
    """A benchmark of one request, to stand beside the others."""

    name = "one_token"

    def requests(self, tokenizer):
        return [Request(context=(0,), continuation=(1,))]

    def rows(self, scores):
        return pd.DataFrame({"log_p": [score.sum() for score in scores]})

    def metrics(self, rows):
        return {
            "log_p": Metric(values=rows["log_p"].to_numpy(), clusters=np.arange(1), neutral=None, description="Log p.")
        }


class OnePrompt:
    """A benchmark of one prompt."""

    name = "one_prompt"

    def prompts(self):
        return [Prompt("Nobody knew why", 2)]

    def rows(self, outputs):
        return pd.DataFrame({"output": outputs})

    def metrics(self, rows):
        return {}


def test_names_and_objects_are_evaluated_together_as_they_are_alone(tiny_model, tiny_tokenizer):
    together = evaluate(tiny_model, tiny_tokenizer, benchmarks=["pronoun_prior", OneToken()], progress=False)
    assert list(together) == ["pronoun_prior", "one_token"]
    for name, benchmark in (("pronoun_prior", "pronoun_prior"), ("one_token", OneToken())):
        alone = evaluate(tiny_model, tiny_tokenizer, benchmarks=[benchmark], progress=False)[name]
        numbers = alone.select_dtypes("number")
        np.testing.assert_allclose(together[name][numbers.columns], numbers, atol=1e-5)


def test_scores_and_continuations_go_to_their_benchmarks_in_the_order_asked(tiny_model, tiny_tokenizer):
    chosen = [OnePrompt(), OneToken()]
    together = evaluate(tiny_model, tiny_tokenizer, benchmarks=chosen, progress=False)
    assert list(together) == ["one_prompt", "one_token"]
    for benchmark in chosen:
        alone = evaluate(tiny_model, tiny_tokenizer, benchmarks=[benchmark], progress=False)[benchmark.name]
        pd.testing.assert_frame_equal(together[benchmark.name], alone)


def test_evaluating_twice_gives_the_same_bits(tiny_model, tiny_tokenizer):
    first, again = (
        evaluate(tiny_model, tiny_tokenizer, benchmarks=["pronoun_prior"], progress=False)["pronoun_prior"]
        for _ in range(2)
    )
    assert first.equals(again)


def test_rows_survive_a_file_and_give_the_same_metrics(tiny_model, tiny_tokenizer, tmp_path):
    benchmark = load_benchmark("pronoun_prior")
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[benchmark], progress=False)["pronoun_prior"]
    rows.to_parquet(tmp_path / "rows.parquet")
    stored = pd.read_parquet(tmp_path / "rows.parquet")
    tables = [summarize({"before": {"b": benchmark.metrics(each)}}) for each in (rows, stored)]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_whose_numbers_are_not_finite_is_named_with_the_example_and_the_value(
    tiny_model, tiny_tokenizer, value
):
    broken = copy.deepcopy(tiny_model)
    with torch.no_grad():
        broken.gpt_neox.final_layer_norm.bias[0] = value
    with pytest.raises(UserError, match=r"pronoun_prior: a log-probability of step 64 is nan in request 0"):
        evaluate(broken, tiny_tokenizer, benchmarks=["pronoun_prior"], model_name="step 64", progress=False)
    with pytest.raises(UserError, match=r"a logit of step 64 is not finite behind the prompt .*knew why'"):
        evaluate(broken, tiny_tokenizer, benchmarks=[OnePrompt()], model_name="step 64", progress=False)


def test_a_stored_value_that_is_no_number_is_named_and_not_summarized(tiny_model, tiny_tokenizer):
    benchmark = load_benchmark("pronoun_prior")
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[benchmark], progress=False)["pronoun_prior"]
    rows.loc[7, "share_she"] = float("nan")
    with pytest.raises(UserError, match=r"pronoun_prior, share_she: the value of example 7 at the moment after is nan"):
        summarize({"after": {"pronoun_prior": benchmark.metrics(rows)}})


def test_an_unknown_benchmark_is_refused_by_name():
    with pytest.raises(UserError, match="no benchmark 'winobais'; choose from winobias, crows_pairs"):
        load_benchmark("winobais")


def test_every_benchmark_has_a_config_and_every_config_a_benchmark():
    assert {file.stem for file in CONF.glob("*.yaml")} == set(BENCHMARKS)
    for name in BENCHMARKS:
        first_line = (CONF / f"{name}.yaml").read_text().splitlines()[0]
        assert first_line == f"# @package benchmarks.{name}"


def test_the_progress_bars_tell_tokens_and_prompts_and_are_silent_without_a_terminal(tiny_model, tiny_tokenizer, capfd):
    evaluate(tiny_model, tiny_tokenizer, benchmarks=[OneToken(), OnePrompt()])
    assert capfd.readouterr().err == ""
    evaluate(tiny_model, tiny_tokenizer, benchmarks=[OneToken()], progress=True)
    shown = capfd.readouterr().err
    assert "evaluating" in shown
    assert "token/s" in shown
    assert "generating" not in shown
    evaluate(tiny_model, tiny_tokenizer, benchmarks=[OnePrompt()], progress=True)
    shown = capfd.readouterr().err
    assert "evaluating" not in shown
    assert "generating" in shown
    assert "1/1" in shown
