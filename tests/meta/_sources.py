"""The C sources as the tests of this folder see them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"

# Comments, strings and character constants, in one pattern: each can hold
# what looks like the start of another.
_TOKENS = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""",
    re.DOTALL | re.VERBOSE,
)


def c_files(suffix: str = "") -> list[Path]:
    """Return all .c and .h files under csrc, or those of one suffix."""
    found = [path for path in CSRC.rglob("*") if path.suffix in {".c", ".h"}]
    return sorted(path for path in found if not suffix or path.suffix == suffix)


def name(path: Path) -> str:
    """Return the name that #include lines and failures use: core/run.h."""
    return path.relative_to(CSRC).as_posix()


def without_comments(text: str, *, keep_strings: bool = False) -> str:
    """Blank comments out, and empty strings, keeping every line in place."""

    def blank(match: re.Match[str]) -> str:
        token = match[0]
        if token[0] in "\"'":
            return token if keep_strings else token[0] * 2
        return "\n" * token.count("\n") or " "

    return _TOKENS.sub(blank, text)


def without_preprocessor(text: str) -> str:
    """Blank the lines of directives out, with those that continue them."""
    return re.sub(
        r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*",
        lambda match: "\n" * match[0].count("\n"),
        text,
        flags=re.MULTILINE,
    )


def statements(text: str) -> list[tuple[int, int, str]]:
    """Split prepared C text into (line, depth, statement).

    A statement ends at a semicolon or before a block; the braces of an
    initialiser or of a struct belong to the statement that they are in, a
    function's or a control statement's do not.
    """
    found: list[tuple[int, int, str]] = []
    depth = 0
    line = start = 1
    current = ""
    nested = 0  # braces open inside the current statement
    for char in text:
        if not current.strip():
            start, current = line, ""
        if char == "\n":
            line += 1
        if nested:
            nested += (char == "{") - (char == "}")
            current += char
        elif char == "{":
            if _holds_braces(current):
                nested = 1
                current += char
            else:
                found.append((start, depth, current.strip()))
                current = ""
                depth += 1
        elif char == "}":
            depth -= 1
            current = ""
        elif char == ";":
            found.append((start, depth, current.strip()))
            current = ""
        else:
            current += char
    return found


def _holds_braces(head: str) -> bool:
    """Say whether a brace after `head` opens a value or a type, not a block."""
    head = head.strip()
    if head.endswith("="):
        return True
    return bool(
        re.match(r"^(typedef\s+|static\s+|const\s+)*(struct|union|enum)\b[^()]*$", head)
    )


def functions(text: str) -> list[tuple[str, str]]:
    """Return (name, body) of each function defined in prepared C text."""
    found = []
    for match in re.finditer(r"^(\w+)\([^;{}]*\)\s*\{", text, re.MULTILINE):
        depth, end = 1, match.end()
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        found.append((match[1], text[match.end() : end - 1]))
    return found
