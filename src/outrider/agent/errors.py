"""What can go wrong in the agent, in words for the person who runs the cluster."""


class AgentError(Exception):
    """Base of the agent's errors. The message says what is wrong, why, and what to do."""


class SettingsError(AgentError):
    """The environment or a mounted file does not say what the agent needs."""


class FetchError(AgentError):
    """A plain HTTPS request to the server got no usable answer."""


class UntrustedError(FetchError):
    """The server's certificate does not hold against the authorities that count."""


class TrustError(AgentError):
    """The server could not prove that it is the one that this agent was installed for."""


class AbandonedError(AgentError):
    """No tunnel could be opened for so long that a restart of the agent is the better try."""
