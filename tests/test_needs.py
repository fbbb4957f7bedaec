"""What a plan says of the checkpoints that a run loads. Nobody is asked."""

import re

import pytest

from conf.compose import configure
from conf.finding import find_corpus, find_segment, find_trajectory
from conf.needs import checkpoints_read
from conf.plan import plan_lines
from foundation import UserError
from training import ModelShape, stored_bytes


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    """Empty caches, and a hub that must not be asked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def plan(*arguments):
    return [f"{name} {text}" for name, text in plan_lines(configure(list(arguments)))]


def line(name, lines):
    (found,) = (text for text in lines if text.startswith(f"{name} "))
    return found


def steps_read(*arguments):
    config = configure(list(arguments))
    read = checkpoints_read(config, find_segment(config, find_corpus(config.corpus)))
    return {suite.location.rpartition("/")[2]: steps for suite, steps in read}


def test_a_published_checkpoint_is_two_bytes_a_parameter_and_a_mask_a_layer():
    shape = ModelShape(layers=36, hidden=5120, heads=40, vocab=50688)
    assert stored_bytes(shape) == 2 * 11_846_072_320 + 36 * 4_194_304
    assert round(stored_bytes(shape) / 1e9, 2) == 23.84


def test_a_trajectory_of_12b_takes_terabytes_and_the_free_space_is_named():
    lines = plan("experiment=trajectory", "model=12b", "trajectory.every=1000")
    assert line("weights", lines).startswith(
        "weights 144 checkpoints of hf://EleutherAI/pythia-12b-deduped, 23.84 GB each"
    )
    assert re.fullmatch(
        r"of these 3\.433 TB to fetch, into .*/hub, where [\d.]+ [TG]B are free; 76 h at 100 Mbit/s, 8 h at 1 Gbit/s",
        line("of these", lines),
    )


def test_the_audit_of_what_is_published_names_both_repositories_and_their_bytes():
    lines = plan("experiment=audit_published")
    assert [text for text in lines if text.startswith("weights ")] == [
        "weights 2 checkpoints of hf://EleutherAI/pythia-1.4b-deduped, 2.93 GB each: steps 133,000, 143,000",
        "weights 1 checkpoint of hf://EleutherAI/pythia-intervention-1.4b-deduped, 2.93 GB: step 143,000",
    ]
    assert line("of these", lines).startswith("of these 8.79 GB to fetch, into ")
    assert not any("nothing" in text and "cache" in text for text in lines)


def test_a_disk_that_is_too_small_is_told(monkeypatch):
    monkeypatch.setattr("conf.needs.free_bytes", lambda: 5_000_000_000)
    assert any("too little room for these weights" in text for text in plan("experiment=audit_published"))
    assert not any("too little room" in text for text in plan("experiment=audit_published", "model=70m"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("model=70m",), [132_000, 133_000, 143_000]),
        (("model=70m", "optimizer_state=fresh", "control=none"), [133_000]),
        (("model=70m", "optimizer_state=fresh", "steps=500"), [133_000]),
        (("model=70m", "replay.method=live", "control=published", "trajectory.every=4000"), [133, 136, 140, 143]),
        (("model=70m", "optimizer_state=fresh", "protocol=fidelity", "steps=1000"), [132, 133, 134]),
    ],
)
def test_the_checkpoints_are_all_that_a_run_loads(arguments, expected):
    expected = [step if step > 1000 else 1000 * step for step in expected]
    assert steps_read(*arguments) == {"pythia-70m-deduped": expected}


def test_a_trajectory_spans_what_its_model_has():
    assert find_trajectory(configure(["experiment=trajectory"])) == list(range(320, 3201, 320))
    for model in ("160m", "12b"):
        found = find_trajectory(configure(["experiment=trajectory", f"model={model}"]))
        assert found == list(range(0, 143_001, 13_000))
    own = find_trajectory(
        configure(["experiment=trajectory", "model=160m", "step=1000", "steps=2000", "trajectory.every=500"])
    )
    assert own == [1000, 2000, 3000]


@pytest.mark.parametrize(
    ("arguments", "left_out"),
    [
        (("model=12b", "model.deduped=false"), {50_000, 58_000}),
        (("model=410m", "model.deduped=false", "model.seed=9"), {40_000}),
        (("model=70m", "trajectory.skip=[7000,11000]"), {7000, 11_000}),
        (("model=70m",), set()),
    ],
)
def test_a_trajectory_steps_over_what_is_known_to_be_wrong_and_says_so(monkeypatch, arguments, left_out):
    monkeypatch.setattr("conf.plan.find_corpus", lambda _: find_corpus(configure(["model=70m"]).corpus))
    arguments = ["experiment=trajectory", "trajectory.every=1000", *arguments]
    assert set(range(0, 143_001, 1000)) - set(find_trajectory(configure(arguments))) == left_out
    skipped = " ".join(text for text in plan(*arguments) if text.startswith("skipped "))
    assert all(f"{step:,}" in skipped for step in left_out)
    assert bool(skipped) == bool(left_out)


def test_a_step_to_skip_that_is_not_measured_is_refused():
    config = configure(["experiment=trajectory", "model=70m", "trajectory.skip=[500]"])
    with pytest.raises(UserError, match="skip names step 500, which is none of the checkpoints of hf://"):
        find_trajectory(config)


def test_maps_that_are_to_be_fetched_are_told_before_the_rest():
    maps = "corpus.maps=hf://datasets/EleutherAI/pile-preshuffled-seeds"
    told = plan("model=160m", "model.deduped=false", "model.seed=3", "corpus.documents=pile", maps)
    assert told[0].startswith("maps of seed 3, from hf://datasets/EleutherAI/pile-preshuffled-seeds: 2.8 GB to fetch")
    assert "python -m corpus.fetch brings them" in told[1]


def test_the_documents_of_polypythias_are_named_where_they_are_missing():
    with pytest.raises(UserError, match=r"hf://datasets/EleutherAI/pythia_pile_idxmaps .133 shards, 664 GB"):
        plan("model=160m", "model.deduped=false", "model.seed=3")
