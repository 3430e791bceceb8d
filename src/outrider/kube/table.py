"""Objects as tables: the cells that `kubectl get` prints, each row with its object (meta.k8s.io/v1 Table).

The objects stay as the JSON that came: whoever shows a hundred of ten thousand need not decode the others.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from outrider.kube.errors import DecodeError
from outrider.kube.kind import Kind, key_of_json
from outrider.kube.meta import List, ObjectKey

_TABLE: Final = "application/json;as=Table;g=meta.k8s.io;v=v1,application/json"


class Column(msgspec.Struct, frozen=True):
    """One column, as the API server describes it (TableColumnDefinition)."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


class Row(msgspec.Struct):
    """The cells of one object, and the object as JSON."""

    object: msgspec.Raw
    cells: tuple[Any, ...] = ()


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Table(msgspec.Struct, kw_only=True):
    """A page of rows, or the one row of one object. A watch names its columns in its first event only."""

    columns: tuple[Column, ...] = ()
    rows: list[Row]
    resource_version: str = ""


class _Body(msgspec.Struct, rename="camel"):
    kind: str = ""
    metadata: _Meta = msgspec.field(default_factory=_Meta)
    column_definitions: tuple[Column, ...] | None = None
    rows: list[Row] | None = None
    items: list[msgspec.Raw] | None = None


_BODY: Final = msgspec.json.Decoder(_Body)


class TableKind(Kind[Table]):
    """A kind whose objects are read as tables. A server that knows no tables answers rows without cells."""

    def __init__(self, kind: Kind[Any]) -> None:
        super().__init__(
            group=kind.group,
            version=kind.version,
            plural=kind.plural,
            kind=kind.kind,
            namespaced=kind.namespaced,
            type=Table,
            parameters={"includeObject": "Object"},
        )

    def accept(self, *, many: bool = False) -> str:
        """The Accept header."""
        return _TABLE

    def decode(self, data: bytes | memoryview) -> Table:
        """Decode one object's table, or a page; raises DecodeError."""
        body = self._read(data)
        return Table(
            columns=body.column_definitions or (),
            rows=self._rows(body, data),
            resource_version=body.metadata.resource_version,
        )

    def decode_list(self, data: bytes | memoryview) -> List[Table]:
        """Decode a page: a list of one table."""
        body = self._read(data)
        table = Table(columns=body.column_definitions or (), rows=self._rows(body, data))
        return List(
            items=[table],
            resource_version=body.metadata.resource_version,
            continue_token=body.metadata.continue_,
        )

    def key(self, obj: Table) -> ObjectKey:
        """The key of the one object."""
        return key_of_json(obj.rows[0].object) if obj.rows else ObjectKey("", "")

    def resource_version(self, obj: Table) -> str:
        """That of the one object."""
        return obj.resource_version

    def _read(self, data: bytes | memoryview) -> _Body:
        try:
            return _BODY.decode(data)
        except msgspec.MsgspecError as error:
            raise DecodeError(f"cannot read a table of {self.plural}: {error}") from None

    def _rows(self, body: _Body, data: bytes | memoryview) -> list[Row]:
        if body.kind == "Table":
            return body.rows or []
        if body.items is not None or body.kind == f"{self.kind}List":
            return [Row(object=item) for item in body.items or ()]
        return [Row(object=msgspec.Raw(data))]
