"""Mistakes in a job file, put in words: which key, what is wrong, and the nearest right one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl_dask.errors import Problem, did_you_mean

CURE = re.compile(r": (?=(give|keep|leave|name|set|take|write) )")
"""Where the cure begins in a sentence of a check."""
PLAIN = {
    "features": (
        "give groups of columns by name, as features: {all: {numeric: [COLUMN]}}; jobs with edges"
        " of their own need one too"
    ),
    "method": "give the method that labels, as method: {name: label_spreading}",
}
"""What to write for keys of the whole job."""
SCALARS = ("bool", "int", "float", "str")


@dataclass(frozen=True)
class JobKeys:
    """The keys that a job file may have."""

    schema: dict[str, Any]
    """JSON Schema of a job."""
    method_names: Sequence[str]
    """What may stand as `method.name`."""

    def problem(self, item: Any, data: Mapping[str, Any], source: str) -> Problem:
        """Turn one of pydantic's errors into a sentence with its key, and the nearest key."""
        known = self._schema_keys(self.user_path(item["loc"])[:-1], data)
        path = self.user_path(item["loc"])
        key = ".".join(path)
        kind, given, hint = item["type"], item.get("input"), None
        if len(path) > 1 and path[-2].isdigit() and path[-1] in SCALARS:
            # pydantic tells of each kind that the entry is not.
            key = ".".join(path[:-2])
            what = "null" if given is None else repr(given) if isinstance(given, float) else ""
            message = f"{key}: entry {int(path[-2]) + 1} is {what or type(given).__name__}"
            hint = "write texts in quotes, whole numbers, true or false; leave null out"
        elif kind == "extra_forbidden":
            valid = f"valid keys here: {', '.join(sorted(known))}"
            hint = did_you_mean(path[-1], known, valid)
            message = f"unknown key {key!r}"
        elif kind == "missing":
            message = f"key {key!r} is missing"
            hint = PLAIN.get(key) or self._meaning(path, data)
        elif kind in ("union_tag_invalid", "union_tag_not_found"):
            message, hint = self._method_name_problem(key, item)
        elif kind in ("model_attributes_type", "model_type", "dict_type"):
            message = f"{key} is a group of keys, and got {type(given).__name__}"
            below = self._schema_keys(path, data)
            hint = PLAIN.get(key) or f"valid keys here: {', '.join(below)}"
            if "name" in below and isinstance(given, str):
                hint = f"write {path[-1]}: {{name: {given}}}"
        elif kind in ("tuple_type", "list_type") and isinstance(given, (str, int, float)):
            message, hint = f"{key} is a list, and got {given!r}", f"write {path[-1]}: [{given}]"
        elif kind in ("tuple_type", "list_type"):
            message = f"{key} is a list, and got {type(given).__name__}"
            hint = f"write {path[-1]}: [...]"
        else:
            shown = f", got {given!r}" if isinstance(given, (str, int, float, bool)) else ""
            what = item["msg"].removeprefix("Value error, ")
            hint = self._meaning(path, data)
            if hint is None and (cure := CURE.search(what)):
                what, hint = what[: cure.start()], what[cure.start() + 2 :]
            message = f"{key + ': ' if key else ''}{what}{shown}"
        return Problem(message, file=source, hint=hint)

    def _meaning(self, path: Sequence[str], data: Mapping[str, Any]) -> str | None:
        """Return what the schema says of a key."""
        while path and path[-1].isdigit():
            path = path[:-1]
        if not path:
            return None
        for node in _expand(self._schema_nodes(path[:-1], data), self.schema):
            text = node.get("properties", {}).get(path[-1], {}).get("description")
            if text:
                return f"{path[-1]}: {' '.join(text.split())}"
        return None

    def _method_name_problem(self, key: str, item: Any) -> tuple[str, str]:
        if item["type"] == "union_tag_not_found":
            return f"{key}: name is missing", "give method.name"
        given = str(item["ctx"]["tag"])
        valid = f"methods: {', '.join(self.method_names)}"
        hint = did_you_mean(given, self.method_names, valid)
        return f"{key}.name: {given!r} is not one of the methods", hint

    def user_path(self, loc: Sequence[Any]) -> list[str]:
        """Return the keys that a user wrote: pydantic also names the variant that it chose."""
        parts = [str(part) for part in loc if not str(part).startswith("function-")]
        if parts[:1] == ["features"] and len(parts) > 2:
            del parts[2]
        return parts

    def _schema_keys(self, loc: Iterable[Any], data: Mapping[str, Any]) -> list[str]:
        """Return the keys that may stand at `loc`; below `method` those of the job's method."""
        nodes = _expand(self._schema_nodes(loc, data), self.schema)
        return sorted({key for node in nodes for key in node.get("properties", {})})

    def _schema_nodes(self, loc: Iterable[Any], data: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the parts of the schema that describe the place `loc`."""
        nodes = [self.schema]
        for part in loc:
            found = []
            for node in _expand(nodes, self.schema):
                if part == "method" and node is self.schema:
                    found.append(self._method_node(data))
                elif part in node.get("properties", {}):
                    found.append(node["properties"][part])
                elif "additionalProperties" in node and isinstance(
                    node["additionalProperties"], dict
                ):
                    found.append(node["additionalProperties"])
            nodes = found or nodes
        return nodes

    def _method_node(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the schema of the method that a job names, or of all if it names none."""
        node: dict[str, Any] = self.schema["properties"]["method"]
        method = data.get("method")
        name = method.get("name") if isinstance(method, dict) else None
        place = node.get("discriminator", {}).get("mapping", {}).get(name)
        return node if place is None else {"$ref": place}


def follows(item: Any, items: Sequence[Any]) -> bool:
    """Return whether a list is only too short because one of its entries is wrong."""
    depth = len(item["loc"])
    return item["type"] == "too_short" and any(
        other["loc"][:depth] == item["loc"] and len(other["loc"]) > depth for other in items
    )


def _expand(nodes: Iterable[dict[str, Any]], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Follow references and alternatives."""
    out: list[dict[str, Any]] = []
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if "$ref" in node:
            todo.append(schema["$defs"][node["$ref"].rsplit("/", 1)[-1]])
        for key in ("anyOf", "oneOf", "allOf"):
            todo.extend(node.get(key, []))
        if isinstance(node.get("items"), dict):
            todo.append(node["items"])
        if "properties" in node or "additionalProperties" in node:
            out.append(node)
    return out
