"""Pythia's models on the hub, played by a server on this machine."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import snapshot_download

from foundation import UserError
from foundation.hub import forget_listings
from foundation.web import forget_hosts
from range_server import RangeServer, be_impatient, be_the_hub, drop_after, status
from training import weights as weights_module
from training.hub import check_not_final, fetch_revision
from training.weights import load_weights, weights_fingerprint

REPOSITORY = "EleutherAI/pythia-70m"
LONE = "model.safetensors"
SHARD = "pytorch_model-{}-of-00002.bin"
INDEX = "pytorch_model.bin.index.json"


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory, monkeypatch):
    """The kit's cache and the hub's, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def hub(monkeypatch):
    be_impatient(monkeypatch, tries=3, first_contact_tries=2)
    with RangeServer({}) as server:
        be_the_hub(monkeypatch, server.url)
        yield server


def fetch(revision="step8", repository=REPOSITORY):
    """Fetch a revision, as a process that has asked nobody yet."""
    forget_listings()
    forget_hosts()
    return fetch_revision(repository, revision=revision, progress=False)


def is_distinct(step):
    """The same of the comparison of a step."""
    forget_listings()
    forget_hosts()
    return check_not_final(REPOSITORY, step=step)


@pytest.fixture(scope="module")
def model_files(tiny_model, tiny_tokenizer, tmp_path_factory):
    """A model and its tokenizer as transformers saves them."""
    directory = tmp_path_factory.mktemp("model")
    tiny_model.save_pretrained(directory)
    tiny_tokenizer.save_pretrained(directory)
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def small(model_files):
    return {name: content for name, content in model_files.items() if name != LONE}


def invented(text, files=1):
    """A step with weights of its own, which nobody loads."""
    if files == 1:
        return {"config.json": b"{}", LONE: text.encode()}
    shards = {SHARD.format(f"{part:05d}"): f"{text} {part}".encode() for part in (1, 2)}
    index = json.dumps({"metadata": {}, "weight_map": {name: name for name in shards}}).encode()
    return {"config.json": b"{}", INDEX: index, **shards}


def asked_files(hub):
    return [path.rpartition("/")[2] for path, *_ in hub.log.ranges]


def test_a_revision_is_fetched_whole_and_transformers_loads_it(hub, model_files, tiny_model):
    commit = hub.publish_model(REPOSITORY, "step8", {**model_files, "README.md": b"a model", "flax.msgpack": b"-"})
    fetched = fetch()
    assert fetched.commit == commit
    assert fetched.directory.name == commit
    assert {path.name for path in fetched.directory.iterdir()} == set(model_files)
    assert fetched.weights_sha256 == {LONE: weights_fingerprint(fetched.directory)}
    for name, value in load_weights(fetched.directory).state_dict().items():
        assert torch.equal(value, tiny_model.state_dict()[name]), name


def test_a_revision_is_fetched_once(hub, model_files):
    hub.publish_model(REPOSITORY, "step8", model_files)
    first = fetch()
    asked = len(hub.log.ranges)
    assert fetch() == first
    assert len(hub.log.ranges) == asked == len(model_files)


def test_a_branch_that_moved_is_fetched_anew_and_the_old_commit_stays(hub, model_files):
    old = hub.publish_model(REPOSITORY, "step8", model_files)
    fetch()
    new = hub.publish_model(REPOSITORY, "step8", {**model_files, LONE: b"others"})
    assert fetch().commit == new
    assert fetch(old).commit == old


