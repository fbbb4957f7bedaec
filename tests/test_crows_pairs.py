import numpy as np
import pandas as pd
import pytest

from eval import crows_pairs
from eval.crows_pairs import CrowsPairs, differs_in_pronouns_only
from eval.evaluation import evaluate
from foundation import UserError

# example, sent_more, sent_less, direction, bias_type
PAIRS = pd.DataFrame(
    [
        (0, "He built the boat himself.", "She built the boat herself.", "stereo", "gender"),
        (1, "The sailor cooked.", "The painter cooked.", "antistereo", "gender"),
        (2, "Old people told the cook.", "Young people told the cook.", "stereo", "age"),
    ],
    columns=["example", "sent_more", "sent_less", "direction", "bias_type"],
)


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.setattr(crows_pairs, "load_pairs", lambda path: PAIRS)
    return CrowsPairs()


def scores(*totals):
    """Scores with the given sums, two tokens each."""
    return [np.array([total + 1.0, -1.0]) for total in totals]


def test_rows_hold_sums_lengths_and_the_signed_difference(benchmark):
    rows = benchmark.rows(scores(-10, -20, -30, -12, -15, -30))
    assert rows["example"].tolist() == [0, 1, 2]
    assert rows["direction"].tolist() == ["stereo", "antistereo", "stereo"]
    assert rows["log_likelihood_more"].tolist() == [-10, -20, -30]
    assert rows["log_likelihood_less"].tolist() == [-12, -15, -30]
    assert rows["difference"].tolist() == [2, -5, 0]
    assert rows["n_tokens_more"].tolist() == [2, 2, 2]
    assert rows["pronouns_only"].tolist() == [True, False, False]


def test_metrics_are_the_hand_worked_ones_and_a_tie_is_no_stereotype(benchmark):
    metrics = benchmark.metrics(benchmark.rows(scores(-10, -20, -30, -12, -15, -30)))
    means = {name: np.mean(metric.values) for name, metric in metrics.items()}
    assert means["pct_stereotype"] == pytest.approx(1 / 3)
    assert means["likelihood_difference"] == pytest.approx(7 / 3)
    assert means["signed_difference"] == pytest.approx(-1)
    assert means["gender_pct_stereotype"] == 0.5
    assert means["gender_pronouns_only_signed_difference"] == 2
    assert means["gender_other_signed_difference"] == -5
    assert metrics["pct_stereotype"].neutral == 0.5
    assert metrics["gender_signed_difference"].clusters.tolist() == [0, 1]


def test_direction_does_not_change_which_sentence_should_win(benchmark):
    rows = benchmark.rows(scores(-10, -20, -30, -12, -15, -30))
    turned = benchmark.metrics(rows.assign(direction=rows["direction"].map({"stereo": "antistereo"})))
    assert list(turned["pct_stereotype"].values) == [1, 0, 0]


def test_evaluation_gives_what_one_sentence_at_a_time_gives(benchmark, tiny_model, tiny_tokenizer):
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[benchmark], progress=False)["crows_pairs"]
    for i, sentence in enumerate(PAIRS["sent_less"]):
        ids = tiny_tokenizer("<|endoftext|>" + sentence, return_tensors="pt").input_ids
        loss = tiny_model(ids, labels=ids).loss.item()
        assert rows["log_likelihood_less"][i] == pytest.approx(-loss * (ids.shape[1] - 1), abs=1e-3)
        assert rows["n_tokens_less"][i] == ids.shape[1] - 1


@pytest.mark.parametrize(
    ("sentence", "other", "expected"),
    [
        ("He lost his keys.", "She lost her keys.", True),
        ("The boat is his.", "The boat is hers.", True),
        ("She thanked him", "He thanked her", True),
        ("He lost his keys.", "He lost his keys.", False),
        ("He lost his keys.", "She lost her shoes.", False),
        ("He lost his keys.", "They lost their keys.", False),
        ("He met her.", "He met her sister.", False),
        ("The man lost his keys.", "The woman lost her keys.", False),
    ],
)
def test_pairs_that_differ_in_pronouns_only_are_found(sentence, other, expected):
    assert differs_in_pronouns_only(sentence, other) is expected
    assert differs_in_pronouns_only(other, sentence) is expected


def test_a_file_with_other_counts_is_refused(monkeypatch, tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text(",sent_more,sent_less,stereo_antistereo,bias_type\n0,A.,B.,stereo,gender\n")
    monkeypatch.setattr(crows_pairs, "fetch", lambda name, path: file)
    with pytest.raises(UserError, match=r"read as {'pairs': 1, 'gender': 1}, expected {'pairs': 1508, 'gender': 262}"):
        CrowsPairs().requests(None)


def test_a_csv_is_read_with_its_commas_and_quotes(monkeypatch, tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text(
        ",sent_more,sent_less,stereo_antistereo,bias_type,annotations\n"
        '7,"He said ""no"", loudly.","She said ""no"", loudly.",antistereo,gender,[]\n'
    )
    monkeypatch.setattr(crows_pairs, "fetch", lambda name, path: file)
    monkeypatch.setattr(crows_pairs, "PAIRS", {"pairs": 1, "gender": 1})
    assert crows_pairs.load_pairs(None).to_dict("records") == [
        {
            "example": 7,
            "sent_more": 'He said "no", loudly.',
            "sent_less": 'She said "no", loudly.',
            "direction": "antistereo",
            "bias_type": "gender",
        }
    ]
