"""Whatever a user does wrong ends in one line with the remedy, an exit status, and nothing half-written.

`mistakes.py` has the table. Each row goes through the command itself: its `main`, with the arguments in sys.argv.
"""

import contextlib
import errno
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import corpus.fetch
import corpus.show
import corpus.verify
import interventions.preview.__main__ as preview
import reports.__main__
import reports.collect
import reports.study
import run
from conf.study import StudyCallback
from conftest import invented_sentences
from foundation import run_command
from mistakes import MISTAKES, Place, another_tokenizer
from range_server import RangeServer, be_impatient, be_the_hub
from smoke import ROOT, results

COMMANDS = {
    "run": run.command_line,
    "reports": reports.__main__.main,
    **{
        name: partial(run_command, module.main, module.__doc__)
        for name, module in [
            ("show", corpus.show),
            ("fetch", corpus.fetch),
            ("verify", corpus.verify),
            ("preview", preview),
            ("collect", reports.collect),
            ("study", reports.study),
        ]
    },
}
OF_RUNS = ("run", "show", "fetch", "preview")  # which take the settings of run.py


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A text, a cache with its corpus and suite, and a finished run."""
    directory = tmp_path_factory.mktemp("made")
    (directory / "text.txt").write_text("\n".join(invented_sentences()))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more would wait for one another: these runs are small
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
        given(patch, "run", directory / "text.txt", directory / "finished", "control=none")
        run.command_line()
    yield directory
    torch.set_num_threads(threads)


def given(monkeypatch, command, text, run_directory, *arguments, smallest=True):
    """Put a command line into sys.argv: the smallest run's, where the command takes settings, and `arguments`."""
    settings = ["experiment=smoke"] if command in OF_RUNS and smallest else []
    if settings and "corpus=local" not in arguments:
        settings.append(f"corpus.text={text}")
    where = [f"hydra.run.dir={run_directory}"] if command == "run" else []
    first = [argument for argument in arguments if argument == "-m"]  # between the settings, where it is a mistake
    rest = [argument for argument in arguments if argument != "-m"]
    monkeypatch.setattr(sys, "argv", [command, *settings, *first, *where, *rest])


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(made / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    be_impatient(monkeypatch, first_delay_s=0.0)
    record = json.loads((made / "finished" / "run.json").read_text())
    (tmp_path / "scratch").mkdir()
    monkeypatch.chdir(tmp_path / "scratch")
    with contextlib.ExitStack() as left, RangeServer({}) as server:
        be_the_hub(monkeypatch, server.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        yield Place(
            text=made / "text.txt",
            rows=Path(record["corpus"]["location"]),
            suite=Path(record["checkpoint"]["location"]),
            finished=made / "finished",
            run=tmp_path / "run",
            scratch=tmp_path / "scratch",
            server=server,
            monkeypatch=monkeypatch,
            enter=left.enter_context,
        )


def ended(command, capsys):
    """Exit status and stderr of a command in this process, as Python would end it."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        COMMANDS[command]()
    code, printed = exit_.value.code, capsys.readouterr().err
    return (1, f"{printed}{code}\n") if isinstance(code, str) else (code, printed)


def left_behind(*directories):
    """What is half-written below directories."""
    endings = (".tmp", ".part", ".partial")
    paths = [path for directory in directories for path in directory.rglob("*")]
    return [path for path in paths if ".aside-" in str(path) or path.suffix in endings]


def content_of(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.sentence.replace(" ", "_"))
def test_a_mistake_is_one_line_with_its_remedy(mistake, place, made, monkeypatch, capsys):
    if mistake.without:
        monkeypatch.setitem(sys.modules, mistake.without, None)
    made_wrong = mistake.make(place) if mistake.make else []
    arguments = (*mistake.arguments, *made_wrong)
    given(monkeypatch, mistake.command, place.text, place.run, *arguments, smallest=mistake.smallest)
    before = content_of(place.run)
    status, printed = ended(mistake.command, capsys)
    assert status == 1
    (line,) = printed.splitlines()
    assert line.startswith("error: ")
    assert mistake.found in line
    assert mistake.remedy in line
    assert not left_behind(place.run, place.scratch, made / "cache")
    if mistake.leaves == "nothing":
        assert not place.run.exists()
    elif mistake.leaves == "what was there":
        assert content_of(place.run) == before
    else:
        assert (place.run / "run.json").is_file()


def test_the_table_has_many_mistakes_and_names_each_once():
    sentences = [mistake.sentence for mistake in MISTAKES]
    assert len(set(sentences)) == len(sentences) >= 100
    assert {mistake.command for mistake in MISTAKES} == set(COMMANDS)


def tokenizer(vocab_size):
    """Of the kit's kind, trained on the text of the corpus, with another number of tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(invented_sentences(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


@pytest.mark.parametrize(
    ("vocab_size", "told"),
    [
        (300, "is not that of the corpus"),
        (400, "token ids up to 399, but the model embeds those below 384; set model.tokenizer"),
    ],
)
def test_a_tokenizer_of_another_vocabulary_is_refused_before_anything_is_done(
    vocab_size, told, place, monkeypatch, capsys
):
    given(monkeypatch, "run", place.text, place.run, *another_tokenizer(place, vocab_size, tokenizer))
    status, printed = ended("run", capsys)
    assert (status, len(printed.splitlines())) == (1, 1)
    assert told in printed
    assert not place.run.exists()


def test_what_a_full_disk_stopped_goes_on_when_there_is_room(place, made, monkeypatch, capsys):
    (mistake,) = (mistake for mistake in MISTAKES if "full in the middle" in mistake.sentence)
    given(monkeypatch, "run", place.text, place.run, *mistake.make(place))
    assert ended("run", capsys)[0] == 1
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(made / "cache"))
    given(monkeypatch, "run", place.text, place.run, "control=none")
    run.command_line()
    assert results(place.run) == results(place.finished)


def test_each_failed_job_of_a_study_is_a_line_and_the_status_is_one(place, monkeypatch, capsys):
    study = place.scratch / "study"
    settings = ["experiment=smoke", f"corpus.text={place.text}", f"hydra.sweep.dir={study}", "step=7,9"]
    monkeypatch.setattr(sys, "argv", ["run.py", "-m", *settings])
    status, printed = ended("run", capsys)
    assert status == 1
    assert "Traceback" not in printed
    lines = printed.splitlines()
    assert [line.partition(" has ")[0] for line in lines[:2]] == ["error: step=7", "error: step=9"]
    assert lines[2].startswith(f"2 jobs of {study} failed; the same command tries them again")
    assert [line.startswith(f"{study}/") for line in lines[3:]] == [True, True]
    assert not left_behind(study)
    assert {path.name for path in study.iterdir()} == {"failures", "multirun.yaml"}


def test_a_study_whose_report_cannot_be_written_ends_with_status_one(tmp_path, monkeypatch):
    """Hydra makes a warning of what a callback raises, and exits with 0."""

    def full(directory):
        raise OSError(errno.ENOSPC, "No space left on device", str(directory / "study.html"))

    monkeypatch.setattr("conf.study.has_finished_run", lambda directory: True)
    monkeypatch.setattr("conf.study.write_study", full)
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    with pytest.raises(SystemExit, match=r"study\.html: No space left on device; make room"):
        StudyCallback().on_multirun_end(config)


@pytest.mark.parametrize("full", ["0", "1"])
def test_the_process_itself_ends_so_and_tells_all_with_hydra_full_error(full, place):
    done = subprocess.run(
        [sys.executable, "run.py", f"hydra.run.dir={place.run}", "step=7"],
        cwd=ROOT,
        env={**os.environ, "HYDRA_FULL_ERROR": full},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    told = "step=7 has no checkpoint in model=demo: the nearest are 4 and 8"
    if full == "1":
        assert "Traceback" in done.stderr
        assert done.stderr.splitlines()[-1] == f"foundation.errors.UserError: {told}"
    else:
        assert done.stderr == f"error: {told}\n"
    assert not place.run.exists()
