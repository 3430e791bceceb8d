"""What the gateway process logs of what goes wrong in callbacks."""

from __future__ import annotations

import asyncio
import logging
import ssl

import pytest

from outrider.server.gateway import pass_over_strangers


async def test_a_strangers_failed_handshake_is_no_news_but_a_bug_is(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    with caplog.at_level(logging.INFO):
        pass_over_strangers(
            loop, {"message": "SSL handshake failed\nprotocol: x", "exception": ssl.SSLError("odd")}
        )
        assert caplog.records == []
        pass_over_strangers(loop, {"message": "Exception in callback", "exception": ValueError("a bug")})
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "Exception in callback" in caplog.text
