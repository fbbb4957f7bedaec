"""A small part of what `python tests/corruptions.py` does, and that it notices what it looks for."""

import collections
from pathlib import Path

import numpy as np
import pytest

from corruptions import TARGETS, WAYS, Corruption, Lost, Target, corrupt, outcome, prepared, read_sources, trial
from foundation import UserError

COUNT = 40
NOT_OF_THIS_MACHINE = "benchmarks in the cache"


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_of_every_kind_leave_the_numbers_as_they_were_or_are_refused_by_name(tmp_path):
    expected, left_out = prepared(tmp_path, [name for name in TARGETS if name != NOT_OF_THIS_MACHINE])
    assert not left_out
    verdicts = collections.Counter(trial(tmp_path, number, 0, expected)[1] for number in range(COUNT))
    assert verdicts["same"] + verdicts["refused"] + verdicts["unknowable"] == COUNT
    assert verdicts["same"] > 5
    assert verdicts["refused"] > 15


def test_benchmarks_are_read_from_the_cache_alone(tmp_path):
    with pytest.raises(UserError, match=r"winobias.* cannot be fetched, and .* is not in the cache: "):
        read_sources(tmp_path)


def read_text(place: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in place.iterdir()}


def failing(error):
    def read(place):
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "unrecorded", "expected"),
    [
        (lambda place: {"number": "1"}, (), "same"),
        (lambda place: {"number": "2"}, (".txt",), "unknowable"),
        (lambda place: {"number": "2"}, (".bin",), "changes number"),
        (failing(UserError("a.txt is damaged; fetch it again")), (), "refused"),
        (failing(UserError("it is damaged; fetch it again")), (), "without its name"),
        (failing(UserError("a.txt is damaged;\nfetch it again")), (), "in several lines"),
        (failing(KeyError("sha256")), (".txt",), "ends in KeyError"),
        (failing(FileNotFoundError("a.txt")), (), "ends in FileNotFoundError"),
    ],
)
def test_what_comes_of_a_corruption_is_judged(tmp_path, read, unrecorded, expected):
    (tmp_path / "a.txt").write_text("content")
    target = Target("a text", lambda place: None, read, unrecorded)
    corruption = Corruption("a text", ("a.txt",), "flip")
    if " " not in expected:
        assert outcome(tmp_path, corruption, target, {"number": "1"}) == expected
    else:
        with pytest.raises(Lost, match=expected):
            outcome(tmp_path, corruption, target, {"number": "1"})


def test_every_way_damages_what_it_says_it_does(tmp_path):
    target, seen = Target("two texts", lambda place: None, read_text), set()
    for seed in range(60):
        whole = {"a.txt": "1234567890", "b.txt": "abcdefghij"}
        for path in tmp_path.iterdir():
            path.unlink()
        for name, content in whole.items():
            (tmp_path / name).write_text(content)
        corruption = corrupt(tmp_path, target, np.random.default_rng(seed))
        found = {path.name: path.read_bytes().decode("latin-1") for path in tmp_path.iterdir()}
        changed = sorted(name for name in whole if found.get(name) != whole[name])
        assert changed == sorted(corruption.files)
        seen.add(corruption.way)
    assert seen == set(WAYS)
