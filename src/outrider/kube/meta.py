"""The parts that all Kubernetes objects share: metadata, owner references, conditions, lists."""

from datetime import datetime
from typing import Annotated, Generic, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")


class ObjectKey(NamedTuple):
    """What names an object within its kind; ``namespace`` is empty for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class OwnerReference(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """metav1.OwnerReference."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """metav1.ObjectMeta without ``managedFields`` and ``selfLink``, which no reader of ours needs."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []


class Object(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The base of typed kinds. ``api_version`` and ``kind`` are filled in by the client when it sends one."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)

    @property
    def key(self) -> ObjectKey:
        """The object's namespace and name."""
        return ObjectKey(self.metadata.namespace, self.metadata.name)

    @property
    def is_deleting(self) -> bool:
        """Whether the object waits for its finalizers to be removed."""
        return self.metadata.deletion_timestamp is not None


class Condition(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """One status condition (contract: clusters-and-agents §0.4); times are RFC 3339 text or empty."""

    type: Annotated[str, msgspec.Meta(description="What the condition speaks of, such as Ready.")]
    status: Annotated[str, msgspec.Meta(description="True, False or Unknown.")] = ""
    last_update_time: Annotated[str, msgspec.Meta(description="When it was last written (RFC 3339).")] = ""
    last_transition_time: Annotated[str, msgspec.Meta(description="When status last changed (RFC 3339).")] = (
        ""
    )
    reason: Annotated[str, msgspec.Meta(description="Why, in one word for programs.")] = ""
    message: Annotated[str, msgspec.Meta(description="Why, in a sentence for people.")] = ""


class Rejected(NamedTuple):
    """An object of a list that the kind's type cannot hold, and why."""

    key: ObjectKey
    reason: str


class List(msgspec.Struct, Generic[T], kw_only=True):
    """One page, or a whole list.

    ``continue_token`` is empty on the last page. ``rejected`` names the objects that could not be decoded:
    one malformed object must not hide all others.
    """

    items: list[T]
    resource_version: str = ""
    continue_token: str = ""
    rejected: list[Rejected] = []
