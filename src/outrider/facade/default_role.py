"""The setting `default-user-role`: which global roles new users get (contract, auth-and-rbac §7, row 6).

Old clients write it as a setting. It is stored nowhere: it is the field `newUserDefault` of the global roles.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from outrider.apis.management.global_role import GLOBAL_ROLES
from outrider.apis.norman import NormanError
from outrider.apis.views.call import Call
from outrider.apis.views.view import Json
from outrider.kube.builtin import plain

NAME: Final = "default-user-role"

_FIELD: Final = "newUserDefault"
_PLAIN: Final = plain(GLOBAL_ROLES)


async def read(call: Call) -> Json:
    """The setting, as the user sees the roles."""
    return _setting((await call.client.list(_PLAIN)).items)


async def write(call: Call, value: str) -> Json:
    """Makes one role, or several with commas between, those of new users. Raises NormanError (422)."""
    wanted = {name.strip() for name in value.split(",") if name.strip()}
    roles = (await call.client.list(_PLAIN)).items
    unknown = wanted - {role["metadata"]["name"] for role in roles}
    if unknown:
        raise NormanError(
            422,
            f"there is no global role {', '.join(sorted(unknown))}",
            code="InvalidReference",
            field="value",
        )
    changed = [role for role in roles if bool(role.get(_FIELD)) != (role["metadata"]["name"] in wanted)]
    await asyncio.gather(
        *(
            call.client.patch(_PLAIN, role["metadata"]["name"], {_FIELD: not role.get(_FIELD)})
            for role in changed
        )
    )
    return _setting((await call.client.list(_PLAIN)).items)


def _setting(roles: Sequence[Json]) -> Json:
    chosen = sorted(role["metadata"]["name"] for role in roles if role.get(_FIELD))
    return {"metadata": {"name": NAME}, "value": ",".join(chosen), "default": "user"}
