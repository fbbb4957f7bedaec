import errno
import fcntl
import json
import os
import platform
import subprocess
import threading
from dataclasses import asdict, replace

import pytest

from foundation import LockHeldError, exclusive, locks
from foundation.locks import Holder

NO_LOCKS = ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EINVAL", "EBADF", "EIO"]


def without_locks(monkeypatch, failure="ENOSYS"):
    def flock(descriptor, operation):
        raise OSError(getattr(errno, failure), os.strerror(getattr(errno, failure)))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture(params=["with locks", *NO_LOCKS])
def place(request, tmp_path, monkeypatch):
    """A lock file on a file system with or without locks."""
    if request.param != "with locks":
        without_locks(monkeypatch, request.param)
    return tmp_path / "deep" / "rows.lock"


def held_elsewhere(path):
    """Whether another thread can have the lock at once."""
    answers = []

    def ask():
        try:
            with exclusive(path, wait=False):
                answers.append(False)
        except LockHeldError:
            answers.append(True)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return answers == [True]


def holder(**changes):
    """This process, as it writes itself down, but for `changes`."""
    me = Holder(platform.node(), locks._processes(), os.getpid(), locks._start_of(os.getpid()), "2026-01-02 03:04:05")
    return json.dumps(asdict(replace(me, **changes)))


def ended_process():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_lock_is_held_for_the_block_and_free_behind_it(place):
    for _ in range(2):
        with exclusive(place, wait=True):
            assert held_elsewhere(place)
        assert not held_elsewhere(place)
    assert [(path.name, path.read_bytes()) for path in place.parent.iterdir()] == [("rows.lock", b"")]


def test_a_lock_is_free_when_the_block_fails(place):
    with pytest.raises(RuntimeError), exclusive(place, wait=True):
        raise RuntimeError
    assert not held_elsewhere(place)


def test_of_many_threads_one_at_a_time_holds_the_lock(place, monkeypatch):
    monkeypatch.setattr("foundation.locks._POLL_S", 0.001)
    inside, most = [], []

    def work():
        for _ in range(5):
            with exclusive(place, wait=True):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20


def test_who_waits_is_told_again_and_again_for_whom(place, monkeypatch, caplog):
    for name in ("_TELL_AFTER_S", "_TELL_AGAIN_S", "_POLL_S"):
        monkeypatch.setattr(f"foundation.locks.{name}", 0.05)
    is_held, enough = threading.Event(), threading.Event()

    def hold():
        with exclusive(place, wait=True):
            is_held.set()
            enough.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait(20)
    threading.Timer(0.5, enough.set).start()
    with exclusive(place, wait=True):
        assert caplog.text.count(f"s so far, for process {os.getpid()} on {platform.node()}, since 2") >= 2
    thread.join()


@pytest.mark.parametrize("left", ["killed", "killed, and its number is another's", "not yet reaped"])
def test_the_lock_of_a_process_that_was_killed_is_taken_over(place, left):
    place.parent.mkdir()
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    record = {
        "killed": holder(pid=ended_process(), started="1"),
        "killed, and its number is another's": holder(started="1"),
        "not yet reaped": holder(pid=zombie.pid, started="1"),
    }[left]
    for name in ("rows.lock", "rows.lock.held"):
        (place.parent / name).write_text(record)
    with exclusive(place, wait=False):
        assert held_elsewhere(place)
    assert {path.name for path in place.parent.iterdir()} == {"rows.lock"} or place.read_text() == record
    zombie.wait()


@pytest.mark.parametrize(
    "record",
    [holder(processes="another"), holder(processes=None), "", "{", "[1]", '{"pid": 1}', holder(pid=0), holder(pid="x")],
    ids=["another machine", "no machine", "nothing", "torn", "no object", "half", "pid 0", "pid x"],
)
def test_a_lock_of_another_machine_or_of_nobody_known_is_heeded_and_the_file_to_remove_is_told(place, record):
    place.parent.mkdir()
    marker = place.parent / "rows.lock.held"
    marker.write_text(record)
    with pytest.raises(LockHeldError, match=f"remove {marker} if it no longer runs"), exclusive(place, wait=False):
        pass
    marker.unlink()  # the remedy
    assert not held_elsewhere(place)


@pytest.mark.parametrize("failure", NO_LOCKS)
@pytest.mark.parametrize("left", ["", holder(pid=ended_process(), started="1")])
def test_what_a_machine_with_locks_left_is_no_lock_to_one_without(tmp_path, monkeypatch, failure, left):
    (tmp_path / "rows.lock").write_text(left)
    without_locks(monkeypatch, failure)
    assert not held_elsewhere(tmp_path / "rows.lock")


def test_machines_with_and_without_locks_exclude_each_other(tmp_path, monkeypatch):
    path = tmp_path / "rows.lock"
    with exclusive(path, wait=True), monkeypatch.context() as patch:
        without_locks(patch)
        assert held_elsewhere(path)
    with monkeypatch.context() as patch:
        without_locks(patch)
        lock = exclusive(path, wait=True)
        lock.__enter__()
    assert held_elsewhere(path)
    lock.__exit__(None, None, None)
    assert not held_elsewhere(path)


def test_a_killed_process_of_another_machine_with_locks_blocks_one_without_until_its_file_is_removed(
    tmp_path, monkeypatch
):
    path = tmp_path / "rows.lock"
    path.write_text(holder(processes="another"))
    assert not held_elsewhere(path)  # where there are locks, they end with their holder
    path.write_text(holder(processes="another"))
    without_locks(monkeypatch)
    with pytest.raises(LockHeldError, match=f"remove {path} if it no longer runs"), exclusive(path, wait=False):
        pass
    path.unlink()
    assert not held_elsewhere(path)


@pytest.mark.parametrize("failure", [errno.ESTALE])
def test_a_lock_file_that_another_machine_replaces_is_looked_at_again(tmp_path, monkeypatch, failure):
    opened, failures = os.open, [failure] * 3

    def flaky(path, *arguments, **options):
        if failures and str(path).endswith("rows.lock"):
            raise OSError(failures.pop(), "Stale file handle", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", flaky)
    with exclusive(tmp_path / "rows.lock", wait=True):
        assert failures == []


def test_on_a_full_disk_a_lock_of_the_operating_system_is_held_without_its_record(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with exclusive(tmp_path / "rows.lock", wait=False):
        assert held_elsewhere(tmp_path / "rows.lock")


def test_on_a_full_disk_without_locks_nothing_is_left(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    without_locks(monkeypatch)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(os, "write", full)
        with exclusive(tmp_path / "rows.lock", wait=False):
            pass
    assert not (tmp_path / "rows.lock.held").exists()


def test_a_lock_file_of_another_user_that_can_only_be_read_is_locked(tmp_path, monkeypatch):
    opened = os.open

    def readable(path, flags, *arguments, **options):
        if str(path).endswith("rows.lock") and flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, flags, *arguments, **options)

    (tmp_path / "rows.lock").touch()
    monkeypatch.setattr(os, "open", readable)
    with exclusive(tmp_path / "rows.lock", wait=False):
        assert held_elsewhere(tmp_path / "rows.lock")
