"""The hub's cache, which the kit shares with other programs and with itself."""

import errno
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from huggingface_hub import constants, snapshot_download, try_to_load_from_cache

from corpus.remote import BlockStore, RemoteFiles, remote_place
from foundation import UserError
from foundation.hub import Repository, fetch_files, forget_listings, left_bytes, list_files
from foundation.web import OutOfReach
from range_server import RangeServer, be_impatient, be_the_hub

NAME = "owner/model"
FILES = {"config.json": b"{}", "model.safetensors": b"weights " * 40_000}


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    be_impatient(monkeypatch, tries=3, first_contact_tries=2)
    with RangeServer({}) as server:
        be_the_hub(monkeypatch, server.url)
        yield server


def fetch(revision, names=tuple(FILES)):
    forget_listings()
    repository = Repository(NAME)
    listing = list_files(repository, revision)
    return fetch_files(repository, listing, names, where=f"{NAME}@{revision}", progress=False)


def cached(revision, name="config.json"):
    return try_to_load_from_cache(NAME, name, cache_dir=constants.HF_HUB_CACHE, revision=revision)


@pytest.mark.parametrize("revision", ["step8", "main", "refs/convert/parquet"])
def test_other_programs_find_what_was_fetched_by_its_branch(hub, revision):
    commit = hub.publish_model(NAME, revision, FILES)
    directory = fetch(revision)
    assert cached(revision) == cached(commit) == str(directory / "config.json")
    found = snapshot_download(NAME, revision=revision, cache_dir=constants.HF_HUB_CACHE, local_files_only=True)
    assert Path(found) == directory


def test_a_branch_that_has_moved_is_noted_when_the_hub_says_so_and_not_before(hub, monkeypatch):
    hub.publish_model(NAME, "main", FILES)
    old = fetch("main")
    moved = FILES | {"config.json": b'{"a": 1}'}
    hub.publish_model(NAME, "main", moved)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert fetch("main") == old == Path(cached("main")).parent
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert fetch("main") == Path(cached("main")).parent != old


def test_a_disk_without_links_holds_each_file_once(hub, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    hub.publish_model(NAME, "step8", FILES)
    monkeypatch.setattr("pathlib.Path.symlink_to", refuse)
    directory = fetch("step8")
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == FILES
    assert not list(directory.parents[1].glob("blobs/*"))
    asked = len(hub.log.ranges)
    assert fetch("step8") == directory
    assert len(hub.log.ranges) == asked


def test_what_came_of_a_file_needs_no_more_room(hub, monkeypatch):
    hub.publish_model(NAME, "step8", FILES)
    repository = Repository(NAME)
    listing = list_files(repository, "step8")
    blob = repository.folder / "blobs" / f"{listing.files['model.safetensors'].sha256}.partial"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(FILES["model.safetensors"][:-1000])
    assert left_bytes(repository, listing, ["model.safetensors"]) == 1000
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=2000))
    assert (fetch("step8") / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=10))
    hub.publish_model(NAME, "step16", {"config.json": b"{ }" * 10})
    with pytest.raises(UserError, match="takes 30 bytes, but 10 bytes are free"):
        fetch("step16", ["config.json"])


def test_a_full_disk_names_the_place(hub):
    hub.publish_model(NAME, "step8", FILES)
    repository = Repository(NAME)
    sha256 = list_files(repository, "step8").files["model.safetensors"].sha256
    partial = repository.folder / "blobs" / f"{sha256}.partial"
    partial.parent.mkdir(parents=True)
    partial.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: .*\.partial") as error:
        fetch("step8")
    assert error.value.errno == errno.ENOSPC


def test_files_without_a_hash_are_not_taken_for_those_of_another_revision(hub):
    for step, text in (("step8", b"one"), ("step16", b"two")):
        commit = hub.publish_model(NAME, step, {"model.safetensors": text}, hashed=False)
        for revision in (step, commit):
            hub.documents[f"/api/models/{NAME}/revision/{revision}"][2]["siblings"][0]["blobId"] = None
    read = {
        step: (fetch(step, ["model.safetensors"]) / "model.safetensors").read_bytes() for step in ("step8", "step16")
    }
    assert read == {"step8": b"one", "step16": b"two"}


def test_who_fetches_waits_for_another_program_that_fetches_the_same_file(hub):
    hub.publish_model(NAME, "step8", FILES)
    repository = Repository(NAME)
    blob = list_files(repository, "step8").files["config.json"].blob
    lock = Path(constants.HF_HUB_CACHE, ".locks", repository.folder.name, f"{blob}.lock")
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        thread = threading.Thread(target=fetch, args=("step8", ["config.json"]))
        thread.start()
        time.sleep(0.3)
        assert thread.is_alive() and not hub.log.ranges
    thread.join(10)
    assert Path(cached("step8")).read_bytes() == b"{}"


def test_rows_that_are_not_here_are_not_asked_for_where_that_is_forbidden(hub, monkeypatch, tmp_path):
    content = bytes(range(250)) * 400
    hub.publish_tables("owner/rows", {"document-00000-of-00000.bin": content})

    def read(start):
        forget_listings()
        place = remote_place("hf://datasets/owner/rows", revision=None)
        store = BlockStore(tmp_path / "blocks", max_bytes=1 << 30)
        into = bytearray(100)
        RemoteFiles(place, store, block_bytes=1 << 12, request_bytes=1 << 14).read(start, memoryview(into))
        return bytes(into)

    assert read(0) == content[:100]
    asked = len(hub.log.ranges)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert read(0) == content[:100]
    with pytest.raises(OutOfReach, match=r"HF_HUB_OFFLINE is set; unset it .* \(python -m corpus.fetch\)"):
        read(60_000)
    assert len(hub.log.ranges) == asked
