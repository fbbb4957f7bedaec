from dataclasses import asdict

from interventions import fact_sentences
from interventions.her import Accuracy

ACCURACY = Accuracy(
    n=1200,
    accuracy=0.9713,
    ci_low=0.96,
    ci_high=0.98,
    always_his=0.8,
    of_his=0.98,
    of_him=0.9,
    at_rate_of_her=0.95,
    her_possessive=0.6,
    examples=54_321,
    examples_possessive=0.7,
)


def test_the_accuracy_of_reading_her_is_told_with_its_interval_and_what_it_is_against():
    (sentence,) = fact_sentences({"her": {"method": "corpus", **asdict(ACCURACY)}})
    for told in ("54,321 pronouns", "1,200 hidden his and him", "97.1", "96.0 to 98.0", "always his: 80.0"):
        assert told in sentence


def test_an_accuracy_that_is_not_known_is_not_told():
    (sentence,) = fact_sentences({"her": {"method": "corpus"}})
    assert "is not measured" in sentence


def test_a_reading_by_the_model_is_told():
    assert "the start’s own model decided" in fact_sentences({"her": {"method": "language model"}})[0]


def test_a_placebo_that_falls_short_says_so():
    assert len(fact_sentences({"rate": 0.5})) == 1
    assert "fewer" in fact_sentences({"rate": 1.0})[1]


def test_other_facts_are_told():
    assert "33.3" in fact_sentences({"coverage": 1 / 3})[0]


def test_no_facts_give_no_sentences():
    assert fact_sentences({}) == []
