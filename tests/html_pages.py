"""What every page of a report must be: whole, self-contained, without scripts."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

NASTY = "<script>alert('x')</script>"
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Balanced(HTMLParser):
    """Checks that tags close in order, and gathers ids, tags and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert not {"script", "link", "iframe", "object", "embed", "img"} & set(parser.tags)
    assert len(parser.ids) == len(set(parser.ids))
    names = {name for name, _ in parser.attributes}
    assert not {name for name in names if name.startswith("on")}
    references = [v for name, v in parser.attributes if name in ("href", "xlink:href", "src")]
    assert all(reference.startswith("#") for reference in references)
    assert not re.search(r"(?:https?:)?//\w", re.sub(r'xmlns="[^"]*"', "", page))
    assert "@import" not in page
    return parser


def opened(path: Path, profile: Path) -> str:
    """Return the page as a real browser shows it; fail if that complains on its console."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    words = "headless no-sandbox disable-gpu disable-quic no-first-run disable-sync dump-dom"
    words += " disable-background-networking disable-component-update enable-logging=stderr"
    command = [chromium, *(f"--{word}" for word in words.split())]
    command += [f"--user-data-dir={profile}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    # A page that asks for anything outside itself, or breaks, says so there.
    assert "CONSOLE" not in done.stderr
    return done.stdout
