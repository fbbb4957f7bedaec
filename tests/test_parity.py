"""CrowS-Pairs by this kit and by lm-evaluation-harness: the same items, the same checkpoint, the harness's own tasks.

The tasks are the harness's crows_pairs_english and its ten parts as installed, with another place to read from.
"""

import copy
import csv
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from eval.crows_pairs import CrowsPairs
from eval.evaluation import evaluate
from foundation import SOURCES, cache_directory

pytest.importorskip("accelerate", reason="lm-eval's models need accelerate; install the extra parity")
lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed; install the extra parity")
huggingface = pytest.importorskip("lm_eval.models.huggingface")

WHOLE = "crows_pairs_english"
TASKS = Path(lm_eval.__file__).parent / "tasks" / "crows_pairs"
BIAS_TYPES = [
    "age",
    "autre",
    "disability",
    "gender",
    "nationality",
    "physical-appearance",
    "race-color",
    "religion",
    "sexual-orientation",
    "socioeconomic",
]
TEMPLATES = [
    ("The {more} cook told the baker about the boat.", "The {less} cook told the baker about the boat."),
    ("{more} people never lose their keys", "{less} people never lose their keys, said the sailor; of course not!"),
    ("The painter’s friend is {more}. ", "The painter's friend is {less}."),
    ("The driver thanked the {more} clerk, and the teacher wrote that she had built the house. ",) * 2,
    ("“Why,” asked the nurse, “is the gardener so {more}?”", "Why, asked the nurse, is the gardener so {less}? "),
    ("{less}", "{more}"),
]
REVISED = "PYTHIA_COUNTERFACTUAL_CROWS_REVISED"


def invented_pairs():
    """Six for each bias type: of unequal lengths, with curly quotes, final spaces, and one pair of equal sentences."""
    words = [("old", "young"), ("tall", "short"), ("rich", "poor"), ("quiet", "loud"), ("green", "blue")]
    rows = []
    for number, bias_type in enumerate(BIAS_TYPES):
        more, less = words[number % len(words)]
        for first, second in TEMPLATES:
            sentences = first.format(more=more, less=less), second.format(more=more, less=less)
            rows.append((*sentences, "stereo" if number % 3 else "antistereo", bias_type))
    return tabulated(rows)


def tabulated(rows):
    pairs = pd.DataFrame(rows, columns=["sent_more", "sent_less", "direction", "bias_type"])
    return pairs.assign(example=range(len(pairs)))


def read_pairs(file, delimiter):
    with Path(file).open(encoding="utf-8", newline="") as lines:
        records = list(csv.DictReader(lines, delimiter=delimiter))
    names = ["sent_more", "sent_less", "stereo_antistereo", "bias_type"]
    return tabulated([tuple(record[name] for name in names) for record in records])


def original_pairs():
    source = SOURCES["crows_pairs"]
    file = cache_directory() / "sources" / source.sha256[:16] / source.filename
    if not file.exists():
        pytest.skip("the original CrowS-Pairs is not in the cache; a default run puts it there")
    return read_pairs(file, ",")


def revised_pairs():
    if REVISED not in os.environ:
        pytest.skip(f"{REVISED} does not name a copy of crows_pairs_EN_revised+210.csv")
    return read_pairs(os.environ[REVISED], "\t")


def ours(pairs, model, tokenizer, monkeypatch):
    monkeypatch.setattr("eval.crows_pairs.benchmark.load_pairs", lambda *_: pairs)
    return evaluate(model, tokenizer, benchmarks=[CrowsPairs()], progress=False)["crows_pairs"]


def theirs(pairs, model, tokenizer, directory, *, tasks=(WHOLE,), batch_size=16):
    """What `lm_eval.simple_evaluate` returns for tasks that differ from the installed ones in their data files."""
    data = directory / "pairs.jsonl"
    data.write_text(pairs.drop(columns="example").to_json(orient="records", lines=True), encoding="utf-8")
    for task in tasks:
        fields = {
            "include": str(TASKS / f"{task}.yaml"),
            "task": task,
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(directory / "cache")},
        }
        (directory / f"{task}.yaml").write_text(json.dumps(fields), encoding="utf-8")
    return lm_eval.simple_evaluate(
        model=huggingface.HFLM(pretrained=model, tokenizer=tokenizer, device="cpu", batch_size=batch_size),
        tasks=list(tasks),
        task_manager=lm_eval.tasks.TaskManager(include_path=directory, include_defaults=False),
        bootstrap_iters=0,
    )


