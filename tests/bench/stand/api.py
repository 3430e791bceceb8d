"""A stand-in for an API server, used where the yardstick's own is not there: `python -m stand.api CERT KEY PORT`.

It answers what the yardstick's answers: a pod of 1 KB, a list of 1 MB, a watch at full speed; and, like it, nothing
without the impersonator's token.
"""

import asyncio
import ssl
import sys

import aiofastnet
import httptools
import uvloop

POD = b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"},"pad":"' + b"k" * 957 + b'"}\n'
LIST = b'{"kind":"PodList","apiVersion":"v1","items":[' + (POD[:-1] + b",") * 1020 + POD[:-1] + b"]}\n"
LINE = b'{"type":"MODIFIED","object":{"kind":"Pod"' + b"x" * 158 + b"\n"
HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nCache-Control: no-cache, private\r\n"


class Connection(asyncio.Protocol):
    """One client."""

    def connection_made(self, transport):
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.url, self.allowed = b"", False
        self.open = asyncio.Event()
        self.open.set()
        self.watch = None

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_url(self, url):
        self.url = url

    def on_header(self, name, value):
        if name.lower() == b"authorization":
            self.allowed = value == b"Bearer impersonator-sa"

    def on_message_complete(self):
        if not self.allowed:
            self.answer(b"403 Forbidden", b"forbidden\n")
        elif self.url.startswith(b"/watch"):
            self.watch = asyncio.get_running_loop().create_task(self.stream())
        else:
            self.answer(b"200 OK", LIST if self.url.endswith(b"/pods") else POD)

    def answer(self, status, body):
        self.transport.write(HEAD % status + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def stream(self):
        self.transport.write(HEAD % b"200 OK" + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = (b"%x\r\n" % len(LINE) + LINE + b"\r\n") * 50
        while not self.transport.is_closing():
            await self.open.wait()
            self.transport.write(chunk)
            await asyncio.sleep(0)

    def pause_writing(self):
        self.open.clear()

    def resume_writing(self):
        self.open.set()

    def connection_lost(self, exc):
        if self.watch is not None:
            self.watch.cancel()


async def main():
    certificate, key, port = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    await aiofastnet.create_server(loop, Connection, "127.0.0.1", int(port), ssl=context, backlog=1024)
    await asyncio.Event().wait()


uvloop.run(main())
