"""The model card: made from run.json alone, one for each arm that was trained."""

import copy
import json
import re
from pathlib import Path

import pytest

from fake_run import run_json, write_fake_run
from reports import write_model_cards
from reports.model_card import model_card
from training.numerics import Numerics, numerics_of, set_numerics


def test_each_trained_arm_has_a_card_beside_its_last_checkpoint(tmp_path: Path) -> None:
    write_fake_run(tmp_path, optional=False)
    for arm in ("intervened", "control"):
        for step in (500, 512):
            (tmp_path / "checkpoints" / arm / f"step{step}").mkdir(parents=True)
    cards = write_model_cards(tmp_path)
    assert [card.relative_to(tmp_path).as_posix() for card in cards] == [
        "checkpoints/intervened/step512/README.md",
        "checkpoints/control/step512/README.md",
    ]
    run = json.loads((tmp_path / "run.json").read_text("utf-8"))
    intervened = cards[0].read_text("utf-8")
    for told in (
        "# demo, counterfactual, step 512",
        run["intervention"]["sentence"],
        run["checkpoint"]["sha256"],
        run["fingerprints"]["segment_sha256"],
        run["fingerprints"]["intervened_segment_sha256"],
        run["intervention"]["identity"],
        run["command"],
        run["caveats"][0],
        "https://arxiv.org/abs/2304.01373",
    ):
        assert told in intervened
    control = cards[1].read_text("utf-8")
    assert "unmodified: a control" in control
    assert run["fingerprints"]["intervened_segment_sha256"] not in control


def test_a_run_without_checkpoints_has_no_card(tmp_path: Path) -> None:
    assert write_model_cards(write_fake_run(tmp_path, optional=False)) == []


@pytest.mark.parametrize(("model", "licensed"), [("pythia-1.4b-deduped", True), ("demo", False)])
def test_the_licence_is_given_where_it_is_known(model: str, licensed: bool) -> None:
    run = run_json()
    run["checkpoint"]["model"] = model
    card = model_card(run, arm="intervened")
    assert ("\nlicense: apache-2.0\n" in card) is licensed
    assert ("fill it in" in card) is not licensed


@pytest.mark.parametrize("activation", ["tanh", "erf"])
@pytest.mark.parametrize("rope", ["neox_fp16", "neox_bf16", "fp32"])
def test_the_arithmetic_that_config_json_cannot_say_is_told(rope: str, activation: str, tiny_model) -> None:
    run = run_json()
    run["arithmetic"] |= {"rope": rope, "activation": activation}
    card = model_card(run, arm="control")
    assert f"| Rotary tables | {rope.removeprefix('neox_')}" in card
    assert ("by tanh" in card) is (activation == "tanh")
    calls = re.findall(r"`training\.numerics\.(set_numerics\(.*?\))`", card)
    assert len(calls) == (rope != "fp32")
    for call in calls:
        model = copy.deepcopy(tiny_model)
        eval(call, {"set_numerics": set_numerics, "model": model})  # what the card says to do
        assert numerics_of(model) == Numerics(activation, rope)