def test_safetensors_are_preferred_and_the_pickle_is_not_fetched(hub, model_files):
    hub.publish_model(REPOSITORY, "step8", {**model_files, "pytorch_model.bin": b"-"})
    fetch()
    assert "pytorch_model.bin" not in asked_files(hub)


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_shards_are_fetched_by_their_index(hub, model_files, tiny_model, tmp_path, ending):
    if ending == "safetensors":
        tiny_model.save_pretrained(tmp_path, max_shard_size="40KB")
    else:
        state = tiny_model.state_dict()
        names = [SHARD.format(f"{part:05d}") for part in (1, 2)]
        places = {name: names[number % 2] for number, name in enumerate(state)}
        for shard in names:
            torch.save({name: value for name, value in state.items() if places[name] == shard}, tmp_path / shard)
        (tmp_path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    files = small(model_files) | {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    hub.publish_model(REPOSITORY, "step8", {**files, "training_args.bin": b"-"})
    fetched = fetch()
    assert sorted(fetched.weights_sha256) == sorted(name for name in files if "-of-" in name)
    assert "training_args.bin" not in asked_files(hub)
    for name, value in load_weights(fetched.directory).state_dict().items():
        assert torch.equal(value, tiny_model.state_dict()[name]), name


def test_incomplete_safetensors_are_left_for_the_pickle(hub, model_files):
    shard = "model-0000{}-of-00002.safetensors"
    index = json.dumps({"metadata": {}, "weight_map": {"a": shard.format(1), "b": shard.format(2)}}).encode()
    files = small(model_files) | {shard.format(1): b"-", "model.safetensors.index.json": index}
    hub.publish_model(REPOSITORY, "step8", {**files, "pytorch_model.bin": b"weights"})
    assert list(fetch().weights_sha256) == ["pytorch_model.bin"]
    hub.publish_model(REPOSITORY, "step16", files)
    with pytest.raises(UserError, match=r"pythia-70m@step16: model-00002-of-00002.safetensors is missing"):
        fetch("step16")


def test_a_revision_without_weights_is_refused(hub, model_files):
    hub.publish_model(REPOSITORY, "step8", small(model_files))
    with pytest.raises(UserError, match=r"EleutherAI/pythia-70m@step8 holds no weights"):
        fetch()


def test_weights_that_are_not_the_published_ones_are_refused_and_not_kept(hub, model_files):
    commit = hub.publish_model(REPOSITORY, "step8", model_files)
    path = f"/{REPOSITORY}/resolve/{commit}/{LONE}"
    hub.files[path] = model_files[LONE][:-1] + b"!"
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"model.safetensors of .*@step8 has sha256 .* came damaged and is removed: give the same"
        ):
            fetch()
    hub.files[path] = model_files[LONE]
    fetch()


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
def test_a_small_file_that_is_not_the_published_one_is_refused_too(hub, model_files, name):
    commit = hub.publish_model(REPOSITORY, "step8", model_files)
    hub.files[f"/{REPOSITORY}/resolve/{commit}/{name}"] = model_files[name][:-2] + b" }"
    with pytest.raises(UserError, match=rf"{name} of .*@step8 has git hash .* came damaged"):
        fetch()


def cut(path):
    with path.open("r+b") as file:
        file.truncate(100)


def lead_nowhere(path):
    path.resolve().unlink()


@pytest.mark.parametrize("harm", [cut, lead_nowhere, Path.unlink])
@pytest.mark.parametrize("name", [LONE, "tokenizer.json"])
def test_what_was_harmed_in_the_cache_is_fetched_again(hub, model_files, name, harm):
    hub.publish_model(REPOSITORY, "step8", model_files)
    path = fetch().directory / name
    harm(path)
    asked = len(hub.log.ranges)
    assert (fetch().directory / name).read_bytes() == model_files[name]
    assert len(hub.log.ranges) <= asked + 1


@pytest.mark.parametrize("harm", [cut, lead_nowhere, Path.unlink])
@pytest.mark.parametrize("name", [LONE, "config.json"])
def test_without_the_hub_what_was_harmed_in_the_cache_is_named(hub, model_files, name, harm):
    hub.publish_model(REPOSITORY, "step8", model_files)
    harm(fetch().directory / name)
    hub.go_away()
    with pytest.raises(UserError, match=rf"it only in part .{name} is missing or cut short.; .*HF_HOME"):
        fetch()


@pytest.mark.parametrize("name", ["README.md", "generation_config.json", "flax_model.msgpack"])
def test_without_the_hub_a_link_of_another_programs_cache_that_leads_nowhere_does_not_matter(hub, model_files, name):
    commit = hub.publish_model(REPOSITORY, "step8", {**model_files, "README.md": b"-", "flax_model.msgpack": b"-"})
    directory = Path(snapshot_download(REPOSITORY, revision="step8"))
    lead_nowhere(directory / name)
    hub.go_away()
    assert fetch().commit == commit


@pytest.mark.parametrize(("name", "message"), [(LONE, "holds no weights"), ("config.json", "holds no config.json")])
def test_without_the_hub_a_link_that_leads_nowhere_and_is_needed_is_told(hub, model_files, name, message):
    hub.publish_model(REPOSITORY, "step8", model_files)
    lead_nowhere(Path(snapshot_download(REPOSITORY, revision="step8")) / name)
    hub.go_away()
    with pytest.raises(UserError, match=rf"cannot be reached .* only in part .*{message}"):
        fetch()


def test_verified_weights_are_not_hashed_again(hub, model_files, monkeypatch):
    hub.publish_model(REPOSITORY, "step8", model_files)
    path = fetch().directory / LONE
    os.utime(path, (time.time() - 60, time.time() - 60))
    first = fetch()
    monkeypatch.setattr(weights_module, "sha256_of_file", lambda path: pytest.fail(f"{path} is hashed again"))
    assert fetch() == first


def test_without_published_hashes_the_weights_count_as_not_verified(hub, model_files, caplog):
    hub.publish_model(REPOSITORY, "step8", model_files, hashed=False)
    fetched = fetch()
    assert "the hub publishes no hash of it" in caplog.text
    assert fetched.weights_sha256 == {LONE: weights_fingerprint(fetched.directory)}


def test_without_the_hub_the_commit_that_was_fetched_is_taken(hub, model_files, caplog):
    caplog.set_level("INFO")
    hub.publish_model(REPOSITORY, "step8", model_files)
    first = fetch()
    hub.go_away()
    started = time.monotonic()
    assert fetch() == first
    assert f"taking commit {first.commit}" in caplog.text
    assert fetch(first.commit) == first
    assert time.monotonic() - started < 5


def test_offline_the_commit_that_was_fetched_is_taken(hub, model_files, monkeypatch):
    hub.publish_model(REPOSITORY, "step8", model_files)
    first = fetch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = len(hub.log.documents)
    assert fetch() == first
    assert len(hub.log.documents) == asked


def test_without_the_hub_what_another_program_fetched_is_taken_and_verified(hub, model_files):
    commit = hub.publish_model(REPOSITORY, "step8", model_files)
    directory = Path(snapshot_download(REPOSITORY, revision="step8"))
    hub.go_away()
    fetched = fetch()
    assert (fetched.commit, fetched.directory) == (commit, directory)
    (directory / LONE).write_bytes(b"!" * len(model_files[LONE]))
    with pytest.raises(UserError, match="it came damaged"):
        fetch()


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_hub_that_cannot_answer_is_as_one_that_is_not_there(hub, model_files, status):
    hub.publish_model(REPOSITORY, "step8", model_files)
    first = fetch()
    hub.documents[f"/api/models/{REPOSITORY}/revision/step8"] = (status, {}, {"error": "no"})
    assert fetch() == first
    hub.documents[f"/api/models/{REPOSITORY}/revision/step16"] = (status, {}, {"error": "no"})
    with pytest.raises(UserError, match=f"@step16 cannot be reached .*answered {status}.. and is not cached"):
        fetch("step16")


@pytest.mark.parametrize(
    "answer", [["log in to this hotel's network"], {}, {"id": REPOSITORY, "sha": "latest"}, "hello"]
)
def test_something_else_that_answers_for_the_hub_is_told(hub, answer):
    hub.documents[f"/api/models/{REPOSITORY}/revision/step8"] = (200, {}, answer)
    with pytest.raises(UserError, match="step8 cannot be reached"):
        fetch()


def test_a_hub_that_is_not_there_and_was_not_before_ends_in_one_line_with_the_remedies(hub):
    hub.go_away()
    with pytest.raises(UserError, match=r"cannot be reached .* HF_ENDPOINT .* HF_HOME .* local directory") as caught:
        fetch()
    assert "\n" not in str(caught.value)


def test_a_hub_that_says_nothing_is_not_waited_for(monkeypatch):
    be_impatient(monkeypatch, timeout_s=0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        be_the_hub(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(UserError, match=r"cannot be reached .*last: no answer in time.. and is not"):
            fetch()
        assert is_distinct(8) is False
        assert time.monotonic() - started < 5


def test_the_listing_of_one_hub_is_not_taken_for_another(hub, model_files, monkeypatch):
    hub.publish_model(REPOSITORY, "step8", {"README.md": b"nothing yet"})
    with pytest.raises(UserError, match="holds no weights"):
        fetch()
    with RangeServer({}) as other:
        be_the_hub(monkeypatch, other.url)
        commit = other.publish_model(REPOSITORY, "step8", model_files)
        assert fetch().commit == commit


@pytest.mark.parametrize("failing", [[429], [502], [503], [0], [429, 502, 0]])
@pytest.mark.parametrize("storage_failing", [[400], [403], [404], [502], [0]])
def test_a_hub_whose_every_answer_fails_once_costs_no_byte_more(hub, model_files, failing, storage_failing):
    hub.publish_model(REPOSITORY, "step8", model_files)
    hub.failing, hub.storage_failing = failing, storage_failing
    directory = fetch().directory
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == model_files
    assert hub.log.bytes_sent == sum(map(len, model_files.values()))
    assert len(hub.log.failed) >= 2 + len(model_files)  # the listing, every address, and the storage


def test_links_that_break_on_the_way_cost_no_byte_more(hub, model_files):
    hub.publish_model(REPOSITORY, "step8", model_files)
    hub.faults.extend([drop_after(100)] * 4 + [drop_after(len(model_files[LONE]) // 2)])
    fetch()
    assert hub.log.bytes_sent <= 1.05 * sum(map(len, model_files.values()))


def test_the_token_goes_to_the_hub_and_to_nobody_else(hub, model_files, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_user")
    hub.publish_model(REPOSITORY, "step8", model_files)
    fetch()
    assert {headers["Authorization"] for headers in hub.log.headers} == {"Bearer hf_of_a_user"}
    assert [headers["Range"] for headers in hub.log.storage_headers] == [f"bytes=0-{len(model_files[LONE]) - 1}"]
    assert not any("Authorization" in headers for headers in hub.log.storage_headers)


def test_a_storage_that_refuses_for_good_is_told_with_its_answer(hub, model_files):
    hub.publish_model(REPOSITORY, "step8", model_files)
    hub.storage.spend = lambda *_: False
    with pytest.raises(UserError, match=r"did not come wholly .*, where it is stored, answered 403\)\); what has come"):
        fetch()


def test_a_fetch_that_was_broken_off_goes_on_at_its_byte(hub, model_files):
    hub.publish_model(REPOSITORY, "step8", model_files)
    half = len(model_files[LONE]) // 2
    hub.faults.extend([None] * (len(model_files) - 1) + [drop_after(half)] + [status(503)] * 30)
    with pytest.raises(UserError, match="did not come wholly"):
        fetch()
    hub.faults.clear()
    assert (fetch().directory / LONE).read_bytes() == model_files[LONE]
    assert hub.log.bytes_sent <= 1.05 * sum(map(len, model_files.values()))


def test_a_disk_without_room_is_told_before_anything_is_fetched(hub, model_files, monkeypatch):
    hub.publish_model(REPOSITORY, "step8", model_files)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("foundation.hub.shutil.disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"step8 takes .* but 1 kB are free in .*; make room, or set HF_HOME"):
        fetch()
    assert not hub.log.ranges


def test_many_checkpoints_take_a_listing_each_and_three_for_all(hub):
    publish_steps(hub, DISTINCT)
    for step in (1000, 2000, 3000):
        check_not_final(REPOSITORY, step=step)
    assert len(hub.log.documents) == 3 + 2 + 3  # the steps, the neighbours 4 and 142,000; the branches, main, the final


def test_a_link_that_breaks_ends_in_one_line_and_the_next_try_goes_on(hub, model_files):
    hub.publish_model(REPOSITORY, "step8", model_files)
    hub.faults.extend([drop_after(3)] * 60)
    with pytest.raises(UserError, match=r"@step8 did not come wholly .* give the same command again") as caught:
        fetch()
    assert "\n" not in str(caught.value)
    hub.faults.clear()
    fetch()


def test_an_unknown_step_is_refused_with_the_nearest(hub):
    for step in (0, 1, 2, 512, 1000):
        hub.publish_model(REPOSITORY, f"step{step}", invented(str(step)))
    refuse(hub, "step700", 404, "RevisionNotFound")
    for attempt in (
        lambda: fetch("step700"),
        lambda: is_distinct(700),
    ):
        with pytest.raises(UserError, match=r"step=700 has no checkpoint in EleutherAI/pythia-70m: .* 512 and 1000$"):
            attempt()
    refuse(hub, "v1.0", 404, "RevisionNotFound")
    with pytest.raises(UserError, match=r"pythia-70m has no revision v1.0; it has steps 0 to 1000, and main$"):
        fetch("v1.0")


def refuse(hub, revision, status, code):
    hub.documents[f"/api/models/{REPOSITORY}/revision/{revision}"] = (status, {"X-Error-Code": code}, {"error": "no"})


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "RepoNotFound", "the hub has no model EleutherAI/pythia-70m, or it is private"),
        (401, "RepoNotFound", "the hub has no model EleutherAI/pythia-70m, or it is private"),
        (403, "GatedRepo", "EleutherAI/pythia-70m asks for a consent"),
        (404, "RevisionNotFound", "has no revision step8; Pythia's are step0 to step143000, and main"),
    ],
)
def test_what_the_hub_refuses_ends_in_one_line_with_the_remedy(hub, status, code, message):
    refuse(hub, "step8", status, code)
    for attempt in (lambda: fetch(), lambda: is_distinct(8)):
        with pytest.raises(UserError, match=message) as caught:
            attempt()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["pythia 70m", "a/b/c", ""])
def test_what_is_no_name_of_a_repository_is_refused(hub, name):
    with pytest.raises(UserError, match="is no name of a repository; expected OWNER/NAME"):
        fetch_revision(name, revision="step8")


def test_a_repository_of_the_first_release_is_refused_before_the_hub_is_asked(hub):
    for attempt in (
        lambda: fetch_revision("EleutherAI/pythia-410m-v0", revision="step8"),
        lambda: check_not_final("EleutherAI/pythia-410m-v0", step=8),
    ):
        with pytest.raises(UserError, match=r"first release .v0."):
            attempt()
    assert not hub.log.documents


def test_a_repository_that_got_another_name_is_refused_with_that_name(hub, model_files):
    """EleutherAI/pythia-31m was one: the model behind it read the other Pile."""
    hub.publish_model("EleutherAI/pythia-31m-deduped", "step8", model_files)
    about = "/api/models/EleutherAI/pythia-31m{}/revision/step8"
    hub.documents[about.format("")] = hub.documents[about.format("-deduped")]
    with pytest.raises(UserError, match=r"pythia-31m is called EleutherAI/pythia-31m-deduped now"):
        fetch_revision("EleutherAI/pythia-31m", revision="step8")


def publish_steps(hub, contents, files=1):
    """Revisions whose weights are `contents`: those that are equal are the same file."""
    for revision, content in contents.items():
        hub.publish_model(REPOSITORY, revision, invented(content, files))


STEPS = {f"step{step}": f"weights {step}" for step in (0, 4, 1000, 2000, 3000, 142_000, 143_000)}
DISTINCT = {**STEPS, "step1": "weights 0", "step2": "weights 0", "main": "weights 143000"}


@pytest.mark.parametrize("files", [1, 2])
def test_steps_with_weights_of_their_own_pass_and_no_weights_are_fetched(hub, files):
    publish_steps(hub, DISTINCT, files)
    for step in (0, 1, 2, 4, 2000, 142_000, 143_000):
        assert is_distinct(step) is True
    assert not hub.log.ranges
    assert not hub.log.heads


@pytest.mark.parametrize("step", [0, 2000, 142_000])
def test_a_step_that_serves_the_final_weights_is_refused(hub, step):
    publish_steps(hub, {**DISTINCT, f"step{step}": "weights 143000"})
    with pytest.raises(
        UserError, match=rf"step{step} of {REPOSITORY} serves the final weights: .*pythia#205"
    ) as caught:
        is_distinct(step)
    assert "\n" not in str(caught.value)
    assert not hub.log.ranges


def test_a_step_that_serves_what_main_serves_is_refused_where_main_is_not_the_final_step(hub):
    """As in pythia-2.8b (EleutherAI/pythia#205)."""
    publish_steps(hub, {**DISTINCT, "main": "others", "step2000": "others"})
    with pytest.raises(UserError, match=r"step2000 of .* serves the final weights: .* has the sha256 of main's"):
        is_distinct(2000)
    assert is_distinct(3000)
    assert is_distinct(143_000)


def test_one_shard_of_the_final_weights_is_enough(hub):
    publish_steps(hub, DISTINCT, files=2)
    files = {**invented("weights 2000", 2), SHARD.format("00001"): b"weights 143000 1"}
    hub.publish_model(REPOSITORY, "step2000", files)
    with pytest.raises(UserError, match=r"serves the final weights in 1 of 2 files: pytorch_model-00001.*pythia#206"):
        is_distinct(2000)


SAFE_SHARDS = [f"model-{part:05d}-of-00002.safetensors" for part in (1, 2)]
SAFE_INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize("other", ["main", "step143000", "step3000"])
@pytest.mark.parametrize("own", [[LONE], [*SAFE_SHARDS, SAFE_INDEX]])
def test_a_file_that_is_not_loaded_may_be_another_steps(hub, own, other):
    """As where only the .safetensors of a step were uploaded again, beside an old .bin."""
    publish_steps(hub, DISTINCT)
    pickle = {"pytorch_model.bin": b"that of another step", SHARD.format("00001"): b"a part of it"}
    others = {name: f"{name} of the other".encode() for name in own}
    hub.publish_model(REPOSITORY, other, {"config.json": b"{}", **others, **pickle})
    hub.publish_model(REPOSITORY, "step2000", {"config.json": b"{}", **{name: b"own" for name in own}, **pickle})
    is_distinct(2000)
    same = {**{name: b"own" for name in own}, own[0]: others[own[0]]}
    hub.publish_model(REPOSITORY, "step2000", {"config.json": b"{}", **same, **pickle})
    with pytest.raises(UserError, match=own[0]):
        is_distinct(2000)


def test_a_pickle_that_is_loaded_for_want_of_a_shard_must_be_the_steps_own(hub):
    publish_steps(hub, DISTINCT)
    pickle = {"pytorch_model.bin": b"the final weights"}
    hub.publish_model(REPOSITORY, "step143000", {"config.json": b"{}", **pickle})
    files = {SAFE_SHARDS[0]: b"own", SAFE_INDEX: b"{}"}
    hub.publish_model(REPOSITORY, "step2000", {"config.json": b"{}", **files, **pickle})
    with pytest.raises(UserError, match="serves the final weights"):
        is_distinct(2000)


@pytest.mark.parametrize(("step", "other"), [(2000, 1000), (2000, 3000), (4, 2), (2, 4)])
def test_a_step_that_serves_its_neighbours_weights_is_refused(hub, step, other):
    publish_steps(hub, {**DISTINCT, f"step{step}": DISTINCT[f"step{other}"]})
    with pytest.raises(UserError, match=rf"step{step} of {REPOSITORY} serves the weights of step{other}: "):
        is_distinct(step)


def test_in_a_suite_that_ends_elsewhere_its_own_last_step_is_the_final_one(hub):
    steps = {"step0": "a", "step256": "b", "step512": "c", "main": "c"}
    publish_steps(hub, steps)
    assert is_distinct(512) is True
    assert is_distinct(256) is True
    publish_steps(hub, {"step256": "c"})
    with pytest.raises(UserError, match=r"step256 of .* serves the final weights"):
        is_distinct(256)


def test_without_the_hub_the_comparison_is_made_with_what_it_said(hub):
    publish_steps(hub, DISTINCT)
    assert is_distinct(2000) is True
    hub.go_away()
    assert is_distinct(2000) is True


def test_without_the_hub_and_without_what_it_said_a_warning_says_that_nothing_was_compared(hub, caplog):
    hub.go_away()
    assert is_distinct(2000) is False
    assert "whether EleutherAI/pythia-70m step2000 serves its own weights is not known" in caplog.text


@pytest.mark.parametrize("refs", [(500, {}, {}), (200, {}, ["hello"])])
def test_where_the_hub_does_not_list_its_steps_the_suites_are_taken(hub, refs):
    publish_steps(hub, {**DISTINCT, "step2000": DISTINCT["main"]})
    hub.documents[f"/api/models/{REPOSITORY}/refs"] = refs
    refuse(hub, "step8", 404, "RevisionNotFound")
    assert is_distinct(4) is True
    with pytest.raises(UserError, match="serves the final weights"):
        is_distinct(2000)


def test_without_published_hashes_a_warning_says_that_nothing_was_compared(hub, caplog):
    for revision, content in DISTINCT.items():
        hub.publish_model(REPOSITORY, revision, invented(content), hashed=False)
    assert is_distinct(2000) is False
    assert "there are no published hashes to compare" in caplog.text


def test_the_hub_is_where_the_environment_says(hub, model_files, tmp_path):
    """A fresh process, with HF_ENDPOINT and HF_HOME and nothing else; its only output is what it is asked for."""
    commit = hub.publish_model(REPOSITORY, "step8", model_files)
    program = (
        "from training.hub import check_not_final, fetch_revision\n"
        f"fetched = fetch_revision({REPOSITORY!r}, revision='step8', progress=False)\n"
        "print(fetched.commit, fetched.directory)"
    )
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    process = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.getcwd()},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    said, directory = process.stdout.split()
    assert said == commit
    assert Path(directory).is_relative_to(tmp_path / "home")
    assert "%|" not in process.stderr


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_small_file_that_is_not_what_git_knows_is_refused_and_fetched_again(hub, model_files, name):
    hub.publish_model(REPOSITORY, "step8", model_files)
    path = (fetch_revision(REPOSITORY, revision="step8", progress=False).directory / name).resolve()
    content = path.read_bytes()
    place = len(content) // 2
    damaged = content[:place] + b"7" + content[place + 1 :]
    path.write_bytes(damaged if damaged != content else b"8" + content[1:])
    with pytest.raises(UserError, match=rf"{name} of .*step8 is damaged: git knows it as") as caught:
        fetch_revision(REPOSITORY, revision="step8", progress=False)
    assert "\n" not in str(caught.value)
    Path(re.search(r"remove (\S+) and", str(caught.value))[1]).unlink()
    assert (fetch_revision(REPOSITORY, revision="step8", progress=False).directory / name).read_bytes() == content


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("left", [0, 7])
def test_a_small_file_that_is_cut_short_is_fetched_again(hub, model_files, name, left):
    hub.publish_model(REPOSITORY, "step8", model_files)
    path = (fetch_revision(REPOSITORY, revision="step8", progress=False).directory / name).resolve()
    content = path.read_bytes()
    path.write_bytes(content[:left])
    assert (fetch_revision(REPOSITORY, revision="step8", progress=False).directory / name).read_bytes() == content
