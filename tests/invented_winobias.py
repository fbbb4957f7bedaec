"""Invented WinoBias lines as they stand in four files of one condition, each with sentences of its own."""

from collections.abc import Sequence


def in_four_files(lines: Sequence[str], *, verbs: Sequence[str] = ("sang", "waved", "nodded", "spoke")) -> list[str]:
    """The lines once for each verb, which takes the place of "sang": type 1 dev and test, type 2 dev and test."""
    return [line.replace(" sang ", f" {verb} ") for verb in verbs for line in lines]
