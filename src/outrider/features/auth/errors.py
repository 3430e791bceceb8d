"""What can be wrong with a password, a credential or a request about them."""


class AuthError(Exception):
    """Base of everything raised on purpose by this feature."""


class PasswordRefused(AuthError):
    """The password breaks a rule; the text says which and is meant for the user."""


class TooManyAttempts(AuthError):
    """Locked out or over the rate; `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"too many attempts: try again in {max(1, round(retry_after))} seconds")
        self.retry_after = retry_after


class Busy(AuthError):
    """More password checks wait than this process takes on; a retry shortly after succeeds."""


class AuthenticationFailed(AuthError):
    """Wrong user or wrong password: the text never says which."""

    def __init__(self) -> None:
        super().__init__("authentication failed")


class UserDisabled(AuthError):
    """The password is right, but an administrator disabled the user."""


class InitializationIncomplete(AuthError):
    """State that start-up needs is missing or contradictory; the text says what to do."""
