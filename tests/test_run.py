"""Whole runs of run.py: what they leave, what they refuse, and where their data and models come from."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

import run
from neox_generator import draw_toy, write_checkpoint
from range_server import RangeServer
from smoke import ROOT, results, smoke
from training import load_checkpoint, read_journal
from training.neox import read_neox, write_transformers


def test_a_run_leaves_every_promised_file(finished):
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert {"run.json", "summary.csv", "swaps.parquet", "report.html"} <= files
    assert {"train/intervened.jsonl", "train/control.jsonl"} <= files
    assert {f"rows/{moment}/pronoun_prior.parquet" for moment in ("before", "after", "control")} <= files
    for arm in ("intervened", "control"):
        assert {f"checkpoints/{arm}/step12/{name}" for name in ("model.safetensors", "README.md")} <= files
    assert not [name for name in files if ".aside" in name]


def test_the_record_says_what_was_run(finished):
    record = json.loads((finished / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["command"].startswith("python run.py hydra.run.dir=")
    assert set(record["fingerprints"]) == {"segment_sha256", "intervened_segment_sha256", "steps"}
    assert list(record["fingerprints"]["steps"]) == [str(step) for step in range(6, 12)]
    assert all(before != after for before, after in record["fingerprints"]["steps"].values())
    assert record["checkpoint"]["step"] == 6
    assert record["config"]["model"]["recipe"]["sequences_per_step"] == 8
    assert (record["segment"]["first_row"], record["segment"]["stop_row"]) == (48, 96)
    assert record["packages"]["torch"]
    assert len(record["swap_examples"]) == 3
    for example in record["swap_examples"]:
        assert any(piece["replaced_by"] for piece in example["pieces"])


def test_the_control_arm_ends_at_the_suites_own_checkpoint(finished):
    record = json.loads((finished / "run.json").read_text())
    found = record["fidelity"]
    assert (found["reference"], found["bitwise_equal"], found["distance"]) == ("demo step 12", True, 0.0)
    assert (found["rows"], found["rows_unseen"]) == ([96, 112], True)
    assert found["loss"] == found["true_loss"] > 0
    assert found["mean_token_kl"] == 0


def test_the_arms_saw_the_same_rows_but_for_the_swapped_words(finished):
    intervened, control = (read_journal(finished / "train" / f"{arm}.jsonl") for arm in ("intervened", "control"))
    assert [line["step"] for line in intervened] == [line["step"] for line in control] == list(range(6, 12))
    for one, other in zip(intervened, control, strict=True):
        assert one["source_sha256"] == other["source_sha256"] == other["sha256"] != one["sha256"]
        assert (one["loss_swapped"] is None) == (other["loss_swapped"] is None)
    swaps = pd.read_parquet(finished / "swaps.parquet")
    assert set(swaps["step"]) == set(range(6, 12))
    assert swaps["swapped"].sum() > 0


def test_the_intervened_arm_moved_and_its_checkpoint_loads_in_transformers(finished):
    intervened, control = (finished / "checkpoints" / arm for arm in ("intervened", "control"))
    assert load_checkpoint(intervened, step=12).step == 12
    weights = [load_file(directory / "step12" / "model.safetensors") for directory in (intervened, control)]
    assert any((weights[0][name] != weights[1][name]).any() for name in weights[0])


def test_the_summary_pairs_every_moment(finished):
    summary = pd.read_csv(finished / "summary.csv")
    share = summary[summary["metric"] == "share_she"].set_index("moment")
    assert list(share.index) == ["before", "after", "control", "after-before", "control-before", "after-control"]
    assert share["value"]["after-before"] == pytest.approx(share["value"]["after"] - share["value"]["before"])


@pytest.fixture
def refused(workshop, monkeypatch, tmp_path):
    """The one line that a mistaken command ends with."""

    def command(*arguments, text=f"corpus.text={workshop / 'text.txt'}"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(workshop / "cache"))
        options = ["experiment=smoke", f"hydra.run.dir={tmp_path / 'run'}", *([text] if text else [])]
        monkeypatch.setattr(sys, "argv", ["run.py", *options, *arguments])
        with pytest.raises(SystemExit) as exit_:
            run.command_line()
        message = str(exit_.value.code)
        assert message.startswith("error: ")
        assert "\n" not in message
        return message

    return command


def test_mistakes_get_one_clear_line(refused, finished, tmp_path):
    assert "model=dmeo is unknown; known are 1.4b, 12b, 14m" in refused("model=dmeo")
    assert "did you mean demo?" in refused("model=dmeo")
    assert "benchmark=winobia is unknown" in refused("benchmark=[winobia]")
    assert "step=7 has no checkpoint" in refused("step=7")
    assert "the nearest are 6 and 8" in refused("step=7")
    assert "it ends at step" in refused("steps=100000")
    assert "holds a finished run" in refused(f"hydra.run.dir={finished}")
    assert "sequences_per_steps" in refused("training.sequences_per_steps=4")
    assert "Invalid value 'maybe', expected one of [auto, train, published, none]" in refused("control=maybe")
    assert "step=abc" in refused("step=abc")
    assert "could not be converted to Integer" in refused("step=abc")
    assert "min_lr=0.0008, but it must be between 0 and lr=0.0001; set both" in refused("training.lr=1e-4")
    assert "gradient_clipping=0.0, but it must be above 0" in refused("training.gradient_clipping=0")
    assert "seed=-1" in refused("seed=-1")
    assert "fidelity.rows=0" in refused("fidelity.rows=0")
    assert "protocol=audit needs audit.checkpoints" in refused("protocol=audit")
    assert "benchmarks.held_out.rows=0 is no number of rows" in refused(
        "benchmark=[held_out]", "benchmarks.held_out.rows=0"
    )
    assert "the number of fidelity.optimizer_states=0" in refused("fidelity.optimizer_states=[]")
    assert "step + steps, but step=11 has no checkpoint" in refused("protocol=fidelity", "steps=5")
    assert "neither 'bug' nor the path" in refused("corpus.text=missing.txt")
    assert "training.save_every=0, but it must be 1 or more" in refused("training.save_every=0")
    assert "steps=-1" in refused("steps=-1")
    assert "corpus.texts is no option of this corpus; known are" in refused("+corpus.texts=x")
    assert "device=gpu is unknown" in refused("device=gpu")
    assert "corpus.text=None is no str" in refused("corpus.text=null")
    assert "corpus.vocab_size=many is no int" in refused("corpus.vocab_size=many")
    assert "vocab_size=100 must lie between 257 and 65536" in refused("corpus.vocab_size=100")
    assert "row_tokens=1" in refused("corpus.row_tokens=1")
    assert "num_attention_heads=5; change one" in refused("model.pretraining.num_attention_heads=5")
    (tmp_path / "empty.txt").write_text("\n\n")
    assert "holds no document" in refused(f"corpus.text={tmp_path / 'empty.txt'}")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    assert "is not UTF-8" in refused(f"corpus.text={tmp_path / 'latin.txt'}")
    assert "empty.txt" in refused(f"hydra.run.dir={tmp_path / 'empty.txt'}")
    assert "training.foo is no setting" in refused("+training.foo=1")
    assert "stepp is no setting" in refused("+stepp=6")
    assert "1.3b is of Pythia's first release (v0)" in refused("model=1.3b")
    hub = "hf://EleutherAI/pythia-70m-deduped"
    assert f"step=7 has no checkpoint in {hub}: the nearest are 4 and 8" in refused(
        f"model.checkpoints={hub}", "step=7"
    )
    assert "optimizer_state=neox, but" in refused("optimizer_state=neox")
    assert "set optimizer_state=exact" in refused("optimizer_state=neox")
    assert "needs the suite's own batches" in refused("protocol=fidelity", "training.sequences_per_step=4")
    sources = "fidelity.optimizer_states=[exact,lively]"
    assert "lively is no way to get Adam's moments; known are" in refused("protocol=fidelity", sources)
    many = ("training.sequences_per_step=16", "optimizer_state=replay", "steps=1")
    assert "cannot be rebuilt on batches of training.sequences_per_step=16" in refused(*many)
    assert "activation=relu is unknown; known are erf, tanh" in refused("training.numerics.activation=relu")
    assert "lr_schedule=cosine, but it must be neox_v1 or neox_1008" in refused("training.lr_schedule=cosine")


def test_without_network_and_cache_the_remedy_is_named(workshop, tmp_path):
    result = subprocess.run(
        [sys.executable, "run.py", f"hydra.run.dir={tmp_path / 'run'}"],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "PIP_FIND_LINKS" in result.stderr.splitlines()[-1]


def test_without_a_control_arm_there_is_one_arm(workshop):
    result = smoke(workshop, f"hydra.run.dir={workshop / 'alone'}", "control=none", "optimizer_state=fresh")
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (workshop / "alone" / "rows").iterdir()) == ["after", "before"]
    caveats = json.loads((workshop / "alone" / "run.json").read_text())["caveats"]
    assert any("moments were not restored" in caveat for caveat in caveats)


def test_the_published_checkpoint_can_be_the_control(workshop, finished):
    """The demo's control arm ends bitwise at the suite's own checkpoint, so that the numbers are the same."""
    result = smoke(workshop, f"hydra.run.dir={workshop / 'published'}", "control=published")
    assert result.returncode == 0, result.stderr
    assert results(workshop / "published") == results(finished)
    assert [path.name for path in (workshop / "published" / "train").iterdir()] == ["intervened.jsonl"]
    record = json.loads((workshop / "published" / "run.json").read_text())
    assert (record["control"], record["fidelity"]) == ("published", None)
    assert any("no arm of this run" in caveat for caveat in record["caveats"])
    page = (workshop / "published" / "report.html").read_text()
    assert "the control is the suite’s own later checkpoint" in page
    refused = smoke(workshop, f"hydra.run.dir={workshop / 'unpublished'}", "control=published", "steps=5")
    assert refused.returncode == 1
    assert "at step 11, reached by its own batches; set control=train" in refused.stderr.splitlines()[-1]


def test_a_run_records_what_its_published_control_differs_in(workshop):
    directory = workshop / "differs"
    result = smoke(workshop, f"hydra.run.dir={directory}", "control=published", "training.lr=1e-2", "steps=6")
    assert result.returncode == 0, result.stderr
    record = json.loads((directory / "run.json").read_text())
    assert record["control_differs"] == ["training.lr 0.01, the suite's 0.004"]
    assert "no verdict, as the control also differs in training.lr 0.01" in " ".join(result.stdout.split())


def test_a_checkpoint_that_others_trained_is_audited_against_the_suites_own(workshop, finished):
    directory = workshop / "audited"
    result = smoke(
        workshop,
        f"hydra.run.dir={directory}",
        *("protocol=audit", "control=published", "intervention=none"),
        f"audit.checkpoints={finished / 'checkpoints' / 'intervened'}",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.lstrip().startswith("Manipulation check: ")
    for moment in ("before", "after", "control"):
        file = Path("rows") / moment / "pronoun_prior.parquet"
        assert (directory / file).read_bytes() == (finished / file).read_bytes()
    assert not (directory / "train").exists()
    page = (directory / "report.html").read_text()
    assert "A checkpoint that others trained" in page
    assert "What was swapped is not recorded." in page


def test_a_sweep_runs_every_job_in_its_own_directory(workshop):
    result = smoke(
        workshop,
        "-m",
        "intervention=none,masculine_to_feminine",
        f"hydra.sweep.dir={workshop / 'sweep'}",
        "control=none",
    )
    assert result.returncode == 0, result.stderr
    found = [json.loads(path.read_text()) for path in (workshop / "sweep").glob("*/run.json")]
    assert sorted(record["intervention"]["name"] for record in found) == ["masculine_to_feminine", "none"]


def test_an_arm_learns_from_the_rows_before_the_segment_and_works_between_its_steps(workshop):
    directory = workshop / "learning"
    options = ["intervention=feminine_to_masculine", "intervention.start=1", "intervention.stop=4"]
    result = smoke(workshop, f"hydra.run.dir={directory}", *options, "control=none")
    assert result.returncode == 0, result.stderr
    record = json.loads((directory / "run.json").read_text())
    changed = [step for step, (before, after) in record["fingerprints"]["steps"].items() if before != after]
    assert changed == ["7", "8", "9"]
    her = record["intervention"]["facts"]["her"]
    assert her["method"] == "corpus"
    assert her["examples"] >= 100
    assert record["intervention"]["expects"] == "fall"
    assert record["intervention"]["sentence"].endswith("So it was in 3 of the 6 steps, from 7 on.")
    assert any("Names kept their gender" in caveat for caveat in record["caveats"])
    page = (directory / "report.html").read_text()
    assert record["intervention"]["sentence"] in page
    assert "were told right" in page
    lines = read_journal(directory / "train" / "intervened.jsonl")
    assert [line["loss_swapped"] is None for line in lines] == [True, False, False, False, True, True]
    assert [line["loss_neighbouring"] is None for line in lines] == [True, False, False, False, True, True]


def test_the_starts_own_model_may_read_her(workshop):
    directory = workshop / "reading"
    options = ["intervention=swap", "intervention.her=language_model", "control=none", "steps=1"]
    result = smoke(workshop, f"hydra.run.dir={directory}", *options)
    assert result.returncode == 0, result.stderr
    record = json.loads((directory / "run.json").read_text())
    assert record["intervention"]["facts"] == {
        "her": {"method": "language model", "model_sha256": record["checkpoint"]["sha256"]}
    }


def test_labels_that_are_dropped_are_read_but_not_learned(workshop, finished):
    directory = workshop / "dropped"
    result = smoke(workshop, f"hydra.run.dir={directory}", "intervention=drop", "control=none")
    assert result.returncode == 0, result.stderr
    dropped, control = (
        read_journal(path / "train" / f"{arm}.jsonl")
        for path, arm in [(directory, "intervened"), (finished, "control")]
    )
    assert [line["sha256"] for line in dropped] == [line["sha256"] for line in control]
    assert all(line["loss"] < line["loss_swapped"] for line in dropped)
    swaps = pd.read_parquet(directory / "swaps.parquet")
    assert {"he", "she"} <= set(swaps["form"])
    assert (swaps["form"] == swaps["replacement"]).all()


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("intervention.fraction=2", "fraction=2.0 is no share"),
        ("intervention.stop=7", "intervention.stop=7, but they are steps of the segment, 0 to steps=6"),
        ("intervention.unit=word", "word"),
        ("intervention.dose=1", "dose"),
    ],
)
def test_a_dose_that_cannot_be_is_refused_in_one_line(refused, argument, told):
    assert told in refused(argument)


def test_a_later_checkpoint_that_is_damaged_is_told_before_anything_is_trained(workshop, finished, tmp_path):
    suite = tmp_path / "suite"
    shutil.copytree(json.loads((finished / "run.json").read_text())["checkpoint"]["location"], suite)
    weights = suite / "step12" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    arguments = (f"model.checkpoints={suite}", f"hydra.run.dir={tmp_path / 'run'}")
    refused = smoke(workshop, *arguments, "control=published")
    assert refused.returncode == 1
    assert "step12/model.safetensors is damaged" in refused.stderr
    assert not (tmp_path / "run" / "train").exists()
    shutil.rmtree(tmp_path / "run")
    trained = smoke(workshop, *arguments)
    assert trained.returncode == 0, trained.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["fidelity"] is None
    assert any("could not be compared with the suite's own checkpoint" in caveat for caveat in record["caveats"])


def test_a_fidelity_run_compares_every_optimizer_state_with_the_true_checkpoint(workshop):
    directory = workshop / "fidelity"
    result = smoke(workshop, f"hydra.run.dir={directory}", "protocol=fidelity", "intervention=none")
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(directory / "fidelity.csv").set_index("optimizer_state")
    assert list(table.index) == ["exact", "previous_checkpoint", "live", "frozen", "fresh"]
    # The checkpoint before this one is that of step 0, whose moments are known: they are zeros.
    assert table["bitwise_equal"].tolist() == [True, True, False, False, False]
    assert table["distance"]["exact"] == table["mean_token_kl"]["exact"] == table["metrics_shifted"]["exact"] == 0
    assert (table["distance"].iloc[2:] > 0).all()
    assert "bitwise equal" in result.stdout
    assert (directory / "fidelity.svg").read_text().startswith("<?xml")
    summary = pd.read_csv(directory / "summary.csv")
    assert {"before-true", "exact-true", "live-true", "fresh-true"} <= set(summary["moment"])
    again = subprocess.run(
        [sys.executable, "-m", "reports", str(directory), "-o", str(workshop / "table")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert again.returncode == 0, again.stderr
    pd.testing.assert_frame_equal(pd.read_csv(workshop / "table" / "fidelity.csv").set_index("optimizer_state"), table)


def write_pythia(directory, form, tokenizer):
    """A random model of 14m's kind, but two layers deep and 512 wide in its vocabulary, in a published format."""
    toy = draw_toy(layers=2, hidden=32, heads=4, vocab=512, seed=3)
    toy.exp_avg_sq = {name: value.abs() * 1e-4 for name, value in toy.exp_avg_sq.items()}
    toy.exp_avg = {name: value * 1e-3 for name, value in toy.exp_avg.items()}
    target = write_checkpoint(directory / "neox", toy, step=1000, skipped=3, dp=2, intervals=(2, 1))
    tokenizer.save_pretrained(directory / "neox")
    if form == "neox":
        return directory / "neox"
    write_transformers(read_neox(target), directory / "transformers" / "step1000")
    tokenizer.save_pretrained(directory / "transformers" / "step1000")
    return directory / "transformers"


