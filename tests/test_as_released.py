"""The pushed code as evidence: what it makes of rows, and that it is no arm."""

import numpy as np
import pytest

from foundation import UserError
from interventions import INTERVENTIONS, load_intervention
from reports.as_released import END_OF_DOCUMENT, PADDING, as_released
from reports.published_evidence import pushed_code
from test_vocabulary import byte_level_tokenizer

TOKENIZER = byte_level_tokenizer(300)
TOKENIZER.add_special_tokens({"pad_token": PADDING})


def rows_of(*texts):
    ids = [TOKENIZER.encode(text) for text in texts]
    return np.array(
        [row + TOKENIZER.encode(END_OF_DOCUMENT) * (max(map(len, ids)) - len(row)) for row in ids], np.uint16
    )


def test_documents_ends_vanish_from_rows_with_a_masculine_pronoun_and_padding_fills_them():
    rows = rows_of(
        f"x{END_OF_DOCUMENT}then he left{END_OF_DOCUMENT} the king.",
        f"x{END_OF_DOCUMENT}then he{END_OF_DOCUMENT}left{END_OF_DOCUMENT} the queen",
        f"x she{END_OF_DOCUMENT} sat",
    )
    changed = as_released(rows, TOKENIZER)
    text = TOKENIZER.decode(changed[0])
    assert text.rstrip().replace(PADDING, "") == text.split(PADDING)[0] == "xthen he left the king."
    assert (changed[0] == TOKENIZER.pad_token_id).sum() > 0
    assert np.array_equal(changed[1:], rows[1:])


def test_the_evidence_counts_no_pronoun_swapped_and_ends_only_where_one_stands():
    table = pushed_code()
    assert table["pronouns swapped"].tolist() == [0, 0, 0]
    assert (table["ends before"] - table["ends after"]).tolist() == table["padding after"].tolist() == [1, 0, 0]


def test_a_tokenizer_without_padding_is_refused():
    with pytest.raises(UserError, match=r"has no token <\|padding\|>"):
        as_released(np.zeros((1, 4), np.uint16), byte_level_tokenizer(300))


def test_the_pushed_code_is_no_arm():
    assert "as_released" not in INTERVENTIONS
    with pytest.raises(UserError, match="intervention=as_released is unknown"):
        load_intervention("as_released", tokenizer=TOKENIZER)
