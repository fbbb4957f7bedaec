import itertools

import numpy as np
import pytest
import torch

from smoke import smoke
from training import Numerics, numerics_of
from training.conformance import losses_by_numerics, mean_loss

ROWS = np.random.default_rng(0).integers(1, 400, (3, 33)).astype(np.uint16)


def test_a_mean_loss_is_transformers_own(tiny_model):
    tokens = torch.from_numpy(ROWS.astype(np.int64))
    with torch.inference_mode():
        expected = tiny_model(tokens, labels=tokens).loss.item()
    assert mean_loss(tiny_model, ROWS, precision="fp32") == pytest.approx(expected, rel=1e-5)


def test_every_combination_is_measured_and_the_model_left_as_it_was(tiny_model):
    losses = losses_by_numerics(tiny_model, ROWS)
    combinations = itertools.product(("erf", "tanh"), ("fp32", "neox_fp16", "neox_bf16"), ("fp32", "bf16", "fp16"))
    assert list(losses) == list(combinations)
    assert len(set(losses.values())) > 12
    assert max(losses.values()) - min(losses.values()) < 0.1
    assert numerics_of(tiny_model) == Numerics("erf", "fp32")
    assert losses["erf", "fp32", "fp32"] == mean_loss(tiny_model, ROWS, precision="fp32")


def test_the_command_prints_them_and_marks_how_the_suite_was_trained(workshop):
    done = smoke(workshop, "sequences=4", script="-m training.conformance")
    assert done.returncode == 0, done.stderr
    assert "demo step 6, 4 rows that follow it, nats per token, on cpu" in done.stdout
    marked = [line.split() for line in done.stdout.splitlines() if "how it was trained" in line]
    assert [line[:3] for line in marked] == [["erf", "fp32", "fp32"]]
    refused = smoke(workshop, "sequences=none", script="-m training.conformance")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == "error: sequences=none must be a number of rows, 1 or more"
