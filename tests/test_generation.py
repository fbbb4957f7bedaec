import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.generation import Prompt, first_words, generate, is_complete
from foundation import UserError

TEXTS = [
    "The baker met the sailor because",
    "The painter met the clerk because",
    "She told the nurse about it .\nHere,",
    "Nobody",
    "The green boat is old; the manager said that the cook had lost the keys of the house",
]
FOREVER = 10**6


def greedy(model, tokenizer, text, max_new_tokens):
    """Token by token without a cache."""
    ids = tokenizer(text).input_ids
    new = []
    while len(new) < max_new_tokens:
        with torch.no_grad():
            token = model(torch.tensor([ids + new])).logits[0, -1].argmax().item()
        if token == tokenizer.eos_token_id:
            break
        new.append(token)
    return tokenizer.decode(new, skip_special_tokens=True)


def test_a_continuation_is_the_greedy_one(tiny_model, tiny_tokenizer):
    prompts = [Prompt(text, FOREVER) for text in TEXTS]
    outputs = generate(tiny_model, tiny_tokenizer, prompts, max_new_tokens=12, progress=False)
    assert outputs == [greedy(tiny_model, tiny_tokenizer, text, 12) for text in TEXTS]
    assert len(set(outputs)) > 1


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.builds(Prompt, text=st.sampled_from(TEXTS), words=st.integers(1, 4)), max_size=4),
    st.sampled_from([1, 30, 8192]),
)
def test_a_continuation_is_the_same_alone_and_in_company(tiny_model, tiny_tokenizer, prompts, tokens_per_batch):
    settings_ = {"max_new_tokens": 8, "progress": False}
    together = generate(tiny_model, tiny_tokenizer, prompts, tokens_per_batch=tokens_per_batch, **settings_)
    assert together == [generate(tiny_model, tiny_tokenizer, [prompt], **settings_)[0] for prompt in prompts]


@pytest.mark.parametrize("words", [1, 2, 3])
def test_stopping_early_changes_no_word_that_is_looked_at(tiny_model, tiny_tokenizer, words):
    texts = [f"{text} {person}" for text in TEXTS for person in ("baker", "nurse")]
    early = generate(tiny_model, tiny_tokenizer, [Prompt(text, words) for text in texts], progress=False)
    whole = generate(tiny_model, tiny_tokenizer, [Prompt(text, FOREVER) for text in texts], progress=False)
    assert [first_words(output, words) for output in early] == [first_words(output, words) for output in whole]
    assert sum(map(len, early)) < sum(map(len, whole))
    assert all(output.startswith(start) for start, output in zip(early, whole, strict=True) if "\ufffd" not in start)


@given(st.text(st.sampled_from("ab. \n\u3000é\ufffd")), st.integers(0, 60), st.integers(1, 3))
def test_words_called_complete_never_change_whatever_bytes_follow(text, end, words):
    start = text.encode()[:end].decode(errors="replace")
    if is_complete(start, words):
        assert first_words(start, words) == first_words(text, words)


@pytest.mark.parametrize(
    ("output", "words", "expected", "complete"),
    [
        (" the janitor because", 2, "the janitor", True),
        (" the janitor", 2, "the janitor", False),
        ("The janitor.\n\nHere, the", 2, "The janitor.\n\nHere,", True),
        ("\n\nThe construction worker. He", 3, "The construction worker.", True),
        ("the  janitor", 2, "the ", True),
        ("", 2, "", False),
        ("  \n ", 1, "", False),
    ],
)
def test_words_are_separated_by_single_spaces_only(output, words, expected, complete):
    assert first_words(output, words) == expected
    assert is_complete(output, words) is complete


def test_the_end_of_the_document_ends_a_continuation(tiny_model, tiny_tokenizer):
    model = copy.deepcopy(tiny_model)
    torch.nn.init.zeros_(model.get_output_embeddings().weight)  # all tokens tie; the first one is <|endoftext|>
    assert generate(model, tiny_tokenizer, [Prompt("Nobody", 2)], progress=False) == [""]


def test_rows_that_are_complete_leave_the_batch(tiny_model, tiny_tokenizer):
    # Equally many tokens each; the second prompt wants no more than one word.
    prompts = [Prompt("The baker met the sailor", 4), Prompt("The baker met the sailor", 1)]
    shapes = []
    hook = tiny_model.gpt_neox.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    generate(tiny_model, tiny_tokenizer, prompts, progress=False)
    hook.remove()
    length = len(tiny_tokenizer(prompts[0].text).input_ids)
    assert shapes[:2] == [(2, length), (2, 1)]
    assert shapes[-1] == (1, 1)
    assert shapes == sorted(shapes, key=lambda shape: -shape[0])


def test_half_precision_is_projected_in_float32(tiny_model, tiny_tokenizer):
    model = copy.deepcopy(tiny_model).bfloat16()
    with torch.no_grad():
        hidden = model.gpt_neox(torch.tensor([tiny_tokenizer("Nobody").input_ids])).last_hidden_state[0, -1].float()
    token = (hidden @ model.get_output_embeddings().weight.float().T).argmax().item()
    (output,) = generate(model, tiny_tokenizer, [Prompt("Nobody", 1)], max_new_tokens=1, progress=False)
    assert output == tiny_tokenizer.decode([token], skip_special_tokens=True)


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_is_restored(tiny_model, tiny_tokenizer, training):
    model = copy.deepcopy(tiny_model).train(training)
    generate(model, tiny_tokenizer, [Prompt("Nobody", 1)], progress=False)
    assert model.training is training
    ids = torch.tensor([[0, 1, 2]])
    model(ids, labels=ids).loss.backward()


def test_no_prompts_give_no_continuations(tiny_model, tiny_tokenizer):
    assert generate(tiny_model, tiny_tokenizer, [], progress=False) == []


def test_a_prompt_that_leaves_no_room_in_the_models_context_is_refused(tiny_model, tiny_tokenizer):
    with pytest.raises(UserError, match="1 tokens and may get 512 more, expected at most the model's 512 in all"):
        generate(tiny_model, tiny_tokenizer, [Prompt(" she", 1)], max_new_tokens=512, progress=False)
    with pytest.raises(UserError, match="has 385 tokens and may get 128 more"):
        generate(tiny_model, tiny_tokenizer, [Prompt(" she" * 385, 1), Prompt(" she", 1)], progress=False)


def test_a_prompt_too_long_for_a_batch_goes_alone(tiny_model, tiny_tokenizer):
    shapes = []
    hook = tiny_model.gpt_neox.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape[0]))
    generate(
        tiny_model, tiny_tokenizer, [Prompt("Nobody", 1)] * 3, max_new_tokens=1, tokens_per_batch=1, progress=False
    )
    hook.remove()
    assert shapes == [1, 1, 1]
