"""What users name as a directory of checkpoints: it is understood, or one line says what to write, and that works."""

import json
import shlex
import subprocess

import pytest

from conf.compose import configure
from conf.inputs import hash_inputs
from conf.paths import quote_paths
from foundation import UserError
from neox_generator import write_checkpoint
from test_checkpoint import save
from test_suites import toy_model
from training import load_checkpoint, open_suite
from training.layouts import checkpoint_places


@pytest.fixture
def make(tmp_path, tiny_model, tiny_tokenizer):
    """Makes a checkpoint of step 6 at a place below `tmp_path`, in one of the formats."""

    def make(place, kind="transformers"):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "own":
            save(path.parent, 6, tiny_model, tiny_tokenizer)
            (path.parent / "step6").rename(path)
        elif kind == "neox":
            write_checkpoint(path.parent, toy_model(), step=6)
            (path.parent / "global_step6").rename(path)
            tiny_tokenizer.save_pretrained(path)
        else:
            tiny_model.save_pretrained(path)
            tiny_tokenizer.save_pretrained(path)
        return path

    return make


@pytest.mark.parametrize("zeros", ["", "00"])
@pytest.mark.parametrize(("kind", "name"), [("own", "step"), ("transformers", "step"), ("neox", "global_step")])
@pytest.mark.parametrize("named", ["the suite", "the checkpoint"])
def test_a_step_is_found_with_leading_zeros_and_by_itself(make, tmp_path, kind, name, zeros, named):
    path = make(f"{name}{zeros}6", kind)
    location = tmp_path if named == "the suite" else path
    assert open_suite(location).steps() == [6]
    checkpoint = load_checkpoint(location, step=6)
    assert (checkpoint.step, checkpoint.stored_as) == (6, kind)
    with pytest.raises(UserError, match=r"step=8 has no checkpoint in .*: the nearest are 6"):
        load_checkpoint(location, step=8)


def test_the_files_of_such_a_checkpoint_are_part_of_what_a_run_is(make):
    def inputs(location):
        settings = ["model=70m", "step=6", "steps=1", "optimizer_state=fresh"]
        return hash_inputs(configure([*settings, f"model.checkpoints={location}"]))["model.checkpoints"]

    alone = make("one/step006")
    of_suite, of_itself = inputs(alone.parent), inputs(alone)
    (alone / "config.json").write_text("{}")
    assert inputs(alone.parent) != of_suite
    assert inputs(alone) != of_itself


def test_by_itself_a_checkpoint_is_found_from_within_and_through_links(make, monkeypatch, tmp_path):
    path = make("elsewhere/weights")
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "step6").symlink_to(path)
    assert load_checkpoint(tmp_path / "suite", step=6).step == 6
    assert load_checkpoint(tmp_path / "suite" / "step6", step=6).step == 6
    monkeypatch.chdir(make("global_step6", "neox"))
    assert load_checkpoint(".", step=6).stored_as == "neox"


def test_one_step_under_two_names_is_refused(make, tmp_path):
    make("step6")
    make("step06")
    with pytest.raises(UserError, match=r"holds both step06 and step6, which are one step; move away the one"):
        open_suite(tmp_path).steps()
    (tmp_path / "step06").rename(tmp_path / "away")  # the remedy
    assert open_suite(tmp_path).steps() == [6]


def mended(refused, *, step=6):
    """Do what the message says to do in a shell; the location that it says to write."""
    message = str(refused.value)
    assert "\n" not in message
    if "mkdir " in message:
        commands = message[message.index("mkdir ") : message.rindex(" and write ")]
        subprocess.run(commands.replace("stepN", f"step{step}"), shell=True, check=True)
    (argument,) = quote_paths(shlex.split(message.rpartition("write ")[2]))
    return configure(["model=70m", argument]).model.checkpoints


