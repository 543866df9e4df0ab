"""Every error of the storage rooms has a hint: what to do about it."""

from __future__ import annotations

import ast
from pathlib import Path

import ssl_dask.durable_files
import ssl_dask.storage
from ssl_dask import errors

KINDS = {
    name
    for name, kind in vars(errors).items()
    if name == "Problem" or (isinstance(kind, type) and issubclass(kind, errors.SslDaskError))
}


def lacks_hint(call: ast.Call) -> bool:
    """Errors that hand on problems of others have none of their own."""
    made_of_text = any(isinstance(one, ast.Constant | ast.JoinedStr) for one in call.args)
    if not made_of_text and not call.keywords:
        return False
    with_hint = {keyword.arg for keyword in call.keywords} & {"hint", None}
    return not with_hint and len(call.args) < 6


def test_every_error_has_a_hint() -> None:
    folder = Path(ssl_dask.storage.__path__[0])
    seen, without = 0, []
    for path in [*sorted(folder.rglob("*.py")), Path(ssl_dask.durable_files.__file__)]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in KINDS:
                seen += 1
                if lacks_hint(node):
                    without.append(f"{path.name}:{node.lineno}")
    assert seen > 80
    assert without == []
