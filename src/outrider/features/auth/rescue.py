"""Sign-in's parts for somebody on the server's own machine, without the control process."""

from collections.abc import Mapping

from outrider.apis.management.setting import Setting
from outrider.apis.management.user import USERS
from outrider.features.auth.bootstrap import Bootstrap
from outrider.features.auth.limiter import LoginLimiter
from outrider.features.auth.login import USERNAME_INDEX, LocalPasswords
from outrider.features.auth.passwords import PasswordPool
from outrider.features.auth.settings import AuthSettings
from outrider.features.auth.tokens import TokenIssuer
from outrider.kit.clock import SystemClock
from outrider.kube.client import Client
from outrider.kube.meta import ObjectKey
from outrider.runtime.informer import Informer


class _NothingStored:
    """No setting was changed: known defaults apply."""

    def get(self, key: ObjectKey) -> Setting | None:
        """Nothing."""
        return None


def stand_alone_bootstrap(client: Client, environ: Mapping[str, str]) -> Bootstrap:
    """Makes or rescues the default administrator; `client` has full rights on the management cluster."""
    settings = AuthSettings(_NothingStored(), environ)
    nobody = Informer(client, USERS, indexes={USERNAME_INDEX: lambda user: (user.username,)})  # never started
    passwords = LocalPasswords(
        client=client,
        users=nobody,
        pool=PasswordPool(width=1),
        limiter=LoginLimiter(SystemClock()),
        settings=settings,
    )
    return Bootstrap(client, passwords, settings, environ)


def stand_alone_issuer(client: Client) -> TokenIssuer:
    """Makes tokens with the default lifetimes."""
    return TokenIssuer(client, AuthSettings(_NothingStored(), {}))
