"""A preview of an intervention in words, and in the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from interventions.ledger import OUTCOMES, SWAPPED
from interventions.preview.samples import Kind, Piece, Sample, treated

TERMINAL_FORMS = 16

_ASCII = str.maketrans({"→": "->", "’": "'", "“": '"', "”": '"', "…": "...", "–": "-", "−": "-", "\u00a0": " "})


@dataclass(frozen=True)
class Preview:
    """All that is shown.

    Attributes:
        command: that shows it again.
        model, step: whose batch it is.
        corpus: where it lies.
        first_row, stop_row: of the corpus, that were read; the last is not included.
        sha256: of these rows.
        intervention, sentence, identity: its name, what it does, and the hash of all that decides.
        facts: what it measured of itself, in sentences.
        rows, tokens: how many were read.
        changed_rows, changed_tokens: how many are others now, place by place.
        unlearned_tokens: how many are no labels now.
        counts: `Ledger.counts`, the most frequent forms first.
        kinds: the outcomes that occurred, in the order of `OUTCOMES`.
    """

    command: str
    model: str
    step: int
    corpus: str
    first_row: int
    stop_row: int
    sha256: str
    intervention: str
    sentence: str
    identity: str
    facts: tuple[str, ...]
    rows: int
    tokens: int
    changed_rows: int
    changed_tokens: int
    unlearned_tokens: int
    counts: pd.DataFrame
    kinds: tuple[Kind, ...]

    @property
    def found(self) -> int:
        """Words that were found."""
        return int(self.counts["occurrences"].sum())

    @property
    def columns(self) -> dict[str, str]:
        """The columns of `counts` that are shown, and what they are called."""
        reasons = {kind.outcome: kind.short for kind in self.kinds if kind.outcome in OUTCOMES[1:]}
        return {"occurrences": "found", OUTCOMES[SWAPPED]: treated(self.intervention), **reasons}


def result_sentences(preview: Preview) -> list[str]:
    """How many words were found, and how much of the text is another now."""
    if not preview.found:
        looked = "No word was looked for" if preview.intervention == "none" else "No word was found"
        return [f"{looked}; all {preview.tokens:,} tokens are as before."]
    swapped = int(preview.counts[OUTCOMES[SWAPPED]].sum())
    sentences = [
        f"{_number(preview.found, 'word')} found, {swapped:,} {treated(preview.intervention)} "
        f"({_percent(swapped / preview.found)})."
    ]
    if preview.unlearned_tokens:
        share = _percent(preview.unlearned_tokens / preview.tokens)
        sentences.append(f"{_number(preview.unlearned_tokens, 'token')} of {preview.tokens:,} not learned ({share}).")
    if not preview.changed_tokens:
        return [*sentences, "No token is another than before."]
    share = _percent(preview.changed_tokens / preview.tokens)
    sentences.append(
        f"{_number(preview.changed_tokens, 'token')} of {preview.tokens:,} changed ({share}), in "
        f"{preview.changed_rows:,} of {_number(preview.rows, 'row')}."
    )
    return sentences


def show(preview: Preview, *, console: Console) -> None:
    """Print a preview; a console without colours gets marks in their place, and ASCII but for the corpus's own text."""
    marked = console.color_system is None

    def say(text: str, style: str = "") -> None:
        console.print(Text(text.translate(_ASCII) if marked else text, style=style))

    say(_title(preview), "bold")
    say(preview.sentence)
    for fact in preview.facts:
        say(fact)
    console.print()
    for sentence in result_sentences(preview):
        say(sentence)
    if preview.found:
        console.print()
        console.print(_table(preview))
    for kind in preview.kinds:
        console.print()
        say(f"{heading(kind)}: {kind.words}" if kind.words else heading(kind), "bold")
        for sample in kind.samples:
            for line in _passage(sample, marked=marked).wrap(console, console.width - 2):
                line.rstrip()
                console.print(Text.assemble("  ", line))
    console.print()
    if marked and preview.kinds:
        say("[-old-]{+new+}; [[a word that is left]]; __not learned__; \\n is the end of a line.")


def _title(preview: Preview) -> str:
    return (
        f"{preview.intervention}, step {preview.step} of {preview.model}: rows {preview.first_row} to "
        f"{preview.stop_row - 1} of the corpus"
    )


def heading(kind: Kind) -> str:
    """How many words had this outcome."""
    if kind.outcome == OUTCOMES[SWAPPED]:
        return f"{kind.count:,} {kind.short}"
    return f"{kind.count:,} left, {kind.short}"


def _table(preview: Preview) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("form")
    table.add_column("replacement")
    for name in preview.columns.values():
        table.add_column(name, justify="right")
    for line in preview.counts.head(TERMINAL_FORMS).to_dict("records"):
        cells = [f"{line[column]:,}" for column in preview.columns]
        table.add_row(Text(line["form"]), Text(line["replacement"]), *cells)
    if (rest := preview.counts.iloc[TERMINAL_FORMS:])["occurrences"].any():
        table.add_row(f"{len(rest)} others", "", *(f"{rest[column].sum():,}" for column in preview.columns))
    table.add_row("all", "", *(f"{preview.counts[column].sum():,}" for column in preview.columns), style="bold")
    return table


def _passage(sample: Sample, *, marked: bool) -> Text:
    where = place(sample)
    text = Text.assemble(where.translate(_ASCII) if marked else (where, "dim"), "\n")
    text.append("[row begins] " if sample.opens else "... ")
    text.append_text(_line(sample.passage, marked=marked))
    text.append(" [row ends]" if sample.closes else " ...")
    return text


def place(sample: Sample) -> str:
    """Where a passage is, and what it shows."""
    what = f", {sample.form}"
    if sample.outcome == OUTCOMES[SWAPPED] and sample.form != sample.replacement:
        what += f" → {sample.replacement}"
    return f"row {sample.row}, token {sample.token}{what}"


def _line(pieces: Sequence[Piece], *, marked: bool) -> Text:
    """Pieces on one line, with marks or colours."""
    line = Text()
    for piece in pieces:
        old, new = (part.replace("\n", "\\n" if marked else "↵ ") for part in (piece.text, piece.new or ""))
        if piece.new is not None:
            if old:
                line.append(f"[-{old}-]" if marked else old, style="" if marked else "red strike")
            if new:
                line.append(f"{{+{new}+}}" if marked else f" {new}", style="" if marked else "bold green")
        elif not piece.learned:
            line.append(f"__{old}__" if marked else old, style="" if marked else "bold underline magenta")
        elif piece.chosen:
            line.append(f"[[{old}]]" if marked else old, style="" if marked else "bold reverse")
        else:
            line.append(old)
    return line


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\u00a0%"
