"""The declaration of a type's view: one object says all that `/v3` needs to know of a kind.

A feature makes its views in `setup.py` and hands them to whoever composes the server. What a view does not
say follows from the kind: its schema, links and methods, filters, sorting, paging and state.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from outrider.apis.spelling import Spelled
from outrider.apis.views.call import Call
from outrider.kube.kind import Kind
from outrider.kube.meta import ObjectKey

Json = dict[str, Any]
"""An object of Kubernetes, or a resource of `/v3`, as plain values."""


class Context(Enum):
    """The root that a type is found under."""

    MANAGEMENT = ""
    CLUSTER = "cluster"
    PROJECT = "project"


class Access(Enum):
    """What clients may do with a field."""

    READ = "read"
    """Shown, and ignored when written: clients send back what they read."""
    WRITE = "write"
    """Taken, and never shown."""
    CREATE = "create"
    """Shown, taken at creation and ignored later."""
    BOTH = "both"


@dataclass(frozen=True, kw_only=True)
class Field:
    """What is particular about one field of the resource; everything has a default.

    `type` is Norman's (`string`, `boolean`, `reference[cluster]`, `map[string]`, …), from the kind's type when
    empty. `default` is what a creation gets that does not say, `absent` what is shown where the object has
    nothing. `options` are the only values taken. A field with an `annotation` is stored there, as text or, for
    any other type, as JSON.
    """

    access: Access = Access.BOTH
    type: str = ""
    required: bool = False
    default: Any = None
    absent: Any = None
    options: tuple[str, ...] = ()
    annotation: str = ""
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Need:
    """The right that backs an action: a verb on the object, or on another resource of the API."""

    verb: str
    group: str | None = None
    resource: str = ""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """An action under way: on `object` as stored, or on the collection where that is None."""

    call: Call
    body: Json
    object: Json | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an action answers; without a body, the resource itself for an action on one."""

    body: Json | None = None
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something to do beside create, read, update and delete: `POST …?action=<name>`.

    `run` gets the rights that it needs from `Invocation.call.client`; what it does with another identity it has
    to justify itself. `need` decides who is shown the action and who may call it (None: whoever sees the
    object). `offered` looks at the object as stored: False hides the action. An `open` one may be called by
    somebody whose credential is no longer good, or who has none.
    """

    name: str
    run: Callable[[Invocation], Awaitable[Result | Json | None]]
    need: Need | None = None
    offered: Callable[[Json], bool] = lambda _: True
    input: str = ""
    output: str = ""
    open: bool = False


class Placement(Protocol):
    """Which namespace a resource of a namespaced kind lives in."""

    @property
    def field(self) -> str:
        """The field of the resource that tells the namespace; empty when none does."""

    async def namespace(self, call: Call, value: str) -> str:
        """The namespace for a value of `field`. Raises NormanError for a value that names none."""


@dataclass(frozen=True)
class InCluster:
    """The namespace is the cluster's id, which is what `field` holds."""

    field: str = "clusterId"

    async def namespace(self, call: Call, value: str) -> str:
        """The cluster's id."""
        return value


@dataclass(frozen=True)
class InNamespace:
    """All live in one namespace."""

    name: str
    field: str = ""

    async def namespace(self, call: Call, value: str) -> str:
        """That one."""
        return self.name


@dataclass(frozen=True)
class ByNamespace:
    """The resource says its namespace itself (`namespaceId`), as workloads do."""

    field: str = "namespaceId"

    async def namespace(self, call: Call, value: str) -> str:
        """What the field holds."""
        return value


class Store(Protocol):
    """Where objects are read and written. Without one, that is the API server, as the user.

    A type needs its own when no role lets users see its collection (their own tokens) or when its objects are
    stored nowhere (principals). It then answers for what it shows.
    """

    async def list(self, call: Call) -> Sequence[Json]:
        """What the user may see."""

    async def get(self, call: Call, key: ObjectKey) -> Json:
        """One object. Raises NormanError 404."""

    async def create(self, call: Call, draft: Json) -> Json:
        """The object as stored."""

    async def update(self, call: Call, old: Json, patch: Json) -> Json:
        """The object as stored, after a merge patch."""

    async def delete(self, call: Call, old: Json) -> Json | None:
        """The object that goes, or None when it is gone."""

    def allows(self, call: Call, verb: str, key: ObjectKey | None) -> bool:
        """Whether the user may `list`, `create`; `get`, `update`, `delete` the one that `key` names."""


