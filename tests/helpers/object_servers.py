"""Object stores of the tests: real servers on loopback, and a proxy that counts requests and injects faults."""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

BIN = Path(sys.executable).parent
KEY, SECRET = "AKIDEXAMPLE", "a/Secret+Key"
# method, path, Range -> a status, "drop", "lost", "cut", "stall", or None
Fault = Callable[[str, str, str], int | str | None]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(port: int) -> dict[str, str]:
    """What a user has in the environment: endpoint, region and credentials."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@contextmanager
def _server(command: list[str], port: int, folder: Path, seconds: float = 60) -> Iterator[int]:
    """Run a server until the end of the block; the bucket ``bucket`` is there."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        end = time.monotonic() + seconds
        while True:
            try:
                urlopen(Request(f"http://127.0.0.1:{port}/bucket", method="PUT"), timeout=5).read()
                break
            except OSError:
                assert process.poll() is None, (folder / "server.log").read_text()
                assert time.monotonic() < end, (folder / "server.log").read_text()
                time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


def moto(folder: Path) -> "contextmanager[int]":  # type: ignore[type-arg]
    """Moto's server, in a process of its own."""
    port = free_port()
    return _server([str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)], port, folder)


def seaweedfs(folder: Path) -> "contextmanager[int]":  # type: ignore[type-arg]
    """SeaweedFS: master, volume, filer and S3 in one process."""
    ports = {name: free_port() for name in ("s3", "master", "volume", "filer")}
    grpc = {f"{name}.port.grpc": free_port() for name in ports}
    command = [str(BIN / "weed"), "server", "-s3", "-filer", "-ip=127.0.0.1", f"-dir={folder}", "-volume.max=20"]
    command += [f"-{name}.port={port}" for name, port in ports.items()]
    command += [f"-{name}={port}" for name, port in grpc.items()]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # else one port each, of which a machine has one
    return _server(command, ports["s3"], folder)


def rclone(folder: Path) -> "contextmanager[int]":  # type: ignore[type-arg]
    """Rclone's server, which ignores conditional puts."""
    port = free_port()
    (folder / "data").mkdir()
    return _server([str(BIN / "rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", "data"], port, folder)


class Proxy:
    """Stands before a server, counts its requests, and answers some of them by a fault.

    Attributes:
        seen: (method, path, Range) of each request.
        fault: what is asked about each; None: no faults.
        stalled: set when the server has half of a body, and waits until the client is gone ("stall").
    """

    def __init__(self, upstream: int) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self.fault: Fault | None = None
        self.stalled = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                asked = self.command, self.path, self.headers.get("Range") or ""
                proxy.seen.append(asked)
                fault = proxy.fault and proxy.fault(*asked)
                length = int(self.headers.get("Content-Length") or 0)
                if fault == "stall":
                    self.stall(length)
                    return
                body = self.rfile.read(length)
                if fault == "drop":
                    self.close_connection = True
                    return
                if isinstance(fault, int):
                    self.send_response(fault)
                    self.send_header("Retry-After", "1")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                link = http.client.HTTPConnection("127.0.0.1", upstream)
                link.request(self.command, self.path, body, dict(self.headers))
                answer = link.getresponse()
                data = answer.read()
                if fault == "lost":  # done, but the answer is lost
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                if answer.getheader("Content-Length") is None:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if fault == "cut":
                    self.wfile.write(data[: len(data) // 2])
                    self.close_connection = True
                else:
                    self.wfile.write(data)
                link.close()

            def stall(self, length: int) -> None:
                with socket.create_connection(("127.0.0.1", upstream)) as link:
                    head = f"{self.requestline}\r\n{str(self.headers).strip()}\r\n\r\n".replace("\r\n", "\n")
                    link.sendall(head.replace("\n", "\r\n").encode() + self.rfile.read(length // 2))
                    proxy.stalled.set()
                    while self.rfile.read(1 << 16):
                        pass
                self.close_connection = True

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self.server.server_address[1]

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
