"""Losses on rows of the corpus, by kind of token."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch

from eval import evaluate, summarize
from eval.held_out import GROUPS, HeldOut, label_groups
from foundation import UserError

END = 0
TEXT = "The baker met the sailor because she had lost her keys .<|endoftext|>He told him about it ."


@pytest.fixture(scope="module")
def token_rows(tiny_tokenizer):
    ids = tiny_tokenizer(TEXT)["input_ids"]
    return np.array([ids, ids[::-1]], np.uint16)


def words(tokenizer, ids, group):
    groups = label_groups(ids, tokenizer)
    return [tokenizer.decode([token]) for token, found in zip(ids, groups, strict=True) if GROUPS[found] == group]


def test_labels_are_grouped_by_what_they_are(tiny_tokenizer):
    ids = tiny_tokenizer(TEXT)["input_ids"]
    assert words(tiny_tokenizer, ids, "feminine") == [" she", " her"]
    assert words(tiny_tokenizer, ids, "masculine") == ["He", " him"]
    assert words(tiny_tokenizer, ids, "end_of_document") == ["<|endoftext|>"]
    assert label_groups(ids, tiny_tokenizer)[-1] == GROUPS.index("rest")


@pytest.mark.parametrize(
    ("text", "found"), [("x he", 1), ("he", 1), ("he-", 1), ("“he”", 1), (" hex", 0), ("the", 0), ("x he5", 0)]
)
def test_a_part_of_a_word_is_no_pronoun(tiny_tokenizer, text, found):
    ids = tiny_tokenizer(text)["input_ids"]
    assert len(words(tiny_tokenizer, ids, "masculine")) == found


def test_losses_are_those_of_the_plain_model(tiny_model, tiny_tokenizer, token_rows):
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[HeldOut(token_rows)], progress=False)["held_out"]
    for index, ids in enumerate(token_rows.astype(np.int64)):
        with torch.no_grad():
            log_p = tiny_model(torch.from_numpy(ids)[None]).logits.log_softmax(-1)[0, :-1]
        losses = -log_p[torch.arange(len(ids) - 1), torch.from_numpy(ids[1:])].numpy()
        groups = label_groups(ids, tiny_tokenizer)[1:]
        for number, group in enumerate(GROUPS):
            assert rows.loc[index, f"n_{group}"] == (groups == number).sum()
            assert rows.loc[index, f"loss_{group}"] == pytest.approx(losses[groups == number].sum(), abs=1e-4)


def test_the_means_are_over_tokens_and_not_over_rows(tiny_model, tiny_tokenizer, token_rows):
    benchmark = HeldOut(token_rows)
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[benchmark], progress=False)["held_out"]
    rows.loc[0, ["n_feminine", "loss_feminine"]] = 3, 6.0
    rows.loc[1, ["n_feminine", "loss_feminine"]] = 1, 4.0
    table = summarize({"before": {"held_out": benchmark.metrics(rows)}}).set_index("metric")
    assert table.loc["loss_feminine", "value"] == pytest.approx(10 / 4)
    tokens, losses = (sum(rows[f"{what}_{group}"].sum() for group in GROUPS) for what in ("n", "loss"))
    assert table.loc["loss", "value"] == pytest.approx(losses / tokens)


def test_a_model_without_preferences_loses_log_v_everywhere(tiny_model, tiny_tokenizer, token_rows):
    model = copy.deepcopy(tiny_model)
    torch.nn.init.zeros_(model.get_output_embeddings().weight)
    benchmark = HeldOut(token_rows)
    rows = evaluate(model, tiny_tokenizer, benchmarks=[benchmark], progress=False)["held_out"]
    for metric in benchmark.metrics(rows).values():
        loss = np.sum(metric.values) / np.sum(metric.weights)
        assert loss == pytest.approx(math.log(model.config.vocab_size), rel=1e-6)


def test_the_interval_of_a_groups_loss_is_that_of_a_ratio_whose_number_of_tokens_varies_too():
    random = np.random.default_rng(0)
    tokens = random.integers(1, 40, size=64)
    moments = {}
    for moment, loss in {"before": 3.5, "after": 2.3}.items():
        losses = tokens * (loss + random.normal(0, 0.1, size=64))
        columns = {f"{part}_{group}": 0.0 for part in ("n", "loss") for group in GROUPS}
        rows = pd.DataFrame({"row": range(64), **columns, "n_feminine": tokens, "loss_feminine": losses})
        moments[moment] = {"held_out": HeldOut(np.zeros((64, 2), np.uint16)).metrics(rows)}
    change = summarize(moments).set_index(["metric", "moment"]).loc["loss_feminine", "after-before"]
    assert change["value"] == pytest.approx(-1.2, abs=0.1)
    # with a fixed denominator it would be 0.3, by the spread of the numbers of tokens
    assert change["ci_high"] - change["ci_low"] < 0.1


def test_a_metric_says_which_rows_it_is_of(tiny_model, tiny_tokenizer, token_rows):
    benchmark = HeldOut(token_rows, where="the 2 rows up to the end of the segment")
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[benchmark], progress=False)["held_out"]
    told = {name: metric.description for name, metric in benchmark.metrics(rows).items()}
    assert told["loss_feminine"] == "Mean loss in nats of feminine pronouns in the 2 rows up to the end of the segment."
    assert not any("no arm" in description for description in told.values())


def test_a_group_that_does_not_occur_has_no_metric(tiny_model, tiny_tokenizer):
    benchmark = HeldOut(np.array([tiny_tokenizer("The boat is old .")["input_ids"]]))
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[benchmark], progress=False)["held_out"]
    assert list(benchmark.metrics(rows)) == ["loss_rest", "loss"]


def test_rows_of_another_vocabulary_are_refused(tiny_tokenizer):
    with pytest.raises(UserError, match=r"held_out has a token 65535, expected less than"):
        HeldOut(np.array([[1, 65535]], np.uint16)).requests(tiny_tokenizer)
