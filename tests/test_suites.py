import copy
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from foundation import UserError
from foundation.hub import forget_listings
from foundation.web import forget_hosts
from neox_generator import draw_toy, write_checkpoint
from range_server import RangeServer, be_impatient, be_the_hub
from test_checkpoint import save
from test_hub_weights import model_files, own_caches  # noqa: F401  # fixtures
from test_loop import RECIPE
from training import (
    Architecture,
    Batch,
    check_architecture,
    check_trained_precision,
    learning_rate,
    load_checkpoint,
    open_suite,
    read_journal,
    train,
    weights_sha256,
)
from training.checkpoint import DamagedCheckpoint
from training.neox import read_neox, write_transformers


def toy_model():
    toy = draw_toy()
    toy.exp_avg_sq = {name: value.abs() for name, value in toy.exp_avg_sq.items()}
    return toy


@pytest.fixture
def directory(tmp_path, tiny_model, tiny_tokenizer):
    """A suite with one checkpoint of each format."""
    earlier = copy.deepcopy(tiny_model)
    with torch.no_grad():
        earlier.gpt_neox.embed_in.weight += 0.01
    save(tmp_path, 5, earlier, tiny_tokenizer)
    tiny_model.save_pretrained(tmp_path / "step6")
    tiny_tokenizer.save_pretrained(tmp_path / "step6")
    write_checkpoint(tmp_path, toy_model(), step=7)
    tiny_tokenizer.save_pretrained(tmp_path / "global_step7")
    return tmp_path


def test_a_directory_holds_checkpoints_of_three_formats(directory, tiny_model):
    suite = open_suite(directory)
    assert suite.steps() == [5, 6, 7]
    own, transformers, neox = (suite.load(step) for step in (5, 6, 7))
    assert [each.stored_as for each in (own, transformers, neox)] == ["own", "transformers", "neox"]
    assert weights_sha256(own.model) != weights_sha256(transformers.model) == weights_sha256(tiny_model)
    assert (own.optimizer_state.updates, transformers.optimizer_state) == (5, None)
    assert (neox.step, neox.updates, neox.optimizer_state.adam_step) == (7, 5, 6)
    assert neox.scaler_state == {"scale": 8192.0, "iteration": 7.0, "last_overflow": 1.0, "hysteresis": 2.0}


@pytest.mark.parametrize("step", [5, 6])
def test_a_model_is_given_the_weights_of_another_step_where_it_stands(directory, step):
    suite = open_suite(directory)
    model = suite.load({5: 6, 6: 5}[step]).model
    places = [parameter.data_ptr() for parameter in model.parameters()]
    suite.load_into(model, step)
    assert weights_sha256(model) == weights_sha256(suite.load(step).model)
    assert [parameter.data_ptr() for parameter in model.parameters()] == places


