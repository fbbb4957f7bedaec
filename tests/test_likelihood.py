import copy
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from eval import likelihood
from eval.likelihood import Request, _first_places, continuation_requests, score_requests, text_requests
from foundation import UserError

TEXTS = [
    "The baker met the sailor because she had lost her keys .",
    "He told the cook about it.",
    "The teacher wrote",
    "The teacher wrote that they built the house by themselves, of course; the painter thanked him.",
]


def plain_log_probabilities(model, request):
    """One request at a time, full logits, in double precision: the reference."""
    ids = torch.tensor([[*request.context, *request.continuation]])
    with torch.no_grad():
        log_p = copy.deepcopy(model).double()(ids).logits.log_softmax(-1)[0, :-1]
    return log_p.gather(1, ids[0, 1:, None])[len(request.context) - 1 :, 0].numpy()


def test_scores_equal_those_of_a_plain_loop_over_sentences(tiny_model, tiny_tokenizer):
    requests = text_requests(tiny_tokenizer, TEXTS) + continuation_requests(
        tiny_tokenizer, TEXTS, [" she", " he", " himself", " xylophone"]
    )
    for request, score in zip(requests, score_requests(tiny_model, requests, progress=False), strict=True):
        np.testing.assert_allclose(score, plain_log_probabilities(tiny_model, request), atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(
    st.lists(
        st.builds(
            Request,
            context=st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple),
            continuation=st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple),
        ),
        max_size=8,
    ),
    st.sampled_from([1, 7, 8192]),
)
def test_scores_do_not_depend_on_order_or_batches_or_company(tiny_model, requests, tokens_per_batch):
    alone = [score_requests(tiny_model, [request], progress=False)[0] for request in requests]
    together = score_requests(tiny_model, requests, tokens_per_batch=tokens_per_batch, progress=False)
    assert [len(score) for score in together] == [len(request.continuation) for request in requests]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_model_without_preferences_gives_minus_log_v_for_every_token(tiny_model):
    model = copy.deepcopy(tiny_model)
    torch.nn.init.zeros_(model.get_output_embeddings().weight)
    (score,) = score_requests(model, [Request(context=(0,), continuation=(5, 6, 7))], progress=False)
    np.testing.assert_allclose(score, [-math.log(512)] * 3, rtol=1e-6)


def test_an_input_that_begins_another_is_not_forwarded(tiny_model):
    forwarded = []
    hook = tiny_model.gpt_neox.register_forward_pre_hook(lambda _, args: forwarded.extend(args[0].tolist()))
    requests = [
        Request(context=(0, 1), continuation=(2,)),
        Request(context=(0,), continuation=(1, 9)),
        Request(context=(0, 1), continuation=(2, 3, 4)),
        Request(context=(0, 5), continuation=(1,)),
    ]
    score_requests(tiny_model, requests, progress=False)
    hook.remove()
    assert sorted(forwarded) == [[0, 1, 2, 3], [0, 5, 0, 0]]


@settings(deadline=None, max_examples=40)
@given(arrays(np.int64, array_shapes(min_dims=2, max_dims=2, max_side=4), elements=st.integers(0, 1)))
def test_places_are_one_if_and_only_if_their_rows_are_equal_up_to_them(ids):
    first = _first_places(ids)
    for (row, place), (other_row, other_place) in itertools.product(np.ndindex(ids.shape), repeat=2):
        alike = ids[row, : place + 1].tolist() == ids[other_row, : other_place + 1].tolist()
        assert (first[row, place] == first[other_row, other_place]) == alike
    row, place = np.divmod(first, ids.shape[1])
    np.testing.assert_array_equal(first[row, place], first)
    np.testing.assert_array_equal(place, np.broadcast_to(np.arange(ids.shape[1]), ids.shape))