@pytest.mark.parametrize(("form", "optimizer_state"), [("transformers", "replay"), ("neox", "neox"), ("neox", "fresh")])
def test_a_pythia_runs_from_end_to_end_in_either_published_format(workshop, finished, tmp_path, form, optimizer_state):
    suite = write_pythia(tmp_path, form, load_checkpoint(finished / "checkpoints" / "control", step=12).tokenizer)
    rows = np.random.default_rng(0).integers(1, 384, (1010 * 8, 65)).astype(np.uint16)
    rows.tofile(tmp_path / "rows.bin")
    arguments = [
        "model=14m",
        f"model.checkpoints={suite}",
        "model.architecture=null",
        "model.recipe.sequences_per_step=8",
        f"optimizer_state={optimizer_state}",
        "corpus=local",
        f"corpus.location={tmp_path / 'rows.bin'}",
        "corpus.row_tokens=65",
        "benchmark=[pronoun_prior]",
        "step=1000",
        "steps=2",
        "replay.frozen_steps=2",
        "replay.live_steps=2",
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    done = subprocess.run(
        [sys.executable, "run.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(workshop / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["arithmetic"] == {
        "precision": "fp32",
        "micro_batch": 32,
        "activation": "tanh",
        "rope": "neox_fp16",
        "compiled": False,
        "activation_checkpointing": "none",
    }
    assert record["checkpoint"]["updates"] == (997 if form == "neox" else 1000)
    assert record["checkpoint"]["stored_as"] == form
    rates = [line["lr"] for line in read_journal(tmp_path / "run" / "train" / "control.jsonl")]
    assert rates == pytest.approx(
        [1e-3 * updates / 1430 for updates in ((997, 998) if form == "neox" else (1000, 1001))]
    )


@pytest.fixture
def elsewhere(workshop, finished, tmp_path):
    """The corpus of the finished run on a hub, and the arguments of the same run that reads it there."""
    record = json.loads((finished / "run.json").read_text())
    rows, suite = Path(record["corpus"]["location"]), record["checkpoint"]["location"]
    with RangeServer({f"datasets/some/rows/resolve/{commit}/rows.bin": rows for commit in COMMITS}) as hub:
        hub.arguments = (
            "corpus=local",
            "corpus.location=hf://datasets/some/rows",
            "~corpus.vocab_size",
            f"model.checkpoints={suite}",
        )
        publish(hub, COMMITS[0], rows.stat().st_size)
        yield hub


COMMITS = ["0" * 40, "1" * 40]


def publish(hub, commit, size):
    """Let the main branch of the dataset be at a commit."""
    hub.publish("some/rows", commit, {"rows.bin": (size, "a" * 64)}, revisions=("main", commit))


def run_there(hub, directory, cache, *arguments, script="run.py"):
    return subprocess.run(
        [sys.executable, *script.split(), *hub.arguments, *arguments, f"hydra.run.dir={directory}", "experiment=smoke"],
        cwd=ROOT if script == "run.py" else ROOT / "tests",
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_run_on_a_corpus_on_the_hub_ends_with_the_same_numbers(elsewhere, finished, tmp_path):
    done = run_there(elsewhere, tmp_path / "run", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "run") == results(finished)
    record, local = (json.loads((path / "run.json").read_text()) for path in (tmp_path / "run", finished))
    assert record["fingerprints"] == local["fingerprints"]
    assert record["corpus"]["location"] == "hf://datasets/some/rows"
    assert record["corpus"]["revision"] == COMMITS[0]
    assert elsewhere.log.bytes_sent <= elsewhere.sizes[next(iter(elsewhere.sizes))]


def test_a_killed_run_goes_on_at_the_commit_it_began_with_though_the_branch_moved(elsewhere, finished, tmp_path):
    died = run_there(elsewhere, tmp_path / "run", tmp_path / "cache", script="killed_run.py forward 8")
    assert died.returncode == -signal.SIGKILL, died.stderr
    publish(elsewhere, COMMITS[1], 7)
    del elsewhere.documents["/api/datasets/some/rows/revision/main"]
    ended = run_there(elsewhere, tmp_path / "run", tmp_path / "cache")
    assert ended.returncode == 0, ended.stderr
    assert results(tmp_path / "run") == results(finished)


def test_a_hub_that_fails_ends_in_one_line_and_the_run_goes_on_when_it_is_back(elsewhere, finished, tmp_path):
    path = "/api/datasets/some/rows/revision/main"
    answer = elsewhere.documents.pop(path)
    refused = run_there(elsewhere, tmp_path / "run", tmp_path / "cache")
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("error: hf://datasets/some/rows has no revision main")
    elsewhere.documents[path] = answer
    ended = run_there(elsewhere, tmp_path / "run", tmp_path / "cache")
    assert ended.returncode == 0, ended.stderr
    assert results(tmp_path / "run") == results(finished)


def test_a_plan_tells_what_a_run_would_take_and_leaves_nothing(elsewhere, tmp_path):
    done = run_there(elsewhere, tmp_path / "run", tmp_path / "cache", "plan=true", "corpus.num_rows=1000")
    assert done.returncode == 0, done.stderr
    assert "steps     6 to 11, 8 rows each\nrows      48 to 95 (both included), 65 tokens each" in done.stdout
    assert "by 1 request\n" in done.stdout
    assert not (tmp_path / "run").exists()
    assert not elsewhere.log.ranges
    assert not elsewhere.log.documents


def test_the_paper_s_run_is_planned_without_asking_the_hub(elsewhere, tmp_path):
    elsewhere.arguments = ()
    done = subprocess.run(
        [sys.executable, "run.py", "model=1.4b", "step=133000", "steps=10000", "plan=true"],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path), "HF_ENDPOINT": elsewhere.url},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "before    1,269,760 rows, from 134,922,240, that Adam's moments or the" in done.stdout
    assert "47.17 GB, in whole blocks, by 352 requests" in done.stdout
    plan = " ".join(done.stdout.split())
    assert "3 checkpoints of hf://EleutherAI/pythia-1.4b-deduped, 2.93 GB each: steps 132,000, 133,000, 143,000" in plan
    assert "of these 8.79 GB to fetch, into " in plan
    moments = "previous_checkpoint, from the weights of step 132000: 240 steps frozen and 1000 live"
    assert f"moments rebuilt, {moments}" in plan
    assert not elsewhere.log.documents


def test_a_corpus_of_another_tokenizer_is_refused_before_anything_is_trained(refused, elsewhere, tmp_path):
    np.full((2000, 65), 40_000, np.uint16).tofile(tmp_path / "other.bin")
    arguments = [argument for argument in elsewhere.arguments if "location" not in argument]
    message = refused(*arguments, f"corpus.location={tmp_path / 'other.bin'}", text=None)
    assert "rows hold token id 40000, but the vocabulary ends at 383" in message
    assert not (tmp_path / "run" / "train").exists()


def test_a_value_that_must_be_set_is_named(refused):
    assert "corpus.location must be set" in refused("corpus=local", text=None)
