"""Writes to a served kind: what was sent is checked, patches are applied, preconditions are kept. Raises ApiError."""

from __future__ import annotations

from typing import Any, Final

from outrider.apis.ext.served import Caller, Json, Selection, Served, offered
from outrider.facade.extension.arguments import Query, body_of, is_dry, object_of, selection
from outrider.facade.extension.fields import Fields
from outrider.kube.errors import ApiError, BadRequest, Conflict, Invalid
from outrider.kube.jsonpatch import PatchError, patched
from outrider.kube.patches import merged

_ATTEMPTS: Final = 5
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"
_JSON_PATCH: Final = "application/json-patch+json"
_PATCHES: Final = (_JSON_PATCH, _MERGE, _APPLY)

Written = tuple[Json, list[str]]
"""An object, and what the client is warned of."""


class Writer:
    """Writes objects of one kind."""

    def __init__(self, one: Served) -> None:
        self._one = one
        self._fields = Fields(one.kind)

    async def create(self, caller: Caller, query: Query, content: bytes, media: str) -> Written:
        """Make an object of what was sent."""
        create = offered(self._one.create)
        sent = object_of(content, media)
        notes = self._checked(sent, query)
        return await create(caller, sent, dry_run=is_dry(query)), notes

    async def replace(self, caller: Caller, name: str, query: Query, content: bytes, media: str) -> Written:
        """Put what was sent in an object's place."""
        offered(self._one.update)
        sent = object_of(content, media)
        notes = self._checked(sent, query)
        return await self._update(caller, await self._old(caller, name), sent, query), notes

    async def patch(self, caller: Caller, name: str, query: Query, content: bytes, media: str) -> Written:
        """Change an object; one that was changed meanwhile is patched anew, unless the patch names its version."""
        offered(self._one.update)
        kind = media.partition(";")[0].strip().lower()
        if kind not in _PATCHES:
            raise ApiError(
                f"the body of the request was in an unknown format - accepted media types include:"
                f" {', '.join(_PATCHES)}",
                code=415,
                reason="UnsupportedMediaType",
            )
        patch = body_of(content, media)
        for attempt in range(_ATTEMPTS):
            old = await self._old(caller, name)
            sent = _patched(old, patch, kind, query)
            notes = self._checked(sent, query)
            try:
                return await self._update(caller, old, sent, query), notes
            except Conflict:
                if attempt == _ATTEMPTS - 1 or sent["metadata"].get("resourceVersion") != _version(old):
                    raise
        raise AssertionError("unreachable")

    async def delete(self, caller: Caller, name: str, query: Query, content: bytes, media: str) -> Json:
        """Delete an object; returns the Status."""
        delete = offered(self._one.delete)
        options = object_of(content, media) if content.strip() else {}
        old = await self._old(caller, name)
        wanted = options.get("preconditions") or {}
        for field in ("uid", "resourceVersion"):
            if wanted.get(field) and wanted[field] != old["metadata"].get(field):
                raise self._conflict(old, f"the precondition on its {field} does not hold")
        if not is_dry(query) and "All" not in (options.get("dryRun") or ()):
            await delete(caller, old)
        return self._gone(old)

    async def delete_all(self, caller: Caller, query: Query) -> Json:
        """Delete the objects that are selected; returns them."""
        delete, select = offered(self._one.delete), offered(self._one.select)
        chosen = selection(query)
        everything = Selection(labels=chosen.labels, fields=chosen.fields)
        page = await select(caller, everything)
        if not is_dry(query):
            for item in page.items:
                await delete(caller, item)
        kind = self._one.kind
        metadata = {"resourceVersion": page.version}
        return {
            "kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata, "items": page.items,
        }  # fmt: skip

    async def _old(self, caller: Caller, name: str) -> Json:
        return await offered(self._one.get)(caller, name)

    async def _update(self, caller: Caller, old: Json, sent: Json, query: Query) -> Json:
        update = offered(self._one.update)
        metadata = sent.get("metadata") or {}
        if metadata.get("name") and metadata["name"] != old["metadata"]["name"]:
            raise BadRequest("the name of the object does not match the name on the URL")
        for field in ("uid", "resourceVersion"):
            if metadata.get(field) and metadata[field] != old["metadata"].get(field):
                raise self._conflict(
                    old, "the object has been modified; please apply your changes to the latest one"
                )
        return await update(caller, old, sent, dry_run=is_dry(query))

    def _checked(self, sent: Json, query: Query) -> list[str]:
        """Raises for what cannot be; returns what the client is warned of."""
        metadata = sent.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            raise BadRequest("metadata is not an object")
        self._fields.check(sent)
        how = query.get("fieldValidation", "Warn")
        unknown = (
            [f'unknown field "{path}"' for path in self._fields.unknown(sent)] if how != "Ignore" else []
        )
        if how == "Strict" and unknown:
            raise BadRequest(f"strict decoding error: {', '.join(unknown)}")
        # a header is a line of plain characters
        return [note.replace('"', "'") for note in unknown if note.isascii() and note.isprintable()]

    def _conflict(self, old: Json, why: str) -> Conflict:
        kind, name = self._one.kind, old["metadata"]["name"]
        text = f'Operation cannot be fulfilled on {kind.plural}.{kind.group} "{name}": {why}'
        return Conflict(text, details={"name": name, "group": kind.group, "kind": kind.plural})

    def _gone(self, old: Json) -> Json:
        kind, metadata = self._one.kind, old["metadata"]
        details = {
            "name": metadata["name"], "group": kind.group, "kind": kind.plural, "uid": metadata.get("uid", ""),
        }  # fmt: skip
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _patched(old: Json, patch: Any, kind: str, query: Query) -> Json:
    if kind == _JSON_PATCH:
        try:
            changed = patched(old, patch)
        except PatchError as error:
            raise Invalid(str(error)) from None
    elif not isinstance(patch, dict):
        raise BadRequest("the patch is not an object")
    else:
        if kind == _APPLY and not query.get("fieldManager"):
            raise Invalid("fieldManager: Required value: is required for apply patch")
        changed = merged(old, patch)
    if not isinstance(changed, dict) or not isinstance(changed.get("metadata"), dict):
        raise Invalid("what the patch leaves is no object")
    return changed


def _version(item: Json) -> str:
    return str(item["metadata"].get("resourceVersion", ""))
