"""README, CONTRIBUTING and docs/: every command, link, setting, file and piece of code in them is what it says."""

import argparse
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch.distributed.run import get_args_parser

import corpus
import eval.evaluation as evaluation
import training
from conf.arguments import CONF, check_arguments
from conf.compose import configure, jobs
from conf.finding import check_start
from conf.reference import reference
from conftest import invented_sentences
from foundation import UserError
from perf.documented import (
    PLACEHOLDER,
    ROOT,
    as_known,
    code_and_prose,
    commands_of,
    documented_commands,
    files_of,
    pages,
    split,
)
from reports.published_evidence import evidence

COMMANDS = list({command.arguments: command for command in reversed(documented_commands())}.values())[::-1]
PAGES = {str(page.relative_to(ROOT)): page.read_text("utf-8") for page in pages()}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
PACKAGES = {"conf", "corpus", "eval", "foundation", "interventions", "perf", "reports", "tools", "training"}
FILES = {".py", ".md", ".yaml", ".csv", ".json", ".jsonl", ".parquet", ".html", ".svg", ".toml", ".cff"}
LAUNCHERS = {"joblib": "joblib", "submitit_slurm": "slurm"}  # which extra has Hydra's launcher of that name


class Reached(Exception):
    """A command has understood its arguments and would begin its work."""


def check_run(arguments):
    """Compose what `python run.py` is told, job by job, and ask whether its model has the checkpoints."""
    options = [word for word in arguments if word.startswith("-")]
    assert options in ([], ["-m"], ["--cfg", "--resolve"]), options
    overrides = [word for word in arguments if word not in (*options, "job")]
    overrides = as_known(overrides)
    if launchers := [word.partition("=")[2] for word in overrides if word.startswith("hydra/launcher=")]:
        assert LAUNCHERS[launchers[0]] in EXTRAS
        overrides = [word for word in overrides if not word.startswith(("hydra/launcher=", "hydra.launcher."))]
    check_arguments(overrides)
    for job in jobs(overrides):
        config = configure(job)
        if not any(PLACEHOLDER.fullmatch(word) for word in job):
            check_start(config)


def check_module(name, arguments, monkeypatch, tmp_path):
    """Call the command's own main up to where it has composed or parsed what it is told."""
    is_package = (ROOT / name.replace(".", "/")).is_dir()
    module = importlib.import_module(f"{name}.__main__" if is_package else name)

    def parsed(parser, *_):
        original(parser, arguments)
        raise Reached

    def composed(overrides):
        check_start(configure(as_known(overrides)))
        raise Reached

    original = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    monkeypatch.chdir(tmp_path)
    if name.split(".")[0] != "perf":
        monkeypatch.setattr(module, "configure", composed, raising=False)
    takes_arguments = module.main.__code__.co_argcount
    try:
        module.main(arguments) if takes_arguments else module.main()
    except Reached:
        return
    except (UserError, SystemExit) as error:
        named = [word for word in arguments if PLACEHOLDER.fullmatch(word) or word.startswith("my_")]
        assert any(word.partition("=")[2] in str(error) for word in named), f"{error}; {named}"


def read(file):
    return (ROOT / file).read_text("utf-8")


def check_command(words, monkeypatch, tmp_path):
    program, *arguments = words
    if program == "python" and arguments[0] == "run.py":
        check_run(arguments[1:])
    elif program == "python" and arguments[0] == "-m" and len(arguments) > 1:
        name = arguments[1]
        assert (ROOT / name.replace(".", "/")).with_suffix(".py").exists() or (ROOT / name.replace(".", "/")).is_dir()
        if len(arguments) > 2 or name.startswith("perf."):
            check_module(name, arguments[2:], monkeypatch, tmp_path)
    elif program == "torchrun":
        known, rest = get_args_parser().parse_known_args(arguments)
        assert (known.training_script, rest) == ("run.py", [])
        check_run(known.training_script_args)
    elif program == "srun":
        *_, shell, option, script = arguments
        assert (shell, option) == ("bash", "-c")
        for inner in split(script):
            check_command([re.sub(r"\$\w+", "1", word) for word in inner], monkeypatch, tmp_path)
    elif program == "pip":
        install, editable, what = arguments
        assert (install, editable) == ("install", "-e")
        extras = re.fullmatch(r"\.(?:\[([\w,]+)\])?", what)[1] or ""
        assert set(filter(None, extras.split(","))) <= set(EXTRAS)
    elif program == "pytest":
        options = argparse.ArgumentParser()
        options.add_argument("-n", type=int)
        options.add_argument("--dist", choices=["loadfile"])
        options.add_argument("-k", default="")
        options.add_argument("-q", action="store_true")
        options.add_argument("files", nargs="*")
        given = options.parse_args(arguments)
        assert all(re.search(rf"def test_\w*{given.k}", text) for text in map(read, given.files))
    elif program == "ruff":
        assert arguments in (["check", "."], ["format", "."], ["format", "--check", "."])
    else:
        assert program in ("mypy", ".ci/run"), f"nothing knows how to check {' '.join(words)}"
        assert not arguments
        assert program == "mypy" or (ROOT / program).is_file()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.page}:{command.line} {command}"[:90])
