"""The hub and web servers, played by a server on this machine."""

import threading
import time

import numpy as np
import pytest

from corpus.remote.listing import FIRST_SHARD, remote_place
from foundation import UserError
from foundation.hub import forget_listings
from foundation.web import forget_hosts
from range_server import RangeServer, be_impatient, be_the_hub, in_shards

COMMIT, NEXT_COMMIT = "01234567" * 5, "f" * 40
REPOSITORY = "Somebody/a-preshuffled-corpus"
LOCATION = f"hf://datasets/{REPOSITORY}"
ROWS = np.random.default_rng(5).integers(0, 50277, (60, 9)).astype("<u2")


SHARDS = in_shards(ROWS.tobytes(), [401, 402, 277])
OTHERS = {"README.md": b"a corpus", "document.idx": b"an index that nobody needs"}


def publish(server, revision, commit, *, folder="", leave_out=()):
    """Let the hub answer for a revision; the hashes of the files are made of their sizes."""
    files = {
        folder + name: (len(content), f"{len(content):064d}")
        for name, content in {**SHARDS, **OTHERS}.items()
        if name not in leave_out
    }
    server.publish(REPOSITORY, commit, files, revisions=[revision])


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub with one dataset: shards, their index and a readme."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    be_impatient(monkeypatch, tries=2, first_contact_tries=2)
    files = {
        f"datasets/{REPOSITORY}/resolve/{commit}/{folder}{name}": content
        for name, content in SHARDS.items()
        for commit in (COMMIT, NEXT_COMMIT)
        for folder in ("", "in/")
    }
    with RangeServer(files) as server:
        publish(server, "main", COMMIT)
        be_the_hub(monkeypatch, server.url)
        yield server


def place_at(location=LOCATION, revision=None):
    """A place, in a process that has asked nobody yet."""
    forget_listings()
    forget_hosts()
    return remote_place(location, revision=revision)


def test_the_hub_is_asked_once_for_the_commit_the_sizes_and_the_hashes(hub):
    place = place_at()
    listing = place.listing()
    assert place.location == f"{LOCATION}@main"
    assert listing.revision == COMMIT
    assert [(file.name, file.size) for file in listing.files] == [(name, len(data)) for name, data in SHARDS.items()]
    assert listing.files[0].version == f"sha256:{401:064d}"
    assert place.listing() == listing
    assert len(hub.log.documents) == 1


def test_the_files_are_read_at_the_commit_not_at_the_branch(hub):
    place = place_at()
    listing = place.listing()
    publish(hub, "main", NEXT_COMMIT)
    found = b"".join(
        piece for file in listing.files for piece in place.client.stream(file.url, 0, file.size, size=file.size)
    )
    assert found == ROWS.tobytes()
    assert all(f"/resolve/{COMMIT}/" in path for path, *_ in hub.log.ranges)


@pytest.mark.parametrize("failing", [429, 502, 0])
@pytest.mark.parametrize("storage_failing", [400, 403, 404, 503, 0])
def test_rows_come_from_a_storage_that_refuses_at_first_and_never_sees_the_token(
    hub, monkeypatch, failing, storage_failing
):
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_user")
    be_impatient(monkeypatch)
    hub.failing, hub.storage_failing = [failing], [storage_failing]
    place = place_at()
    file = place.listing().files[1]
    assert b"".join(place.client.stream(file.url, 100, 300, size=file.size)) == ROWS.tobytes()[501:701]
    assert hub.log.bytes_sent == 200
    assert [headers["Authorization"] for headers in hub.log.headers] == ["Bearer hf_of_a_user"] * 2
    assert [headers["Range"] for headers in hub.log.storage_headers] == ["bytes=100-299"] * 2
    assert not any("Authorization" in headers for headers in hub.log.storage_headers)


def test_a_commit_that_was_listed_before_needs_no_hub(hub):
    listing = place_at().listing()
    hub.go_away()
    assert place_at(revision=COMMIT).listing() == listing
    assert place_at(f"{LOCATION}@{COMMIT}").listing() == listing


def test_a_branch_is_asked_for_again(hub):
    place_at().listing()
    publish(hub, "main", NEXT_COMMIT)
    assert place_at().listing().revision == NEXT_COMMIT


