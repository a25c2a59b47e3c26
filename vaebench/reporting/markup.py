"""HTML from Python: text is escaped, markup is built."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


class Markup(str):
    """HTML that is not escaped again."""


def element(tag: str, *content: str, **attributes: str | bool) -> Markup:
    """`<tag ...>content</tag>`; `class_` is class, True is an attribute without a value, False none."""
    told = ""
    for name, value in attributes.items():
        if value is not False:
            told += f" {name.rstrip('_')}" + ("" if value is True else f'="{html.escape(str(value))}"')
    inside = "".join(part if isinstance(part, Markup) else html.escape(part, quote=False) for part in content)
    return Markup(f"<{tag}{told}>" if tag in ("img", "meta") else f"<{tag}{told}>{inside}</{tag}>")


def table(head: Sequence[str], rows: Iterable[Markup], **attributes: str) -> Markup:
    """A table that scrolls within itself where the page is narrow."""
    titles = element("thead", element("tr", *(element("th", title) for title in head)))
    return element("div", element("table", titles, element("tbody", *rows), **attributes), class_="wide")


def folded_list(title: str, lines: Sequence[str], is_open: bool = False) -> Markup:
    """A list behind its title and length; nothing where it is empty."""
    if not lines:
        return Markup("")
    items = element("ul", *(element("li", line) for line in lines))
    return element("details", element("summary", f"{title} ({len(lines)})"), items, open=is_open)


def chip(verdict: str) -> Markup:
    """A verdict in its colour."""
    return element("span", verdict, class_=f"chip {verdict.replace(' ', '-')}")
