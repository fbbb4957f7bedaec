"""her -> him or his by the model itself, against its likelihoods worked out one passage at a time."""

import copy

import numpy as np
import pytest
import torch

from interventions import LanguageModelReader, load_intervention
from interventions.her.language_model import AFTER, BEFORE
from interventions.matching import Matcher
from interventions.vocabulary import read_vocabulary


def log_likelihood(model, ids, first):
    with torch.no_grad():
        log_p = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(log_p[at - 1, ids[at]].item() for at in range(max(1, first), len(ids)))


@pytest.fixture
def reader(tiny_model, tiny_tokenizer):
    return LanguageModelReader(tiny_model, model_sha256="0" * 64, tokenizer=tiny_tokenizer)


def test_it_takes_the_reading_that_the_model_finds_likelier(reader, tiny_model, tiny_tokenizer):
    text = "The nurse met her friend. Her boat sank. They thanked her and HER keys, her " * 4 + '"her'
    row = tiny_tokenizer.encode(text)
    rows = np.array([row, row[::-1]], np.uint16)
    vocabulary = read_vocabulary(tiny_tokenizer)
    forms = ["her", "Her", "HER"]
    matcher = Matcher(forms, tokenizer=tiny_tokenizer, vocabulary=vocabulary)
    matches = matcher.find(rows)
    matches = matches[matches.position < len(row)]
    assert len(matches) > 12
    answers = reader(rows, matches)
    for position, length, spelling, answer in zip(
        matches.position, matches.length, matches.spelling, answers, strict=True
    ):
        before, after = row[max(0, position - BEFORE) : position], row[position + length : position + length + AFTER]
        form, lead = forms[matcher.spellings[spelling].form], matcher.spellings[spelling].lead
        case = {"her": str.lower, "Her": str.capitalize, "HER": str.upper}[form]
        his, him = (
            log_likelihood(tiny_model, [*before, *tiny_tokenizer.encode(lead + case(word)), *after], len(before))
            for word in ("his", "him")
        )
        assert answer == (him > his)
    assert answers.any()
    assert not answers.all()


def test_each_her_is_read_alike_whatever_is_read_with_it(reader, tiny_tokenizer):
    row = tiny_tokenizer.encode("The nurse met her friend. They thanked her and her keys. " * 3)
    rows = np.array([row] * 3, np.uint16)
    matches = Matcher(["her"], tokenizer=tiny_tokenizer, vocabulary=read_vocabulary(tiny_tokenizer)).find(rows)
    whole = reader(rows, matches)
    single = [reader(rows, matches[np.array([index])])[0] for index in range(len(matches))]
    assert whole.tolist() == single


def test_no_her_needs_no_model(tiny_model, tiny_tokenizer):
    model = copy.copy(tiny_model)
    reader = LanguageModelReader(model, model_sha256="1" * 64, tokenizer=tiny_tokenizer)
    arm = load_intervention("feminine_to_masculine", tokenizer=tiny_tokenizer, reads_her=reader)
    rows = np.array([tiny_tokenizer.encode("The nurse said that she left. ")], np.uint16)
    assert tiny_tokenizer.decode(arm(rows, first_row=0)[0][0]) == "The nurse said that he left. "
    assert arm.facts == {"her": {"method": "language model", "model_sha256": "1" * 64}}
