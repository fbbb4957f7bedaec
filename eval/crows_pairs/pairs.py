"""The published sets of pairs, the routes to them, and the hashes that tell whether a set is the published one.

A set is identified by what a model is asked: the sentences in their order, as unstripped text. The identity is the hash
that lm-evaluation-harness kept of its requests (tests/test_version_stable.py and tests/testdata/ of its versions 0.2
and 0.3, `crows_pairs_english-v0-loglikelihood`), so it says at once that the sentences are those behind Pythia's stored
results, and any route (tab-separated file, JSON lines, parquet, hub) gives the same items or an error.
"""

import hashlib
import json
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from eval.items import HUB, load_records, read_records
from foundation import UserError, fetch

log = logging.getLogger(__name__)

_COLUMNS = ["sent_more", "sent_less", "stereo_antistereo", "bias_type"]


@dataclass(frozen=True, kw_only=True)
class PairSet:
    """A published set of pairs.

    Attributes:
        name: of the benchmark.
        language: of the sentences, and the configuration's name on the hub.
        counts: how many pairs there are in all, and with a bias type (`gender`) or direction (`antistereo`).
        requests_sha256: bias type, or `pairs` for all -> `requests_sha256` of those pairs.
        source: key of `foundation.SOURCES`; None where only a path that the user names leads to the pairs.
        hub: a dataset of the hub that has them too, for where the source cannot be reached.
    """

    name: str
    language: Literal["english", "french"]
    counts: Mapping[str, int]
    requests_sha256: Mapping[str, str]
    source: str | None
    hub: str | None = None


ORIGINAL = PairSet(
    name="crows_pairs",
    language="english",
    counts={"pairs": 1508, "gender": 262, "antistereo": 218},
    requests_sha256={
        "pairs": "24b02795c7270ff4c11473e4373a40402b10ef34640168d391dc3d4aa57e83ba",
        "gender": "f8c51f62884ebd475dc23a280152699e817f271dc8806733604e22102c145dfd",
    },
    source="crows_pairs",
)
REVISED = PairSet(
    name="crows_pairs_revised",
    language="english",
    counts={"pairs": 1677, "gender": 320, "antistereo": 211},
    requests_sha256={
        "pairs": "ee3ce1ddb8071d4189e5b06e7f3c618a434221ac52935d0f434c4d183f01458a",
        "gender": "2bf62b7cc678f64ffad4a6e6715ff76a2b984bfe8d1165da4b76b3b4dfafb2f9",
    },
    source="crows_pairs_revised",
    hub=f"{HUB}jannalu/crows_pairs_multilingual",
)
FRENCH = PairSet(name="crows_pairs_french", language="french", counts={"pairs": 1677}, requests_sha256={}, source=None)


def load_pairs(pair_set: PairSet, path: str | None) -> pd.DataFrame:
    """The pairs of a set, from the place that `path` names.

    Args:
        pair_set: what the pairs must be.
        path: a local file (see `read_records`), hf://datasets/OWNER/NAME, or None for the set's own source.

    Returns:
        One row for each pair, in the published order: example (its place, from 0), sent_more, sent_less (as published,
        spaces at their ends included), direction (stereo | antistereo), bias_type (as published, with `_` for `-`).

    Raises:
        UserError: no route leads to the set, or what was found is another one.
    """
    records, origin = _find_records(pair_set, path)
    if missing := [column for column in _COLUMNS if column not in records]:
        raise UserError(
            f"{origin} has the columns {', '.join(map(repr, records.columns))}, but not {', '.join(missing)}; "
            f"name a file of {pair_set.name} as it was published"
        )
    if not records[_COLUMNS].map(lambda value: isinstance(value, str)).all(axis=None):
        raise UserError(
            f"{origin} holds values that are no text, expected text in {', '.join(_COLUMNS)}; fetch it again"
        )
    pairs = pd.DataFrame(
        {
            "example": range(len(records)),
            "sent_more": records["sent_more"],
            "sent_less": records["sent_less"],
            "direction": records["stereo_antistereo"],
            "bias_type": records["bias_type"].str.replace("-", "_"),
        }
    )
    _check(pair_set, pairs, origin)
    return pairs


def requests_sha256(pairs: pd.DataFrame) -> str:
    """SHA-256 of the requests that lm-evaluation-harness 0.2 and 0.3 made of these pairs.

    That is of the JSON list of ["", sentence], sent_more before sent_less, the pairs shuffled by Python's own generator
    with the seed 42 (`evaluate` in lm_eval/evaluator.py). Nothing is stripped.
    """
    sentences = list(zip(pairs["sent_more"], pairs["sent_less"], strict=True))
    random.Random(42).shuffle(sentences)
    return hashlib.sha256(json.dumps([["", sentence] for pair in sentences for sentence in pair]).encode()).hexdigest()


def _find_records(pair_set: PairSet, path: str | None) -> tuple[pd.DataFrame, str]:
    """Records as they were found, and where."""
    if path is not None:
        return load_records(path, config=pair_set.language, split="test"), path
    if pair_set.source is None:
        raise UserError(
            f"{pair_set.name} is fetched from nowhere, as no hash of it is known; set its path to a local file or to "
            f"hf://datasets/OWNER/NAME"
        )
    try:
        return read_records(fetch(pair_set.source)), pair_set.source
    except UserError as error:
        if pair_set.hub is None:
            raise
        log.debug("%s: %s", pair_set.name, error)
        from_source = error
    try:
        return load_records(pair_set.hub, config=pair_set.language, split="test"), pair_set.hub
    except UserError as error:
        raise UserError(f"{from_source}; and {error}") from error


def _check(pair_set: PairSet, pairs: pd.DataFrame, origin: str) -> None:
    counts = {"pairs": len(pairs), **pairs["bias_type"].value_counts().to_dict()}
    counts |= pairs["direction"].value_counts().to_dict()
    found = {what: int(counts.get(what, 0)) for what in pair_set.counts}
    if found != dict(pair_set.counts):
        raise UserError(
            f"{origin} holds {found}, expected {dict(pair_set.counts)} for {pair_set.name}; name a file of this set"
        )
    for what, expected in pair_set.requests_sha256.items():
        members = pairs if what == "pairs" else pairs[pairs["bias_type"] == what]
        if (sha256 := requests_sha256(members)) != expected:
            raise UserError(
                f"{origin} holds other sentences than {pair_set.name}, or in another order: the sha256 of the requests "
                f"({what}) is {sha256}, expected {expected}; name a file as it was published"
            )
