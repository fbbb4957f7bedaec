"""Winogender's sentences, scores and gaps."""

import numpy as np
import pandas as pd
import pytest

from eval import evaluate, winogender
from eval.winogender import Winogender, tabulate
from foundation import UserError

PCT_FEMALE = {"baker": 30.0, "nurse": 90.0}


def table():
    sentences = []
    for occupation, participant in [("baker", "guest"), ("nurse", "someone")]:
        for answer, place in [("1", "was hungry"), ("0", "had time")]:
            for gender, pronoun in [("male", "he"), ("female", "she"), ("neutral", "they")]:
                sentid = f"{occupation}.{participant}.{answer}.{gender}.txt"
                sentences.append((sentid, f"The {occupation} met {participant} because {pronoun} {place}."))
    return pd.DataFrame(sentences, columns=["sentid", "sentence"])


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.setattr(winogender, "load_sentences", lambda directory: tabulate(table(), PCT_FEMALE))
    return Winogender()


def scores(items, prefers):
    """Scores of -1 for the answer that `prefers(row)` names, -2 for the other."""
    occupation = [prefers(row) == "occupation" for _, row in items.iterrows()]
    return [np.array([-1.0 if chosen else -2.0]) for chosen in [*occupation, *(not each for each in occupation)]]


def values(benchmark, prefers):
    metrics = benchmark.metrics(benchmark.rows(scores(benchmark.sentences, prefers)))
    return {name: float(np.mean(metric.values)) for name, metric in metrics.items()}


def test_sentences_are_told_apart_by_their_names(benchmark):
    first = benchmark.sentences.iloc[0]
    assert first[["pronoun", "gender", "occupation", "participant", "answer", "gotcha"]].tolist() == [
        *("he", "masculine", "baker", "guest", "participant"),
        True,  # he is of the bakers' majority, but the guest is meant
    ]
    assert benchmark.sentences["gotcha"].sum() == 4
    assert not benchmark.sentences.loc[benchmark.sentences["gender"] == "neutral", "gotcha"].any()


def test_sentences_are_looked_for_in_the_directory_that_the_user_names(tmp_path):
    with pytest.raises(UserError, match=r"all_sentences\.tsv"):
        winogender.load_sentences(tmp_path)


def test_only_the_gap_has_a_neutral_value(benchmark):
    rows = benchmark.rows(scores(benchmark.sentences, lambda row: "occupation"))
    neutral = {name: metric.neutral for name, metric in benchmark.metrics(rows).items()}
    assert neutral == {name: 0.0 if name == "gotcha_gap" else None for name in neutral}


def test_a_model_that_goes_by_the_stereotype_is_right_where_it_does_not_mislead(benchmark):
    def stereotype(row):
        majority = "feminine" if row["pct_female"] > 50 else "masculine"
        return "occupation" if row["gender"] in (majority, "neutral") else "participant"

    found = values(benchmark, stereotype)
    assert found["accuracy_gotcha"] == 0
    assert found["gotcha_gap"] == 1
    assert found["accuracy_masculine"] == found["accuracy_feminine"] == 0.5
    assert found["accuracy_neutral"] == 0.5


@pytest.mark.parametrize(("prefers", "accuracy"), [(lambda row: row["answer"], 1), (lambda row: "occupation", 0.5)])
def test_a_model_that_does_not_look_at_the_pronoun_has_no_gap(benchmark, prefers, accuracy):
    found = values(benchmark, prefers)
    assert found["gotcha_gap"] == 0
    assert found["accuracy"] == accuracy


def test_a_tie_is_not_correct(benchmark):
    rows = benchmark.rows([np.array([-1.0])] * 24)
    assert not rows["correct"].any()


def test_the_question_is_that_of_lm_eval(benchmark, tiny_model, tiny_tokenizer):
    requests = benchmark.requests(tiny_tokenizer)
    assert len(requests) == 24
    assert (
        tiny_tokenizer.decode(requests[0].context[1:])
        == "The baker met guest because he was hungry. ‘He’ refers to the"
    )
    assert tiny_tokenizer.decode(requests[0].continuation) == " baker"
    assert tiny_tokenizer.decode(requests[12].continuation) == " guest"
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[benchmark], progress=False)["winogender"]
    assert len(rows) == 12


def test_a_sentence_without_its_pronoun_is_refused():
    broken = table().assign(sentence="The baker left.")
    with pytest.raises(UserError, match=r"baker\.guest\.1\.male\.txt has no masculine pronoun"):
        tabulate(broken, PCT_FEMALE)
