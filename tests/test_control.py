"""What the intervened arm is compared with, and what is said where that differs in more than the text."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conf import plan
from conf.compose import configure
from conf.finding import (
    check_start,
    choose_control,
    differences_from_suite,
    find_benchmarks,
    find_rows,
    has_true_end,
    held_out_place,
    read_these_rows,
)
from conf.plan import plan_lines
from conf.schema import Control
from corpus import Segment, open_corpus
from fake_run import write_fake_run
from foundation import UserError
from reports.manipulation import manipulation_sentence
from reports.results import answer_sentences, read_results


def chosen(*overrides, precision="fp16"):
    """The control that a run of Pythia 410m has, whose suite has a checkpoint at its end."""
    config = configure(["model=410m", *overrides])
    segment = SimpleNamespace(stop=143_000, sequences_per_step=config.training.sequences_per_step)
    suite = SimpleNamespace(steps=lambda: [133_000, 143_000], location="hub")
    return choose_control(config, segment, suite, precision)


def test_an_arm_that_continues_its_suite_exactly_is_compared_with_the_suites_own_checkpoint():
    assert chosen("optimizer_state=neox") is Control.published
    assert chosen("optimizer_state=exact") is Control.published


@pytest.mark.parametrize(
    "override",
    [
        "optimizer_state=replay",
        "optimizer_state=fresh",
        "adam_step=neox_resume",
        "training.lr=1e-2",
        "training.weight_decay=0",
        "training.lr_schedule=neox_1008",
        "training.model_parallel_size=2",
        "training.numerics.rope=fp32",
        "training.numerics.activation=erf",
        "training.sequences_per_step=512",
    ],
)
def test_an_arm_that_is_trained_otherwise_than_its_suite_has_a_control_of_its_own(override):
    state = [] if override.startswith("optimizer_state") else ["optimizer_state=exact"]
    assert chosen(*state, override) is Control.train


def test_other_arithmetic_than_the_suites_needs_a_control_of_its_own():
    assert chosen("optimizer_state=exact", precision="bf16") is Control.train
    assert chosen("optimizer_state=exact", precision="fp32") is Control.train


def test_the_default_run_of_pythia_trains_its_control_and_published_is_the_cheaper_choice():
    assert chosen() is Control.train
    assert chosen("control=published") is Control.published
    assert chosen("control=none") is Control.none
    audited = ("protocol=audit", "intervention=none", "audit.checkpoints=hf://a/b")
    assert chosen(*audited) is Control.published


def of_corpus(directory, own, suites, *overrides):
    """Control, its differences and whether there is a true end, of a run on a corpus and the checkpoints of another."""
    if suites is not None:
        (directory / "plan.json").write_text(json.dumps({"corpus_sha256": suites}))
    config = configure([f"model.checkpoints={directory}", "step=4", "steps=4", *overrides])
    batch = config.training.sequences_per_step
    corpus = SimpleNamespace(sha256=own, location="rows.bin", num_rows=100 * batch)
    segment = Segment(corpus, step=4, steps=4, sequences_per_step=batch, rows_before=4 * batch)
    suite = SimpleNamespace(steps=lambda: [4, 8], location=str(directory))
    control, same = choose_control(config, segment, suite, "fp32"), read_these_rows(config, segment, suite)
    return control, differences_from_suite(config, "fp32", same_rows=same), has_true_end(config, segment, suite)


def test_a_suite_of_another_corpus_is_no_control_and_nothing_to_be_near_to(tmp_path):
    assert of_corpus(tmp_path, "a", "a", "control=published") == (Control.published, [], True)
    with pytest.raises(UserError, match=r"trained on another corpus .*; take the corpus of the suite, or set control="):
        of_corpus(tmp_path, "b", "a", "control=published")
    assert of_corpus(tmp_path, "b", "a") == (Control.train, ["its corpus"], False)
    assert of_corpus(tmp_path, "b", "a", "control=train")[2] is False
    audit = ("protocol=audit", "intervention=none", "audit.checkpoints=hf://a/b")
    assert of_corpus(tmp_path, "b", "a", *audit)[::2] == (Control.published, True)


@pytest.mark.parametrize(("own", "suites"), [(None, "a"), ("a", None), (None, None)])
def test_a_suite_of_which_it_is_not_known_what_it_read_allows_no_causal_statement(own, suites, tmp_path):
    unknown = ["its corpus, which is not known to be this one"]
    assert of_corpus(tmp_path, own, suites, "control=published") == (Control.published, unknown, True)
    assert of_corpus(tmp_path, own, suites) == (Control.train, unknown, True)


def test_pythia_on_rows_of_another_place_trains_its_control():
    exact = "optimizer_state=exact"
    assert chosen(exact, "corpus=local", "corpus.location=rows.bin") is Control.train
    assert chosen(exact, "corpus=local", "corpus.location=rows.bin", "control=published") is Control.published
    assert chosen(exact, "corpus=pile_deduped", "model.deduped=false") is Control.train
    with pytest.raises(UserError, match="trained on another corpus"):
        chosen(exact, "corpus=pile_deduped", "model.deduped=false", "control=published")


def test_what_differs_is_named_with_both_values():
    config = configure(["model=410m", "training.lr=1e-2", "training.numerics.rope=fp32", "adam_step=neox_resume"])
    assert differences_from_suite(config, "fp32") == [
        "training.lr 0.01, the suite's 0.0003",
        "training.numerics.rope fp32, the suite's neox_fp16",
        "precision fp32, the suite's fp16",
        "Adam's bias correction, which was restarted",
        "Adam's moments, which were rebuilt",
    ]
    assert differences_from_suite(configure(["model=410m", "optimizer_state=exact"]), "fp16") == []


def test_the_plan_says_what_a_run_here_would_be_compared_with_and_one_on_a_gpu(monkeypatch, tmp_path):
    suite = SimpleNamespace(steps=lambda: [0, 133_000, 143_000], location="hub")
    monkeypatch.setattr(plan, "given_suite", lambda config: suite)
    monkeypatch.setattr(plan, "find_steps", lambda config: (suite.steps(), suite.location))
    monkeypatch.setattr(plan, "check_start", lambda config: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    exact = ["model=410m", "optimizer_state=exact", "device=cpu"]
    lines = dict(plan_lines(configure(exact)))
    assert lines["control"].startswith("an arm of its own")
    assert lines["on a GPU"] == "the control is the suite's checkpoint at step 143,000, which costs nothing"
    assert "on a GPU" not in dict(plan_lines(configure(["model=410m", "device=cuda"])))
    forced = dict(plan_lines(configure(["model=410m", "device=cuda", "control=published"])))["control"]
    assert forced.endswith("no causal statement, as it also differs in Adam's moments, which were rebuilt")


def told(directory: Path, differs: list[str]):
    write_fake_run(directory, optional=False)
    content = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps(content | {"control": "published", "control_differs": differs}))
    results = read_results(directory)
    return manipulation_sentence(results), answer_sentences(results)


def test_a_published_control_that_differs_in_more_than_the_text_gets_no_verdict_and_no_cause(tmp_path):
    also = "the control also differs in training.lr 0.01, the suite's 0.0003"
    manipulation, answers = told(tmp_path / "differs", ["training.lr 0.01, the suite's 0.0003"])
    assert manipulation.startswith(f"Manipulation check: no verdict, as {also}. ")
    assert all(answer.endswith(f"what made the difference is not known, as {also}.") for answer in answers)
    assert not any("move" in answer or "detectable" in answer for answer in answers)
    manipulation, answers = told(tmp_path / "same", [])
    assert manipulation.startswith("Manipulation check: taken. ")
    assert all("interval" in answer for answer in answers)


@pytest.fixture
def counted(tmp_path):
    """Forty rows, of which a run of twelve steps of two reads rows 16 to 39, or fewer steps fewer."""
    np.arange(200, dtype=np.uint16).tofile(tmp_path / "counted.bin")
    return open_corpus(tmp_path / "counted.bin", row_tokens=5)


@pytest.mark.parametrize(
    ("steps", "layouts", "place"),
    [
        (4, 1, "the 8 rows after the segment, which no arm has read"),
        (4, None, "the 8 rows after the segment; whether their text had been read in earlier rows is not known"),
        (4, 2, "the 8 rows after the segment; the corpus holds each document 2 times, so much of their text may have"),
        (
            10,
            1,
            "the 8 rows up to the end of the segment, as fewer than 8 rows follow it: training read them; "
            "benchmarks.held_out.rows=4 would be rows that training did not read",
        ),
        (12, 1, "the 8 rows up to the end of the segment, where the corpus ends: training read them"),
        (12, 2, "the 8 rows up to the end of the segment, where the corpus ends: training read them"),
    ],
)
def test_held_out_rows_are_described_as_what_they_are(steps, layouts, place, counted):
    config = configure(["benchmarks.held_out.rows=8"])
    segment = Segment(replace(counted, layouts=layouts), step=8, steps=steps, sequences_per_step=2, rows_before=16)
    assert held_out_place(config, segment).startswith(place)
    config.benchmarks = {"held_out": config.benchmarks["held_out"]}
    assert find_benchmarks(config, segment)["held_out"].where.startswith(place)


@pytest.mark.parametrize(
    ("protocol", "step", "count", "rows", "where"),
    [
        ("counterfactual", 8, 6, (10, 16), "the 6 rows before the segment"),
        ("counterfactual", 8, 99, (0, 16), "the 16 rows before the segment"),
        ("counterfactual", 0, 6, (0, 6), "the 6 rows from step 0 on"),
        ("counterfactual", 0, 99, (0, 40), "the 40 rows from step 0 on"),
        ("trajectory", 8, 6, (18, 24), "the 6 rows before the last checkpoint"),
        ("trajectory", 0, 99, (0, 8), "the 8 rows before the last checkpoint"),
    ],
)
def test_occupations_are_counted_in_rows_that_the_model_has_read(protocol, step, count, rows, where, counted, tmp_path):
    (tmp_path / "terms.txt").write_text("nurse\nChief\n\n")
    config = configure(
        [
            f"benchmarks.occupations.rows={count}",
            f"benchmarks.occupations.terms={tmp_path / 'terms.txt'}",
            f"step={step}",
            f"protocol={protocol}",
        ]
    )
    segment = Segment(counted, step=step, steps=4, sequences_per_step=2, rows_before=2 * step)
    config.benchmarks = {"occupations": config.benchmarks["occupations"]}
    benchmark = find_benchmarks(config, segment)["occupations"]
    assert np.array_equal(benchmark.token_rows, counted.rows(*rows))
    assert (benchmark.where, benchmark.terms) == (where, ["nurse", "chief"])
    first, stop = find_rows(config, segment, None, "fp32")
    assert first <= rows[0] < rows[1] <= stop


@pytest.mark.parametrize(
    ("option", "value", "found"),
    [
        ("rows", "true", "no number of rows; set 0, for none, or more"),
        ("minimum", "0", "no number of sentences; set 1 or more"),
        ("minimum", "many", "no number of sentences; set 1 or more"),
        ("terms", "[nurse,chief]", "no path; name a text file with one term a line"),
        ("terms", "/nowhere/terms.txt", "name a UTF-8 text file"),
    ],
)
def test_what_occupations_cannot_count_by_is_said_before_a_suite_is_made(option, value, found):
    with pytest.raises(UserError, match=rf"benchmarks.occupations.{option}=.*{found}"):
        check_start(configure([f"benchmarks.occupations.{option}={value}"]))
