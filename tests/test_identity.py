"""What a run is, by content: what goes on with what, is shared, and is skipped, with or without git."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import run
from conf import identity as conf_identity
from conf.compose import configure
from conf.inputs import hash_inputs
from conf.sharing import shared_settings
from conftest import invented_sentences
from foundation import UserError, read_sources, sha256_of_file, source_hashes
from foundation import code as foundation_code
from interventions import INTERVENTIONS, Arm, Dose, own
from interventions.lexicon import Pair
from reports import content_hash, make_identity, open_record, with_machine
from reports.identity import mixture_caveats, refuse_other_run
from reports.record import machine_caveats
from smoke import ROOT, results

PARTS = ("conf", "corpus", "eval", "foundation", "interventions", "reports", "training")
IDENTITY = {"packages": {}, "python": "3.11", "device": "cpu", "threads": 1}
OPTIMIZER = "training/optimizer.py"
TRAINED, TAKEN = "control arm: trained in", "control arm: taken from"
ELSEWHERE = "set another hydra.run.dir (for a study another hydra.sweep.dir)"


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """A directory with a text and a cache; this process computes with one thread there."""
    directory, threads = tmp_path_factory.mktemp("place"), torch.get_num_threads()
    (directory / "text.txt").write_text("\n".join(invented_sentences()))
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield directory
    torch.set_num_threads(threads)


@contextlib.contextmanager
def edited(path, old, new):
    """Within the block the file is another."""
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))
    try:
        yield
    finally:
        path.write_text(before)


def tripled_rate(kit):
    return edited(kit / OPTIMIZER, "= rate * group", "= 3 * rate * group")


def copy_of_the_kit(directory):
    """The kit's code, without git."""
    for part in PARTS:
        shutil.copytree(ROOT / part, directory / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run.py", directory)
    return directory


# What counts


def test_code_is_what_is_imported_and_of_own_interventions_the_chosen_one(tmp_path):
    files = {
        "run.py": "import os\nimport corpus.view\nfrom training import loop as going_on\nimport tests",
        "corpus/__init__.py": "from . import rows",
        "corpus/rows.py": "def f():\n    from ..interventions import arms",
        "corpus/view.py": "",
        "corpus/show.py": "",
        "training/__init__.py": "",
        "training/loop.py": "from .trainer import Trainer",
        "training/trainer.py": "import reports.record",
        "reports/record.py": "",
        "interventions/own/mine.py": "import interventions.lexicon",
        "interventions/own/other.py": "",
        "interventions/lexicon.py": "",
        "tests/__init__.py": "",
    }
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    packages = ("corpus", "training", "interventions")
    found = source_hashes(
        read_sources(tmp_path, [*packages, "reports", "tests"]),
        modules=("run", "interventions.own.mine", "none.at.all"),
        packages=packages,
    )
    assert list(found) == [
        *("corpus/__init__.py", "corpus/rows.py", "corpus/view.py"),
        *("interventions/lexicon.py", "interventions/own/mine.py"),
        *("run.py", "training/__init__.py", "training/loop.py", "training/trainer.py"),
    ]
    assert found["run.py"] == sha256_of_file(tmp_path / "run.py")


def test_code_is_that_which_the_process_began_with_also_of_an_intervention_asked_for_later(kit):
    before = conf_identity.hashes_of_code("run", "interventions.own.first")
    with tripled_rate(kit):
        assert conf_identity.hashes_of_code("run", "interventions.own.second") == before


def test_all_that_a_run_imports_of_the_kit_is_code_of_its_identity():
    source = (
        "import json, run, sys; print(json.dumps([getattr(each, '__file__', None) for each in sys.modules.values()]))"
    )
    loaded = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True)
    of_the_kit = {path for path in map(Path, filter(None, json.loads(loaded.stdout))) if path.is_relative_to(ROOT)}
    names = {path.relative_to(ROOT).as_posix() for path in of_the_kit}
    counted = conf_identity.hashes_of_code("run")
    of_reports = source_hashes(
        read_sources(ROOT, ("reports", "foundation")), modules=("reports",), packages=("reports", "foundation")
    ).keys()
    assert {name for name in names - counted.keys() - of_reports if not name.startswith("interventions/own/")} == set()
    assert not {name for name in counted if "preview" in name or "show" in name or name.startswith("reports/")}


