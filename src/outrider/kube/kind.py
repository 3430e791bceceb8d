"""One served resource: where it is, and how its JSON becomes Python values."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote

import msgspec

from outrider.kube.errors import DecodeError
from outrider.kube.meta import List, ObjectKey, Rejected

T = TypeVar("T")


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _ListBody(msgspec.Struct, Generic[T]):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    items: list[T] | None = None


class _Names(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _Named(msgspec.Struct):
    metadata: _Names = msgspec.field(default_factory=_Names)


_NAMED = msgspec.json.Decoder(_Named)
_JSON = "application/json"
_PARTIAL = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
_RAW_LIST = msgspec.json.Decoder(_ListBody[msgspec.Raw])


class Kind(Generic[T]):
    """A group, version and resource of the API together with the type that holds its objects.

    ``type`` is a ``msgspec.Struct`` with a ``metadata`` attribute, or ``dict[str, Any]`` for kinds that are
    passed through. Decoding a dict fills in ``apiVersion`` and ``kind``, which list items lack. With
    ``metadata_only`` the API server is asked to leave out everything but the metadata of what it answers.
    ``parameters`` go into the query of everything that is read.
    """

    def __init__(
        self,
        *,
        group: str,
        version: str,
        plural: str,
        kind: str,
        namespaced: bool,
        type: type[T],  # noqa: A002
        metadata_only: bool = False,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self.group = group
        self.version = version
        self.plural = plural
        self.kind = kind
        self.namespaced = namespaced
        self.type = type
        self.metadata_only = metadata_only
        self.parameters = dict(parameters or {})
        self._untyped = type is dict or getattr(type, "__origin__", None) is dict
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(type)
        # The list type is made at run time, from `type`; a checker cannot follow that.
        self._list_decoder: msgspec.json.Decoder[_ListBody[T]] = msgspec.json.Decoder(
            cast(Any, _ListBody)[type]
        )

    @property
    def api_version(self) -> str:
        """``v1`` or ``group/version``, as objects carry it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def __repr__(self) -> str:
        return f"Kind({self.plural}.{self.api_version})"

    def accept(self, *, many: bool = False) -> str:
        """Return the Accept header for answers with one object, or with a list."""
        return _PARTIAL.format("List" if many else "") if self.metadata_only else _JSON

    def path(self, name: str = "", namespace: str = "", subresource: str = "") -> str:
        """Return the URL path of the collection, or of one object, or of an object's subresource.

        Raises ValueError for a name that could leave its place in the path, and for a namespace that is
        missing or does not belong there.
        """
        if namespace and not self.namespaced:
            raise ValueError(f"{self.plural} are cluster-scoped; got namespace {namespace!r}")
        if name and self.namespaced and not namespace:
            raise ValueError(f"{self.plural} are namespaced; {name!r} was given without a namespace")
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace:
            parts += ["namespaces", _segment(namespace)]
        parts.append(self.plural)
        if name:
            parts.append(_segment(name))
        if subresource:
            parts += [_segment(part) for part in subresource.split("/")]
        return "/".join(parts)

    def decode(self, data: bytes | memoryview) -> T:
        """Decode one object; raises DecodeError."""
        try:
            obj = self._decoder.decode(data)
        except msgspec.MsgspecError as error:
            raise DecodeError(f"cannot read {_name_in(data)} as {self.kind}: {error}") from None
        return self._complete(obj)

    def decode_list(self, data: bytes | memoryview) -> List[T]:
        """Decode a page. Objects that do not fit the type are left out and named in ``rejected``."""
        rejected: list[Rejected] = []
        try:
            body = self._list_decoder.decode(data)
        except msgspec.ValidationError:
            body, rejected = self._decode_each(data)
        except msgspec.MsgspecError as error:
            raise DecodeError(f"cannot read a list of {self.plural}: {error}") from None
        items = body.items or []
        if self._untyped:
            for item in items:
                self._complete(item)
        return List(
            items=items,
            resource_version=body.metadata.resource_version,
            continue_token=body.metadata.continue_,
            rejected=rejected,
        )

    def key(self, obj: T) -> ObjectKey:
        """Return the object's namespace and name."""
        if self._untyped:
            meta = cast(dict[str, Any], obj).get("metadata") or {}
            return ObjectKey(meta.get("namespace", ""), meta.get("name", ""))
        meta = cast(Any, obj).metadata
        return ObjectKey(meta.namespace, meta.name)

    def resource_version(self, obj: T) -> str:
        """Return the object's resource version, empty when it was never stored."""
        if self._untyped:
            meta = cast(dict[str, Any], obj).get("metadata") or {}
            return str(meta.get("resourceVersion", ""))
        return str(cast(Any, obj).metadata.resource_version)

    def uid(self, obj: T) -> str:
        """Return the object's uid, empty when it was never stored."""
        if self._untyped:
            meta = cast(dict[str, Any], obj).get("metadata") or {}
            return str(meta.get("uid", ""))
        return str(cast(Any, obj).metadata.uid)

    def encode(self, obj: T | dict[str, Any]) -> dict[str, Any]:
        """Return the object as plain values with ``apiVersion`` and ``kind``, ready to be sent.

        Fields of a typed object that hold their default are absent (``omit_defaults``): the API server's
        own default applies to them.
        """
        body = dict(obj) if isinstance(obj, dict) else msgspec.to_builtins(obj)
        body["apiVersion"] = self.api_version
        body["kind"] = self.kind
        return cast(dict[str, Any], body)

    def _complete(self, obj: T) -> T:
        if self._untyped:
            fields = cast(dict[str, Any], obj)
            fields.setdefault("apiVersion", self.api_version)
            fields.setdefault("kind", self.kind)
        return obj

    def _decode_each(self, data: bytes | memoryview) -> tuple[_ListBody[T], list[Rejected]]:
        try:
            raw = _RAW_LIST.decode(data)
        except msgspec.MsgspecError as error:
            raise DecodeError(f"cannot read a list of {self.plural}: {error}") from None
        items: list[T] = []
        rejected: list[Rejected] = []
        for item in raw.items or []:
            try:
                items.append(self._decoder.decode(item))
            except msgspec.ValidationError as error:
                rejected.append(Rejected(key_of_json(item), str(error)))
        return _ListBody(metadata=raw.metadata, items=items), rejected


def key_of_json(data: bytes | memoryview | msgspec.Raw) -> ObjectKey:
    """Return the key of an encoded object whatever else is in it; empty when it has none."""
    try:
        names = _NAMED.decode(data).metadata
    except msgspec.MsgspecError:
        return ObjectKey("", "")
    return ObjectKey(names.namespace, names.name)


def _name_in(data: bytes | memoryview) -> str:
    return str(key_of_json(data)) or "an object without a name"


def _segment(value: str) -> str:
    if value in ("", ".", "..") or "/" in value or "%" in value:
        raise ValueError(f"{value!r} cannot be a part of a Kubernetes path")
    return quote(value, safe=":@!$&'()*+,;=-._~")
