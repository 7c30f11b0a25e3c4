"""A server that is far away: forwards TCP connections to a port of this machine, with a delay of what clients send."""

import asyncio
import contextlib
import multiprocessing
import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def far_away(port: int, seconds: float) -> Iterator[int]:
    """Yield the port of a process that forwards to ``port``: every request arrives so many seconds later."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        process = multiprocessing.get_context("fork").Process(target=_serve, args=(listening, port, seconds))
        process.start()
        try:
            yield listening.getsockname()[1]
        finally:
            process.kill()
            process.join()


def _serve(listening: socket.socket, port: int, seconds: float) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
        """Forward what comes, each piece so many seconds after it came: their order and distances stay."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def send() -> None:
            data = b"x"
            while data:
                due, data = await pieces.get()
                if (wait := due - clock()) > 0:
                    await asyncio.sleep(wait)
                writer.write(data)
                await writer.drain()
            writer.close()

        clock = asyncio.get_running_loop().time
        sending = asyncio.ensure_future(send())
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                pieces.put_nowait((clock() + delay, data))
        pieces.put_nowait((0.0, b""))
        with contextlib.suppress(OSError):
            await sending

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(forward(reader, upstream[1], seconds), forward(upstream[0], writer, 0.0))

    async def serve() -> None:
        server = await asyncio.start_server(connected, sock=listening)
        await server.serve_forever()

    asyncio.run(serve())
