"""Everything that a run needs, fetched from a hub on this machine, and the run when the hub is gone."""

import io
import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import run
from conftest import invented_sentences
from corpus import fetch
from foundation import UserError
from foundation.hub import forget_listings
from foundation.web import forget_hosts
from range_server import RangeServer, be_impatient, be_the_hub, drop_after
from training import open_suite

MODEL, ROWS = "some/pythia", "some/rows"
STEPS = (4, 6, 8, 12)
OWN = ("optimizer.safetensors", "training_state.json")  # of the kit's own format
OF_THE_NETWORK = re.compile(r"network|reach|offline|connection|answer|trying again|cannot be asked", re.IGNORECASE)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A suite and its corpus, as a finished run of the smallest kind leaves them."""
    directory = tmp_path_factory.mktemp("made")
    (directory / "text.txt").write_text("\n".join(invented_sentences()))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
        run_here(patch, directory / "finished", f"corpus.text={directory / 'text.txt'}", "control=none")
    record = json.loads((directory / "finished" / "run.json").read_text())
    yield record["checkpoint"]["location"], record["corpus"]["location"]
    torch.set_num_threads(threads)


def run_here(monkeypatch, directory, *arguments):
    """Run run.py in this process, as one that has asked nobody yet."""
    forget_listings()
    forget_hosts()
    monkeypatch.setattr(sys, "argv", ["run.py", "experiment=smoke", *arguments, f"hydra.run.dir={directory}"])
    run.command_line()


def pairs():
    """What BLiMP's 1000 pairs look like, as the hub has them."""
    names = [f"Person {number}" for number in range(500)]
    good = [f"{name} hurts {word}." for name in names for word in ("himself", "herself")]
    bad = [f"{name} hurts {word}." for name in names for word in ("itself", "themselves")]
    buffer = io.BytesIO()
    pd.DataFrame({"sentence_good": good, "sentence_bad": bad}).to_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture
def hub(made, monkeypatch, tmp_path):
    """A hub with the suite, the rows and a benchmark, and empty caches."""
    suite, rows = made
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    be_impatient(monkeypatch)
    with RangeServer({}) as server:
        be_the_hub(monkeypatch, server.url)
        for step in STEPS:
            kept = (path for path in Path(suite, f"step{step}").iterdir() if path.name not in OWN)
            server.publish_model(MODEL, f"step{step}", {path.name: path.read_bytes() for path in kept})
        server.publish_model(MODEL, "main", {})
        server.publish_tables(ROWS, {"rows.bin": Path(rows).read_bytes()})
        server.publish_tables("nyu-mll/blimp", {"anaphor_gender_agreement/train-00000-of-00001.parquet": pairs()})
        yield server


ARGUMENTS = (
    "corpus=local",
    f"corpus.location=hf://datasets/{ROWS}",
    "~corpus.vocab_size",
    f"model.checkpoints=hf://{MODEL}",
    "optimizer_state=replay",
    "replay.method=previous_checkpoint",
    "replay.frozen_steps=1",
    "benchmark=[pronoun_prior,blimp]",
)


def needed_bytes(hub):
    """Bytes of all files that were asked for."""
    return sum(hub.sizes[path] for path in {path for path, *_ in hub.log.ranges})


def test_what_was_fetched_is_all_that_a_run_needs_and_it_never_speaks_of_the_network(hub, monkeypatch, tmp_path, capfd):
    fetch.main(["experiment=smoke", *ARGUMENTS])
    told = capfd.readouterr().out
    assert re.search(r"weights 3 checkpoints of hf://some/pythia: steps 4, 6, 12 ", " ".join(told.split()))
    assert "segment_sha256=" in told
    assert hub.log.bytes_sent == needed_bytes(hub)
    hub.go_away()
    run_here(monkeypatch, tmp_path / "run", *ARGUMENTS)
    captured = capfd.readouterr()
    assert "Pronoun prior" in captured.out
    assert not OF_THE_NETWORK.findall(captured.out + captured.err)
    assert {path.name for path in (tmp_path / "run" / "rows" / "after").iterdir()} == {
        "pronoun_prior.parquet",
        "blimp.parquet",
    }


def test_an_audit_is_fetched_with_what_it_says_of_the_corpus_that_it_does_not_read(hub, monkeypatch, tmp_path, capfd):
    last = open_suite(f"hf://{MODEL}").fetch(12)
    hub.publish_model("some/swapped", "step12", {path.name: path.read_bytes() for path in last.iterdir()})
    audit = ("protocol=audit", "intervention=none", "control=published", "audit.checkpoints=hf://some/swapped")
    arguments = [*ARGUMENTS[:4], *audit, "benchmark=[pronoun_prior]"]
    forget_listings()
    fetch.main(["experiment=smoke", *arguments])
    hub.go_away()
    capfd.readouterr()
    run_here(monkeypatch, tmp_path / "run", *arguments)
    captured = capfd.readouterr()
    assert "Pronoun prior" in captured.out
    assert not OF_THE_NETWORK.findall(captured.out + captured.err)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["corpus"]["revision"]


def test_a_run_whose_every_request_fails_once_ends_and_fetches_hardly_a_byte_too_many(hub, monkeypatch, tmp_path):
    hub.failing, hub.storage_failing = [429, 502, 0, 503], [403, 502, 0, 400]
    hub.faults.extend([None, drop_after(2_000), None, None, drop_after(30_000)] * 4)
    run_here(monkeypatch, tmp_path / "run", *ARGUMENTS)
    assert {status for _, status in hub.log.failed} == {0, 400, 403, 429, 502, 503}
    assert hub.log.bytes_sent <= 1.05 * needed_bytes(hub)
    assert (tmp_path / "run" / "report.html").exists()


def test_a_study_is_fetched_as_one_command_and_its_rows_are_read_once(hub, capfd):
    fetch.main(["-m", "experiment=smoke", *ARGUMENTS, "intervention=none,masculine_to_feminine", "seed=1,2"])
    told = capfd.readouterr().out
    assert told.count("segment_sha256=") == 1
    assert told.count("hf://some/pythia") == 4
    assert hub.log.bytes_sent == needed_bytes(hub)


def test_a_trajectory_is_fetched_with_every_checkpoint_that_it_measures(hub, capfd):
    arguments = ["protocol=trajectory", "intervention=none", "step=4", "trajectory.skip=[8]"]
    fetch.main(["experiment=smoke", *ARGUMENTS, *arguments])
    told = " ".join(capfd.readouterr().out.split())
    assert "2 checkpoints of hf://some/pythia: steps 4, 6 " in told
    assert "skipped step 8: left out by trajectory.skip" in told
    assert "segment_sha256" not in told
    for step in (4, 6):
        assert open_suite(f"hf://{MODEL}").lacking_bytes(step) == 0
    assert open_suite(f"hf://{MODEL}").lacking_bytes(8) > 0


def test_weights_that_the_disk_cannot_hold_are_told_before_any_comes(hub, monkeypatch):
    monkeypatch.setattr("conf.needs.free_bytes", lambda: 1000)
    with pytest.raises(UserError, match=r"the checkpoints take .* but 1 kB are free in .*; make room, or set HF_HOME"):
        fetch.main(["model=70m", "step=1000", "steps=10", "optimizer_state=fresh", "corpus.cache_gib=64"])
    assert not hub.log.ranges


def test_an_option_is_no_setting_of_fetch():
    with pytest.raises(UserError, match="--cfg is no option of this command"):
        fetch.main(["--cfg", "job"])
