import os
import signal
import subprocess
import sys
import threading

import filelock
import pytest

from foundation import (
    atomic_directory,
    atomic_file,
    exclusive,
    remove_directory,
    remove_leftovers,
    sha256_of_file,
    write_bytes,
    write_text,
)


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


def test_a_lock_that_is_held_elsewhere_is_refused_or_waited_for(tmp_path):
    held, release = threading.Event(), threading.Event()

    def hold():
        with exclusive(tmp_path / "lock", wait=True):
            held.set()
            release.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    with pytest.raises(filelock.Timeout), exclusive(tmp_path / "lock", wait=False):
        pass
    release.set()
    with exclusive(tmp_path / "lock", wait=True):
        pass
    holder.join()


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_who_waits_for_a_stopped_process_says_so_again_and_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("foundation.files._TELL_AFTER_S", 0.05)
    held, told = threading.Event(), threading.Event()

    def hold():
        with exclusive(tmp_path / "lock", wait=True):
            held.set()
            told.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    threading.Timer(0.3, told.set).start()
    with exclusive(tmp_path / "lock", wait=True):
        assert caplog.text.count("still waiting for the process that holds") >= 2
    holder.join()
