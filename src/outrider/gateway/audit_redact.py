"""Takes the secrets out of a decoded JSON body (contract, auth-and-rbac §5.4). Pure: values in, new values out.

Redaction is by what a body is (a Secret, a ConfigMap, a sign-in, a kubeconfig), by the names of its members, by
arguments that follow a secret flag, and by what looks like a secret wherever it stands. In doubt it hides: a
hidden detail can be looked up, a secret in a log cannot be taken back.
"""

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

import msgspec

from outrider.gateway.audit_secrets import (
    REDACTED,
    is_exchanged,
    is_secret_flag,
    is_secret_word,
    looks_secret,
)
from outrider.gateway.audit_topics import ISSUED_KINDS, SECRET_KINDS, About, kinds_of

_NAMED = frozenset(
    {
        # the contract's
        *(
            "credentials",
            "applicationsecret",
            "oauthcredential",
            "serviceaccountcredential",
            "spkey",
            "spcert",
        ),
        *(
            "certificate",
            "privatekey",
            "secretsencryptionconfig",
            "manifesturl",
            "insecurewindowsnodecommand",
        ),
        *("insecurenodecommand", "insecurecommand", "command", "nodecommand", "windowsnodecommand"),
        *("clientrandom", "kubectl.kubernetes.io/last-applied-configuration"),
        # cloud drivers', and a Secret's own wherever it stands
        *("authencodedjson", "privatekeycontents", "sharedkey", "storageaccountkey", "serviceaccountkey"),
        *("stringdata", "binarydata", "objectset.rio.cattle.io/applied"),
    }
)
"""Members that are hidden, in lower case."""
_REFERENCES = ("ref", "refs", "name", "names", "namespace")
"""Ends of names that speak of a secret object without holding one, such as `secretKeyRef`."""
_REFERENCE = frozenset({"name", "namespace", "secretName", "items", "defaultMode", "optional", "key"})
"""Members of values that do: an element of `imagePullSecrets`, a volume's `secret`."""
_CONTRACT = ("password", "kubeconfig", "token")
"""Names with these words are hidden whatever else they say (contract §5.4)."""
_KEPT = frozenset({"id", "created", "baseType", "type", "kind", "apiVersion"})
_SHOWN = frozenset({"metadata", "immutable", "links"})
_CONTENTS = frozenset({"data", "stringData", "binaryData"})
_STATUS = frozenset({"kind", "apiVersion", "status", "reason", "code"})
_SIGN_IN = frozenset({"username", "type", "responseType", "description", "ttl"})
_EMBEDDED = re.compile(r"""(?i)["']?kind["']?\s{0,4}:\s{0,4}["']?(?:secret|configmap)\b""")
_SHORT = 8
"""Characters below which a text can hold no document."""
_OPAQUE = re.compile(r"[\w+/=-]{256,}\s*")
"""Encoded contents, such as a bundle's compressed resources: nobody can tell what they hold."""
_MAX_EMBEDDED = 3
_MAX_REMEMBERED = 64
"""Characters of a member's name whose sort is remembered."""


def redact_request(body: Any, topic: About) -> Any:
    """A request's body without secrets."""
    if topic is About.SIGN_IN:
        return _allowed(body, _SIGN_IN) if isinstance(body, dict) else REDACTED
    return _redact(body, topic)


def redact_response(body: Any, topic: About) -> Any:
    """A response's body, or the list of a watch's events, without secrets."""
    return _redact(body, topic)


def login_name(body: Any) -> str:
    """The name that somebody signs in with, empty when there is none."""
    name = body.get("username") if isinstance(body, dict) else None
    return name[:256] if isinstance(name, str) and not looks_secret(name) else ""


def _redact(body: Any, topic: About) -> Any:
    if topic is About.SECRETS:
        return _secret(body)
    hidden = frozenset({"config"}) if topic is not About.ANYTHING else frozenset()
    return _value(body, hidden, _MAX_EMBEDDED)


def _value(value: Any, hidden: frozenset[str], embedded: int) -> Any:
    if isinstance(value, dict):
        return _object(value, hidden, embedded)
    if isinstance(value, list):
        return _array(value, hidden, embedded)
    return _text(value, embedded) if isinstance(value, str) else value


def _object(value: dict[str, Any], hidden: frozenset[str], embedded: int) -> dict[str, Any]:
    kinds = kinds_of(value)
    if not kinds.isdisjoint(SECRET_KINDS):
        return _secret_object(value)
    if not kinds.isdisjoint(ISSUED_KINDS):
        hidden |= {"value"}
    if _names_secret(value):
        hidden |= {"value", "default"}
    return {
        _key(name): REDACTED
        if _hides(name, member, hidden)
        else _value(member, _inherited(hidden, name), embedded)
        for name, member in value.items()
    }


def _inherited(hidden: frozenset[str], name: str) -> frozenset[str]:
    # metadata has values of its own that are none of the object's: labels, managed fields
    return frozenset() if name == "metadata" else hidden