def test_content_is_that_of_the_bytes_and_not_of_the_place(tmp_path, monkeypatch):
    one, other = tmp_path / "one.bin", tmp_path / "other.bin"
    one.write_bytes(bytes(range(256)) * 64)
    other.write_bytes(one.read_bytes())
    assert content_hash({"": one}) == content_hash({"": other})
    assert content_hash({"a": one}) != content_hash({"b": one})
    whole = content_hash({"": one})
    monkeypatch.setattr("reports.identity._WHOLE_BYTES", 1000)
    monkeypatch.setattr("reports.identity._BLOCK_BYTES", 16)
    sampled = content_hash({"": one})
    assert sampled == content_hash({"": other}) != whole
    other.write_bytes(one.read_bytes()[:-1] + b"x")
    assert content_hash({"": other}) != sampled
    other.write_bytes(one.read_bytes() + b"x")
    assert content_hash({"": other}) != sampled


def test_what_an_intervention_of_one_s_own_reads_elsewhere_is_part_of_what_a_run_is(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("")
    monkeypatch.setattr(own, "__path__", [str(tmp_path)])
    identities = []
    for words in (("he", "she"), ("he", "they")):
        monkeypatch.setitem(INTERVENTIONS, "mine", Arm("As a file says.", "rise", pairs=(Pair(*words),)))
        config = configure([])
        config.intervention.name = "mine"
        identities.append(conf_identity.run_identity(config, {}, {}))
    refuse_other_run(tmp_path, {"config": {}, "identity": identities[0]}, config={}, identity=identities[0])
    with pytest.raises(UserError) as refused:
        refuse_other_run(tmp_path, {"config": {}, "identity": identities[0]}, config={}, identity=identities[1])
    assert f"; put back what interventions/own/mine.py reads, or {ELSEWHERE}" in str(refused.value)


def test_the_local_files_that_settings_name_are_inputs_and_nothing_beside_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("rows.bin", "rows.idx", "rows-old.txt", "pairs.csv", "bug/notes.txt", "suite/tokenizer.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    for step in (0, 6, 8, 12):
        (tmp_path / "suite" / f"step{step}").mkdir()
        (tmp_path / "suite" / f"step{step}" / "model.safetensors").write_text(str(step))
    settings = ["corpus=local", "corpus.location=rows", "model.checkpoints=suite", "step=6", "steps=6"]
    settings += ["benchmark=[crows_pairs]", "benchmarks.crows_pairs.path=pairs.csv", "optimizer_state=exact"]
    before = hash_inputs(configure(settings))
    assert before.keys() == {"corpus.location", "benchmarks.crows_pairs.path", "model.checkpoints"}
    for name in (
        "rows-old.txt",
        "suite/step8/model.safetensors",
        "suite/step6/README.md",
        "suite/.lock",
        "bug/notes.txt",
    ):
        (tmp_path / name).write_text("other")
    assert hash_inputs(configure(settings)) == before
    for name, setting in [
        ("rows.idx", "corpus.location"),
        ("pairs.csv", "benchmarks.crows_pairs.path"),
        ("suite/step12/model.safetensors", "model.checkpoints"),
    ]:
        (tmp_path / name).write_text("another")
        now = hash_inputs(configure(settings))
        assert [key for key in before if now[key] != before[key]] == [setting]
        before = now
    assert hash_inputs(configure([])) == {}


def test_names_that_the_kit_resolves_itself_are_not_taken_for_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("bug", "main", "rows.bin", "rows.idx"):
        (tmp_path / name).write_text(name)
    assert hash_inputs(configure([])) == {}
    assert hash_inputs(configure(["corpus.text=./bug"])).keys() == {"corpus.text"}
    local = ["corpus=local", "corpus.location=rows", "corpus.revision=main", "model.checkpoints=nowhere"]
    assert hash_inputs(configure(local)).keys() == {"corpus.location"}


def test_only_what_a_tokenizer_is_read_from_counts_of_its_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("tokenizer/tokenizer.json", "suite/tokenizer.json", "suite/step0/model.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    settings = ["model.tokenizer=tokenizer", "model.checkpoints=suite", "step=0", "steps=4", "optimizer_state=exact"]
    before = hash_inputs(configure(settings))
    assert before.keys() == {"model.tokenizer", "model.checkpoints"}
    for name in ("tokenizer/README.md", "tokenizer/model.safetensors", "suite/notes.json"):
        (tmp_path / name).write_text("other")
    assert hash_inputs(configure(settings)) == before
    for name, setting in [
        ("tokenizer/tokenizer_config.json", "model.tokenizer"),
        ("suite/special_tokens_map.json", "model.checkpoints"),
    ]:
        (tmp_path / name).write_text("{}")
        assert hash_inputs(configure(settings))[setting] != before[setting]


def test_what_is_shared_depends_on_every_setting_but_those_that_cannot_matter():
    config = {
        "model": {"recipe": {"lr": 1.0}, "numerics": {"rope": "fp32"}},
        "replay": {"live_steps": 3},
        "adam_step": "continue",
        "trajectory": {"every": None},
        "training": {"lr": 1.0, "save_every": 2, "save_minutes": None},
        "fidelity": {"rows": 16, "optimizer_states": ["exact"]},
        "intervention": {"name": "swap"},
        **{"seed": 0, "control": "auto", "audit": {"expects": "rise"}, "device": "auto"},
    }
    assert list(shared_settings(config)) == [
        *("model.recipe.lr", "model.numerics.rope", "replay.live_steps", "adam_step", "trajectory.every"),
        *("training.lr", "fidelity.rows"),
    ]


@pytest.mark.parametrize(("state", "same"), [("exact", True), ("neox", True), ("fresh", True), ("replay", False)])
def test_how_moments_are_rebuilt_does_not_matter_where_none_are(state, same):
    one, other = ({"optimizer_state": state, "replay": {"live_steps": steps}} for steps in (60, 61))
    assert (shared_settings(one) == shared_settings(other)) is same


def test_the_identity_of_a_run_leaves_out_where_its_inputs_lie():
    one, moved, other = (
        make_identity(
            config={"corpus": {"text": place}, "seed": 0}, code={}, inputs={"corpus.text": content}, **IDENTITY
        )["sha256"]
        for place, content in [("here", "a"), ("there", "a"), ("here", "b")]
    )
    assert one == moved != other


def test_how_a_suite_was_made_otherwise_is_told_in_words():
    cpu = torch.device("cpu")
    here = conf_identity.made_with(cpu)
    assert conf_identity.made_otherwise([here], cpu) is None
    assert conf_identity.made_otherwise(None, cpu) == "What the suite was made with is not known."
    assert conf_identity.made_otherwise([{}, here], cpu) == "What the suite was made with is not known."
    other = here | {"threads": 3, "packages": here["packages"] | {"torch": "1.0"}, "code": "another"}
    assert conf_identity.made_otherwise([here, other], cpu) == (
        f"The suite was made with other code, torch 1.0, 3 threads; this run with the present code, "
        f"torch {torch.__version__}, {torch.get_num_threads()} thread."
    )


def test_machines_are_counted_once_and_their_difference_is_told():
    first = {"since": "2026-01-01", "cpu": "A", "cores": 2}
    machines = with_machine([first], first | {"since": "2026-01-02"})
    assert machines == [first]
    assert machine_caveats({"machines": machines}) == machine_caveats({}) == []
    machines = with_machine(machines, {"since": "2026-01-03", "cpu": "B", "cores": 2})
    (told,) = machine_caveats({"machines": machines})
    assert "(cpu A, then B)" in told


def test_a_study_of_runs_that_were_not_made_alike_says_so():
    runs = [
        {"identity": {"code": {"a.py": a, "interventions/own/x.py": a}, "inputs": {"corpus.text": a}, **rest}}
        for a, rest in [("1", IDENTITY), ("2", IDENTITY | {"threads": 2})]
    ]
    assert mixture_caveats([{"identity": IDENTITY | {"code": {}, "inputs": {}}}, {}]) == []
    (told,) = mixture_caveats(runs)
    assert "(a.py, threads differ)" in told


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_the_seed_is_part_of_a_dose_only_where_it_draws(fraction):
    doses = [Dose(fraction, "row", first_row=2, seed=seed).identity for seed in (0, 1)]
    assert (doses[0] == doses[1]) == (fraction != 0.5)


# A killed run, in a clone of its own


def run_git(directory, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", directory, *identity, *arguments], check=True)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clean clone of the kit, as far as a run needs it."""
    directory = copy_of_the_kit(tmp_path_factory.mktemp("clone"))
    (directory / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "killed_run.py", directory / "tests")
    (directory / ".gitignore").write_text("__pycache__\n")
    if shutil.which("git"):
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
            run_git(directory, *arguments)
    return directory


def start(clone, place, script="run.py"):
    return subprocess.run(
        [
            *(sys.executable, *script.split()),
            *("experiment=smoke", f"corpus.text={place / 'text.txt'}", "hydra.run.dir=my_run"),
        ],
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def killed(clone, place):
    died = start(clone, place, script="tests/killed_run.py forward 20")
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert (clone / "my_run" / "rows" / "before").exists()
    return clone / "my_run"


def test_a_killed_run_is_not_gone_on_with_by_edited_code_and_the_line_names_the_file(clone, killed, place):
    with tripled_rate(clone):
        refused = start(clone, place)
    assert refused.returncode == 1
    told = refused.stderr.splitlines()
    assert told[-1].startswith(f"error: {killed} holds a run with {OPTIMIZER}=")
    assert told[-1].endswith(f"; undo the edit of {OPTIMIZER}, or {ELSEWHERE}")
    assert "Traceback" not in refused.stderr


def test_a_killed_run_goes_on_in_a_clone_where_files_were_made_that_decide_nothing(clone, killed, place, study):
    (clone / "notes.txt").write_text("of my own")
    (clone / "interventions" / "own" / "unrelated.py").write_text(
        "from interventions.arm import Arm\n"
        "from interventions.lexicon import Pair\n\n"
        'ARM = Arm("he became she.", "rise", pairs=(Pair("he", "she"),))\n'
    )
    ended = start(clone, place)
    assert ended.returncode == 0, ended.stderr
    assert results(killed) == results(job(study, intervention="masculine_to_feminine"))


# A study, without git, in this process


def play(place, monkeypatch, *arguments):
    """Give a command of the smallest run, in this process; what it ended with, None where it ended well."""
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments, "experiment=smoke", f"corpus.text={place / 'text.txt'}"])
    try:
        run.command_line()
    except SystemExit as end:
        return str(end.code)
    return None


def job(study, **values):
    (found,) = [
        path.parent
        for path in study.glob("*/run.json")
        if all(f"{key}-{value}" in path.parent.name for key, value in values.items())
    ]
    return found


def begun_by(kit, monkeypatch):
    """From here on this process is taken to have begun with the code that lies there now."""
    monkeypatch.setattr(foundation_code, "SOURCES", read_sources(kit))
    conf_identity.hashes_of_code.cache_clear()


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """The code that this process is taken to compute by: a copy, which may be edited."""
    kit = copy_of_the_kit(tmp_path)
    begun_by(kit, monkeypatch)
    yield kit
    conf_identity.hashes_of_code.cache_clear()


@pytest.fixture(scope="module")
def study(place):
    with pytest.MonkeyPatch.context() as patch:
        directory = place / "study"
        assert play(place, patch, "-m", "intervention=masculine_to_feminine", f"hydra.sweep.dir={directory}") is None
    return directory


def again(place, monkeypatch, study, intervention="masculine_to_feminine"):
    return play(place, monkeypatch, "-m", f"intervention={intervention}", f"hydra.sweep.dir={study}")


def test_a_finished_job_is_skipped_by_a_copy_of_the_same_code(place, study, kit, monkeypatch, capsys):
    assert again(place, monkeypatch, study) is None
    assert capsys.readouterr().out.count("is finished; skipped") == 1


def test_a_finished_job_is_not_skipped_after_the_code_was_changed(place, study, kit, monkeypatch):
    with tripled_rate(kit):
        begun_by(kit, monkeypatch)
        told = again(place, monkeypatch, study)
    assert f"holds a run with {OPTIMIZER}=" in told
    assert f"; undo the edit of {OPTIMIZER}, or {ELSEWHERE}" in told


def test_a_finished_job_is_not_skipped_after_a_local_file_was_changed(place, study, monkeypatch):
    with edited(place / "text.txt", " he ", " she "):
        told = again(place, monkeypatch, study)
    assert "holds a run with content of corpus.text=" in told
    assert f"; put back what corpus.text held, or {ELSEWHERE}" in told


def test_a_finished_job_is_not_skipped_by_another_number_of_threads(place, study, monkeypatch):
    torch.set_num_threads(2)
    told = again(place, monkeypatch, study)
    torch.set_num_threads(1)
    assert "holds a run with threads=1, this one has threads=2; start it with 1 thread (OMP_NUM_THREADS=1, " in told
    assert f"and no other MKL_NUM_THREADS), or {ELSEWHERE}" in told


def test_a_finished_job_is_not_skipped_where_pytorch_takes_other_kernels(place, study, monkeypatch):
    here = torch.backends.cpu.get_cpu_capability()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX0")
    told = again(place, monkeypatch, study)
    assert f"holds a run with cpu_capability={here}, this one has cpu_capability=AVX0; start it with ATEN_CPU" in told
    assert f", on a machine that has {here}, or {ELSEWHERE}" in told


def test_a_shared_control_whose_rows_are_gone_is_refused_in_one_line(place, study, monkeypatch):
    copied = place / "without_rows_of_the_control"
    shutil.copytree(study, copied)
    (control,) = (copied / "controls").glob("*/control.json")
    shutil.rmtree(control.parent / "rows" / "control")
    told = again(place, monkeypatch, copied, "none")
    line = f"error: the rows of control are gone from {control.parent}; remove it, so that the arm is trained again"
    assert line in told


def test_edited_code_takes_no_control_that_other_code_trained(place, study, kit, monkeypatch, capsys):
    with tripled_rate(kit):
        begun_by(kit, monkeypatch)
        assert again(place, monkeypatch, study, "none") is None
    told = capsys.readouterr().out
    assert (told.count(TRAINED), told.count(TAKEN)) == (1, 0)


def test_moments_that_another_recipe_rebuilt_are_not_taken(place, study, monkeypatch, capsys):
    suite = json.loads((job(study, intervention="masculine_to_feminine") / "run.json").read_text())["checkpoint"]
    ended = play(
        *(place, monkeypatch, "-m", "optimizer_state=replay", "replay.live_steps=1", "replay.frozen_steps=1"),
        *("model.recipe.lr=3e-3,1e-1", "training.lr=3e-3", "training.min_lr=3e-4", "control=none", "steps=1"),
        *(f"model.checkpoints={suite['location']}", f"hydra.sweep.dir={place / 'recipes'}"),
    )
    assert ended is None
    assert capsys.readouterr().out.count("rebuilding Adam's moments") == 2


def test_a_control_that_does_not_end_at_the_suite_s_checkpoint_tells_how_the_suite_was_made(place, study, monkeypatch):
    directory = place / "two_threads"
    torch.set_num_threads(2)
    ended = play(place, monkeypatch, "steps=2", f"hydra.run.dir={directory}")
    torch.set_num_threads(1)
    assert ended is None
    found = json.loads((directory / "run.json").read_text())["fidelity"]
    assert not found["bitwise_equal"]
    assert found["made_otherwise"] == "The suite was made with 1 thread; this run with 2 threads."
    assert (directory / "report.html").read_text().count(found["made_otherwise"]) == 1


@pytest.mark.parametrize("setting", ["control=none", "protocol=trajectory"])
def test_every_run_of_a_suite_that_was_made_otherwise_says_so(setting, place, study, monkeypatch):
    directory = place / setting.replace("=", "_")
    torch.set_num_threads(2)
    ended = play(place, monkeypatch, setting, "benchmark=[pronoun_prior]", f"hydra.run.dir={directory}")
    torch.set_num_threads(1)
    assert ended is None
    found = json.loads((directory / "run.json").read_text())["caveats"]
    assert "The suite was made with 1 thread; this run with 2 threads." in found


# What a directory still holds


def without(path, *names):
    for name in names:
        shutil.rmtree(path / name)
    return path


def test_a_finished_run_whose_rows_are_gone_is_not_overwritten(place, study, kit, monkeypatch):
    finished = place / "finished_without_rows"
    shutil.copytree(job(study, intervention="masculine_to_feminine"), finished)
    without(finished, "rows")
    before = (finished / "run.json").read_bytes()
    with tripled_rate(kit):
        begun_by(kit, monkeypatch)
        told = play(place, monkeypatch, f"hydra.run.dir={finished}")
    assert told == f"error: {finished} holds a finished run, which is never overwritten; {ELSEWHERE}"
    assert (finished / "run.json").read_bytes() == before


@pytest.mark.parametrize("kept", ["rows/before/x.parquet", "checkpoints/control/step4/x", "train/control.jsonl"])
def test_rows_checkpoints_and_journals_are_each_gone_on_with_by_the_same_run_only(kept, tmp_path):
    def opened(code):
        identity = make_identity(config={}, code={"a.py": code}, inputs={}, **IDENTITY)
        with open_record(tmp_path, config={}, identity=identity, command="run", provenance={"hardware": {}}) as record:
            record.update()

    opened("1")
    opened("2")  # nothing there yet that could be mixed
    (tmp_path / kept).parent.mkdir(parents=True)
    (tmp_path / kept).touch()
    opened("2")
    with pytest.raises(UserError, match=r"holds a run with a\.py=2, this one has a\.py=1"):
        opened("1")
    (tmp_path / "run.json").unlink()
    with pytest.raises(UserError, match=r"of a run whose run\.json is gone"):
        opened("2")
