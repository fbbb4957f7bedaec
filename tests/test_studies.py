"""Studies: one command, many runs, one directory; what the runs share, and what becomes of those that fail or die."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

import run
from conf import study
from conf.arguments import CONF
from conf.study import job_name, study_name, take_gpu
from foundation import UserError
from reports import is_finished
from smoke import ROOT, results, smoke
from training import TokenLosses, read_journal, spread

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
TRAINED, TAKEN = "control arm: trained in", "control arm: taken from"


def settings(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def first_job(experiment):
    params = OmegaConf.select(OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml"), "hydra.sweeper.params")
    return {key: str(values).split(",")[0] for key, values in (params or {}).items()}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_first_job_of_every_experiment_runs_on_the_demo(experiment, workshop, monkeypatch, tmp_path, request):
    small = OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / "smoke.yaml"))
    del small["defaults"]
    overrides = {
        **first_job(experiment),
        **dict(settings(small)),
        "experiment": experiment,
        "model": "demo",
        "corpus": "demo",
        "corpus.text": workshop / "text.txt",
        "benchmark": "[pronoun_prior]",
        "steps": 6 if experiment in ("audit_published", "fidelity") else 2,
        "hydra.mode": "RUN",
        "hydra.run.dir": tmp_path / "run",
    }
    monkeypatch.setenv("XDG_CACHE_HOME", str(workshop / "cache"))
    if experiment == "trajectory":
        overrides["trajectory.every"] = 1
    if experiment == "washout":
        overrides["intervention.stop"] = 1
    if experiment == "audit_published":  # the demo's own suite, as if others had trained it
        record = json.loads((request.getfixturevalue("finished") / "run.json").read_text())
        overrides["audit.checkpoints"] = record["checkpoint"]["location"]
    monkeypatch.setattr(sys, "argv", ["run.py", *(f"{key}={value}" for key, value in overrides.items())])
    run.command_line()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "finished"
    assert (tmp_path / "run" / "summary.csv").exists()


def runs_of(directory):
    return {path.parent.name: path.parent for path in sorted(directory.glob("*/run.json"))}


def run_with(directory, **values):
    (found,) = [
        path for name, path in runs_of(directory).items() if all(f"{k}-{v}+" in f"{name}+" for k, v in values.items())
    ]
    return found


ARMS = ("-m", "seed=0,1", "intervention=masculine_to_feminine,feminine_to_masculine")


@pytest.fixture(scope="module")
def studied(workshop):
    result = smoke(workshop, *ARMS, f"hydra.sweep.dir={workshop / 'study'}")
    assert result.returncode == 0, result.stderr
    return workshop / "study", result.stdout


def test_a_study_trains_its_control_once_and_every_run_is_whole_by_itself(studied, workshop):
    directory, told = studied
    assert (told.count(TRAINED), told.count(TAKEN)) == (1, 3)
    (control,) = (directory / "controls").iterdir()
    assert control.name.startswith("demo-step6-steps6-")
    assert len(runs_of(directory)) == 4
    for path in runs_of(directory).values():
        record = json.loads((path / "run.json").read_text())
        assert (path / record["shared_control"]["directory"]).resolve() == control
        assert record["fidelity"]["bitwise_equal"]
        assert {moment.name for moment in (path / "rows").iterdir()} == {"before", "after", "control"}
        assert len(read_journal(path / "train" / "control.jsonl")) == 6
        assert (path / "report.html").exists()


def test_the_page_of_a_study_counts_once_what_the_seed_did_not_change(studied):
    page = (studied[0] / "study.html").read_text()
    assert "The seed has no effect on these arms" in page
    assert "<b>2</b> arms" in page
    assert "feminine to masculine (0, 1); masculine to feminine (0, 1)." in page


def test_arms_on_which_the_seed_has_no_effect_are_trained_once_and_every_run_is_whole_by_itself(studied):
    directory, told = studied
    assert told.count("intervened arm: trained in") == 2
    assert told.count("intervened arm: the seed has no effect on this arm; taken from") == 2
    for name in ("masculine_to_feminine", "feminine_to_masculine"):
        runs = [run_with(directory, intervention=name, seed=seed) for seed in (0, 1)]
        first, second = (json.loads((path / "run.json").read_text()) for path in runs)
        assert first["arm"] == second["arm"]
        assert first["shared_arm"] == second["shared_arm"]
        assert second["shared_arm"]["trained_by"] == runs[0].name
        assert ("train intervened" in first["timings_s"], "train intervened" in second["timings_s"]) == (True, False)
        assert [len(read_journal(path / "train" / "intervened.jsonl")) for path in runs] == [6, 6]
        for file in ("swaps.parquet", "rows/after/pronoun_prior.parquet"):
            assert (runs[0] / file).read_bytes() == (runs[1] / file).read_bytes()
        arm = (runs[1] / second["shared_arm"]["directory"]).resolve()
        assert {path.name for path in (arm / "checkpoints" / "intervened" / "step12").iterdir()} >= {
            "model.safetensors",
            "README.md",
        }
    assert len({json.loads((path / "run.json").read_text())["arm"] for path in runs_of(directory).values()}) == 2


def test_a_run_of_a_study_has_the_numbers_of_the_same_run_alone(studied, workshop):
    alone = workshop / "alone"
    result = smoke(workshop, "intervention=feminine_to_masculine", f"hydra.run.dir={alone}")
    assert result.returncode == 0, result.stderr
    found = run_with(studied[0], intervention="feminine_to_masculine", seed=0)
    assert results(found) == results(alone)
    for line, expected in zip(
        *(read_journal(path / "train" / "control.jsonl") for path in (found, alone)), strict=True
    ):
        for key, value in expected.items():
            if key not in ("tokens_per_s", "data_stall_s", "mfu"):
                assert line[key] == (pytest.approx(value, rel=1e-5) if key.startswith("loss_") and value else value)


def test_each_arm_tells_apart_the_control_s_losses_by_its_own_words(studied):
    journals = [
        read_journal(run_with(studied[0], intervention=name, seed=0) / "train" / "control.jsonl")
        for name in ("masculine_to_feminine", "feminine_to_masculine")
    ]
    for one, other in zip(*journals, strict=True):
        assert one["loss"] == other["loss"]
        assert one["loss_swapped"] != other["loss_swapped"]


def test_a_study_that_is_started_again_does_nothing_twice(studied, workshop):
    directory, _ = studied
    made_again = {"multirun.yaml", "study.html", "tables", "figures"}
    files = [path for path in directory.rglob("*") if not made_again & set(path.relative_to(directory).parts)]
    before = {path: path.stat().st_mtime_ns for path in files}
    again = smoke(workshop, *ARMS, f"hydra.sweep.dir={directory}")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is finished; skipped") == 4
    assert {path: path.stat().st_mtime_ns for path in before if path != directory} == {
        path: time for path, time in before.items() if path != directory
    }


def test_a_study_that_is_killed_ends_with_the_same_numbers(studied, workshop):
    directory = workshop / "study_killed"
    told = ""
    for where, count in [("backward", 9), ("forward", 12), ("fsync", 70)]:  # in the control, an arm, a write
        died = smoke(workshop, *ARMS, f"hydra.sweep.dir={directory}", script=f"killed_run.py {where} {count}")
        assert died.returncode == -signal.SIGKILL, died.stderr
        told += died.stdout
    ended = smoke(workshop, *ARMS, f"hydra.sweep.dir={directory}")
    assert ended.returncode == 0, ended.stderr
    assert {name: results(path) for name, path in runs_of(directory).items()} == {
        name: results(path) for name, path in runs_of(studied[0]).items()
    }
    assert len(list((directory / "controls").iterdir())) == 1


def test_two_jobs_at_once_train_one_control(workshop, studied):
    directory = workshop / "study_at_once"
    command = [sys.executable, "run.py", "-m", "experiment=smoke", f"corpus.text={workshop / 'text.txt'}"]
    jobs = [
        subprocess.Popen(
            [*command, f"hydra.sweep.dir={directory}", f"intervention={name}"],
            cwd=ROOT,
            env={**os.environ, "XDG_CACHE_HOME": str(workshop / "cache"), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("swap", "masculine_to_feminine")
    ]
    told = "".join(job.communicate(timeout=300)[0] for job in jobs)
    assert [job.returncode for job in jobs] == [0, 0]
    assert (told.count(TRAINED), told.count(TAKEN)) == (1, 1)


def test_jobs_that_fail_stop_no_other_and_are_named_at_the_end(workshop):
    directory = workshop / "study_failing"
    arguments = ("-m", "steps=900,2", "intervention=none,swap", "control=none", f"hydra.sweep.dir={directory}")
    failed = smoke(workshop, *arguments)
    assert failed.returncode == 1
    first, *named = failed.stderr.splitlines()[-3:]
    assert first.startswith(f"2 jobs of {directory} failed; the same command tries them again")
    assert all(
        re.match(rf"{directory}/\S*steps-900\S+: error: step=6 steps=900 needs rows up to", line) for line in named
    )
    states = [json.loads((path / "run.json").read_text())["status"] for path in runs_of(directory).values()]
    assert states == ["finished", "finished"]


def test_a_study_s_job_of_another_configuration_is_refused_in_one_line(studied):
    finished = run_with(studied[0], intervention="feminine_to_masculine", seed=1)
    record = json.loads((finished / "run.json").read_text())
    config, identity = record["config"], record["identity"]
    assert is_finished(finished, config=config, identity=identity)
    assert not is_finished(studied[0] / "nothing", config=config, identity=identity)
    with pytest.raises(UserError, match=r"holds a run with seed=1, this one has seed=2; .* another hydra\.sweep\.dir"):
        is_finished(finished, config=config | {"seed": 2}, identity=identity)


@pytest.mark.parametrize(
    ("plugin", "arguments"),
    [
        ("hydra_joblib_launcher", ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")),
        ("hydra_submitit_launcher", ("hydra/launcher=submitit_local",)),
    ],
)
def test_a_study_runs_by_a_launcher_of_its_own(plugin, arguments, workshop):
    pytest.importorskip(f"hydra_plugins.{plugin}", reason=f"{plugin} is not installed; see the extras joblib and slurm")
    directory = workshop / plugin
    study_ = ("-m", "intervention=swap,none", "steps=2,900", f"hydra.sweep.dir={directory}")
    result = smoke(workshop, *study_, *arguments)
    assert result.returncode == 1
    assert f"2 jobs of {directory} failed" in result.stderr
    finished = [json.loads((path / "run.json").read_text()) for path in runs_of(directory).values()]
    assert [record["status"] for record in finished] == ["finished", "finished"]
    assert len({record["shared_control"]["trained_by"] for record in finished}) == 1


def test_the_same_command_finds_its_study_wherever_its_jobs_run():
    assert study_name(["experiment=dose_response"]) == "dose_response"
    assert study_name(["experiment=dose_response", "hydra/launcher=joblib", "-m"]) == "dose_response"
    small = study_name(["experiment=dose_response", "steps=8"])
    assert re.fullmatch(r"dose_response-[0-9a-f]{8}", small)
    assert small == study_name(["steps=8", "-m", "experiment=dose_response"])
    assert study_name(["seed=1,2"]).startswith("sweep-")


def test_a_job_s_directory_is_named_by_what_it_sets():
    assert job_name(["intervention=swap", "intervention.fraction=0.25", "seed=1"]) == (
        "intervention-swap+intervention.fraction-0.25+seed-1"
    )
    assert job_name([]) == "default"
    assert re.fullmatch(r"corpus\.text-a_text\.txt-[0-9a-f]{8}", job_name(["corpus.text=/some/where/a text.txt"]))
    assert len(job_name([f"benchmarks.held_out.rows={number}" for number in range(50)])) <= 120


OVERRIDE = st.tuples(st.sampled_from(["seed", "a.b", "a/b", "+x", "~x"]), st.text("ab1.-_+, /[]='", max_size=6))


@given(st.lists(OVERRIDE, max_size=4), st.lists(OVERRIDE, max_size=4))
def test_jobs_that_differ_have_directories_of_their_own(one, other):
    names = [[f"{key}={value}" for key, value in overrides] for overrides in (one, other)]
    assert (job_name(names[0]) == job_name(names[1])) == (names[0] == names[1])
    assert re.fullmatch(r"[A-Za-z0-9_.+-]+", job_name(names[0]))
    assert job_name(names[0]) not in (".", "..")


def test_losses_of_tokens_are_grouped_after_the_fact(tmp_path):
    losses = TokenLosses(tmp_path, start=6, every=2)
    for step in (6, 7, 8):
        losses.write(step, torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]) + step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step6.npy", "step8.npy"]
    groups = np.array([[1, 0, 1, 0], [0, 0, 0, 1]], np.uint8)  # the first of a row is no prediction
    assert losses.by_group(6, groups) == {"other": 6 + 29 / 4, "swapped": 6 + 34 / 2, "neighbouring": None}
    assert losses.by_group(7, groups) == {"other": None, "swapped": None, "neighbouring": None}


@given(st.integers(1, 10**7), st.integers(1, 30_000), st.integers(1, 10**10))
def test_losses_of_tokens_take_no_more_room_than_they_may(bytes_per_step, steps, limit):
    every = spread(bytes_per_step=bytes_per_step, steps=steps, limit=limit)
    kept = len(range(0, steps, every))
    assert kept == 1 or kept * bytes_per_step <= limit
    assert every == 1 or len(range(0, steps, every - 1)) * bytes_per_step > limit


def test_the_paper_s_steps_keep_the_losses_of_one_in_ten():
    assert spread(bytes_per_step=4 * 1024 * 2048, steps=10_000, limit=8 * 2**30) == 10
    assert spread(bytes_per_step=4 * 16 * 256, steps=64, limit=8 * 2**30) == 1


def test_each_worker_of_joblib_has_a_gpu_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    held, visible = [], []
    for _ in range(2):  # two workers
        monkeypatch.setattr(study, "_taken", [])
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
        take_gpu("hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher")
        held += study._taken
        visible.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert visible == ["4", "6"]
    monkeypatch.setattr(study, "_taken", [])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    with pytest.raises(UserError, match=r"all 2 GPUs are taken by other jobs; set hydra\.launcher\.n_jobs=2 or less"):
        take_gpu("joblib")
    take_gpu("hydra._internal.core_plugins.basic_launcher.BasicLauncher")
    for lock in held:
        lock.close()