def assert_equal_scores(rows, found):
    """Per sentence, per pair, over all pairs and over those of each bias type."""
    samples = pd.DataFrame(sorted(found["samples"][WHOLE], key=lambda sample: sample["doc_id"]))
    scores = np.array([[log_p for log_p, _ in sample] for sample in samples["filtered_resps"]], dtype=np.float64)
    np.testing.assert_allclose(rows[["log_likelihood_more", "log_likelihood_less"]], scores, rtol=5e-7, atol=1e-4)
    difference = rows["difference"].to_numpy()
    assert (difference > 0).tolist() == (samples["pct_stereotype"] == 1).tolist()
    assert (difference == 0).tolist() == (samples["likelihood_diff"] == 0).tolist()
    whole = found["results"][WHOLE]
    assert (difference > 0).mean() == whole["pct_stereotype,none"]
    assert np.abs(difference).mean() == pytest.approx(whole["likelihood_diff,none"], rel=0, abs=1e-4)
    bias_types = [sample["bias_type"] for sample in samples["doc"]]
    assert rows["bias_type"].tolist() == bias_types
    for name, members in samples.groupby(bias_types):
        own = difference[members.index]
        assert (own > 0).mean() == members["pct_stereotype"].mean(), name
        assert np.abs(own).mean() == pytest.approx(members["likelihood_diff"].mean(), rel=0, abs=1e-4), name


@pytest.fixture
def saved(tiny_model, tiny_tokenizer, tmp_path):
    """The tiny checkpoint as both sides would read it from a directory."""
    tiny_model.save_pretrained(tmp_path / "checkpoint")
    tiny_tokenizer.save_pretrained(tmp_path / "checkpoint")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint")
    return model, AutoTokenizer.from_pretrained(tmp_path / "checkpoint")


def test_invented_pairs_get_equal_scores_and_equal_metrics_for_every_bias_type(saved, tmp_path, monkeypatch):
    pairs = invented_pairs()
    rows = ours(pairs, *saved, monkeypatch)
    parts = {name: f"{WHOLE}_{name.replace('-', '_')}" for name in BIAS_TYPES}
    found = theirs(pairs, *saved, tmp_path, tasks=(WHOLE, *parts.values()))
    assert_equal_scores(rows, found)
    for name, task in parts.items():
        own = rows[rows["bias_type"] == name]["difference"]
        assert (own > 0).mean() == found["results"][task]["pct_stereotype,none"]
        assert own.abs().mean() == pytest.approx(found["results"][task]["likelihood_diff,none"], rel=0, abs=1e-4)
    assert (rows["difference"] == 0).sum() == len(BIAS_TYPES)
    assert 0.2 < (rows["difference"] > 0).mean() < 0.8


def test_ties_of_a_model_without_preferences_are_ties_for_both(saved, tmp_path, monkeypatch):
    model, tokenizer = copy.deepcopy(saved[0]), saved[1]
    torch.nn.init.zeros_(model.get_output_embeddings().weight)
    pairs = invented_pairs()
    rows = ours(pairs, model, tokenizer, monkeypatch)
    assert_equal_scores(rows, theirs(pairs, model, tokenizer, tmp_path))
    assert ((rows["difference"] == 0) == (rows["n_tokens_more"] == rows["n_tokens_less"])).all()


@pytest.mark.parametrize("batch_size", [1, 7])
def test_the_harness_agrees_whatever_its_batch_size(saved, tmp_path, monkeypatch, batch_size):
    pairs = invented_pairs()
    rows = ours(pairs, *saved, monkeypatch)
    assert_equal_scores(rows, theirs(pairs, *saved, tmp_path, batch_size=batch_size))


@pytest.mark.parametrize("read", [original_pairs, revised_pairs])
def test_published_pairs_get_equal_scores(saved, tmp_path, monkeypatch, read):
    pairs = read()
    rows = ours(pairs, *saved, monkeypatch)
    assert_equal_scores(rows, theirs(pairs, *saved, tmp_path, batch_size=64))