def test_a_command_in_the_text_says_what_the_kit_understands(command, monkeypatch, tmp_path):
    check_command(command.arguments, monkeypatch, tmp_path)


FILES_OF_THE_TUTORIAL = files_of(PAGES["docs/tutorial.md"])


def test_the_tutorials_file_and_yaml_are_all_that_an_intervention_of_ones_own_needs(tmp_path, workshop):
    clone = tmp_path / "clone"
    for name in ("conf", "corpus", "eval", "foundation", "interventions", "reports", "training"):
        shutil.copytree(ROOT / name, clone / name)
    shutil.copy(ROOT / "run.py", clone)
    for path, (_, content) in FILES_OF_THE_TUTORIAL.items():
        (clone / path).write_text(content)
    arguments = [
        "intervention=subject_only",
        "experiment=smoke",
        "control=none",
        f"corpus.text={workshop / 'text.txt'}",
    ]
    result = subprocess.run(
        [sys.executable, "run.py", *arguments, f"hydra.run.dir={tmp_path / 'run'}"],
        cwd=clone,
        env=os.environ | {"XDG_CACHE_HOME": str(workshop / "cache"), "PIP_NO_INDEX": "1", "PYTHONPATH": str(clone)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    told = json.loads((tmp_path / "run" / "run.json").read_text())["intervention"]
    assert (told["name"], told["expects"]) == ("subject_only", "rise")
    swaps = pd.read_parquet(tmp_path / "run" / "swaps.parquet")
    assert set(swaps["form"].str.lower()) == {"he"}
    assert swaps["swapped"].sum() > 0


def test_the_tutorials_lines_for_a_notebook_compare_the_cases(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for moment, gain in (("control", 0.0), ("after", 2.0)):
        rows = pd.DataFrame({"case": ["subject", "possessive"], "pronoun_gender": ["feminine", "masculine"]})
        rows["log_p_pronoun"], rows["log_p_counterpart"] = [gain - 3.0, -1.0], [-2.0, -2.0]
        path = tmp_path / "runs" / "subject_only" / "rows" / moment / "winobias.parquet"
        path.parent.mkdir(parents=True)
        rows.to_parquet(path)
    (code,) = re.findall(r"```python\n(import pandas.*?)```", PAGES["docs/tutorial.md"], re.DOTALL)
    names = {}
    exec(code, names)
    assert names["change"].to_dict() == {"possessive": 0.0, "subject": 2.0}


def flat(values, prefix=""):
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")


@pytest.fixture(scope="module")
def settings():
    """Every key of every choice of every group."""
    corpora = ["model=70m", "corpus=demo", "corpus=pile", "corpus=local", "corpus=pile_seed"]
    benchmarks = ",".join(path.stem for path in (CONF / "benchmark").glob("*.yaml"))
    found = {"hydra.run.dir", "hydra.sweep.dir", "hydra.mode", "hydra.sweeper.params", "hydra/launcher"}
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        for chosen in corpora:
            config = compose("config", overrides=[chosen, f"benchmark=[{benchmarks}]", "output_dir=''"])
            found |= set(flat(OmegaConf.to_container(config)))
    return found | {path.name for path in CONF.iterdir() if path.is_dir()}


def in_backticks(page):
    """What stands in backticks in sentences, line breaks within it as spaces."""
    prose = "\n".join(line for _, line, is_code in code_and_prose(PAGES[page]) if not is_code)
    return sorted({" ".join(found.split()) for found in re.findall(r"`([^`]+)`", prose)})


def names_something(dotted):
    """Whether it is a module of the kit or of what it stands on, or something in one."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part) and part not in getattr(found, "__annotations__", {}):
                return False
            found = getattr(found, part, None)
        return True
    return False


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_in_backticks_exists(page, settings):
    """As key=value by its name or its last part; in full where it begins as a setting or a package of the kit does."""
    own = {"rows", "out", "samples", "html", "positions", "tokenizer", "sequences"}  # of the commands beside run.py
    short = {setting.rpartition(".")[2] for setting in settings}
    roots = {setting.partition(".")[0] for setting in settings} | PACKAGES
    unknown = []
    for name in in_backticks(page):
        key, equals, value = name.partition("=")
        if equals and re.fullmatch(r"[a-z_]+([./][a-z_0-9]+)*", key) and value not in ("True", "False", "None"):
            known = settings if "." in key else settings | short | own
            unknown += [name] * (key not in known)
        elif re.fullmatch(r"[a-z_]+(\.[a-z_0-9A-Z]+)+", name) and name.partition(".")[0] in roots:
            is_known = Path(name).suffix in FILES or name in settings or names_something(name)
            unknown += [name] * (not is_known)
    assert not unknown


PACKAGES = {"conf", "corpus", "eval", "foundation", "interventions", "perf", "reports", "tools", "training"}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_in_backticks_exists_or_is_one_that_the_kit_writes(page):
    sources = "".join(path.read_text("utf-8") for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    missing = []
    for name in in_backticks(page):
        if not re.fullmatch(r"[\w./*+-]*\.[a-z]+", name) or Path(name).suffix not in FILES:
            continue
        there = [*ROOT.glob(name), *ROOT.glob(f"docs/{name}")] or name in FILES_OF_THE_TUTORIAL
        if not there and Path(name).name not in sources:
            missing.append(name)
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_there(page):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]) if "://" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path) if path else ROOT / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, link


def test_the_notebook_of_readme_runs(tmp_path, monkeypatch, tiny_model, tiny_tokenizer):
    """On invented text, a hole of the Pile's size, and forty prefixes in place of each benchmark."""
    lines = [
        line for _, line, is_code in code_and_prose(PAGES["README.md"].partition("## From a notebook")[2]) if is_code
    ]
    code = "\n".join(lines[: next(i for i, line in enumerate(lines) if line.startswith("run.py"))])
    text, pile = tmp_path / "text.txt", tmp_path / "pile.bin"
    text.write_text("\n".join(invented_sentences() * 26))
    with pile.open("wb") as file:
        file.truncate(133_001 * 1024 * 2049 * 2)
    real = {"build": corpus.build_corpus, "open": corpus.open_corpus, "benchmark": evaluation.load_benchmark}

    def build(source, *, vocab_size, row_tokens, seed):
        assert (source, vocab_size, row_tokens) == ("bug", 4096, 65)
        return real["build"](str(text), vocab_size=384, row_tokens=65, seed=seed)

    def open_(location):
        assert location.startswith("hf://datasets/EleutherAI/")
        return real["open"](pile)

    def load(place, *, step):
        assert (place, step) == ("my_run/checkpoints/intervened", 3200)
        return SimpleNamespace(model=tiny_model, tokenizer=tiny_tokenizer)

    def benchmark(name):
        assert name in evaluation.BENCHMARKS
        return real["benchmark"]("pronoun_prior")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(corpus, "build_corpus", build)
    monkeypatch.setattr(corpus, "open_corpus", open_)
    monkeypatch.setattr(training, "load_checkpoint", load)
    monkeypatch.setattr(evaluation, "load_benchmark", benchmark)
    names = {}
    exec(code, names)
    assert (names["batch"].shape, names["batch"].dtype) == ((1024, 2049), np.uint16)
    assert names["ledger"].counts["swapped"].sum() > 0
    assert names["swapped"].shape == (8, 65)
    assert names["tables"]


def test_a_command_goes_on_behind_a_backslash_ends_at_a_comment_and_is_found_in_a_sentence():
    text = """Say `python -m reports
my_run`, or:

    python run.py step=64 \\
        steps=8   # a short one
    rows/<moment>/x.parquet   no command
    pip install -e . && pytest -n 2
"""
    found = [(command.line, str(command)) for command in commands_of(text, "page")]
    assert found == [
        (1, "python -m reports my_run"),
        (4, "python run.py step=64 steps=8"),
        (7, "pip install -e ."),
        (7, "pytest -n 2"),
    ]


def test_the_page_of_settings_is_what_the_schema_gives():
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    assert page == reference(), "python -m conf.reference > docs/configuration.md"


def test_the_page_of_the_method_quotes_what_its_command_prints():
    assert f"```\n{evidence()}```" in PAGES["docs/method.md"], "python -m reports.published_evidence"


def test_every_setting_of_a_run_stands_on_the_page_of_settings(settings):
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    leaves = {key for key in settings if not any(other.startswith(f"{key}.") for other in settings)} - {"benchmark"}
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    told = re.findall(r"^\| `([\w./]+)` \|", page, re.MULTILINE)
    gone = {key for key in leaves - groups if key not in told and not key.startswith(("hydra.", "model.limits."))}
    assert gone == {"corpus._target_", "benchmarks.pronoun_prior"}
