import numpy as np

from interventions import load_intervention, swap_examples


def test_an_example_shows_the_passage_and_what_was_replaced(tiny_tokenizer):
    texts = ["The baker left.", "The nurse said that he lost his keys.", "She met the cook.", "It was him."]
    ids = [tiny_tokenizer(text).input_ids for text in texts]
    rows = np.array([row + [0] * (max(map(len, ids)) - len(row)) for row in ids], np.uint16)
    intervened, ledger = load_intervention("masculine_to_feminine", tokenizer=tiny_tokenizer)(rows, first_row=70)
    examples = swap_examples(rows, intervened, ledger.swapped, tiny_tokenizer, first_row=70, count=3)
    assert [example["row"] for example in examples] == [71, 73]
    first = examples[0]["pieces"]
    assert "".join(piece["text"] for piece in first).startswith("The nurse said that he lost his keys.")
    assert [(piece["text"], piece["replaced_by"]) for piece in first if piece["replaced_by"]] == [
        (" he", " she"),
        (" his", " her"),
    ]


def test_the_passage_is_cut_around_the_first_swapped_word(tiny_tokenizer):
    text = "The baker met the cook. " * 20 + "Then he left." + " The nurse met the driver." * 20
    rows = np.array([tiny_tokenizer(text).input_ids], np.uint16)
    intervened, ledger = load_intervention("masculine_to_feminine", tokenizer=tiny_tokenizer)(rows, first_row=0)
    (example,) = swap_examples(rows, intervened, ledger.swapped, tiny_tokenizer, first_row=0, count=1, context=5)
    shown = "".join(piece["text"] for piece in example["pieces"])
    assert " he" in shown
    assert len(tiny_tokenizer(shown).input_ids) <= 12
