"""The frame of every page: one file, no outside request; style and script are let in by their hash alone.

So even a text that slipped through unescaped could neither run nor load anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path


def document(title: str, styles: Iterable[str], header: str, main: Iterable[str], script: str | None = None) -> str:
    """A whole page, ending in a newline.

    Args:
        title: the name of the page as HTML.
        styles: files of this package, in their order.
        header: HTML above all.
        main: the sections as HTML; empty ones are left out.
        script: a file of this package.
    """
    style = "".join(map(_asset, styles))
    running = f"script-src '{_hash(_asset(script))}'; " if script else ""
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; {running}img-src data:; base-uri 'none'; form-action 'none'"
    )
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{title}</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        f"<header>{header}</header>",
        "<main>",
        *main,
        "</main>",
        f"<script>{_asset(script)}</script>" if script else "",
        "</body>",
        "</html>",
    ]
    return "\n".join(filter(None, lines)) + "\n"


def section(key: str, title: str, body: str) -> str:
    """A part of a page with its heading; nothing where it has no body."""
    return f'<section aria-labelledby="h-{key}"><h2 id="h-{key}">{title}</h2>{body}</section>' if body else ""


@cache
def _asset(name: str) -> str:
    """A text file of this package."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
