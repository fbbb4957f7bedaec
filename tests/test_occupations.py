import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import occupations
from eval.evaluation import evaluate
from eval.occupations import TEMPLATES, Occupations
from eval.statistics import summarize
from foundation import UserError

TABLE = pd.DataFrame(
    {
        "source": ["winobias", "winobias", "winogender", "winogender"],
        "occupation": ["baker", "cook", "baker", "sailor"],
        "pct_female": [65.0, 15.0, 40.0, 20.0],
    }
)


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.setattr(occupations, "load_occupations", lambda path: TABLE)
    return Occupations()


def test_log_odds_are_those_of_the_next_word(benchmark, tiny_model, tiny_tokenizer):
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[benchmark], progress=False)["occupations"]
    assert len(rows) == 4 * len(TEMPLATES)
    for row in rows.itertuples():
        text = "<|endoftext|>" + row.template.format(occupation=row.occupation)
        logits = tiny_model(tiny_tokenizer(text, return_tensors="pt").input_ids).logits[0, -1]
        (she,), (he,) = (tiny_tokenizer(word).input_ids for word in (" she", " he"))
        assert row.log_odds_she == pytest.approx((logits[she] - logits[he]).item(), abs=1e-4)


def test_mean_and_slopes_are_the_hand_worked_ones(benchmark):
    # baker 1, cook 0, baker 1, sailor 2: slopes (1 - 0) / (0.65 - 0.15) and (1 - 2) / (0.40 - 0.20)
    she = np.repeat([1.0, 0.0, 1.0, 2.0], len(TEMPLATES))
    rows = benchmark.rows([np.array([x]) for x in [*she, *np.zeros_like(she)]])
    metrics = benchmark.metrics(rows)
    assert np.mean(metrics["log_odds_she"].values) == 1
    assert sorted(set(metrics["log_odds_she"].clusters)) == ["baker", "cook", "sailor"]
    assert {metric.neutral for metric in metrics.values()} == {0.0}
    for name, slope in (("slope_winobias", 2), ("slope_winogender", -5)):
        regressor = metrics[name].regressor
        assert np.polyfit(regressor, metrics[name].values, 1)[0] == pytest.approx(slope)


def test_slopes_are_found_by_the_summary():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "source": "winobias",
            "occupation": np.repeat([f"o{i}" for i in range(40)], 4),
            "pct_female": np.repeat(rng.uniform(0, 100, 40), 4),
        }
    )
    rows["log_odds_she"] = 3 * rows["pct_female"] / 100 - 2 + rng.normal(0, 0.1, 160)
    table = summarize({"before": {"occupations": Occupations().metrics(rows)}})
    row = table.set_index("metric").loc["slope_winobias"]
    assert row["ci_low"] < row["value"] < row["ci_high"]
    assert row["value"] == pytest.approx(3, abs=0.1)


def test_winogenders_file_is_read_beside_winobiass_table(monkeypatch, tmp_path):
    file = tmp_path / "stats.tsv"
    lines = [f"occupation {i}\t1.0\t{i}.5\t2015" for i in range(60)]
    file.write_text("\n".join(["occupation\tbergsma_pct_female\tbls_pct_female\tbls_year", *lines]) + "\n")
    monkeypatch.setattr(occupations, "fetch", lambda name, path: file)
    table = occupations.load_occupations(None)
    assert table["source"].value_counts().to_dict() == {"winogender": 60, "winobias": 40}
    assert table.iloc[99].tolist() == ["winogender", "occupation 59", 59.5]


def test_a_file_with_other_counts_is_refused(monkeypatch, tmp_path):
    file = tmp_path / "stats.tsv"
    file.write_text("occupation\tbls_pct_female\nbaker\t1.5\n")
    monkeypatch.setattr(occupations, "fetch", lambda name, path: file)
    with pytest.raises(UserError, match=r"{'occupations': 1}, expected {'occupations': 60}"):
        occupations.load_occupations(None)


def test_the_divergence_from_an_even_choice_worked_by_hand():
    # p = 3/4: H(5/8) - (H(3/4) + 1) / 2
    expected = 0.9544340029249649 - (0.8112781244591328 + 1) / 2
    found = occupations.divergence_from_even(np.array([np.log(3), -np.log(3), 0.0, 700.0]))
    assert found == pytest.approx([expected, expected, 0, 1.5 - 0.75 * np.log2(3)], abs=1e-12)


@given(st.floats(-30, 30))
def test_the_divergence_is_the_same_for_both_genders(log_odds):
    one, other = occupations.divergence_from_even(np.array([log_odds, -log_odds]))
    assert one == pytest.approx(other, abs=1e-9)
    assert -1e-12 <= one <= 0.3113


def test_the_parts_of_the_divergence_add_up(benchmark):
    rows = benchmark.rows([np.array([x]) for x in np.random.default_rng(0).normal(size=2 * 4 * len(TEMPLATES))])
    metrics = benchmark.metrics(rows)
    whole, feminine, masculine = (
        np.asarray(metrics[name].values) for name in ("divergence", "divergence_feminine", "divergence_masculine")
    )
    np.testing.assert_allclose(feminine + masculine, whole)
    assert feminine[rows["log_odds_she"] < 0].max() == 0 < feminine.max()
