import numpy as np
import pytest

import interventions.pronoun_swap
from foundation import UserError
from interventions import INTERVENTIONS, SKIP_REASONS, load_intervention
from test_vocabulary import byte_level_tokenizer

TOKENIZER = byte_level_tokenizer(300)


def test_none_changes_nothing():
    rows = np.arange(12, dtype=np.uint16).reshape(3, 4)
    same, ledger = load_intervention("none", tokenizer=TOKENIZER)(rows, first_row=0)
    assert np.array_equal(same, rows)
    assert same.dtype == rows.dtype
    assert not np.shares_memory(same, rows)
    assert ledger.swapped.shape == rows.shape
    assert not ledger.swapped.any()


def test_all_ledgers_have_the_same_columns_of_the_same_types():
    rows = np.array([TOKENIZER.encode("x he x his x ")], np.uint16)
    ledgers = [load_intervention(name, tokenizer=TOKENIZER)(rows, first_row=0)[1] for name in INTERVENTIONS]
    for ledger in ledgers:
        skipped = [f"skipped_{reason}" for reason in SKIP_REASONS]
        assert list(ledger.counts.columns) == ["form", "replacement", "occurrences", "swapped", *skipped]
        assert ledger.counts.dtypes.equals(ledgers[0].counts.dtypes)
    assert [len(ledger.counts) for ledger in ledgers] == [0, 2]


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="did you mean masculine_to_feminine") as error:
        load_intervention("masculine_to_feminin", tokenizer=TOKENIZER)
    assert all(name in str(error.value) for name in INTERVENTIONS)
    assert "\n" not in str(error.value)


def test_an_unknown_name_like_no_other_is_answered_with_all():
    with pytest.raises(UserError, match=r"intervention=q is unknown; known are none, masculine_to_feminine"):
        load_intervention("q", tokenizer=TOKENIZER)


def test_the_identity_tells_arms_and_tokenizers_apart():
    identities = {
        load_intervention(name, tokenizer=tokenizer).identity
        for name in INTERVENTIONS
        for tokenizer in (TOKENIZER, byte_level_tokenizer(301))
    }
    assert len(identities) == 2 * len(INTERVENTIONS)
    assert all(len(bytes.fromhex(identity)) == 32 for identity in identities)


def test_the_identity_is_the_same_each_time_and_for_every_seed():
    first, second = (load_intervention("masculine_to_feminine", tokenizer=TOKENIZER, seed=seed) for seed in (0, 1))
    assert first.identity == second.identity


def test_the_identity_covers_the_rule_for_his(monkeypatch):
    before = load_intervention("masculine_to_feminine", tokenizer=TOKENIZER).identity
    monkeypatch.setattr(interventions.pronoun_swap, "INDEPENDENT_BEFORE", ("is",))
    assert load_intervention("masculine_to_feminine", tokenizer=TOKENIZER).identity != before
