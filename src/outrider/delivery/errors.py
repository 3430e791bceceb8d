"""What may go wrong while a desired state is handed over or kept."""


class DeliveryError(Exception):
    """A desired state cannot be delivered; the text says why and what to do."""


class LedgerError(DeliveryError):
    """What the applier keeps in the cluster cannot be read."""


class LedgerLost(DeliveryError):
    """Another applier has written meanwhile: what this one knows is out of date."""


class TooLarge(DeliveryError):
    """A set is larger than what an agent keeps; the cluster keeps what it has."""


class NotReady(DeliveryError):
    """A feature cannot say yet what it wants in a cluster; the cluster keeps what it has."""
