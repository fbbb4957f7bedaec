import io

import numpy as np
import pytest
from rich.console import Console

from corpus.view import Intervened, View, documents, parse_sequences, show, visible
from foundation import UserError
from interventions import load_intervention

END = 0


def rows_of(tokenizer, *texts, width=24):
    """One row a text; shorter ones are filled with the end-of-document token."""
    encoded = [tokenizer.encode(text) for text in texts]
    return np.array([ids[:width] + [END] * (width - len(ids)) for ids in encoded], np.uint16)


def printed(view, tokenizer, *, colours=None, width=200):
    console = Console(file=io.StringIO(), force_terminal=colours is not None, width=width, color_system=colours)
    show(view, tokenizer.decode, end_of_document=END, console=console)
    return console.file.getvalue()


def view_of(rows, *, first_sequence=0, batch=None, intervened=None):
    sequences = range(first_sequence, first_sequence + len(rows))
    return View(7, batch or range(len(rows)), sequences, rows, intervened)


def swapped(rows, tokenizer):
    intervention = load_intervention("masculine_to_feminine", tokenizer=tokenizer)
    changed, ledger = intervention(rows, first_row=0)
    return Intervened(intervention.name, changed, ledger.swapped, int(ledger.counts["swapped"].sum()))


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
    assert [(part.start, part.stop) for part in documents(np.array([5, 6]), END)] == [(0, 2)]
    assert [(part.start, part.stop) for part in documents(np.array([5, END]), END)] == [(0, 2)]


@pytest.mark.parametrize(("text", "expected"), [("0:2", range(2)), ("3:16", range(3, 16)), ("7", range(7, 8))])
def test_sequences_are_named_as_slices_are(text, expected):
    assert parse_sequences(text, 16) == expected


@pytest.mark.parametrize("text", ["", "a", "5:5", "6:3", "0:17", "16", "-1", "1:2:3"])
def test_what_names_no_sequences_is_refused(text):
    with pytest.raises(UserError, match="rows="):
        parse_sequences(text, 16)


def test_the_place_of_every_row_is_told_with_both_ends(rows, tiny_tokenizer):
    text = printed(view_of(rows, first_sequence=3, batch=range(112, 128)), tiny_tokenizer)
    assert "Step 7 is rows 112 to 127 of the corpus, its sequences 0 to 15, first and last included." in text
    assert "row 115: sequence 3 of step 7" in text
    assert "row 116: sequence 4 of step 7" in text
    assert "0 to 22 are inputs, 1 to 23 are labels; token 0 is never a label" in text


def test_pronouns_are_marked_as_whole_words(rows, tiny_tokenizer):
    text = printed(view_of(rows), tiny_tokenizer)
    assert "⟨He⟩ told the nurse about it, and the clerk thanked ⟨her⟩ ." in text
    assert "The theme is ⟨theirs⟩; the cook lost ⟨his⟩ keys" in text
    assert "swapped" not in text


def test_a_terminal_gets_colours_and_no_marks(rows, tiny_tokenizer):
    text = printed(view_of(rows), tiny_tokenizer, colours="standard")
    assert "\x1b[1;36mHe\x1b[0m told" in text
    assert "\x1b[1;35mher\x1b[0m" in text
    assert "⟨" not in text


def test_swaps_stand_side_by_side(rows, tiny_tokenizer):
    text = printed(view_of(rows, intervened=swapped(rows, tiny_tokenizer)), tiny_tokenizer, width=300)
    (line,) = [line for line in text.splitlines() if "lost" in line]
    before, after = line.split("│")[2:4]
    assert before.strip().startswith("The theme is ⟨theirs⟩; the cook lost ⟦his⟧ keys")
    assert after.strip().startswith("The theme is ⟨theirs⟩; the cook lost ⟦her⟧ keys")
    assert "masculine_to_feminine swaps 1 words of these rows" in text


def test_swapped_words_are_counted_by_the_ledger_also_where_they_stand_together(tiny_tokenizer):
    rows = rows_of(tiny_tokenizer, "The baker gave him his keys and the clerk told him he had his boat .")
    text = printed(view_of(rows, intervened=swapped(rows, tiny_tokenizer)), tiny_tokenizer)
    assert "swaps 5 words of these rows" in text


def test_text_that_looks_like_markup_is_shown_as_it_is(tiny_tokenizer):
    assert "[bold]⟨he⟩[/bold]" in printed(view_of(rows_of(tiny_tokenizer, "[bold]he[/bold]")), tiny_tokenizer)


@pytest.mark.parametrize("width", [40, 80])
def test_no_character_is_lost_however_narrow_the_page(tiny_tokenizer, width):
    for text in ("x" * 150, "https://example.org/" + "a/" * 60, "tabs\there\tand\tthere he went on and on\tto the end"):
        rows = rows_of(tiny_tokenizer, text, width=200)
        page = printed(view_of(rows), tiny_tokenizer, width=width)
        cells = "".join(line.split("│")[2] for line in page.splitlines() if line.startswith("│"))
        for word in text.replace("he went", "⟨he⟩ went").split():
            assert word in cells.replace(" ", ""), page
        assert "…" not in page


def test_control_characters_of_the_corpus_do_not_reach_the_terminal():
    assert visible("a\x1b[31mred\x07\r\nb\tc\x9b1m\x7f") == "a␛[31mred␇␍\nb    c�1m�"


def test_rows_without_document_marks_are_told(tiny_tokenizer):
    ids = tiny_tokenizer.encode("The baker met the sailor because he had lost his keys .")
    assert "documents join unmarked" not in printed(view_of(np.array([[*ids, END]], np.uint16)), tiny_tokenizer)
    assert "documents join unmarked" in printed(view_of(np.array([ids], np.uint16)), tiny_tokenizer)
