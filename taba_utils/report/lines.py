"""Printed lines that are no wider than a page."""

from __future__ import annotations

import textwrap

WIDTH = 92  # characters; with a word in front, such as "cost: ", a line still fits a page


def short_lines(text: str) -> str:
    """The same text in lines of at most 92 characters that end at a semicolon; a longer part is a line of its own."""
    lines: list[str] = []
    for part in text.split("; "):
        if lines and len(f"{lines[-1]}; {part}") < WIDTH:  # a semicolon may follow
            lines[-1] += f"; {part}"
        else:
            lines.append(part)
    return ";\n".join(lines)


def wrapped(text: str, indent: int = 0) -> str:
    """The same text in lines of at most 92 characters that end between words; later lines are indented."""
    later = " " * indent
    return textwrap.fill(text, WIDTH, subsequent_indent=later, break_long_words=False, break_on_hyphens=False)