@pytest.mark.parametrize(
    ("place", "kind", "named"),
    [
        ("out/checkpoint-6", "transformers", "the checkpoint"),
        ("out/checkpoint-6", "transformers", "its directory"),
        ("out/step-6", "transformers", "its directory"),
        ("out/revision=step6", "transformers", "its directory"),
        ("out/pythia-70m-step6", "neox", "its directory"),
        ("it's é, (new)/pythia-70m-step6", "transformers", "the checkpoint"),
        ("pythia-70m_step_0006-hf", "transformers", "the checkpoint"),
        ("pythia-70m", "transformers", "the checkpoint"),
        ("mine #1", "own", "the checkpoint"),
        ("neox & more", "neox", "the checkpoint"),
    ],
)
def test_one_checkpoint_of_another_name_is_told_with_commands_that_work(make, place, kind, named):
    path = make(place, kind)
    with pytest.raises(UserError, match="is one checkpoint, and its name does not tell its step") as refused:
        open_suite(path if named == "the checkpoint" else path.parent).steps()
    checkpoint = load_checkpoint(mended(refused), step=6)
    assert (checkpoint.step, checkpoint.stored_as) == (6, kind)


def test_the_count_of_a_trainer_is_told_and_that_it_is_its_own(make):
    path = make("final")
    (path / "trainer_state.json").write_text(json.dumps({"global_step": 6}))
    with pytest.raises(UserError, match=r"in place of the Trainer's own .*final-suite/step6 and write") as refused:
        open_suite(path).steps()
    assert load_checkpoint(mended(refused), step=6).step == 6


@pytest.mark.parametrize("where", ["", "run", "run/checkpoints"])
def test_a_directory_further_up_is_told_with_the_one_that_holds_steps(make, tmp_path, where):
    make("run/checkpoints/intervened/step6")
    with pytest.raises(UserError, match=r"holds no step<N> itself, .*intervened does; write model") as refused:
        open_suite(tmp_path / where).steps()
    assert load_checkpoint(mended(refused), step=6).step == 6


@pytest.mark.parametrize("where", ["", "snapshots", f"snapshots/{'0' * 40}"])
def test_the_hubs_own_cache_is_told_with_the_models_name(make, tmp_path, where):
    make(f"models--EleutherAI--pythia-70m-deduped/snapshots/{'0' * 40}")
    with pytest.raises(UserError, match="of the hub's own cache") as refused:
        open_suite(tmp_path / "models--EleutherAI--pythia-70m-deduped" / where).steps()
    assert mended(refused) == "hf://EleutherAI/pythia-70m-deduped"


@pytest.mark.parametrize("where", ["", "snapshots", f"snapshots/{'0' * 40}"])
def test_gpt_neox_files_in_the_hubs_own_cache_are_told_with_commands_that_work(make, tmp_path, monkeypatch, where):
    make(f"hub/models--EleutherAI--neox-ckpt-pythia-70m/snapshots/{'0' * 40}", "neox")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is one checkpoint, and its name does not tell its step") as refused:
        open_suite(tmp_path / "hub" / "models--EleutherAI--neox-ckpt-pythia-70m" / where).steps()
    checkpoint = load_checkpoint(mended(refused), step=6)
    assert (checkpoint.step, checkpoint.stored_as) == (6, "neox")
    assert [path.name for path in (tmp_path / "hub").rglob("*-suite")] == []


def test_the_hubs_cache_as_a_whole_is_told_as_that(make, tmp_path):
    make(f"hub/models--EleutherAI--pythia-70m/snapshots/{'0' * 40}")
    with pytest.raises(UserError, match=r"hub is the hub's own cache; write model\.checkpoints=hf://OWNER/NAME"):
        open_suite(tmp_path / "hub").steps()


def test_a_file_is_told_with_its_directory(make):
    path = make("step6")
    with pytest.raises(UserError, match="is a file; write") as refused:
        open_suite(path / "model.safetensors").steps()
    assert load_checkpoint(mended(refused), step=6).step == 6


@pytest.mark.parametrize("name", ["steps", "step-6", "step6.tar", "checkpoint-6", "step٦"])
def test_a_directory_without_any_checkpoint_is_told_as_that(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="holds no checkpoint at all; name a directory that holds step<N> or"):
        checkpoint_places(tmp_path)


def test_the_setting_that_named_it_is_the_one_that_is_told(make):
    path = make("pythia-70m-step6")
    with pytest.raises(UserError, match=r"write audit\.checkpoints=/"):
        open_suite(path, setting="audit.checkpoints").steps()
