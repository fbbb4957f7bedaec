"""What is an address, a handle, an identifier or markup, and no word: "her@his.com", "self.her", "$his", `lang="he"`.

A rule needs a sign that English does not use so: a slash or a dot inside a run of characters, an operator that touches
the word, a quoted value, an operator or keyword beside the word in a line that is code by several signs and has at most
one English function word, or a line that is a statement as a whole (`interventions.rules.statements`).
"""

import re

from interventions.rules import languages, statements
from interventions.rules.beside import Beside, closes

_CHUNK = re.compile(r"[^\s<>\"'“”‘’()\[\]{}|,;*`]*")
_DOMAINS = (
    "com|org|net|edu|gov|mil|int|info|biz|io|ai|me|tv|co|uk|us|ca|de|fr|it|es|nl|se|no|dk|fi|pl|ru|ua|cz|at|ch|be|ie|pt|"
    "gr|tr|il|in|cn|jp|kr|tw|hk|sg|au|nz|za|br|mx|ar|cl|eu|name|xyz|online|site|blog|app|dev|club|shop|store"
)
_HOST_AFTER = re.compile(rf"(?:[.-][\w-]+)*\.(?:{_DOMAINS})(?![\w-])")
_ADDRESS_BEFORE = re.compile(r"://|(?:^|\W)(?:www\.|mailto:)|@[\w.+-]*\Z", re.IGNORECASE)
_JOINTS_OF_ADDRESSES = tuple("/.@=&?#%+~:")
_EXTENSION = re.compile(r"\.[A-Za-z\d]")
_MAIL_AFTER = re.compile(r"(?:[\w.+-]*[^\W_])?@\w")
_FILE = re.compile(r"(?:^|/|\\)[\w.~-]*\.[A-Za-z\d]{1,5}\Z")
_WORDS_BY_SLASHES = re.compile(r"[A-Za-z'’.?!:-]+(?:/[A-Za-z'’.?!:-]+)*/?")