def test_the_same_file_at_another_commit_is_the_same_content(hub):
    first = place_at().listing()
    publish(hub, "main", NEXT_COMMIT)
    second = place_at().listing()
    assert [file.content for file in first.files] == [file.content for file in second.files]
    assert [file.url for file in first.files] != [file.url for file in second.files]


def test_shards_may_lie_in_a_folder_of_the_repository(hub):
    publish(hub, "main", COMMIT, folder="in/")
    by_folder = place_at(f"{LOCATION}/in").listing()
    by_shard = place_at(f"{LOCATION}/in/document-00001-of-00002.bin").listing()
    assert by_folder.files == by_shard.files
    assert [file.name for file in by_folder.files] == [f"in/{name}" for name in SHARDS]


def test_a_missing_shard_is_named(hub):
    publish(hub, "main", COMMIT, leave_out=["document-00002-of-00002.bin"])
    with pytest.raises(UserError, match=r"holds 2 of 3 shards, document-00002-of-00002\.bin is not among them"):
        place_at().listing()


@pytest.mark.parametrize(
    ("code", "said", "message"),
    [
        (404, "RevisionNotFound", "has no revision main; check corpus.revision"),
        (401, "RepoNotFound", "the hub has no dataset Somebody/a-preshuffled-corpus, or it is private"),
        (404, "", "cannot be reached .it answered 404, and not for a reason of the hub's: check HF_TOKEN"),
        (403, "", "cannot be reached .it answered 403, and not for a reason of the hub's: check HF_TOKEN"),
        (403, "GatedRepo", "asks for a consent"),
        (418, "", "cannot be reached .*it answered 418"),
        (500, "", r"cannot be reached .*failed 2 times in a row \(last: the server answered 500\)"),
    ],
)
def test_what_the_hub_refuses_ends_in_one_line_with_the_remedy(hub, code, said, message):
    hub.documents[f"/api/datasets/{REPOSITORY}/revision/main"] = (code, {"X-Error-Code": said}, {"error": "no"})
    with pytest.raises(UserError, match=message):
        place_at().listing()


def test_a_hub_that_is_busy_is_asked_again_when_it_says(hub):
    path = f"/api/datasets/{REPOSITORY}/revision/main"
    right = hub.documents[path]
    hub.documents[path] = (429, {"Retry-After": "1"}, {"error": "slow down"})
    threading.Timer(0.5, lambda: hub.documents.update({path: right})).start()
    started = time.monotonic()
    assert place_at().listing().revision == COMMIT
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("status", [502, 503, 408, 0])
def test_a_hub_that_fails_once_is_asked_again_soon_though_its_limit_begins_anew_in_minutes(hub, status):
    """It tells of the limit in every answer."""
    hub.failing = [status]
    started = time.monotonic()
    assert place_at().listing().revision == COMMIT
    assert time.monotonic() - started < 5
    assert [found for _, found in hub.log.failed] == [status]


def test_something_else_that_answers_for_the_hub_is_told(hub):
    hub.documents[f"/api/datasets/{REPOSITORY}/revision/main"] = (200, {}, ["log in to this hotel's network"])
    with pytest.raises(UserError, match="cannot be reached"):
        place_at().listing()


def test_a_listing_of_one_hub_is_never_used_for_another(hub, monkeypatch):
    """Its addresses are of the first, and the token would go there."""
    place_at().listing()
    with RangeServer({}) as other:
        publish(other, COMMIT, COMMIT)
        be_the_hub(monkeypatch, other.url)
        assert all(file.url.startswith(other.url) for file in place_at(revision=COMMIT).listing().files)


def test_a_hub_that_is_not_there_ends_in_one_line_with_the_remedies(hub):
    hub.go_away()
    with pytest.raises(
        UserError,
        match=r"cannot be reached .*; check the network, .* corpus\.fetch\), or set corpus.location to a local",
    ):
        place_at().listing()


@pytest.mark.parametrize("how", ["gone", "offline", "busy", "behind a proxy"])
def test_without_the_hub_a_branch_is_what_it_was_when_it_was_listed(hub, monkeypatch, caplog, how):
    listing = place_at().listing()
    if how == "gone":
        hub.go_away()
    elif how == "offline":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    else:
        answer = (503, {}, {"error": "later"}) if how == "busy" else (403, {}, {"blocked": "by your institute"})
        hub.documents[f"/api/datasets/{REPOSITORY}/revision/main"] = answer
    with caplog.at_level("WARNING"):
        assert place_at().listing() == listing
    assert not caplog.messages


