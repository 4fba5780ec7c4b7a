"""Text of strangers, made harmless for the place it goes to: a page, a Markdown file, a spreadsheet."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Any
from urllib.parse import urlsplit

_MARKDOWN = re.compile(r"[\\`*_\[\]|~#!{}]")
_BLOCK = re.compile(r"\A(?:[-+=]|\d+(?=[.)](?:\s|\Z)))")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def clean(text: str, limit: int) -> str:
    """One line of at most `limit` characters, without control, bidirectional or other invisible characters.

    >>> clean("a\\nb\\u202ec\\x00  d", 80), clean("abcdef", 4)
    ('a b c d', 'abc…')
    """
    text = text[: 4 * limit]  # enough to see that it is too long, and no more work than that
    shown = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    line = " ".join(shown.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def as_html(text: Any) -> str:
    """`text` for HTML, inside an element or a quoted attribute.

    >>> as_html('<b title="x">')
    '&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape(str(text), quote=True)


def as_markdown(text: str) -> str:
    """`text` as plain words of a Markdown line or table cell: no markup, no HTML, no link.

    >>> as_markdown("a|b <i> [x](javascript:y) https://z")
    'a\\\\|b &lt;i&gt; \\\\[x\\\\](javascript:y) https\\\\://z'
    """
    plain = _BLOCK.sub(_escape_block, _MARKDOWN.sub(r"\\\g<0>", html.escape(text, quote=False)))
    return plain.replace("://", "\\://").replace("www.", "www\\.")


def _escape_block(start: re.Match[str]) -> str:
    # "- x" and "1. x" would open a list; the backslash goes before the sign, or after the number
    return start[0] + "\\" if start[0].isdigit() else "\\" + start[0]


def as_csv(text: str) -> str:
    """`text` as a spreadsheet cell that is never taken for a formula (OWASP "CSV injection").

    >>> as_csv("=1+1"), as_csv("a=b")
    ("'=1+1", 'a=b')
    """
    return "'" + text if text.lstrip().startswith(_FORMULA) else text


def web_url(text: str) -> str | None:
    """`text` if it is an absolute http or https address, else None.

    >>> web_url("https://doi.org/10.1"), web_url("javascript:alert(1)"), web_url("http://[")
    ('https://doi.org/10.1', None, None)
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"[\s<>\"'`()\\|]", text)
    return text if usable else None
