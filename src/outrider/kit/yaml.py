"""YAML as Kubernetes reads and writes it.

Reading follows what kubectl does (sigs.k8s.io/yaml over go-yaml v2): ``yes`` and ``on`` are booleans,
``0777`` is octal, dates and sexagesimals stay strings, ``<<`` merges, keys become strings. Beyond that it is
strict: duplicate keys, unknown tags, infinities and recursive aliases are refused, and size, depth and what
aliases expand to are bounded.

Writing quotes every string that a YAML 1.1 or 1.2 reader could take for something else, and gives ASCII only.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import yaml

MAX_BYTES: Final = 8 << 20
MAX_DEPTH: Final = 100
MAX_NODES: Final = 500_000
"""Scalars and collections of one text, aliases counted as often as they are used."""


class YAMLError(ValueError):
    """Text that is not acceptable YAML; the message says what and where (line and column count from 1)."""


def load(text: str | bytes) -> Any:
    """The only document of `text` (None when it is empty). Raises `YAMLError`."""
    documents = load_all(text)
    if len(documents) > 1:
        raise YAMLError(f"expected one YAML document, found {len(documents)}")
    return documents[0] if documents else None


def load_all(text: str | bytes) -> list[Any]:
    """All documents of `text`, as JSON values (None for an empty document). Raises `YAMLError`."""
    if len(text) > MAX_BYTES:
        raise YAMLError(f"YAML of {len(text)} bytes is larger than the {MAX_BYTES} that are accepted")
    parser = yaml.CSafeLoader(text)
    try:
        return list(_Builder(parser).documents())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YAMLError(_describe(error)) from None
    finally:
        parser.dispose()


def dump(document: Any) -> str:
    """One document in block style, keys in their own order. Raises `YAMLError` for what JSON cannot hold."""
    return dump_all([document])


def dump_all(documents: Iterable[Any]) -> str:
    """Several documents, separated by ``---``."""
    try:
        return "---\n".join(
            yaml.dump(
                document,
                Dumper=_Dumper,
                default_flow_style=False,
                sort_keys=False,
                width=1 << 30,
                allow_unicode=False,
            )
            for document in documents
        )
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise YAMLError(f"cannot be written as YAML: {error}") from None


def _describe(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        return f"{where}{error.problem or error.context or 'malformed YAML'}"
    return str(error)


# --- plain scalars, go-yaml's rules

_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0[0-7_]+|0[oO][0-7_]+|0[xX][0-9a-fA-F_]+|0[bB][01_]+)", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NOT_JSON = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def _plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-+.0123456789":
        return text
    if _INT.fullmatch(text) and (number := _integer(text)) is not None:
        return number
    if _FLOAT.fullmatch(text):
        return _finite(text)
    if _NOT_JSON.fullmatch(text):
        raise ValueError(f"{text} has no JSON form")
    return text


def _integer(text: str) -> int | None:
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2])
    if base is None:
        base = 8 if len(digits) > 1 and digits[0] == "0" else 10
    else:
        digits = digits[2:]
    if not digits or len(digits) > 64:
        return None
    number = sign * int(digits, base)
    return number if -(1 << 63) <= number < 1 << 64 else None


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


_TAG = "tag:yaml.org,2002:"


def _tagged(tag: str, text: str) -> Any:
    if tag in ("!", _TAG + "str"):
        return text
    value = _plain(text)
    kinds: dict[str, tuple[type, ...]] = {
        _TAG + "null": (type(None),),
        _TAG + "bool": (bool,),
        _TAG + "int": (int,),
        _TAG + "float": (int, float),
    }
    if tag not in kinds:
        raise ValueError(f"tag {tag} is not supported")
    if not isinstance(value, kinds[tag]) or (isinstance(value, bool) and tag != _TAG + "bool"):
        raise ValueError(f"{text!r} is not of type {tag.removeprefix(_TAG)}")
    return value


# --- events to values

_MERGE: Final = object()


class _Builder:
    """Builds values from the parser's events, so that nothing recurses deeper than `MAX_DEPTH`."""

    def __init__(self, parser: yaml.CSafeLoader) -> None:
        self._parser = parser
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0

    def documents(self) -> Iterator[Any]:
        self._next()
        while not isinstance(self._next(), yaml.StreamEndEvent):
            self._anchors.clear()
            yield self._value(self._next(), 0)
            self._next()

    def _next(self) -> Any:
        return self._parser.get_event()

    def _value(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._count
        self._spend(1, event)
        if depth > MAX_DEPTH:
            raise _fault(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(event, depth)
        else:
            value = self._mapping(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._count - before)
        return value

    def _spend(self, nodes: int, event: Any) -> None:
        self._count += nodes
        if self._count > MAX_NODES:
            raise _fault(event, f"more than {MAX_NODES} values (aliases count as often as they are used)")

    def _alias(self, event: yaml.AliasEvent) -> Any:
        if event.anchor not in self._anchors:
            raise _fault(event, f"alias *{event.anchor} is not defined, or contains itself")
        value, size = self._anchors[event.anchor]
        self._spend(size, event)
        return copy.deepcopy(value)

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        try:
            if event.tag is not None:
                return _tagged(event.tag, event.value)
            return _plain(event.value) if event.implicit[0] else event.value
        except ValueError as error:
            raise _fault(event, str(error)) from None

    def _sequence(self, event: Any, depth: int) -> list[Any]:
        _collection(event, "seq")
        items = []
        while not isinstance(item := self._next(), yaml.SequenceEndEvent):
            items.append(self._value(item, depth + 1))
        return items

    def _mapping(self, event: Any, depth: int) -> dict[str, Any]:
        _collection(event, "map")
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(first := self._next(), yaml.MappingEndEvent):
            key = _MERGE if _is_merge(first) else self._value(first, depth + 1)
            value = self._value(self._next(), depth + 1)
            if key is _MERGE:
                for name, inherited in _merge(first, value):
                    merged.setdefault(name, inherited)
                continue
            name = _key(first, key)
            if name in own:
                raise _fault(first, f"duplicate key {name!r}")
            own[name] = value
        return {**{k: v for k, v in merged.items() if k not in own}, **own}


def _collection(event: Any, kind: str) -> None:
    if event.tag not in (None, "!", _TAG + kind):
        raise _fault(event, f"tag {event.tag} is not supported")


def _is_merge(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.value == "<<" and bool(event.implicit[0])


def _merge(event: Any, value: Any) -> Iterator[tuple[str, Any]]:
    for mapping in value if isinstance(value, list) else [value]:
        if not isinstance(mapping, dict):
            raise _fault(event, "<< needs a mapping, or a list of mappings")
        yield from mapping.items()


def _key(event: Any, key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, float) and key.is_integer():
        key = int(key)
    if isinstance(key, int | float):
        return str(key)
    raise _fault(event, "a key must be a string, a number or a boolean")


def _fault(event: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


# --- writing

_SAFE = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*", re.ASCII)
_BLOCK = re.compile(r"(?:[!-~]([ -~]*[!-~])?\n)+", re.ASCII)


class _Dumper(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(_TAG + "str", text, style=_style(text))


def _style(text: str) -> str | None:
    if _SAFE.fullmatch(text) and text not in _WORDS:
        return None
    return "|" if "\n" in text and _BLOCK.fullmatch(text) else '"'


def _number(dumper: _Dumper, number: float) -> yaml.ScalarNode:
    if not math.isfinite(number):
        raise yaml.YAMLError(f"{number} has no JSON form")
    text = repr(number)
    # 1e+16 without a point is a string to YAML 1.1 readers
    if "." not in text and "e" in text:
        text = text.replace("e", ".0e", 1)
    return dumper.represent_scalar(_TAG + "float", text)


_Dumper.add_representer(str, _string)
_Dumper.add_representer(float, _number)
