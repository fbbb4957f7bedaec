"""Invented pairs for the tests of CrowS-Pairs, the files they may stand in, and a tokenizer whose tokens are words."""

import csv
import json

import pandas as pd

from eval.crows_pairs import CrowsPairs, PairSet

COLUMNS = ["", "sent_more", "sent_less", "stereo_antistereo", "bias_type"]


class WordTokenizer:
    """Tokens are the words between spaces, numbered as they come; 0 begins a text."""

    bos_token_id = 0

    def __init__(self):
        self.ids = {}

    def __call__(self, texts, **_):
        return {
            "input_ids": [[self.ids.setdefault(word, len(self.ids) + 1) for word in text.split()] for text in texts]
        }


def write(file, records, *, separator=None):
    """Write records (sent_more, sent_less, direction, bias_type) in the format of the file's suffix."""
    numbered = [(str(number), *record) for number, record in enumerate(records)]
    if file.suffix == ".parquet":
        pd.DataFrame(numbered, columns=COLUMNS).to_parquet(file)
    elif file.suffix == ".jsonl":
        lines = [json.dumps(dict(zip(COLUMNS, record, strict=True)), ensure_ascii=False) for record in numbered]
        file.write_bytes("".join(f"{line}\n" for line in lines).encode())
    else:
        with file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, delimiter=separator or ("\t" if file.suffix == ".tsv" else ","))
            writer.writerows([COLUMNS, *numbered])
    return file


def invented(tmp_path, records, *, language="english"):
    """A benchmark on invented pairs."""

    class Invented(CrowsPairs):
        name = "invented"
        pair_set = PairSet(name="invented", language=language, counts={}, requests_sha256={}, source=None)

    return Invented(path=str(write(tmp_path / "pairs.tsv", records)))
