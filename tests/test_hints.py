"""Every error has a hint: what to do about it."""

from __future__ import annotations

import ast
from pathlib import Path

import ssl_dask
from ssl_dask import errors

# A wrong argument's message says what it must be; a lost worker's round runs again.
OF_ITSELF = {"GraphError", "WorkersChangedError", "BlocksLostError"}
KINDS = {
    name
    for name, kind in vars(errors).items()
    if name == "Problem" or (isinstance(kind, type) and issubclass(kind, errors.SslDaskError))
} - OF_ITSELF


def lacks_hint(call: ast.Call) -> bool:
    """Errors that hand on problems of others have none of their own."""
    made_of_text = any(isinstance(one, ast.Constant | ast.JoinedStr) for one in call.args)
    if not made_of_text and not call.keywords:
        return False
    with_hint = {keyword.arg for keyword in call.keywords} & {"hint", None}
    return not with_hint and len(call.args) < 6


def test_every_error_has_a_hint() -> None:
    seen, without = 0, []
    for path in sorted(Path(ssl_dask.__path__[0]).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in KINDS:
                seen += 1
                if lacks_hint(node):
                    without.append(f"{path.name}:{node.lineno}")
    assert seen > 200
    assert without == []
