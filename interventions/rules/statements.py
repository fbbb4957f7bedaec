"""Lines that are one statement of a program: "he = 3", "she, x = f(he), 1", "if he:", "import he"."""

import re

_TERM = r"""(?:-?[\w.]+(?:\[[^\[\]]*\]|\([^()]*\))*|"[^"]*"|'[^']*'|\[[^\[\]]*\]|\{[^{}]*\}|\([^()]*\))"""
_EXPRESSION = rf"{_TERM}(?:\s?(?:\*\*|//|[<>=!]=|[-+*/%|&^<>])\s?{_TERM})*"
_NAMES = r"[\w.\[\]]+(?:\s?,\s?[\w.\[\]]+)*"
_END = r"\s?;?\s*(?:(?:#|//).*)?"
_DECLARED = r"(?:(?:let|var|val|const|auto|final|static|int|char|float|double|bool|local|my) )*"
_TYPE = r"(?:\s?:\s?[\w.]+(?:\[[^\[\]]*\])?)?"
_ASSIGNMENT = rf"{_DECLARED}{_NAMES}{_TYPE}\s?(?:[-+*/|&%:]?=|<-)\s?{_EXPRESSION}(?:\s?,\s?{_EXPRESSION})*{_END}"
_CONDITION = rf"(?:if|elif|while) (?:not )?{_EXPRESSION}\s?:{_END}"
_LOOP = rf"for {_NAMES} in {_EXPRESSION}:{_END}"
_IMPORT = rf"(?:from [\w.]+ )?import {_NAMES}(?: as \w+)?{_END}"
_STATEMENT = re.compile(rf"\s*(?:{_ASSIGNMENT}|{_CONDITION}|{_LOOP}|{_IMPORT})")
_RETURN = re.compile(rf"\s*return\s{_EXPRESSION}{_END}")
_CODE = re.compile(r"\)\s?[:{;]\s*$|[{}]\s*$|\w\(\w*\)|[\w\])]\s?=\s?[\w\"'\[({-]", re.MULTILINE)


def is_statement(line: str) -> bool:
    """Whether a line is an assignment, an import, or the head of a loop or condition, and nothing besides."""
    return _STATEMENT.fullmatch(line) is not None


def is_return(line: str) -> bool:
    """Whether a line may return a value: "return her" may also be a line of a poem."""
    return _RETURN.fullmatch(line) is not None


def has_code(lines: str) -> bool:
    """Whether a call, a block or an assignment stands in some lines."""
    return _CODE.search(lines) is not None
