"""Links among the files of an input: those that lead nowhere, in a circle, or to a file again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ssl_dask.errors import Caution
from ssl_dask.storage.files.file_names import natural_key
from ssl_dask.storage.files.file_source import FileSource


def leads_nowhere(path: str) -> bool:
    """Return whether a path is a link to nothing."""
    return os.path.islink(path) and not os.path.exists(path)


def is_loop(parent: str, name: str) -> bool:
    """Return whether a folder is a link to one that it lies in, by the folders or by links."""
    path = os.path.join(parent, name)
    if not os.path.islink(path):
        return False
    target = os.path.realpath(path)
    above = map(os.path.realpath, (parent, *map(str, Path(parent).parents)))
    return any(os.path.commonpath([target, here]) == target for here in above)


def once_each(source: FileSource, names: Sequence[str]) -> tuple[list[str], list[Caution]]:
    """Keep one name of each file that links, or hard links, give several."""
    if not source.is_local:
        return list(names), []
    by_file: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        path = source.path_of(name)
        if os.path.exists(path):
            about = os.stat(path)
            # Some file systems of networks give files numbers that are not their own.
            mark = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
            by_file.setdefault(mark if about.st_ino else (len(by_file),), []).append(name)
    root = os.path.realpath(source.root)

    def by_a_link(name: str) -> bool:
        return os.path.realpath(source.path_of(name)) != os.path.join(root, name)

    again: dict[str, str] = {}
    for same in by_file.values():
        if len(same) > 1:
            # The name that leads to the file without a link is the one that stays.
            first = min(same, key=by_a_link)
            again |= {name: first for name in same if name != first}
    told = [
        Caution(
            f"{source.shown_path(name)} is {source.shown_path(same)} once more, by a link: it is"
            " read once"
        )
        for name, same in sorted(again.items(), key=lambda pair: natural_key(pair[0]))
    ]
    return [name for name in names if name not in again], told
