import errno
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from foundation import (
    atomic_directory,
    atomic_file,
    remove_directory,
    remove_leftovers,
    remove_unfinished,
    sha256_of_file,
    write_bytes,
    write_text,
)
from foundation.files import _tell_of_no_flush


def test_a_written_file_holds_its_text_and_leaves_nothing_beside_it(tmp_path):
    write_text(tmp_path / "deep" / "note.txt", "naïve\n")
    assert (tmp_path / "deep" / "note.txt").read_bytes() == "naïve\n".encode()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["note.txt"]


def test_a_writer_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path):
    write_bytes(tmp_path / "value", b"old")
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "value") as aside:
        aside.write_bytes(b"half")
        raise RuntimeError
    assert (tmp_path / "value").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_directory_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "step1"
    with atomic_directory(target) as aside:
        (aside / "sub").mkdir()
        (aside / "sub" / "weights").write_bytes(b"w")
        assert not target.exists()
    assert (target / "sub" / "weights").read_bytes() == b"w"
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "step2") as aside:
        (aside / "weights").write_bytes(b"w")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["step1"]


def test_a_directory_that_exists_is_not_overwritten(tmp_path):
    (tmp_path / "step1").mkdir()
    with pytest.raises(FileExistsError), atomic_directory(tmp_path / "step1"):
        pass


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    script = (
        "import pathlib, os, signal, sys\n"
        "from foundation import atomic_directory\n"
        "with atomic_directory(pathlib.Path(sys.argv[1]) / 'checkpoints' / 'step1') as aside:\n"
        "    (aside / 'weights').write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    (tmp_path / "kept").write_bytes(b"kept")
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env={**os.environ, "PYTHONPATH": "."})
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    remove_leftovers(tmp_path)
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert (tmp_path / "kept").exists()


def test_a_removed_directory_is_gone_at_once(tmp_path):
    (tmp_path / "step1").mkdir()
    (tmp_path / "step1" / "weights").write_bytes(b"w")
    remove_directory(tmp_path / "step1")
    assert list(tmp_path.iterdir()) == []


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("failure", ["EINVAL", "ENOSYS", "EOPNOTSUPP", "EBADF", "EACCES", "EPERM"])
def test_files_are_written_where_the_file_system_cannot_flush_a_directory(tmp_path, monkeypatch, kind, failure):
    broken_flush(monkeypatch, failure, of=stat.S_ISDIR)
    if kind == "file":
        write_text(tmp_path / "note", "text")
        assert (tmp_path / "note").read_text() == "text"
    else:
        with atomic_directory(tmp_path / "step1") as aside:
            (aside / "weights").write_bytes(b"w")
        assert (tmp_path / "step1" / "weights").read_bytes() == b"w"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("failure", ["EINVAL", "ENOSYS"])
def test_files_are_written_where_the_file_system_cannot_flush_at_all(tmp_path, monkeypatch, caplog, failure):
    caplog.set_level("INFO")
    _tell_of_no_flush.cache_clear()
    broken_flush(monkeypatch, failure, of=lambda mode: True)
    write_text(tmp_path / "note", "text")
    write_text(tmp_path / "other", "text")
    assert (tmp_path / "note").read_text() == "text"
    assert caplog.text.count("a power cut may undo what is written") == 1


@pytest.mark.parametrize("failure", ["EIO", "ENOSPC", "EDQUOT", "ESTALE"])
@pytest.mark.parametrize("of", [stat.S_ISDIR, stat.S_ISREG])
def test_a_flush_that_fails_fails_the_writer(tmp_path, monkeypatch, failure, of):
    broken_flush(monkeypatch, failure, of=of)
    with pytest.raises(OSError, match=re.escape(os.strerror(getattr(errno, failure)))):
        write_text(tmp_path / "note", "text")


def broken_flush(monkeypatch, failure, *, of):
    flush = os.fsync

    def fsync(descriptor):
        if of(os.fstat(descriptor).st_mode):
            raise OSError(getattr(errno, failure), os.strerror(getattr(errno, failure)))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_directory_that_cannot_be_renamed_is_removed_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "step1" / "deep").mkdir(parents=True)
    (tmp_path / "step1" / "deep" / "weights").write_bytes(b"w")
    monkeypatch.setattr(Path, "rename", raising(errno.EXDEV))  # as of a directory of a container's image
    remove_directory(tmp_path / "step1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [errno.EXDEV, errno.EPERM, errno.EBUSY])
def test_a_rename_that_is_refused_leaves_nothing_and_names_the_file(tmp_path, monkeypatch, failure):
    monkeypatch.setattr(Path, "replace", raising(failure))
    with pytest.raises(OSError, match="note") as refused:
        write_text(tmp_path / "note", "text")
    assert (refused.value.errno, refused.value.filename) == (failure, str(tmp_path / "note"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [errno.ENOTEMPTY, errno.EBUSY, errno.ESTALE])
def test_what_a_network_file_system_keeps_of_a_removed_directory_stays_for_the_next_start(
    tmp_path, monkeypatch, caplog, failure
):
    (tmp_path / "step1").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", raising(failure))
        remove_directory(tmp_path / "step1")
    assert not (tmp_path / "step1").exists()
    assert "is still in use, and removed at the next start" in caplog.text
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def raising(number):
    def fail(place, *_):
        raise OSError(number, os.strerror(number), str(place))

    return fail


def test_what_killed_writers_of_a_name_with_brackets_left_is_removed(tmp_path):
    for name in ("a[b]*.block", "ab.block"):
        (tmp_path / f".aside-{name}-123").write_bytes(b"half")
    remove_unfinished(tmp_path / "a[b]*.block")
    assert [path.name for path in tmp_path.iterdir()] == [".aside-ab.block-123"]
