"""Transports of asyncio, and what those of aiofastnet 1.2 leave undone."""

import asyncio


def resume_reading(transport: asyncio.Transport) -> None:
    """Read again after `pause_reading`.

    A TLS transport of aiofastnet may hold bytes that it took from the socket before it was paused. Resumed, it asks
    the socket only, and when that is empty the bytes stay where they are until the peer sends more: for the end of
    an answer, never. So it is told to look at what it holds, too.
    """
    transport.resume_reading()
    look = getattr(transport, "_retry_ssl_read", None)
    if look is not None:
        asyncio.get_running_loop().call_soon(look)
