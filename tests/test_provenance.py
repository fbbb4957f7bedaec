"""Where numbers come from: the code's own clone, and never another's."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from reports.provenance import PACKAGES, git_state, provenance

git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git on the PATH")


def run_git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    run_git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("a = 1\n")
    run_git(tmp_path, "add", "code.py")
    run_git(tmp_path, "commit", "--quiet", "-m", "one")
    return tmp_path


@git
def test_a_clean_clone_gives_its_commit(clone: Path) -> None:
    assert git_state(clone) == {"commit": run_git(clone, "rev-parse", "HEAD"), "dirty": False}


@git
@pytest.mark.parametrize("file", ["code.py", "new.py"])
def test_a_changed_or_a_new_file_makes_a_clone_dirty(clone: Path, file: str) -> None:
    (clone / file).write_text("a = 2\n")
    assert git_state(clone)["dirty"] is True


@git
def test_the_commit_of_a_repository_around_the_code_is_not_its_own(clone: Path) -> None:
    installed = clone / "site-packages"
    installed.mkdir()
    assert git_state(installed) == {"commit": None, "dirty": None}


def test_outside_a_clone_nothing_is_known(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {"commit": None, "dirty": None}


def test_without_git_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) == {"commit": None, "dirty": None}


def test_provenance_is_json_and_names_versions_and_machine() -> None:
    found = json.loads(json.dumps(provenance(), allow_nan=False))
    assert found["packages"].keys() == set(PACKAGES)
    assert found["packages"]["numpy"] == np.__version__
    assert found["hardware"]["cpu"]
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["torch_threads"] >= 1
