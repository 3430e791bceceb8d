"""preferences.management.cattle.io: what users chose in the dashboard, one object a choice, in their namespace."""

from typing import Annotated, ClassVar

from outrider.apis.crd import AGE, Column, Resource
from outrider.apis.management.group import GROUP, VERSION
from outrider.apis.schema import prop
from outrider.kube.kind import Kind
from outrider.kube.meta import Object


class Preference(Object, kw_only=True):
    """One choice of a user: the object's name is what was chosen, its namespace has the user's name."""

    resource: ClassVar[Resource] = Resource(columns=(Column("Value", ".value"), AGE))

    value: Annotated[str, prop("What was chosen, as text.", max_length=65536)] = ""


PREFERENCES: Kind[Preference] = Kind(
    group=GROUP,
    version=VERSION,
    plural="preferences",
    kind="Preference",
    namespaced=True,
    type=Preference,
)
