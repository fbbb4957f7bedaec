"""What is an address, a handle, an identifier or markup, and no word: "her@his.com", "self.her", "$his", `lang="he"`.

A rule needs a sign that English does not use so: a slash or a dot inside a run of characters, an operator that touches
the word, a quoted value, or a line that is code by several signs and has no English function words.
"""

import re

from interventions.rules.beside import Beside

_CHUNK = r"[^\s<>\"'“”‘’()\[\]{}|,;*`]"
_CHUNK_BEFORE, _CHUNK_AFTER = re.compile(rf"{_CHUNK}*$"), re.compile(rf"{_CHUNK}*")
_DOMAINS = (
    "com|org|net|edu|gov|mil|int|info|biz|io|ai|me|tv|co|uk|us|ca|de|fr|it|es|nl|se|no|dk|fi|pl|ru|ua|cz|at|ch|be|ie|pt|"
    "gr|tr|il|in|cn|jp|kr|tw|hk|sg|au|nz|za|br|mx|ar|cl|eu|name|xyz|online|site|blog|app|dev|club|shop|store"
)
_HOST_AFTER = re.compile(rf"(?:[.-][\w-]+)*\.(?:{_DOMAINS})(?![\w-])")
_ADDRESS_BEFORE = re.compile(r"://|(?:^|\W)(?:www\.|mailto:)|@[\w.+-]*$", re.IGNORECASE)
_MAIL_AFTER = re.compile(r"[\w.+-]*@\w")
_FILE = re.compile(r"(?:^|/|\\)[\w.~-]*\.\w{1,5}$")
_WORDS_BY_SLASHES = re.compile(r"[A-Za-z'’.?!:-]+(?:/[A-Za-z'’.?!:-]+)*/?")

_BEFORE = re.compile(
    r"""
    (?<![.])(?<=[\w)\]])\.$ (?# self.her)
    | (?:->|::)$
    | (?:^|[^\w$])\$\{?$ (?# $his, ${his})
    | (?:^|[^\d%])%$ | (?:^|[^#])\#\{?$ | (?:^|[^\w&])&$
    | (?:^|[^\w.,)}\]~\\])~$ | (?:^|[^^])\^$ | </$
    | (?:^|[^\\])\\$ (?# \her, and no line break of LaTeX)
    | (?:^|[^=])=$ | [\w\"']\s?=\s?[\"']$
    """,
    re.VERBOSE,
)
_AFTER = re.compile(
    r"""
    \.[a-z_]\w* | \.[A-Z]\w*[(._=;\[] | -> | ::
    | =(?![=\n]) | \$\w | %[\w}] | \(\) | \([^()\s]*[=_&*"'][^()]*\)? | \([^()]*\)\s?[;{:.]
    | \[(?:["'] | [A-Za-z_]\w*\]\s?[=.\[;)+*/-])
    """,
    re.VERBOSE,
)
_TAG = re.compile(r"(?:\s[\w:-]+\s?=[^<>]*|\s?/)?>|\s[\w:-]+\s?=")
_LATEX_STYLE = re.compile(
    r"\\(?:emph|text\w*|underline|uline|enquote|textquote|mbox|hl|so|ul|it|bf|sl|em|sc|footnote|section\*?)\{$"
)
_SUBSCRIPT = re.compile(r"[\w)\]][\[(][\"']?$")
_CALLED = re.compile(r"\b(?:def|function|func|fn|sub|macro|method)\s+$")
_DECLARED = re.compile(
    r"\b(?:struct|enum|union|const|unsigned|static|extern|void|char|int|long|float|double|bool|auto|var|typedef)\s+"
    r"(?:\w+\s+)*[*&]+$"
)
_KEY = re.compile(r"([{\[,]\s*|^\s*|\n\s*)([\"'])$")
_VALUE = re.compile(r"[\"']\s?(?::|=>)\s?\[?([\"'])$")