def test_a_model_is_given_the_masters_of_a_neox_checkpoint(directory):
    suite = open_suite(directory)
    model = suite.load(7).model
    expected = weights_sha256(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    suite.load_into(model, 7)
    assert weights_sha256(model) == expected


def test_a_model_takes_no_weights_of_another_model(directory, tiny_model):
    config = copy.deepcopy(tiny_model.config)
    config.num_attention_heads = 2
    config.save_pretrained(directory / "step6")
    suite = open_suite(directory)
    with pytest.raises(UserError, match=r"step6 has num_attention_heads=2.*expected checkpoints of one model"):
        suite.load_into(suite.load(5).model, 6)


def test_damaged_weights_are_given_to_no_model(directory):
    suite = open_suite(directory)
    model = suite.load(6).model
    with (directory / "step5" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    with pytest.raises(DamagedCheckpoint, match=r"model\.safetensors is damaged.*made again"):
        suite.load_into(model, 5)


def test_masters_and_moments_of_a_neox_checkpoint_are_those_it_was_written_from(directory):
    toy, checkpoint = toy_model(), load_checkpoint(directory, step=7)
    for name, value in checkpoint.model.state_dict().items():
        assert torch.equal(value, toy.masters[name]), name
        assert torch.equal(checkpoint.optimizer_state.exp_avg[name], toy.exp_avg[name]), name
        assert torch.equal(checkpoint.optimizer_state.exp_avg_sq[name], toy.exp_avg_sq[name]), name


def test_a_neox_checkpoint_is_continued_where_its_own_schedule_stood(directory, tmp_path):
    start = load_checkpoint(directory, step=7)

    def batch_at(step):
        rows = np.random.default_rng(step).integers(1, 40, (8, 9)).astype(np.uint16)
        return Batch(rows, {})

    end = train(
        start,
        stop=9,
        batch_at=batch_at,
        recipe=RECIPE,
        precision="fp16",
        micro_batch=8,
        device=torch.device("cpu"),
        checkpoints=tmp_path / "arm",
        save_at=(),
        keep=2,
        journal=tmp_path / "arm.jsonl",
        description="arm",
    )
    lines = read_journal(tmp_path / "arm.jsonl")
    assert [line["step"] for line in lines] == [7, 8]
    assert [line["lr"] for line in lines] == [learning_rate(5, RECIPE), learning_rate(6, RECIPE)]
    assert lines[0]["loss_scale"] == 8192.0
    assert (end.step, end.updates, end.optimizer_state.adam_step) == (9, 7, 8)


def test_the_tokenizer_of_a_checkpoint_without_one_is_named(directory, tiny_tokenizer, tmp_path):
    for file in (directory / "global_step7").glob("tokenizer*"):
        file.unlink()
    with pytest.raises(
        UserError, match=r"global_step7 holds no tokenizer\.json; put Pythia's there or set model.token"
    ):
        load_checkpoint(directory, step=7)
    tiny_tokenizer.save_pretrained(tmp_path / "elsewhere")
    named = load_checkpoint(directory, step=7, tokenizer=str(tmp_path / "elsewhere")).tokenizer
    assert named("He said").input_ids == tiny_tokenizer("He said").input_ids
    with pytest.raises(UserError, match="no tokenizer can be loaded from"):
        load_checkpoint(directory, step=7, tokenizer=str(directory / "step5" / "config.json"))


def test_a_step_in_disguise_is_refused(directory):
    shutil.copytree(directory / "step6", directory / "step9")
    with pytest.raises(UserError, match="step6"):
        load_checkpoint(directory, step=6)


def test_a_directory_that_is_not_there_and_a_step_that_is_not_there_are_refused(directory):
    with pytest.raises(UserError, match=r"there is no directory .*missing of checkpoints"):
        load_checkpoint(directory / "missing", step=5)
    with pytest.raises(UserError, match=r"step=8 has no checkpoint in .*: the nearest are 6 and 7"):
        load_checkpoint(directory, step=8)


def test_a_size_and_a_repository_name_published_models():
    assert open_suite("1.4b").location == "hf://EleutherAI/pythia-1.4b-deduped"
    assert len(open_suite("hf://EleutherAI/pythia-70m").steps()) == 154
    with pytest.raises(UserError, match=r"step=133500 has no checkpoint .* the nearest are 133000 and 134000"):
        load_checkpoint("410m", step=133500)


@pytest.mark.parametrize("name", ["1.3b", "hf://EleutherAI/pythia-1.4b-v0"])
def test_models_of_the_first_release_are_refused_with_the_reason(name):
    with pytest.raises(UserError, match=r"first release \(v0\)"):
        open_suite(name)


def test_a_local_copy_of_the_first_release_is_refused_by_its_name(tmp_path):
    for name in ("pythia-410m-v0", "pythia-1.3b", "350m"):
        (tmp_path / name).mkdir()
    for name in ("pythia-410m-v0", "pythia-1.3b"):
        with pytest.raises(UserError, match=r"first release \(v0\)"):
            open_suite(tmp_path / name)
    assert open_suite(tmp_path / "350m").location == str(tmp_path / "350m")


def test_of_two_formats_of_a_step_the_one_that_holds_more_is_read(directory):
    write_transformers(read_neox(directory / "global_step7"), directory / "step7")
    assert load_checkpoint(directory, step=7).stored_as == "neox"


def test_a_tokenizer_file_that_is_none_is_one_line(directory):
    (directory / "step6" / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="no tokenizer can be loaded from"):
        load_checkpoint(directory, step=6)


def test_a_published_checkpoint_loads_from_the_hub_with_its_caveats(monkeypatch, model_files, tiny_model):  # noqa: F811
    with RangeServer({}) as hub:
        be_the_hub(monkeypatch, hub.url)
        other = {
            name: content[:-1] + b"x" if name.endswith(".safetensors") else content
            for name, content in model_files.items()
        }
        hub.publish_model("EleutherAI/pythia-12b", "step50000", model_files)
        for revision in ("step143000", "main"):
            hub.publish_model("EleutherAI/pythia-12b", revision, other)
        suite = open_suite("hf://EleutherAI/pythia-12b")
        checkpoint = suite.load(50000)
    assert weights_sha256(checkpoint.model) == weights_sha256(tiny_model)
    assert (checkpoint.step, checkpoint.optimizer_state, checkpoint.stored_as) == (50000, None, "transformers")
    assert any("#206" in caveat for caveat in suite.caveats(50000))


def test_another_model_than_was_asked_for_is_refused(tiny_model):
    right = Architecture(num_hidden_layers=2, hidden_size=32, num_attention_heads=4, vocab_size=512)
    check_architecture(tiny_model, right, name="tiny", where="here")
    wrong = Architecture(num_hidden_layers=2, hidden_size=64, num_attention_heads=4, vocab_size=512)
    with pytest.raises(UserError, match="the model in here has hidden_size=32, but tiny has 64"):
        check_architecture(tiny_model, wrong, name="tiny", where="here")


def test_the_one_model_that_was_trained_in_bf16_is_known():
    check_trained_precision("1b", deduped=False, precision="bf16", rope="neox_bf16")
    check_trained_precision("1b", deduped=True, precision="fp16", rope="neox_fp16")
    for precision, rope in (("fp16", "neox_fp16"), ("bf16", "neox_fp16")):
        with pytest.raises(UserError, match=rf"pythia-1b was trained in bf16, but model\.precision is {precision}"):
            check_trained_precision("1b", deduped=False, precision=precision, rope=rope)


def test_tokenizers_of_checkpoints_are_their_own(directory, tiny_tokenizer):
    assert Path(load_checkpoint(directory, step=6).path) == directory / "step6"
    again = AutoTokenizer.from_pretrained(directory / "step6")
    assert again("She told him").input_ids == tiny_tokenizer("She told him").input_ids


@pytest.mark.parametrize(
    "location",
    [
        "hf://EleutherAI/pythia-70m",
        "hf://EleutherAI/pythia-70m/",
        "https://huggingface.co/EleutherAI/pythia-70m",
        "https://huggingface.co/EleutherAI/pythia-70m/",
        "https://hf.co/EleutherAI/pythia-70m?library=transformers",
    ],
)
def test_a_repository_and_the_address_of_its_page_are_the_same_suite(location):
    assert open_suite(location).location == "hf://EleutherAI/pythia-70m"


@pytest.mark.parametrize(
    "location", ["hf://EleutherAI/pythia-70m@step8", "https://huggingface.co/EleutherAI/pythia-70m/tree/step8"]
)
def test_a_revision_within_a_location_is_refused_with_how_to_name_a_step(location):
    with pytest.raises(UserError, match=r"names the revision step8; name .* hf://EleutherAI/pythia-70m, and set step"):
        open_suite(location)


@pytest.mark.parametrize("name", ["EleutherAI/pythia-70m", "me/my.model"])
def test_the_hubs_name_without_its_prefix_is_refused_with_it(name):
    with pytest.raises(UserError, match=f"there is no directory {name} of checkpoints; .*, or hf://{name} if it is"):
        open_suite(name).steps()


@pytest.fixture
def hub(monkeypatch):
    be_impatient(monkeypatch)
    with RangeServer({}) as server:
        be_the_hub(monkeypatch, server.url)
        yield server


INTERVENED = "EleutherAI/pythia-intervention-1.4b-deduped"


def test_main_is_the_last_step_of_a_repository_without_branches_of_steps_and_a_caveat_says_so(hub, model_files):  # noqa: F811
    hub.publish_model(INTERVENED, "main", model_files)
    suite = open_suite(f"hf://{INTERVENED}")
    assert suite.steps() == [143_000]
    assert suite.load(143_000).step == 143_000
    assert suite.caveats(143_000) == [
        f"{INTERVENED} has no branch of a step: its main was taken for step 143,000, its last."
    ]
    with pytest.raises(UserError, match=r"step=133000 has no checkpoint in hf://EleutherAI/pythia-intervention"):
        suite.load(133_000)


def test_branches_of_steps_come_before_main(hub, model_files):  # noqa: F811
    for revision in ("main", "step134000", "step140000", "step143000"):
        hub.publish_model(INTERVENED, revision, model_files | {"model.safetensors": revision.encode()})
    suite = open_suite(f"hf://{INTERVENED}")
    assert suite.steps() == [134_000, 140_000, 143_000]
    assert suite.caveats(143_000) == []
    assert (suite.fetch(140_000) / "model.safetensors").read_bytes() == b"step140000"


def test_the_steps_of_a_model_of_the_suite_are_known_without_asking(hub):
    assert len(open_suite("hf://EleutherAI/pythia-160m-data-seed1").steps()) == 154
    assert not hub.log.documents


def test_without_the_hub_the_branches_are_those_that_it_last_named(hub, model_files):  # noqa: F811
    hub.publish_model(INTERVENED, "main", model_files)
    open_suite(f"hf://{INTERVENED}").fetch(143_000)
    hub.go_away()
    forget_listings()
    suite = open_suite(f"hf://{INTERVENED}")
    assert suite.steps() == [143_000]
    assert suite.lacking_bytes(143_000) == 0
    assert suite.load(143_000).step == 143_000


def test_a_tokenizer_of_the_hub_is_fetched_once_and_then_needs_no_hub(hub, model_files, directory):  # noqa: F811
    hub.publish_model("me/tokens", "main", {name: c for name, c in model_files.items() if "safetensors" not in name})
    (directory / "step6" / "tokenizer.json").unlink()
    for named in ("me/tokens", "hf://me/tokens"):
        assert load_checkpoint(directory, step=6, tokenizer=named).tokenizer("She").input_ids
    hub.go_away()
    forget_listings()
    forget_hosts()
    assert load_checkpoint(directory, step=6, tokenizer="me/tokens").tokenizer("She").input_ids
    started = time.monotonic()
    with pytest.raises(UserError, match="the tokenizer me/others is neither cached nor can the hub be asked"):
        load_checkpoint(directory, step=6, tokenizer="me/others")
    assert time.monotonic() - started < 2
