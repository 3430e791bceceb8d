"""`/v1/subscribe`: a WebSocket that tells what changes among the kinds that a subscriber names, one by one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from outrider.apis.norman import NormanError
from outrider.facade.changes import Watches
from outrider.facade.norman import error_response
from outrider.facade.v1 import place as places
from outrider.facade.v1 import subscriptions
from outrider.facade.v1.asked import Asking
from outrider.facade.v1.counts import Counts
from outrider.facade.v1.errors import refusal
from outrider.facade.v1.exchange import path_of
from outrider.facade.v1.following import Following, Send, Told
from outrider.facade.v1.following_counts import FollowingCounts
from outrider.facade.v1.place import Target
from outrider.facade.v1.rendering import Renderer
from outrider.facade.v1.shared import Shared
from outrider.facade.v1.subscriptions import MOST, Subscription
from outrider.kit.tasks import cancel_and_wait
from outrider.kube.errors import KubeError

log = logging.getLogger(__name__)

PING_SECONDS: Final = 15.0
_PING: Final = b'{"name":"ping","data":{}}'


class Subscribers:
    """Serves subscribers. `pause` is how long changes gather before they are told, `fresh` how long what was read for
    one of a user's subscriptions is good for the others, `counting` how often counts are looked at; seconds."""

    def __init__(
        self,
        asking: Asking,
        renderer: Renderer,
        watches: Watches,
        counts: Counts,
        *,
        pause: float = 0.2,
        fresh: float = 2.0,
        counting: float = 30.0,
    ) -> None:
        self._asking = asking
        self._told = Told(asking, renderer, watches, Shared(fresh), pause)
        self._counts = counts
        self._counting = counting

    def routes(self, prefixes: tuple[str, ...]) -> list[WebSocketRoute]:
        """The routes."""
        return [WebSocketRoute(f"{prefix}/v1/subscribe", self.answer) for prefix in prefixes]

    async def close(self) -> None:
        """Ends what is under way."""
        await self._told.shared.close()

    async def answer(self, websocket: WebSocket) -> None:
        """One subscriber, until it goes."""
        target = places.parse(path_of(websocket)) or Target()
        try:
            await self._asking.call(websocket, target)
        except (NormanError, KubeError) as error:
            refused = error if isinstance(error, NormanError) else refusal(error)
            await websocket.send_denial_response(error_response(refused))
            return
        await websocket.accept()
        session = _Session(websocket, target, self._start)
        await session.run()

    def _start(self, websocket: WebSocket, target: Target, asked: Subscription, send: Send) -> Any:
        if asked.resource_type == "count":
            count = partial(self._count, websocket, target)
            return FollowingCounts(count, asked, send, interval=self._counting).run()
        return Following(self._told, websocket, target, asked, send).run()

    async def _count(self, websocket: WebSocket, target: Target) -> dict[str, Any]:
        call, _ = await self._asking.call(websocket, target)
        return await self._counts.read(call)


Start = Callable[[WebSocket, Target, Subscription, Send], Any]


class _Session:
    """One WebSocket with its subscriptions, each a task."""

    def __init__(self, websocket: WebSocket, target: Target, start: Start) -> None:
        self._websocket = websocket
        self._target = target
        self._start = start
        self._tasks: dict[tuple[str, ...], asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until the subscriber goes."""
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._ping())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(*tasks, *self._tasks.values())

    async def _listen(self) -> None:
        with contextlib.suppress(WebSocketDisconnect, OSError):
            while True:
                asked = subscriptions.parse(await self._websocket.receive_text())
                if isinstance(asked, str):
                    await self._send(Subscription().frame("error", data={"error": asked}))
                elif asked.stop:
                    await self._stop(asked)
                else:
                    await self._add(asked)

    async def _add(self, asked: Subscription) -> None:
        if asked.name in self._tasks:
            return
        if len(self._tasks) >= MOST:
            text = f"there are {MOST} subscriptions already: stop some, or open another WebSocket"
            await self._send(asked.frame("error", data={"error": text}))
            return
        task = self._tasks[asked.name] = asyncio.create_task(self._follow(asked))
        task.add_done_callback(_report)

    async def _stop(self, asked: Subscription) -> None:
        stopped = [name for name in self._tasks if name[:4] == asked.name[:4] and asked.mode in ("", name[4])]
        for name in stopped:
            task = self._tasks.pop(name)
            await cancel_and_wait(task)
            await self._send(asked.frame("stop"))

    async def _follow(self, asked: Subscription) -> None:
        """One subscription, until it is stopped or cannot go on, which is told."""
        problem = ""
        try:
            await self._start(self._websocket, self._target, asked, self._send)
        except KubeError as error:
            problem = refusal(error).message
        except NormanError as error:
            problem = error.message
        except OSError:
            return  # the subscriber is gone
        self._tasks.pop(asked.name, None)
        with contextlib.suppress(OSError):
            if problem:
                await self._send(asked.frame("error", data={"error": problem}))
            await self._send(asked.frame("stop"))

    async def _ping(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                await self._send(_PING)
                await asyncio.sleep(PING_SECONDS)

    async def _send(self, frame: dict[str, Any] | bytes) -> None:
        data = frame if isinstance(frame, bytes) else msgspec.json.encode(frame)
        await self._websocket.send_text(data.decode())


def _report(task: asyncio.Task[None]) -> None:
    """What nobody expected is in the log; the subscriber is left without frames, and subscribes anew."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a subscription failed", exc_info=error)
