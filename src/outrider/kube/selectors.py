"""Label and field selectors: read, matched, written (Kubernetes: Labels and Selectors, Field Selectors)."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

Operator = Literal["in", "notin", "exists", "!", "gt", "lt"]

_MAX_TEXT = 64 << 10
_NAME = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)", re.ASCII)
_PREFIX = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_TOKEN = re.compile(r"\s*(==|!=|[=!<>(),]|[^\s=!<>(),]+)\s*")
_EXPRESSIONS: dict[str, Operator] = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


class SelectorError(ValueError):
    """A selector that cannot be read; the message says where."""


class Requirement(NamedTuple):
    """One condition on one label; ``values`` is sorted."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy it. An absent label satisfies ``notin`` and ``!``."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case _:
                return _compares(value, self.operator, self.values[0])

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
            case _ if len(self.values) == 1:
                return f"{self.key}{'=' if self.operator == 'in' else '!='}{self.values[0]}"
            case _:
                return f"{self.key} {self.operator} ({','.join(self.values)})"


class LabelSelector(NamedTuple):
    """All requirements must hold; none matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        """Return it as a ``labelSelector`` query carries it."""
        return ",".join(map(str, self.requirements))


def parse_labels(text: str) -> LabelSelector:
    """Read the text form, such as ``app=web,tier in (a,b),!old``. Raises SelectorError."""
    if len(text) > _MAX_TEXT:
        raise SelectorError("a label selector is longer than 64 KiB")
    reader = _Reader(text)
    requirements: list[Requirement] = []
    while not reader.at_end:
        requirements.append(_requirement(reader))
        if not reader.at_end:
            reader.expect(",")
            if reader.at_end:
                raise SelectorError(f"label selector {text[:80]!r} ends with a comma")
    return LabelSelector(tuple(requirements))


def from_label_selector(selector: Mapping[str, Any] | None) -> LabelSelector | None:
    """Read a metav1.LabelSelector; None, which selects nothing, stays None. Raises SelectorError."""
    if selector is None:
        return None
    requirements = [
        _checked(key, "in", (value,)) for key, value in sorted((selector.get("matchLabels") or {}).items())
    ]
    for expression in selector.get("matchExpressions") or ():
        operator = _EXPRESSIONS.get(expression.get("operator"))
        if operator is None:
            raise SelectorError(f"{expression.get('operator')!r} is not In, NotIn, Exists or DoesNotExist")
        values = tuple(expression.get("values") or ())
        if (operator in ("in", "notin")) != bool(values):
            raise SelectorError(
                f"operator {expression['operator']} of {expression.get('key')!r}: wrong values"
            )
        requirements.append(_checked(expression.get("key", ""), operator, values))
    return LabelSelector(tuple(requirements))


class FieldTerm(NamedTuple):
    """One field equal, or not equal, to a value."""

    path: str
    equal: bool
    value: str

    def __str__(self) -> str:
        escaped = re.sub(r"([\\,=])", r"\\\1", self.value)
        return f"{self.path}{'=' if self.equal else '!='}{escaped}"


class FieldSelector(NamedTuple):
    """All terms must hold; none matches everything."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, obj: Mapping[str, Any]) -> bool:
        """Whether a decoded object's fields satisfy every term; an absent field counts as empty."""
        return all((_field(obj, term.path) == term.value) is term.equal for term in self.terms)

    def __str__(self) -> str:
        """Return it as a ``fieldSelector`` query carries it."""
        return ",".join(map(str, self.terms))


def parse_fields(text: str) -> FieldSelector:
    r"""Read ``metadata.name=a,status.phase!=Running``; ``\`` escapes ``, = \``. Raises SelectorError."""
    if len(text) > _MAX_TEXT:
        raise SelectorError("a field selector is longer than 64 KiB")
    parts = [part for part in re.findall(r"(?:[^,\\]|\\.)+|\\$", text, re.DOTALL) if part]
    return FieldSelector(tuple(_term(part) for part in parts))


