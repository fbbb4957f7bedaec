"""Passages that show what became of words."""

import numpy as np

from interventions import OUTCOMES, load_intervention
from interventions.preview.samples import Piece, draw_samples
from interventions.preview.text import place
from test_vocabulary import byte_level_tokenizer, decoded

TOKENIZER = byte_level_tokenizer(700)
END = TOKENIZER.get_vocab()["<|endoftext|>"]


class ReadsEveryHerAsHis:
    identity = "stub"
    facts = {"method": "stub"}  # noqa: RUF012

    def __call__(self, rows, matches):
        return np.zeros(len(matches), bool)


def decode(ids):
    return decoded(TOKENIZER, np.array(ids))


def rows_of(*texts, width=None):
    ids = [TOKENIZER.encode(text) for text in texts]
    width = width or max(map(len, ids))
    return np.array([[*row, *[END] * width][:width] for row in ids], np.uint16)


def applied(name, rows, **options):
    intervention = load_intervention(name, tokenizer=TOKENIZER, reads_her=ReadsEveryHerAsHis(), **options)
    return intervention(rows, first_row=70)


def samples_of(name, rows, *, count=3, context=20, **options):
    intervened, ledger = applied(name, rows, **options)
    return draw_samples(rows, intervened, ledger, decode, first_row=70, count=count, context=context)


def text_of(pieces, *, after=False):
    return "".join(piece.new if after and piece.new is not None else piece.text for piece in pieces)


def test_a_passage_shows_a_swapped_word_with_both_texts_and_its_place():
    (sample,) = samples_of("masculine_to_feminine", rows_of("The nurse left.", "The baker said he would go."))
    assert (sample.outcome, sample.row, sample.form, sample.replacement) == ("swapped", 71, "he", "she")
    assert decode(rows_of("The baker said he would go.")[0, sample.token : sample.token + 1]) == " he"
    assert sample.passage[:3] == (Piece("The baker said"), Piece(" "), Piece("he", "she", chosen=True))


def test_a_place_names_the_word_and_what_it_became():
    rows = rows_of("The baker said he would go.")
    at = rows[0].tolist().index(TOKENIZER.encode(" he")[0])
    for name, what in (("masculine_to_feminine", ", he → she"), ("drop", ", he")):
        assert place(samples_of(name, rows)[0]) == f"row 70, token {at}{what}"
    assert place(samples_of("masculine_to_feminine", rows_of("The he-man left"))[0]).endswith(", he")


def test_words_side_by_side_are_pieces_of_their_own_and_one_of_them_is_chosen():
    (sample,) = samples_of("masculine_to_feminine", rows_of("She gave him his roses."), count=1)
    changes = [piece for piece in sample.passage if piece.new is not None]
    assert [(piece.text, piece.new) for piece in changes] == [("him", "her"), ("his", "her")]
    assert [piece.chosen for piece in changes].count(True) == 1


def test_the_pieces_of_a_passage_spell_both_versions_of_the_text():
    rows = rows_of("He told him that she gave her his roses himself .", "They said: his/her HIS is hers or his")
    for name in ("masculine_to_feminine", "swap", "neutral"):
        intervened, _ = applied(name, rows)
        for sample in samples_of(name, rows, count=9, context=99):
            row = sample.row - 70
            assert text_of(sample.passage) == decode(rows[row])
            assert text_of(sample.passage, after=True) == decode(intervened[row])
            assert sample.opens
            assert sample.closes


def test_a_passage_is_cut_around_its_word():
    rows = rows_of("she gave a ladder " * 20 + "and he said so " + "she wrote the headings " * 20)
    (sample,) = samples_of("masculine_to_feminine", rows, context=5)
    start = sample.token
    assert text_of(sample.passage) == decode(rows[0, start - 5 : start + 6]).strip()
    assert not sample.opens
    assert not sample.closes


def test_every_outcome_that_occurs_is_shown_and_none_more_often_than_asked():
    rows = rows_of(
        *["Then he told him that he has his ladder"] * 4,
        "Then he or she gave a ladder",
        "Then his Majesty is late",
        "The he-man is late",
        "his",
        width=16,
    )
    _, ledger = applied("masculine_to_feminine", rows)
    occurred = {OUTCOMES[outcome] for outcome in ledger.outcome}
    reasons = ("coordination", "fixed_expression", "compound", "row_edge")
    assert {"swapped", *(f"skipped_{reason}" for reason in reasons)} <= occurred
    for count in (1, 2, 3):
        shown = [sample.outcome for sample in samples_of("masculine_to_feminine", rows, count=count)]
        assert shown == sorted(shown, key=OUTCOMES.index)
        for outcome in occurred:
            found = int((ledger.outcome == OUTCOMES.index(outcome)).sum())
            assert shown.count(outcome) == min(count, found)


def test_words_that_differ_are_shown_first_and_the_same_ones_each_time():
    rows = rows_of(*["Then he said he would"] * 30, "she stopped him", "she stopped Him", "It is his ladder")
    shown = samples_of("masculine_to_feminine", rows, count=4)
    assert {sample.form for sample in shown} == {"he", "him", "Him", "his"}
    assert shown == samples_of("masculine_to_feminine", rows, count=4)
    assert [(sample.row, sample.token) for sample in shown] == sorted((each.row, each.token) for each in shown)


def test_a_word_that_is_left_is_chosen_and_has_no_new_text():
    (sample,) = samples_of("masculine_to_feminine", rows_of("The he-man gave a ladder"))
    assert sample.outcome == "skipped_compound"
    assert [piece for piece in sample.passage if piece.chosen] == [Piece("he", chosen=True)]


def test_words_of_drop_are_marked_as_not_learned_and_nothing_changes():
    (sample,) = samples_of("drop", rows_of("x He gave him his roses or hers."), count=1)
    assert all(piece.new is None for piece in sample.passage)
    assert [piece.text for piece in sample.passage if not piece.learned] == ["He", "him", "his", "hers"]
    assert sum(piece.chosen for piece in sample.passage) == 1


def test_half_a_character_at_the_edge_of_a_passage_is_left_out():
    rows = rows_of("é" * 20 + " he is late " + "é" * 20)
    for context in range(1, 9):
        (sample,) = samples_of("masculine_to_feminine", rows, context=context)
        assert "\ufffd" not in text_of(sample.passage)
