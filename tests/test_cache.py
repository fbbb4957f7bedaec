import errno
import os
import stat
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from corpus import build_corpus
from corpus.remote.blocks import Block, BlockStore
from foundation import SOURCES, Source, UserError, cache_directory, fetch, file_errors_for_users, remember
from foundation.cache import _stand_in
from foundation.temporary import provide_temporary_files, temporary_directory
from training.weights import remembered_sha256

READ_ONLY = [errno.EROFS, errno.EACCES, errno.EPERM]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Of a user who has set nothing."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "homes" / "me"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    for name in ("homes", "temporary"):
        (tmp_path / name).mkdir()
    _stand_in.cache_clear()
    yield tmp_path / "homes" / "me"
    _stand_in.cache_clear()


def make_read_only(monkeypatch, directory, number=errno.EROFS):
    """Nothing can be made below `directory` any more, whoever the user is."""

    def refusing(function):
        def refuse(path, *arguments, **options):
            harmless = function is os_open and not arguments[0] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            harmless |= function is os_mkdir and Path(path).exists()
            if isinstance(path, str | Path) and Path(path).is_relative_to(directory) and not harmless:
                raise OSError(number, os.strerror(number), str(path))
            return function(path, *arguments, **options)

        return refuse

    os_open, os_mkdir, os_access = os.open, os.mkdir, os.access
    for name in ("open", "mkdir", "rename", "replace", "unlink", "utime", "rmdir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    monkeypatch.setattr(
        os, "access", lambda path, mode: not Path(path).is_relative_to(directory) and os_access(path, mode)
    )
    io_open = Path.open

    def open_path(path, mode="r", *arguments, **options):
        if Path(path).is_relative_to(directory) and set(mode) & set("wax+"):
            raise OSError(number, os.strerror(number), str(path))
        return io_open(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_path)


def test_the_cache_is_the_users_and_not_made_before_it_is_needed(home):
    home.mkdir()
    assert cache_directory() == home / ".cache" / "pythia-counterfactual"
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    "without", ["a home", "an absolute home", "a home that is there", "a home that can be written"]
)
def test_without_a_place_for_the_cache_one_for_temporary_files_takes_its_place_and_this_is_told(
    home, monkeypatch, caplog, tmp_path, without
):
    if without == "a home":  # as platformdirs says it
        monkeypatch.setattr(platformdirs, "user_cache_path", partial(_raise, RuntimeError("could not determine")))
    elif without == "an absolute home":  # as its earlier versions do
        monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: Path("~/.cache") / name)
    else:
        if without == "a home that can be written":
            home.mkdir()
        make_read_only(monkeypatch, home.parent, errno.EACCES)
    for _ in range(2):
        assert cache_directory().parent == Path(tempfile.gettempdir())
    assert caplog.text.count("takes its place, which may not last; set XDG_CACHE_HOME") == 1
    assert stat.S_IMODE(cache_directory().stat().st_mode) == 0o700


def _raise(error, *_):
    raise error


def test_a_cache_that_can_only_be_read_is_the_cache(home, monkeypatch):
    (home / ".cache" / "pythia-counterfactual").mkdir(parents=True)
    make_read_only(monkeypatch, home)
    assert cache_directory() == home / ".cache" / "pythia-counterfactual"


def test_a_place_for_temporary_files_that_others_can_write_to_is_refused(home):
    place = Path(tempfile.gettempdir()) / f"pythia-counterfactual-{os.getuid()}"
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(UserError, match="can be written by other users; set TMPDIR to a directory of your own"):
        temporary_directory()


def test_without_any_place_for_temporary_files_memory_is_taken_or_what_to_set_is_told(monkeypatch):
    missing = FileNotFoundError(errno.ENOENT, "No usable temporary directory found")
    monkeypatch.setenv("TMPDIR", "/nowhere")
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "gettempdir", partial(_raise, missing))
        patch.setattr(tempfile, "tempdir", None)
        provide_temporary_files()
        assert tempfile.tempdir == os.environ["TMPDIR"] == "/dev/shm"
        with pytest.raises(UserError, match="set TMPDIR, and XDG_CACHE_HOME where there is no home directory"):
            temporary_directory()


@pytest.mark.parametrize("number", READ_ONLY)
def test_what_is_only_remembered_is_left_out_of_a_cache_that_can_only_be_read(tmp_path, monkeypatch, number):
    weights = tmp_path / "weights"
    weights.write_bytes(b"abc")
    os.utime(weights, (0, 0))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_read_only(monkeypatch, tmp_path / "cache", number)
    remember(cache_directory() / "note.json", "{}")
    assert remembered_sha256(weights).startswith("ba7816bf")
    assert not (tmp_path / "cache").exists()


def test_what_is_remembered_is_not_left_out_for_another_reason(tmp_path, monkeypatch):
    make_read_only(monkeypatch, tmp_path, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        remember(tmp_path / "deep" / "note.json", "{}")


@pytest.mark.parametrize("number", READ_ONLY)
def test_a_cache_that_can_only_be_read_and_lacks_something_is_told_with_the_remedy(tmp_path, monkeypatch, number):
    text = tmp_path / "text.txt"
    text.write_text("the nurse said that she saw him .\n" * 200)
    build = partial(build_corpus, str(text), vocab_size=300, row_tokens=9, seed=1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    built = build()
    with monkeypatch.context() as patch:
        make_read_only(patch, tmp_path / "cache", number)
        assert np.array_equal(build().rows(0, 3), built.rows(0, 3))
        with (
            pytest.raises(UserError, match="written to: set XDG_CACHE_HOME to a directory that can be written"),
            file_errors_for_users(),
        ):
            build_corpus(str(text), vocab_size=300, row_tokens=9, seed=2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))  # the remedy
    build_corpus(str(text), vocab_size=300, row_tokens=9, seed=2)


def test_a_copy_of_a_source_that_is_cached_is_taken_from_a_cache_that_can_only_be_read(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    copy = tmp_path / "copy.txt"
    copy.write_bytes(b"one\n")
    known = {"sha256": "2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806"}
    monkeypatch.setitem(SOURCES, "ours", _source(**known))
    assert fetch("ours", path=copy).read_bytes() == b"one\n"
    make_read_only(monkeypatch, tmp_path / "cache")
    assert fetch("ours", path=copy).read_bytes() == fetch("ours").read_bytes() == b"one\n"


def _source(sha256):
    return Source(sha256=sha256, licence="MIT", package=None, member="copy.txt", url="https://example.org/copy.txt")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ESTALE, errno.ENOENT])
def test_a_block_is_read_whether_or_not_it_can_be_renewed(tmp_path, monkeypatch, number):
    store, block = BlockStore(tmp_path, max_bytes=100), Block("file", 0, 0, 3)
    store.put(block, b"abc")
    monkeypatch.setattr(os, "utime", partial(_raise, OSError(number, os.strerror(number))))
    store.renew(block)
    assert store.find(block).read_bytes()[:3] == b"abc"


def test_a_block_that_another_machine_replaces_meanwhile_is_fetched_again(tmp_path, monkeypatch):
    store, block = BlockStore(tmp_path, max_bytes=100), Block("file", 0, 0, 3)
    store.put(block, b"abc")
    monkeypatch.setattr(Path, "stat", partial(_raise, OSError(errno.ESTALE, "Stale file handle")))
    assert store.find(block) is None