class _Reader:
    """The tokens of a label selector."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0

    @property
    def at_end(self) -> bool:
        return self._next >= len(self._tokens)

    def peek(self) -> str:
        return "" if self.at_end else self._tokens[self._next]

    def take(self) -> str:
        token = self.peek()
        self._next += 1
        return token

    def expect(self, wanted: str) -> None:
        if (found := self.take()) != wanted:
            raise SelectorError(
                f"label selector {self._text[:80]!r}: expected {wanted!r}, found {found or 'its end'!r}"
            )


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise SelectorError(f"label selector {text[:80]!r} cannot be read")
        tokens.append(match[1])
        position = match.end()
    return tokens


def _requirement(reader: _Reader) -> Requirement:
    if reader.peek() == "!":
        reader.take()
        return _checked(reader.take(), "!", ())
    key = reader.take()
    match reader.peek():
        case "" | ",":
            return _checked(key, "exists", ())
        case "=" | "==" | "!=" as sign:
            reader.take()
            return _checked(key, "notin" if sign == "!=" else "in", (_value(reader),))
        case "<" | ">" as sign:
            reader.take()
            return _checked(key, "gt" if sign == ">" else "lt", (_value(reader),))
        case "in" | "notin" as operator:
            reader.take()
            return _checked(key, operator, _values(reader))
        case other:
            raise SelectorError(f"{other!r} after label {key!r} is not an operator")


def _value(reader: _Reader) -> str:
    """A single value, which may be empty: ``a=,b``."""
    return "" if reader.peek() in ("", ",") else reader.take()


def _values(reader: _Reader) -> tuple[str, ...]:
    """A set in parentheses; empty members count, as in apimachinery's parser."""
    reader.expect("(")
    values = [""]
    while (word := reader.take()) != ")":
        if word == "":
            raise SelectorError("a set of values is not closed with ')'")
        if word == ",":
            values.append("")
        elif values[-1]:
            raise SelectorError(f"a comma is missing before {word!r}")
        else:
            values[-1] = word
    return tuple(values)


def is_label_value(text: str) -> bool:
    """Whether a label may have this value (apimachinery: at most 63 characters of a narrow set, or none)."""
    return not text or _NAME.fullmatch(text) is not None


def _checked(key: str, operator: Operator, values: Sequence[str]) -> Requirement:
    prefix, slash, name = key.rpartition("/")
    if not _NAME.fullmatch(name) or (slash and not _PREFIX.fullmatch(prefix)) or len(prefix) > 253:
        raise SelectorError(f"{key[:80]!r} is not a label name")
    for value in values:
        if not isinstance(value, str) or not is_label_value(value):
            raise SelectorError(f"{value!r:.80} is not a label value")
        if operator in ("gt", "lt") and not re.fullmatch(r"-?[0-9]{1,19}", value, re.ASCII):
            raise SelectorError(f"{value!r} is not an integer, which < and > need")
    return Requirement(key, operator, tuple(sorted(set(values))))


def _compares(value: str | None, operator: Operator, bound: str) -> bool:
    if value is None or not re.fullmatch(r"[+-]?[0-9]{1,19}", value, re.ASCII):
        return False
    return int(value) > int(bound) if operator == "gt" else int(value) < int(bound)


def _term(part: str) -> FieldTerm:
    match = re.fullmatch(r"((?:[^\\=!]|\\.|!(?!=))+)(!=|==|=)((?:[^\\=]|\\[\\,=])*)", part, re.DOTALL)
    if match is None:
        raise SelectorError(f"field selector term {part[:80]!r} is not field=value or field!=value")
    unescape: Callable[[str], str] = lambda text: re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)  # noqa: E731
    return FieldTerm(match[1].strip(), match[2] != "!=", unescape(match[3]))


def _field(obj: Mapping[str, Any], path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