def _hides(name: str, member: Any, hidden: frozenset[str]) -> bool:
    if member is None or isinstance(member, bool) or member in ("", [], {}):
        return False
    if name in hidden:
        return True
    sort = _sort(name) if len(name) <= _MAX_REMEMBERED else _judge(name)
    if sort is _Sort.UNKNOWN:
        return is_exchanged(name, member)
    return sort is _Sort.SECRET or not _is_reference(member)


class _Sort(Enum):
    """What a member's name says of its value."""

    UNKNOWN = 0
    SECRET = 1
    SECRET_OR_REFERENCE = 2


def _judge(name: str) -> _Sort:
    lower = name.lower()
    if lower in _NAMED or any(word in lower for word in _CONTRACT):
        return _Sort.SECRET
    if is_secret_word(name) and not lower.endswith(_REFERENCES):
        return _Sort.SECRET_OR_REFERENCE
    return _Sort.UNKNOWN


_sort = lru_cache(4096)(_judge)  # the same names come again and again


def _is_reference(member: Any) -> bool:
    if isinstance(member, list):
        return all(isinstance(item, dict) and item.keys() <= _REFERENCE for item in member)
    return isinstance(member, dict) and member.keys() <= _REFERENCE


def _key(name: str) -> str:
    return REDACTED if looks_secret(name) else name


def _array(values: list[Any], hidden: frozenset[str], embedded: int) -> list[Any]:
    kept: list[Any] = []
    flagged = False
    for value in values:
        kept.append(REDACTED if flagged else _value(value, hidden, embedded))
        flagged = isinstance(value, str) and is_secret_flag(value.strip())
    return kept


def _text(text: str, embedded: int) -> str:
    if len(text) < _SHORT:
        return REDACTED if looks_secret(text) else text
    bare = text.lstrip()
    if bare[:1] in ("{", "[") and embedded:
        try:
            inner = msgspec.json.decode(bare)
        except (msgspec.DecodeError, RecursionError):
            pass
        else:
            return msgspec.json.encode(_value(inner, frozenset(), embedded - 1)).decode()
    hidden = looks_secret(text) or _EMBEDDED.search(text) is not None or _OPAQUE.fullmatch(text) is not None
    return REDACTED if hidden else text


def _names_secret(value: Mapping[str, Any]) -> bool:
    """Whether `value` is a pair such as an environment variable, a setting or a step of a JSON patch."""
    if "value" not in value and "default" not in value:
        return False
    metadata = value.get("metadata")
    names = [value.get("name"), value.get("id"), value.get("key"), value.get("path")]
    if isinstance(metadata, dict):
        names.append(metadata.get("name"))
    return any(isinstance(name, str) and _is_secret_path(name) for name in names)


def _is_secret_path(name: str) -> bool:
    parts = [part.replace("~1", "/") for part in name.split("/")]
    return any(is_secret_word(part) or part.lower() in _NAMED or part in _CONTENTS for part in parts)


# Secrets and ConfigMaps


def _secret(value: Any) -> Any:
    """A Secret or ConfigMap, a list, a watch event or a patch of such; of an unknown layout next to nothing."""
    if isinstance(value, list):
        return [_secret(item) for item in value]
    return _secret_object(value) if isinstance(value, dict) else REDACTED


def _secret_object(value: dict[str, Any]) -> dict[str, Any]:
    if value.get("kind") == "Status":
        return _allowed(value, _STATUS)
    if isinstance(value.get("object"), dict) and isinstance(value.get("type"), str):
        return {"type": _text(value["type"], 0), "object": _secret(value["object"])}
    if "op" in value and "path" in value:
        return _allowed(value, frozenset({"op", "path"}))
    items = next((name for name in ("items", "data") if isinstance(value.get(name), list)), "")
    if items:
        rest = {name: member for name, member in value.items() if name in _KEPT or name == "metadata"}
        return {**_value(rest, frozenset(), 0), items: [_secret(item) for item in value[items]]}
    if _CONTENTS.isdisjoint(value) and not _is_bare(value):
        return _allowed(value, _KEPT)
    return {_key(name): _content(name, member) for name, member in value.items()}


def _is_bare(value: Mapping[str, Any]) -> bool:
    """Whether all there is are members that say nothing of the contents."""
    return "metadata" in value and value.keys() <= {"kind", "apiVersion", "metadata", "type", "immutable"}


def _content(name: str, member: Any) -> Any:
    if name in _CONTENTS:
        return dict.fromkeys(map(_key, member), REDACTED) if isinstance(member, dict) else REDACTED
    return _value(member, frozenset(), 0) if name in _KEPT or name in _SHOWN else REDACTED


def _allowed(value: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {_key(name): _plain(member) if name in names else REDACTED for name, member in value.items()}


def _plain(member: Any) -> Any:
    if isinstance(member, str):
        return _text(member, 0)
    return member if member is None or isinstance(member, int | float) else REDACTED