def test_logits_are_made_once_for_all_that_begin_alike(tiny_model, monkeypatch):
    projected = []
    linear = torch.nn.functional.linear

    def counted(hidden, weight, bias=None):
        if len(weight) == 512:
            projected.append(len(hidden))
        return linear(hidden, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", counted)
    # after 0, after 0 1 and after 0 1 2, whichever row it is read from
    requests = [Request((0,), (1, 2, 3)), Request((0,), (1, 2, 4)), Request((0, 1), (2,)), Request((0, 1), (7,))]
    score_requests(tiny_model, requests, progress=False)
    assert projected == [3]


@pytest.mark.parametrize("logits_at_once", [1, 512, 1200])
def test_scores_do_not_depend_on_how_many_logits_are_made_at_once(
    tiny_model, tiny_tokenizer, monkeypatch, logits_at_once
):
    requests = text_requests(tiny_tokenizer, TEXTS)
    expected = score_requests(tiny_model, requests, progress=False)
    monkeypatch.setattr(likelihood, "_LOGITS_AT_ONCE_ON_CPU", logits_at_once)
    for score, own in zip(score_requests(tiny_model, requests, progress=False), expected, strict=True):
        np.testing.assert_allclose(score, own, atol=1e-5)


def test_attention_gets_no_mask_so_that_it_takes_the_causal_kernel(tiny_model):
    masks = []
    hook = tiny_model.gpt_neox.layers[0].register_forward_pre_hook(
        lambda _, args, kwargs: masks.append(kwargs["attention_mask"]), with_kwargs=True
    )
    score_requests(tiny_model, [Request((0, 1, 2), (3,)), Request((0,), (3,))], progress=False)
    hook.remove()
    assert masks == [None]
    assert tiny_model.config._attn_implementation == "sdpa"


def test_half_precision_weights_give_unrounded_log_probabilities(tiny_model):
    model = copy.deepcopy(tiny_model).bfloat16()
    request = Request((0, 1, 2), (3, 4))
    with torch.no_grad():
        hidden = model.gpt_neox(torch.tensor([request.input])).last_hidden_state[0, 2:].float()
    log_p = (hidden @ model.get_output_embeddings().weight.float().T).log_softmax(-1)
    (score,) = score_requests(model, [request], progress=False)
    np.testing.assert_allclose(score, log_p[[0, 1], [3, 4]].detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_is_restored_and_it_can_still_be_trained(tiny_model, training):
    model = copy.deepcopy(tiny_model).train(training)
    score_requests(model, [Request((0,), (1,))], progress=False)
    assert model.training is training
    ids = torch.tensor([[0, 1, 2]])
    model(ids, labels=ids).loss.backward()


def test_dropout_is_off_while_scoring_a_model_in_training(tiny_model):
    model = copy.deepcopy(tiny_model).train()
    model.gpt_neox.emb_dropout.p = 0.5
    request = Request((0, 1), (2,))
    np.testing.assert_array_equal(
        score_requests(model, [request], progress=False), score_requests(tiny_model, [request], progress=False)
    )


def test_no_requests_give_no_scores(tiny_model):
    assert score_requests(tiny_model, [], progress=False) == []


def test_an_input_longer_than_the_models_context_is_refused(tiny_model):
    with pytest.raises(UserError, match="513 tokens, expected at most the model's 512"):
        score_requests(tiny_model, [Request((0,) * 513, (1,))], progress=False)


def test_texts_are_scored_from_their_first_word_on(tiny_tokenizer):
    (request,) = text_requests(tiny_tokenizer, ["He told"])
    assert request == Request(context=(0,), continuation=tuple(tiny_tokenizer("He told").input_ids))


def test_the_prefix_token_is_not_doubled(tiny_tokenizer):
    with_token, without = text_requests(tiny_tokenizer, ["<|endoftext|>He told", "He told"])
    assert with_token == without


def test_encoding_apart_equals_encoding_together(tiny_tokenizer):
    for text in TEXTS:
        for word in [" she", " the construction worker", " CEO"]:
            (request,) = continuation_requests(tiny_tokenizer, [text], [word])
            assert request.context + request.continuation == (0, *tiny_tokenizer(text + word).input_ids)


def test_a_tokenizer_without_special_tokens_is_refused(tiny_tokenizer):
    bare = copy.deepcopy(tiny_tokenizer)
    bare.bos_token = bare.eos_token = None
    with pytest.raises(UserError, match=r"set tokenizer\.bos_token"):
        text_requests(bare, ["He told"])


def test_scores_equal_those_of_lm_evaluation_harness(tiny_model, tiny_tokenizer):
    pytest.importorskip("accelerate", reason="lm-eval's models need accelerate")
    huggingface = pytest.importorskip("lm_eval.models.huggingface", reason="lm-eval is not installed")
    instance = pytest.importorskip("lm_eval.api.instance")
    harness = huggingface.HFLM(pretrained=tiny_model, tokenizer=tiny_tokenizer, device="cpu", batch_size=3)
    pairs = [("", text) for text in TEXTS] + [("The teacher wrote that", " she"), ("The teacher wrote that", " he")]
    asked = [instance.Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    expected = [log_p for log_p, _ in harness.loglikelihood(asked, disable_tqdm=True)]

    requests = text_requests(tiny_tokenizer, TEXTS)
    # lm-evaluation-harness gives the prefix token to empty contexts only
    with_prefix = continuation_requests(tiny_tokenizer, ["The teacher wrote that"] * 2, [" she", " he"])
    requests += [Request(request.context[1:], request.continuation) for request in with_prefix]
    ours = [score.sum() for score in score_requests(tiny_model, requests, progress=False)]
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_ranks_stand_below_the_scores_of_those_who_ask(tiny_model, tiny_tokenizer):
    plain = text_requests(tiny_tokenizer, TEXTS)
    ranked = [replace(request, ranked=True) for request in plain[:2]]
    scores = score_requests(tiny_model, [*ranked, *plain], progress=False)
    assert [score.ndim for score in scores] == [2, 2, 1, 1, 1, 1]
    for request, score, alone in zip(ranked, scores[:2], scores[2:4], strict=True):
        np.testing.assert_array_equal(score[0], alone)
        ids = torch.tensor([[*request.context, *request.continuation]])
        with torch.no_grad():
            logits = tiny_model(ids).logits[0, :-1]
        order = logits.argsort(dim=-1, descending=True, stable=True)
        expected = [(order[place] == token).nonzero().item() for place, token in enumerate(request.continuation)]
        assert score[1].tolist() == expected
