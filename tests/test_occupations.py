from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import occupations
from eval.evaluation import evaluate
from eval.occupations import TEMPLATES, Occupations, read_terms
from eval.statistics import Metric, summarize
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


NOUNS = ["nurse", "chief", "baker", "sailor", "doctor", "farmer", "cleaner", "lawyer", "guard", "maid", "cook", "judge"]


@pytest.fixture
def planted_rows(tiny_tokenizer):
    """120 sentences of each noun, with she in a share that rises from .1 to .9 over the nouns."""
    rng = np.random.default_rng(1)
    shares = np.linspace(0.1, 0.9, len(NOUNS))
    texts = [
        f"The {noun} said {'she' if rng.random() < share else 'he'} left."
        for noun, share in zip(NOUNS, shares, strict=True)
        for _ in range(120)
    ]
    ids = [tiny_tokenizer.encode(text, add_special_tokens=False) for text in texts]
    width = max(map(len, ids))
    return np.array([row + [tiny_tokenizer.eos_token_id] * (width - len(row)) for row in ids])


def _associations(benchmark: Occupations, rows: pd.DataFrame) -> dict[str, Metric]:
    metrics = benchmark.metrics(rows)
    return {name: metrics[name] for name in ("learned_association", "association_correlation")}


def test_what_the_corpus_says_of_a_term_is_counted_in_the_rows(benchmark, planted_rows, tiny_model, tiny_tokenizer):
    asking = replace(benchmark, token_rows=planted_rows, terms=NOUNS)
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[asking], progress=False)["occupations"]
    rows = rows[rows["source"] == "corpus"]
    assert sorted(rows["occupation"].unique()) == sorted(NOUNS)
    assert (rows["sentences"] == 120).all()
    assert (rows["feminine"] + rows["masculine"] == 120).all()
    first = rows.set_index("occupation").groupby(level=0)["corpus_log_odds"].first()
    assert first["nurse"] == pytest.approx(np.log(0.1 / 0.9), abs=0.8)
    assert first["judge"] == pytest.approx(np.log(0.9 / 0.1), abs=0.8)


def test_terms_that_the_rows_hardly_name_are_left_out(benchmark, planted_rows, tiny_model, tiny_tokenizer, caplog):
    asking = replace(benchmark, token_rows=planted_rows, terms=[*NOUNS, "pilot"], minimum=121)
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[asking], progress=False)["occupations"]
    assert set(rows["source"]) == {"winobias", "winogender"}
    assert "learned_association" not in asking.metrics(rows)
    assert "no learned association: 0 of 13 terms" in caplog.text


def test_terms_of_which_the_corpus_says_the_same_have_no_slope(benchmark, tiny_model, tiny_tokenizer, caplog):
    ids = [tiny_tokenizer.encode(f"The {noun} said he left.") for noun in NOUNS]
    token_rows = np.array([each + [0] * (max(map(len, ids)) - len(each)) for each in ids])
    asking = replace(benchmark, token_rows=token_rows, terms=NOUNS, minimum=1)
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[asking], progress=False)["occupations"]
    assert "learned_association" not in asking.metrics(rows)
    assert "all 12 terms have the same log-odds" in caplog.text


def test_terms_are_read_as_any_editor_saves_them(tmp_path):
    (tmp_path / "terms.txt").write_bytes("\ufeffNurse\r\n\r\n police officer \r\n".encode())
    assert read_terms(tmp_path / "terms.txt") == ["nurse", "police officer"]


@pytest.mark.parametrize("slope", [0.0, 0.4, 1.0])
def test_the_learned_association_is_the_slope_that_was_planted(benchmark, slope):
    rng = np.random.default_rng(2)
    corpus = np.repeat(rng.normal(-1, 1, 60), len(TEMPLATES))
    rows = pd.DataFrame(
        {
            "source": "corpus",
            "occupation": np.repeat([f"o{i}" for i in range(60)], len(TEMPLATES)),
            "pct_female": np.nan,
            "corpus_log_odds": corpus,
            "log_odds_she": -2 + slope * corpus + rng.normal(0, 0.1, len(corpus)),
        }
    )
    summary = summarize({"before": {"occupations": _associations(benchmark, rows)}}).set_index("metric")
    found, correlation = summary.loc["learned_association"], summary.loc["association_correlation"]
    assert found["value"] == pytest.approx(slope, abs=0.03)
    assert found["ci_low"] < slope < found["ci_high"]
    assert found["primary"]
    of_terms = rows["log_odds_she"].to_numpy().reshape(60, -1).mean(axis=1)
    assert correlation["value"] == pytest.approx(np.corrcoef(corpus[:: len(TEMPLATES)], of_terms)[0, 1])
    assert -1 <= correlation["ci_low"] <= correlation["value"] <= correlation["ci_high"] <= 1


def test_a_correlation_has_no_change_and_a_slope_has_one(benchmark):
    rows = pd.DataFrame(
        {
            "source": "corpus",
            "occupation": NOUNS,
            "pct_female": np.nan,
            "corpus_log_odds": np.arange(12.0),
            "log_odds_she": np.arange(12.0) ** 1.5,
        }
    )
    moments = {
        "before": _associations(benchmark, rows),
        "after": _associations(benchmark, rows.assign(log_odds_she=np.arange(12.0) / 2)),
    }
    table = summarize({moment: {"occupations": metrics} for moment, metrics in moments.items()})
    changes = table[table["moment"] == "after-before"].set_index("metric")
    assert "association_correlation" not in changes.index
    levels = table[table["metric"] == "learned_association"].set_index("moment")["value"]
    assert changes.loc["learned_association", "value"] == pytest.approx(levels["after"] - levels["before"])