_SIGNS = [
    re.compile(sign)
    for sign in (
        r"[^\s=<>!]\s?(?:[=!<>+*/|&-]=|=)\s?[\w\"'\[({$&*-]",
        r";\s*$",
        r"\w\([^()\s]*\)|\w\([\w.]+,",
        r"\)\s?[{:;]\s*$|[{}]\s*$|^\s*[{}]",
        r"->|::|=>|&&|\|\||\+\+|\+=",
        r"\$\w|@\w+\(",
        r"[^\W_]_[^\W_]|[a-z][A-Z]",
        r"\w\[[\w\"']*\]",
        r"^\s*(?:def|class|return|import|from|if|elif|else|for|while|try|var|let|const|int|char|void|struct|typedef|enum"
        r"|static|public|private|protected|function|func|fn|package|using|print|printf|echo|assert|raise|throw|lambda"
        r"|#\s?include|#\s?define|#\s?if)\b",
        r"//|/\*|\*/|<\?php|\?>",
        r"[\"']\w+[\"']\s?:",
        r"\b(?:null|nullptr|None|True|False|NULL|nil|self|this\.|async|await|elif|struct|def|int|bool|str|void)\b",
    )
]
_ENGLISH = re.compile(
    r"\b(?:the|and|that|was|were|had|has|have|with|of|to|on|at|but|when|who|which|said|by|a|an|she|they|would|could"
    r"|then|because)\b"
)


def is_code(form: str, beside: Beside) -> bool:
    """Whether a form is part of an address, an identifier, a value or markup."""
    before, after = beside.before, beside.after
    if _in_an_address(form, before, after) or _in_markup(before, after):
        return True
    if _BEFORE.search(before) and not _is_run_on(form, before) and not _is_emphasised(before, after):
        return True
    if _AFTER.match(after) or _DECLARED.search(before) or (_CALLED.search(before) and after.startswith("(")):
        return True
    return _is_quoted_value(before, after) or _in_a_line_of_code(form, before, after)


def _is_run_on(form: str, before: str) -> bool:
    """"it ended.He left": a sentence begins behind a point without a blank."""
    return before.endswith(".") and form[:1].isupper()


def _is_emphasised(before: str, after: str) -> bool:
    """"==he==", "^he^", "~he~"."""
    return before[-1:] in ("=", "^", "~") and after.startswith(before[-1:])


def _in_an_address(form: str, before: str, after: str) -> bool:
    left, right = _CHUNK_BEFORE.search(before)[0], _CHUNK_AFTER.match(after)[0]  # type: ignore[index]
    if _ADDRESS_BEFORE.search(left) or _MAIL_AFTER.match(right) or _HOST_AFTER.match(right):
        return True
    chunk = left + form + right.rstrip(".?!:")
    if "/" not in chunk and "\\" not in chunk[1:]:
        return False
    if chunk.startswith(("/", "./", "../", "~/")) or re.match(r"[A-Za-z]:\\", chunk) or _FILE.search(chunk):
        return not re.fullmatch(r"/\w+/?", chunk) or chunk.endswith("/") or "/" in right
    return "/" in chunk and chunk.count("/") > 1 and not _WORDS_BY_SLASHES.fullmatch(chunk)


def _in_markup(before: str, after: str) -> bool:
    """Tags, attributes, templates, code spans, links between languages, subscripts."""
    if before.endswith("<") and _TAG.match(after):
        return True
    if before.endswith("{") and after.startswith(("}", "|")) and not _LATEX_STYLE.search(before):
        return True
    if before.endswith("`") and after.startswith("`") and not before.endswith("``"):
        return True
    if before.endswith("[[") and after.startswith(":") or re.search(r":\w*:?$", before) and after.startswith(":"):
        return before.endswith("[[") or re.search(r"(?:^|\s):$|::$", before) is not None
    return _SUBSCRIPT.search(before) is not None and re.match(r"[\"']?[\])]", after) is not None


def _is_quoted_value(before: str, after: str) -> bool:
    """A key or value of JSON: `{"he": 1}`, `"lang": "he"`; an attribute that is the word alone is found by its "="."""
    key, value = _KEY.search(before), _VALUE.search(before)
    if key and re.match(rf"{key[2]}\s?(?::|=>)", after):
        return True
    return value is not None and after.startswith(value[1])


def _in_a_line_of_code(form: str, before: str, after: str) -> bool:
    line = before[before.rfind("\n") + 1 :] + form + after.partition("\n")[0]
    kinds = sum(sign.search(line) is not None for sign in _SIGNS)
    return kinds >= 2 and len(_ENGLISH.findall(line)) < kinds - 1
