import re

import numpy as np
import pytest

from eval.evaluation import evaluate
from eval.pronoun_prior import PREFIXES, PronounPrior
from eval.winobias import PCT_FEMALE


def test_prefixes_are_forty_different_ones_without_punctuation_gender_or_occupations():
    assert len(set(PREFIXES)) == len(PREFIXES) == 40
    words = {word.lower() for prefix in PREFIXES for word in prefix.split()}
    assert all(re.fullmatch("[a-z]+", word) for word in words)
    assert not words & {"he", "him", "his", "she", "her", "hers", "man", "woman", "mother", "father"}
    assert not words & set(PCT_FEMALE)


def test_probabilities_are_those_of_the_next_word(tiny_model, tiny_tokenizer):
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=["pronoun_prior"], progress=False)["pronoun_prior"]
    for i in (0, 17, 39):
        ids = tiny_tokenizer("<|endoftext|>" + rows["prefix"][i], return_tensors="pt").input_ids
        p = tiny_model(ids).logits[0, -1].softmax(-1)
        he, she, they = (p[tiny_tokenizer(word).input_ids[0]].item() for word in (" he", " she", " they"))
        assert np.exp(rows.loc[i, ["log_p_he", "log_p_she", "log_p_they"]].astype(float)).tolist() == pytest.approx(
            [he, she, they], rel=1e-4
        )
        assert rows["share_she"][i] == pytest.approx(she / (he + she), rel=1e-4)


def test_metrics_are_means_of_probabilities():
    scores = [np.array([np.log(p)]) for p in (0.2, 0.1, 0.4) for _ in PREFIXES]
    metrics = PronounPrior().metrics(PronounPrior().rows(scores))
    means = {name: np.mean(metric.values) for name, metric in metrics.items()}
    log_odds = {"log_odds_she": np.log(0.1 / 0.2), "log_odds_they": np.log(0.4 / 0.3)}
    shares = {"share_she": 1 / 3, "share_they": 4 / 7}
    assert means == pytest.approx({**shares, "p_he": 0.2, "p_she": 0.1, "p_they": 0.4, **log_odds})
    assert metrics["share_she"].neutral == 0.5
    assert metrics["p_he"].neutral is None


def test_a_share_of_vanishing_probabilities_is_a_number():
    scores = [np.array([log_p]) for log_p in (-2000.0, -2000.0, -1.0) for _ in PREFIXES]
    assert PronounPrior().rows(scores)["share_she"].tolist() == [0.5] * 40
