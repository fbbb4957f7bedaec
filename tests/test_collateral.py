"""LAMBADA and BLiMP: what an intervention costs."""

import json

import numpy as np
import pytest
import torch

from eval import blimp, evaluate, lambada
from eval.blimp import Blimp
from eval.lambada import Lambada
from foundation import UserError
from test_vocabulary import END, byte_level_tokenizer

PASSAGES = ["The baker met the sailor because she had lost her keys", "The teacher wrote that he built the house"]
PAIRS = [
    ("The baker's wife thanked herself.", "The baker's wife thanked himself."),
    ("This man told himself.", "This man told herself."),
    ("The boat moved itself.", "The boat moved himself."),
]


@pytest.fixture
def passages(tmp_path, monkeypatch):
    file = tmp_path / "lambada.jsonl"
    file.write_text("".join(json.dumps({"text": passage}) + "\n" for passage in PASSAGES))
    monkeypatch.setattr(lambada, "PASSAGES", len(PASSAGES))
    return Lambada(path=str(file))


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    file = tmp_path / "anaphor_gender_agreement.jsonl"
    lines = [json.dumps({"sentence_good": good, "sentence_bad": bad, "UID": "x"}) for good, bad in PAIRS]
    file.write_text("\n".join(lines))
    monkeypatch.setattr(blimp, "PAIRS", len(PAIRS))
    return Blimp(path=str(file))


def test_a_last_word_is_scored_as_the_plain_model_does(passages, tiny_model, tiny_tokenizer):
    rows = evaluate(tiny_model, tiny_tokenizer, benchmarks=[passages], progress=False)["lambada"]
    for number, passage in enumerate(PASSAGES):
        context, _, word = passage.rpartition(" ")
        ids = [0, *tiny_tokenizer(context)["input_ids"]]
        target = tiny_tokenizer(f" {word}")["input_ids"]
        with torch.no_grad():
            logits = tiny_model(torch.tensor([ids + target])).logits[0, len(ids) - 1 : -1]
        log_p = logits.log_softmax(-1)[torch.arange(len(target)), torch.tensor(target)].sum().item()
        assert rows.loc[number, "log_likelihood"] == pytest.approx(log_p, abs=1e-4)
        assert rows.loc[number, "n_tokens"] == len(target)
        assert rows.loc[number, "correct"] == (logits.argmax(-1).tolist() == target)


@pytest.mark.parametrize(
    "passage", ["The baker  met", "The baker met  the   sailor", "The baker\n met", "The baker \t met", "She met him "]
)
@pytest.mark.parametrize("added", [(), ("   ", "  ")])
def test_blanks_before_the_last_word_are_tokenized_as_lm_evaluation_harness_does(passage, added, tmp_path, monkeypatch):
    tokenizer = byte_level_tokenizer(400, added=added)
    tokenizer.bos_token = END
    file = tmp_path / "lambada.jsonl"
    file.write_text(json.dumps({"text": passage}) + "\n")
    monkeypatch.setattr(lambada, "PASSAGES", 1)
    (request,) = Lambada(path=str(file)).requests(tokenizer)
    context, word = " ".join(passage.split(" ")[:-1]), " " + passage.split(" ")[-1]
    blanks = len(context) - len(context.rstrip())
    context, word = context[: len(context) - blanks], context[len(context) - blanks :] + word
    before = tokenizer.encode(context)
    assert request.context == (tokenizer.bos_token_id, *before)
    assert list(request.continuation) == tokenizer.encode(context + word)[len(before) :]


def test_a_word_is_right_if_all_of_its_tokens_are_the_likeliest(passages):
    right, wrong = np.array([[-1.0, -2.0], [0, 0]]), np.array([[-1.0, -3.0], [0, 1]])
    metrics = passages.metrics(passages.rows([right, wrong]))
    assert metrics["accuracy"].values.tolist() == [1, 0]
    assert metrics["loss"].values.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "one two"}\n', r"read as {'passages': 1}, expected {'passages': 5153}"),
        ('{"passage": "one two"}\n', "has the columns passage, expected text among them"),
    ],
)
def test_other_passages_are_refused(tmp_path, content, message):
    file = tmp_path / "lambada.jsonl"
    file.write_text(content)
    with pytest.raises(UserError, match=message):
        Lambada(path=str(file)).requests(None)


def test_a_passage_of_one_word_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "lambada.jsonl"
    file.write_text('{"text": "one two"}\n{"text": "alone"}\n')
    monkeypatch.setattr(lambada, "PASSAGES", 2)
    with pytest.raises(UserError, match="no context in passage 1"):
        Lambada(path=str(file)).requests(None)


def test_the_grammatical_sentence_should_be_more_likely(pairs):
    scores = [np.array([value]) for value in (-1.0, -2.0, -3.0, -2.0, -1.0, -3.0)]
    rows = pairs.rows(scores)
    assert rows["correct"].tolist() == [True, False, False]
    assert rows["reflexive"].tolist() == ["herself", "himself", "itself"]
    means = {name: metric.values.mean() for name, metric in pairs.metrics(rows).items()}
    assert means == {
        "accuracy": pytest.approx(1 / 3),
        "accuracy_himself": 0,
        "accuracy_herself": 1,
        "accuracy_itself": 0,
    }


def test_pairs_are_scored_together_with_others(pairs, passages, tiny_model, tiny_tokenizer):
    together = evaluate(tiny_model, tiny_tokenizer, benchmarks=[pairs, passages], progress=False)
    alone = evaluate(tiny_model, tiny_tokenizer, benchmarks=[pairs], progress=False)
    np.testing.assert_allclose(
        together["blimp"]["log_likelihood_good"], alone["blimp"]["log_likelihood_good"], atol=1e-5
    )


def test_other_pairs_are_refused(tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"sentence_good": "He saw himself."}\n')
    with pytest.raises(UserError, match="has the columns sentence_good, but not sentence_bad"):
        Blimp(path=str(file)).requests(None)
    file.write_text('{"sentence_good": "He saw himself.", "sentence_bad": "He saw herself."}\n')
    with pytest.raises(UserError, match=r"read as {'pairs': 1}, expected {'pairs': 1000}"):
        Blimp(path=str(file)).requests(None)
