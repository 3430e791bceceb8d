"""What the routes of clusters read from a request."""

from __future__ import annotations

from starlette.requests import Request

from outrider.link.claims import claim_of


def base_url(request: Request) -> str:
    """Scheme and host that links start with, as the client sees them."""
    claim = claim_of(request.scope)
    return f"{claim.scheme}://{claim.host or 'localhost'}"