Proceed = Callable[[Json], Awaitable[Json]]
"""Stores a draft, or a merge patch, as the user; returns the object as stored."""


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What happens around a write. A hook may raise NormanError, look at the resource as sent, change what is
    stored, and do more before or after; what it does not hand to its last argument is not written.

    `create` gets the draft, the resource as sent, and how to go on; it returns the object to answer with.
    `update` gets the object as stored, the merge patch, the resource as sent, and how to go on.
    `delete` gets the object as stored, and how to go on, which returns what is left of it.
    """

    create: Callable[[Call, Json, Json, Proceed], Awaitable[Json]] | None = None
    update: Callable[[Call, Json, Json, Json, Proceed], Awaitable[Json]] | None = None
    delete: Callable[[Call, Json, Callable[[], Awaitable[Json | None]]], Awaitable[Json | None]] | None = None


def _nothing(_: Json, __: Call) -> Json:
    return {}


async def _as_stored(_: Call, objects: Sequence[Json]) -> Sequence[Json]:
    return objects


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A type of `/v3`.

    Attributes:
        kind: the kind that it shows.
        type, plural: Norman's name of the type and of its collection, spelled as clients see it.
        context: the root that it is found under.
        names: field as stored → field as shown, where they differ: `{"displayName": "name"}`. Fields are those
            of spec, status and, for flat kinds, the object; which of these one belongs to follows from the kind.
        fields: what is particular about a field, by its name as shown.
        hidden: fields as stored that are neither shown nor taken.
        placement: for namespaced kinds, how a resource says where it lives.
        generate_name: prefix of the names of new objects; without it clients name them themselves.
        methods: of GET (list and read), POST, PUT and DELETE, those that the type has at all.
        actions, collection_actions: beside those.
        links: names of collections that belong to one: `nodes` leads to `<self>/nodes`.
        opens: the context whose root an object of the type is.
        compute: further fields, and changed ones, of an object as stored. It may look at who asks, but not
            wait for anything.
        prepare: completes objects as stored before they are shown, in one go, or leaves out what does not belong
            here; it reads as the user.
        store: where the objects are, when that is not the API server as the user.
        removable: whether one may be removed at all, whatever the user's rights.
        hooks: what happens around writes.
        stateless: the resource has no `state`.
        settles: a new object without conditions is `initializing` for its first seconds.
        public: somebody who has not signed in may read what the store shows them.
        refusal: what somebody is told who has to sign in first.
        upserts: a PUT to an id that is not there creates it.
    """

    kind: Kind[Any]
    type: str
    plural: str
    context: Context = Context.MANAGEMENT
    names: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Field] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    placement: Placement | None = None
    generate_name: str = ""
    methods: frozenset[str] = frozenset({"GET", "POST", "PUT", "DELETE"})
    actions: tuple[Action, ...] = ()
    collection_actions: tuple[Action, ...] = ()
    links: tuple[str, ...] = ()
    opens: Context | None = None
    compute: Callable[[Json, Call], Json] = _nothing
    prepare: Callable[[Call, Sequence[Json]], Awaitable[Sequence[Json]]] = _as_stored
    store: Store | None = None
    removable: Callable[[Json], bool] = lambda _: True
    hooks: Hooks = Hooks()
    stateless: bool = False
    settles: bool = False
    public: bool = False
    refusal: str = ""
    upserts: bool = False

    @property
    def watchable(self) -> bool:
        """Whether changes of its objects can be told: those that only a store of their own shows cannot."""
        return self.store is None

    @property
    def is_spelled(self) -> bool:
        """Whether an object of the kind may keep its fields beside metadata or under a spec."""
        return isinstance(self.kind.type, type) and issubclass(self.kind.type, Spelled)

    @property
    def is_flat(self) -> bool:
        """Whether the kind keeps its fields beside metadata, without a spec."""
        return self.is_spelled or "spec" not in getattr(self.kind.type, "__struct_fields__", ("spec",))
