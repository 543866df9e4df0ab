"""YAML that holds plain data: what a job file is written in, without YAML's surprises."""

from __future__ import annotations

import re
from typing import Any

import yaml

from ssl_dask.errors import JobSpecError

MAX_FILE_BYTES = 2**20


class _Loader(yaml.SafeLoader):
    """Plain data only: no tags, anchors or duplicate keys; scalars as in YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise JobSpecError(
                f"line {event.start_mark.line + 1}: anchors and aliases (& and *) are not allowed",
                hint="write the value out",
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise JobSpecError(
                    f"line {key_node.start_mark.line + 1}: key {key!r} is not a word",
                    hint="put the key in quotes",
                )
            if key in seen:
                raise JobSpecError(
                    f"line {key_node.start_mark.line + 1}: key {key!r} stands twice",
                    hint="keep one of them",
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|false)$", re.I), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(~|null|)$", re.I), ["~", "n", "N", ""]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML that holds plain data.

    Raises
    ------
    JobSpecError
        Naming `source` and the line: not YAML, a tag, an anchor, a duplicate key, too large.
    """
    if len(text.encode()) > MAX_FILE_BYTES:
        raise JobSpecError(
            f"larger than {MAX_FILE_BYTES} bytes", file=source, hint="is this the job file?"
        )
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a subclass of SafeLoader)
    except JobSpecError as error:
        raise JobSpecError(
            str(error.problems[0].message), file=source, hint=error.problems[0].hint
        ) from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", "nested too deeply")
        hint = "check the indentation, and put text with : # [ ] { } in quotes"
        if "\\t" in str(reason):
            hint = "indent with spaces: YAML takes no tabs"
        message = f"{line}not readable as YAML: {reason}"
        raise JobSpecError(message, file=source, hint=hint) from None
