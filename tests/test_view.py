import io

import numpy as np
import pytest
from rich.console import Console

from corpus.view import View, documents, parse_sequences, show
from interventions import load_intervention

END = 0


def rows_of(tokenizer, *texts, width=24):
    """One row a text; shorter ones are filled with the end-of-document token."""
    encoded = [tokenizer.encode(text) for text in texts]
    return np.array([ids[:width] + [END] * (width - len(ids)) for ids in encoded], np.uint16)


def printed(view, tokenizer, *, terminal=False, width=200):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system="standard")
    show(view, tokenizer.decode, end_of_document=END, console=console)
    return console.file.getvalue()


@pytest.fixture
def rows(tiny_tokenizer):
    return rows_of(
        tiny_tokenizer,
        "He told the nurse about it, and the clerk thanked her .<|endoftext|>The baker met them",
        "The theme is theirs; the cook lost his keys",
    )


def test_a_row_is_parted_where_documents_end():
    row = np.array([5, 6, END, 7, END, END, 8])
    assert [row[part].tolist() for part in documents(row, END)] == [[5, 6, END], [7, END], [END], [8]]
    assert [part.stop for part in documents(np.array([5, 6]), END)] == [2]


@pytest.mark.parametrize(("text", "expected"), [("0:2", range(2)), ("3:16", range(3, 16)), ("7", range(7, 8))])
def test_sequences_are_named_as_slices_are(text, expected):
    assert parse_sequences(text, 16) == expected


@pytest.mark.parametrize("text", ["", "a", "5:5", "6:3", "0:17", "16", "-1", "1:2:3"])
def test_what_names_no_sequences_is_refused(text):
    with pytest.raises(ValueError, match="rows="):
        parse_sequences(text, 16)


def test_the_place_of_every_row_is_told_with_both_ends(rows, tiny_tokenizer):
    text = printed(View(7, range(3, 5), 115, 16, rows), tiny_tokenizer)
    assert "step 7: rows 112 to 127 of the corpus, both included." in text
    assert "rows 115 to 116, sequences 3 to 4 of the step" in text
    assert "row 115: sequence 3 of step 7" in text
    assert "0 to 22 are inputs, 1 to 23 are labels; token 0 is never a label" in text


def test_pronouns_are_marked_as_whole_words(rows, tiny_tokenizer):
    text = printed(View(0, range(2), 0, 2, rows), tiny_tokenizer)
    assert "[He] told the nurse about it, and the clerk thanked [her] ." in text
    assert "The theme is [theirs]; the cook lost [his] keys" in text


def test_a_terminal_gets_colours_and_no_marks(rows, tiny_tokenizer):
    text = printed(View(0, range(2), 0, 2, rows), tiny_tokenizer, terminal=True)
    assert "\x1b[1;36mHe\x1b[0m told" in text
    assert "\x1b[1;35mher\x1b[0m" in text
    assert "[He]" not in text


def test_swaps_stand_side_by_side(rows, tiny_tokenizer):
    intervention = load_intervention("masculine_to_feminine", tokenizer=tiny_tokenizer)
    intervened, ledger = intervention(rows, first_row=0)
    view = View(0, range(2), 0, 2, rows, intervention.name, intervened, ledger.swapped)
    (line,) = [line for line in printed(view, tiny_tokenizer, width=300).splitlines() if "lost" in line]
    before, after = line.split("│")[2:4]
    assert before.strip().startswith("The theme is [theirs]; the cook lost [[his]] keys")
    assert after.strip().startswith("The theme is [theirs]; the cook lost [[her]] keys")
    assert "Words swapped by masculine_to_feminine in these rows: 1." in printed(view, tiny_tokenizer)


def test_text_that_looks_like_markup_is_shown_as_it_is(tiny_tokenizer):
    view = View(0, range(1), 0, 1, rows_of(tiny_tokenizer, "[bold]he[/bold]"))
    assert "[bold][he][/bold]" in printed(view, tiny_tokenizer)


def test_rows_without_document_marks_are_told(tiny_tokenizer):
    ids = tiny_tokenizer.encode("The baker met the sailor because he had lost his keys .")
    marked = View(0, range(1), 0, 1, np.array([[*ids, END]], np.uint16))
    unmarked = View(0, range(1), 0, 1, np.array([ids], np.uint16))
    assert "documents join unmarked" not in printed(marked, tiny_tokenizer)
    assert "documents join unmarked" in printed(unmarked, tiny_tokenizer)