def test_offline_what_was_never_listed_is_refused(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        place_at().listing()


@pytest.mark.parametrize(
    ("page", "location"),
    [
        ("https://huggingface.co/datasets/{}", "hf://datasets/{}@main"),
        ("https://huggingface.co/datasets/{}/", "hf://datasets/{}@main"),
        ("https://hf.co/datasets/{}/tree/main", "hf://datasets/{}@main"),
        ("https://huggingface.co/datasets/{}/tree/v1.0/in", "hf://datasets/{}@v1.0/in"),
        ("https://huggingface.co/datasets/{}/resolve/main/a-00000-of-00001.bin?download=true", None),
        ("https://huggingface.co/datasets/{}/blob/main/a-00000-of-00001.bin", None),
    ],
)
def test_the_address_of_a_page_of_the_hub_is_the_dataset(page, location):
    found = place_at(page.format(REPOSITORY)).location
    assert found == (location or "hf://datasets/{}@main/a-00000-of-00001.bin").format(REPOSITORY)


def test_a_web_server_is_asked_for_the_size_of_every_shard(tmp_path):
    with RangeServer(SHARDS) as server:
        for name in SHARDS:
            place = remote_place(f"{server.url}/{name}", revision=None, listings=tmp_path)
            assert [(file.name, file.size) for file in place.listing().files] == [
                (name, len(content)) for name, content in SHARDS.items()
            ]
        assert len(server.log.heads) == 9
        assert not server.log.ranges


def test_a_directory_on_a_web_server_holds_shards_under_pythias_names(tmp_path):
    shards = in_shards(ROWS.tobytes(), [50] * 20 + [80])
    assert next(iter(shards)) == FIRST_SHARD
    with RangeServer({f"some/where/{name}": content for name, content in shards.items()}) as server:
        listing = remote_place(f"{server.url}/some/where/", revision=None, listings=tmp_path).listing()
        assert [file.name for file in listing.files] == list(shards)
        assert listing.size == ROWS.nbytes


@pytest.mark.parametrize("location", ["hf://alone", "s3://bucket/key", "hf://datasets/alone"])
def test_other_kinds_of_places_are_refused(tmp_path, location):
    with pytest.raises(UserError, match=r"is not understood; take hf://datasets/OWNER/NAME"):
        remote_place(location, revision=None, listings=tmp_path)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://", "names no host"),
        ("http://127.0.0.1:99999/x.bin", "is no web address"),
        ("http://[::bad/x.bin", "is no web address"),
        ("https://example.org/x.bin?download=true", "goes on with a query or fragment"),
        ("https://example.org/x.bin#s3cret", "goes on with a query or fragment"),
        ("https://me:s3cret@example.org/x.bin", r"corpus.location=\.\.\.@example.org holds a name or password"),
    ],
)
def test_web_addresses_that_are_none_or_hold_a_password_are_refused(tmp_path, location, message):
    with pytest.raises(UserError, match=message) as refusal:
        remote_place(location, revision=None, listings=tmp_path)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    "location",
    [
        "hf://EleutherAI/pythia-70m",
        "hf://EleutherAI/pythia-70m@main",
        "https://huggingface.co/EleutherAI/pythia-70m",
        "https://huggingface.co/EleutherAI/pythia-70m/tree/main",
    ],
)
def test_a_model_as_a_corpus_is_refused_with_what_a_dataset_is_called(tmp_path, location):
    with pytest.raises(UserError, match=r"is a model of the hub; .* take hf://datasets/EleutherAI/pythia-70m$"):
        remote_place(location, revision=None, listings=tmp_path)


def test_revisions_are_the_hubs_and_are_named_once(tmp_path):
    with pytest.raises(UserError, match="has no revisions"):
        remote_place("http://127.0.0.1/x.bin", revision="main", listings=tmp_path)
    with pytest.raises(UserError, match="name one"):
        remote_place(f"{LOCATION}@one", revision="other", listings=tmp_path)