_BEFORE = re.compile(
    r"""
    (?<![.])(?<=[\w)\]])\.\Z (?# self.her)
    | (?:->|::)\Z
    | (?:^|[^\w$])\$\{?\Z (?# $his, ${his})
    | (?:^|[^\d%])%\Z | (?:^|[^#])\#\{?\Z | (?:^|[^\w&])&\Z
    | (?:^|[^\w.,)}\]~\\])~\Z | (?:^|[^^])\^\Z | </\Z
    | (?:^|[^\\])\\\Z (?# \her, and no line break of LaTeX)
    | (?:^|[^=])=\Z
    | =["']\.{0,2}/\Z (?# href="/his")
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
_JOINED = re.compile(r"(?:[/@=&?#%+~:]|\w\.)\Z")
_NEXT_SENTENCE = re.compile(r"\.([A-Z]?[a-z]*)(?=[\s,]|['’][a-z]|\Z)")
_TAG = re.compile(r"(?:\s[\w:-]+\s?=[^<>]*|\s?/)?>|\s[\w:-]+\s?=")
_LATEX_STYLE = re.compile(
    r"\\(?:emph|text\w*|underline|uline|enquote|textquote|mbox|hl|so|ul|it|bf|sl|em|sc|footnote|section\*?)\{\Z"
)
_SUBSCRIPT = re.compile(r"[\w)\]][\[(][\"']?\Z")
_CALLED = re.compile(r"\b(?:def|function|func|fn|sub|macro|method)\s+\Z")
_DECLARED = re.compile(
    r"\b(?:struct|enum|union|const|unsigned|static|extern|void|char|int|long|float|double|bool|auto|var|typedef)\s+"
    r"(?:\w+\s+)*[*&]+\Z"
)
_KEY = re.compile(r"(?:[{\[,]\s*|^\s*|\n\s*)[\"']\Z")
_VALUE = re.compile(r"(?:[\"']\s?(?::|=>)\s?\[?|[\w\"']\s?=\s?)[\"']\Z")
_COLON = re.compile(r"(?:^|\s):\Z")
_CLOSES_SUBSCRIPT = re.compile(r"[\"']?[\])]")

OPERATORS = ("=", "+", "*", "%", "&", "|", "{", "}", "<", ">")
KEYWORDS = frozenset(
    (
        *("def", "function", "func", "fn", "sub", "macro", "struct", "enum", "elif", "var", "const", "return"),
        *("unsigned", "extern", "typedef", "int", "char", "void", "import"),
    )
)
_LAST_WORD = re.compile(r"(?<![^\W_])[a-z]+\Z")
LEAST_SIGNS, MOST_ENGLISH = 2, 1
_SIGNS = [
    re.compile(sign)
    for sign in (
        r"[^\s=<>!]\s?(?:[=!<>+*/|&-]=|=)\s?[\w\"'\[({$&*-]",
        r";\s*\Z",
        r"\w\([^()\s]*\)|\w\([\w.]+,",
        r"\)\s?[{:;]\s*\Z|[{}]\s*\Z|^\s*[{}]",
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
    r"\b(?:the|and|that|was|were|had|has|have|with|of|to|on|at|but|when|who|which|said|by|a|an|they|would|could"
    r"|then|because)\b"
)


def is_code(form: str, beside: Beside) -> bool:
    """Whether a form is part of an address, an identifier, a value or markup."""
    before, after = beside.before, beside.after
    line = before[before.rfind("\n") + 1 :] + form + after.partition("\n")[0]
    if closes(_BEFORE, before, within=8) and not _begins(form, before, line) and not _is_emphasised(before, after):
        return True
    if not _ends(before, after, line) and (_AFTER.match(after) or _in_an_address(form, before, after)):
        return True
    return (
        _is_declared(before, after)
        or _in_markup(before, after)
        or _is_quoted_value(before, after)
        or _in_a_line_of_code(before, after, line)
        or _in_a_statement(before, after, line)
    )


def _begins(form: str, before: str, line: str) -> bool:
    """ "it ended.He left", "i know that.he is the one": a sentence begins behind a point without a blank."""
    return before.endswith(".") and (form[:1].isupper() or _is_prose(line))


def _ends(before: str, after: str, line: str) -> bool:
    """ "It was his.The end", "i told him.then she and i left": the same behind a form."""
    word = _NEXT_SENTENCE.match(after)
    if word is None or not word[1] or closes(_JOINED, before, within=2):
        return False
    if word[1][0].isupper():
        return not _has_signs(line)
    return word[1] in languages.ENGLISH and _is_prose(line)


def _is_prose(line: str) -> bool:
    """Whether a line has function words of English and no sign of code."""
    words = sum(word in languages.ENGLISH for word in line.lower().split())
    return words > MOST_ENGLISH and not _has_signs(line)


def _has_signs(line: str) -> bool:
    return any(sign.search(line) for sign in _SIGNS)


def _is_emphasised(before: str, after: str) -> bool:
    """ "==he==", "^he^", "~he~"."""
    return before[-1:] in ("=", "^", "~") and after.startswith(before[-1:])


def _is_declared(before: str, after: str) -> bool:
    """ "struct hostent *he", "def he("."""
    if before.endswith(("*", "&")) and _DECLARED.search(before):
        return True
    return after.startswith("(") and closes(_CALLED, before, within=16)


def _in_an_address(form: str, before: str, after: str) -> bool:
    left, right = _CHUNK.match(before[::-1])[0][::-1], _CHUNK.match(after)[0]  # type: ignore[index]
    if _MAIL_AFTER.match(right) or _HOST_AFTER.match(right):
        return True
    if left.endswith(_JOINTS_OF_ADDRESSES) and _ADDRESS_BEFORE.search(left):
        return True
    if not left.endswith(("/", "\\")) and not right.startswith(("/", "\\")) and not _EXTENSION.match(right):
        return False
    chunk = left + form + right.rstrip(".?!:")
    if chunk.startswith(("/", "./", "../", "~/")):
        return "/" in right or not re.fullmatch(r"/\w+", chunk)
    if re.match(r"[A-Za-z]:\\", chunk) or _FILE.search(chunk):
        return True
    return chunk.count("/") > 1 and not _WORDS_BY_SLASHES.fullmatch(chunk)


def _in_markup(before: str, after: str) -> bool:
    """Tags, templates, code spans, links between languages, subscripts."""
    if before.endswith("<"):
        return _TAG.match(after) is not None
    if before.endswith("{"):
        return after.startswith(("}", "|")) and _LATEX_STYLE.search(before) is None
    if before.endswith("`"):
        return after.startswith("`") and not before.endswith("``")
    if before.endswith(":"):
        return after.startswith(":") and closes(_COLON, before, within=2)
    if before.endswith("[["):
        return after.startswith(":")
    return closes(_SUBSCRIPT, before, within=4) and _CLOSES_SUBSCRIPT.match(after) is not None


def _is_quoted_value(before: str, after: str) -> bool:
    """A key or value of JSON, or an attribute, that is the word alone: `{"he": 1}`, `"lang": "he"`, `lang="he"`."""
    if not before.endswith(('"', "'")) or not after:
        return False
    mark = before[-1]
    if closes(_KEY, before, within=8) and re.match(rf"{mark}\s?(?::|=>)", after):
        return True
    return after[0] == mark and closes(_VALUE, before, within=8)


def _is_beside_code(before: str, after: str) -> bool:
    if before[-1:] in OPERATORS or after[:1] in OPERATORS:
        return True
    word = _LAST_WORD.search(before, max(0, len(before) - 12))
    return word is not None and word[0] in KEYWORDS


def _in_a_statement(before: str, after: str, line: str) -> bool:
    left, right = before.removesuffix(" "), after.removeprefix(" ")
    if not _is_beside_code(left, right) and not right.startswith((":", "<-")):
        return False
    others = before.rpartition("\n")[0] + "\n" + after.partition("\n")[2]
    return statements.is_statement(line) or (statements.is_return(line) and statements.has_code(others))


def _in_a_line_of_code(before: str, after: str, line: str) -> bool:
    beside_code = _is_beside_code(before.removesuffix(" "), after.removeprefix(" "))
    if not beside_code and not after.startswith(("[", "(")):
        return False
    if len(_ENGLISH.findall(line)) > MOST_ENGLISH:
        return False
    return sum(sign.search(line) is not None for sign in _SIGNS) >= LEAST_SIGNS
