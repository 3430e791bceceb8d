"""All routes of this feature."""

from starlette.routing import Route

from outrider.features.auth.routes_login import LoginRoutes
from outrider.features.auth.routes_tokens import TokenRoutes
from outrider.features.auth.routes_users import UserRoutes


def auth_routes(login: LoginRoutes, tokens: TokenRoutes, users: UserRoutes) -> list[Route]:
    """What the façade mounts."""
    return [*login.routes(), *tokens.routes(), *users.routes()]
