"""Hostile files: seeded mutants of what depthvar reads, lengths and checksums corrected so that they get far."""

import copy
import io
import json
import os
import pickle
import random
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from PIL import Image

from depthvar.datasets.cache.attributes import seal

PATHS = [
    "..", "../../outside/x", "/etc/passwd", "/", ".", "", "a//b", "a\\..\\b", "a\nb", "\x1b[2Jx", "x\0y", "{frame}",
    "~/x", "file:///etc/passwd", "memory://x", "a" * 5000, "a/" * 3000 + "b", "\u202e\u2028", "b/../../outside/x",
]  # fmt: skip
NUMBERS = [
    0, -1, 1, 2, 3, 64, 65, 2**15, 2**31 - 1, 2**31, 2**32, 2**40, 2**53 + 1, 2**63 - 1, 2**63, 10**12, 10**30, 10**400,
    0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), float("-inf"), True, False,
]  # fmt: skip


class _Payload:
    """What leaves a file behind if it is ever unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch PICKLE_LOADED",)


PICKLE = pickle.dumps([_Payload()])


def mutate(content: bytes, dice: random.Random) -> bytes:
    """Flip, overwrite, cut out, double or append bytes, at one to four places."""
    spoiled = bytearray(content)
    for _ in range(dice.randint(1, 4)):
        at, length = dice.randrange(len(spoiled) + 1), dice.choice([1, 1, 2, 4, 8, 40])
        match dice.randrange(6):
            case 0 if at < len(spoiled):
                spoiled[at] ^= 1 << dice.randrange(8)
            case 1:
                spoiled[at : at + length] = dice.randbytes(length)
            case 2:
                del spoiled[at : at + length]
            case 3:
                spoiled[at:at] = spoiled[at : at + length]
            case 4:
                del spoiled[at:]
            case _:
                spoiled[at : at + length] = dice.choice([b"\0", b"\xff"]) * length
    return bytes(spoiled)


def npy(good: np.ndarray[Any, Any], dice: random.Random) -> bytes:
    """Return an .npy whose header, length or content lies."""
    file = io.BytesIO()
    np.save(file, good)
    if dice.random() < 0.4:
        return mutate(file.getvalue(), dice)
    descr = dice.choice([repr(good.dtype.str)] * 6 + [
        "'>f4'", "'<f2'", "'<f8'", "'<u2'", "'|O'", "'|O'", "'|V8'", "'|V0'", "'<U4'", "'<c8'", "'|b1'", "'<M8[s]'",
        "5", "None", "'f4, f4'", "[('a', '<f4')]", "[('a', '|O')]", "('<f4', (2,))", "('<f4', (100000, 100000))",
        "'<i8'", "[('a', '<f4', (1000000,))]", "'<f4' * 3", "-" * 3000 + "1", "(" * 3000, "[" * 90 + "]" * 90, "b'<f4'",
    ])  # fmt: skip
    shape = dice.choice([repr(good.shape)] * 4 + [
        "(1000000, 1000000)", "(1000000000000,)", f"({2**62}, {2**62})", "(0, 4)", "(-24, -32)", "(24, -1)",
        "(24.0, 32)", "()", "(True, 768)", "(24, 32, 1)", "(24, 32, 10**9)", f"({'1, ' * 100})", "'24'", "None",
        "[24, 32]", "(768,)", f"({10**100}, 1)", "(24, (32,))", "(1,) * 70", "24L, 32L",
    ])  # fmt: skip
    order = dice.choice(["False"] * 4 + ["True", "1", "'x'", "None"])
    extra = dice.choice(
        [""] * 6 + ["'more': 1", "**{}", "'descr': '|O'", "__import__('os').system('touch EVAL')", "1,"]
    )
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, {extra}}}".encode() + b"\n"
    version = dice.choice([1, 1, 1, 2, 3, 0, 255])
    length = dice.choice([len(header)] * 6 + [0, 9_999, 65_535, 2**32 - 1, 2**31])
    head = b"\x93NUMPY" + bytes([version, dice.choice([0, 0, 0, 1])])
    head += struct.pack("<H", min(length, 65_535)) if version == 1 else struct.pack("<I", length)
    body = dice.choice([good.tobytes(), good.tobytes(), PICKLE, b"", good.tobytes()[:-1], bytes(10_000)])
    return head + header + body


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    at, found = 8, []
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += length + 12
    return found


def png(good: np.ndarray[Any, Any], dice: random.Random) -> bytes:
    """Return a PNG whose chunks lie, with their checksums corrected."""
    file = io.BytesIO()
    Image.fromarray(good).save(file, "png")
    if dice.random() < 0.2:
        return mutate(file.getvalue(), dice)
    chunks = _chunks(file.getvalue())
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(chunks))
        name, data = chunks[at]
        match dice.randrange(7):
            case 0:
                width, height = (dice.choice([32, 24, 0, 1, 10**6, 2**31 - 1, 2**32 - 1, 13_000]) for _ in range(2))
                kind = dice.choice([(16, 0), (8, 0), (8, 6), (1, 0), (8, 2), (16, 6), (4, 3), (255, 255)])
                rest = bytes(dice.choice([0, 0, 0, 1, 255]) for _ in range(3))
                chunks[0] = b"IHDR", struct.pack(">IIBB", width, height, *kind) + rest
            case 1:
                raw = dice.choice([mutate(good.tobytes(), dice), bytes(10**6), b"", b"\x04" * 2000])
                chunks[at] = b"IDAT", zlib.compress(raw)
            case 2:
                del chunks[at]
                chunks = chunks or [(b"IEND", b"")]
            case 3:
                chunks.insert(at, chunks[dice.randrange(len(chunks))])
            case 4:
                chunks[at] = name, mutate(data, dice)
            case 5:
                kinds = (
                    b"tRNS",
                    b"PLTE",
                    b"acTL",
                    b"fcTL",
                    b"fdAT",
                    b"iCCP",
                    b"zTXt",
                    b"iTXt",
                    b"tEXt",
                    b"gAMA",
                    b"pHYs",
                )
                bomb = b"key\0\0" + zlib.compress(bytes(2 * 10**6))
                content = dice.choice([dice.randbytes(dice.choice([0, 1, 4, 8, 26, 300])), bomb, bytes(26)])
                chunks.insert(at, (dice.choice(kinds), content))
            case _:
                chunks[at] = dice.randbytes(4) if dice.random() < 0.5 else b"IDAT", data
    whole = file.getvalue()[:8]
    for name, data in chunks:
        crc = zlib.crc32(name + data) if dice.random() < 0.95 else 0
        whole += struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)
    return whole


def _literal(dice: random.Random) -> str:
    word = dice.choice(PATHS)
    return dice.choice([
        lambda: json.dumps(word.replace("\x1b", "\\u001b")), lambda: json.dumps(word),
        lambda: json.dumps([word]), lambda: str(dice.choice(NUMBERS)).lower(), lambda: "[" * 5000 + "]" * 5000,
        lambda: "[" + ", ".join(str(dice.choice(NUMBERS)).lower() for _ in range(dice.choice([1, 4, 9, 16]))) + "]",
        lambda: "{a = 1}", lambda: "[]", lambda: "1979-05-27", lambda: "9" * 5000, lambda: "0x" + "f" * 300,
        lambda: f'"{{sequence}}/{word[:20]}/{{frame}}.npy"', lambda: '"{sequence}/{sequence}/{frame}.npy"',
        lambda: "1e400",
        lambda: '"depth/{frame}.npy"', lambda: '"{sequence}/depth/{frame}.png"', lambda: '["float32", "float32"]',
        lambda: '"{frame}.npy"', lambda: '"<f4"', lambda: '"ray"', lambda: "[inf, -inf, 1e308]", lambda: "5e-324",
    ])()  # fmt: skip


def toml(good: str, dice: random.Random) -> bytes:
    """Return a description with other values, fields or bytes."""
    if dice.random() < 0.15:
        return mutate(good.encode(), dice)
    lines = good.strip().splitlines()
    for _ in range(dice.choice([1, 1, 2])):
        at = dice.randrange(len(lines))
        name, equals, _value = lines[at].partition("=")
        match dice.randrange(6):
            case 0 | 1 | 2 if equals:
                lines[at] = f"{name}= {_literal(dice)}"
            case 3:
                names = (
                    "max_depth",
                    "far",
                    "unknown",
                    "view",
                    "kind",
                    "container",
                    "constant",
                    "key",
                    "image",
                    "file",
                )
                lines.insert(at, f"{dice.choice(names)} = {_literal(dice)}")
            case 4:
                del lines[at]
                lines = lines or ["[depth]"]
            case _:
                lines.insert(at, dice.choice([lines[at], "[files]", "[[depth]]", "a.b.c = 1", "[intrinsics]"]))
    return "\n".join(lines).encode("utf-8", "replace")


def camera(dice: random.Random) -> bytes:
    """Return a text of intrinsics, mostly impossible ones."""
    words = [str(dice.choice([40, 40, 16, 12, 0.5, 1, "x", "1e999", "1_0", "0x10", "٤", *NUMBERS])) for _ in range(4)]
    text = dice.choice([" ", ",", "\n", "\0", " # "]).join(words * dice.choice([1, 1, 1, 2, 4, 10**4]))
    return mutate(text.encode(), dice) if dice.random() < 0.3 else text.encode()


def _nodes(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(found for name, value in below for found in _nodes(value, (*path, name)))]


def zarr_json(good: bytes, dice: random.Random) -> bytes:
    """Return a zarr.json with other values; the checksum of its attributes is mostly right again."""
    if dice.random() < 0.15:
        return mutate(good, dice)
    tree = json.loads(good)
    for _ in range(dice.randint(1, 2)):
        paths = [path for path in _nodes(tree) if path]
        if not paths:
            break
        path, other = dice.choice(paths), copy.deepcopy(tree)
        value: Any = dice.choice([
            dice.choice(PATHS), [dice.choice(PATHS)], dice.choice(NUMBERS), dice.choice(NUMBERS),
            [dice.choice(NUMBERS) for _ in range(dice.choice([1, 2, 3, 4]))], None, {}, [], {"name": "numcodecs.lzma"},
            "\ud800", "DEEP", other,
        ])  # fmt: skip
        parent = tree
        for name in path[:-1]:
            parent = parent[name]
        match dice.randrange(5):
            case 0:
                parent.pop(path[-1])
            case 1 if isinstance(parent, list):
                parent.append(value)
            case 1:
                parent["more"] = value
            case _:
                parent[path[-1]] = value
    if isinstance(tree.get("attributes"), dict) and dice.random() < 0.9:
        with suppress(ValueError, TypeError):
            tree["attributes"] = seal(tree["attributes"])
    depth = dice.choice([10, 500, 10**5])
    return json.dumps(tree).replace('"DEEP"', "[" * depth + "]" * depth).encode()


def _with_crc(data: bytes) -> bytes:
    return data + struct.pack("<I", google_crc32c.value(data))


def bookkeeping(good: bytes, dice: random.Random) -> bytes:
    """Return a chunk of keys, digests, intrinsics or stats with other bytes, and mostly the right CRC32C."""
    data = bytearray(good[:-4])
    match dice.randrange(4):
        case 0:
            data = bytearray(mutate(bytes(data), dice))
        case 1:
            text = dice.choice(PATHS).encode("utf-8", "replace")[:64]
            data[: len(text) + 1] = text + b"\0"
        case 2:
            data[:8] = struct.pack(
                "<d", dice.choice([number for number in NUMBERS if abs(number) < 1e308 or number != number])
            )
        case _:
            data[dice.randrange(len(data)) :] = b"\xff" * 8
    return _with_crc(bytes(data)) if dice.random() < 0.9 else bytes(data)


def shard(good: bytes, frames: int, dice: random.Random) -> bytes:
    """Return a shard of maps with other bytes in its index, or in a chunk's header or content; CRC32Cs are right."""
    size = 16 * frames
    body, index = bytearray(good[: -size - 4]), bytearray(good[-size - 4 : -4])
    if dice.random() < 0.3:
        place = 8 * dice.randrange(size // 8)
        index[place : place + 8] = struct.pack(
            "<Q", dice.choice([0, 1, 15, 2**31, 2**63, 2**64 - 1, len(body), 10**12])
        )
    else:
        offset, length = struct.unpack_from("<QQ", index)
        chunk = bytearray(body[offset : offset + length - 4])
        if dice.random() < 0.6:  # the Blosc header: version, flags, sizes
            place = dice.choice([0, 1, 2, 3, 4, 8, 12])
            chunk[place : place + 4] = struct.pack(
                "<I", dice.choice([0, 1, 16, 2**31 - 1, 2**32 - 1, 10**9, len(chunk)])
            )
        else:
            chunk[16:] = mutate(bytes(chunk[16:]), dice)[: len(chunk) - 16].ljust(len(chunk) - 16, b"\0")
        body[offset : offset + length] = _with_crc(bytes(chunk))
    return bytes(body) + _with_crc(bytes(index))


def strange_file(path: Path, dice: random.Random) -> None:
    """Put something else than a file in the place of a file."""
    path.unlink()
    match dice.randrange(5):
        case 0:
            os.mkfifo(path)
        case 1:
            path.mkdir()
        case 2:
            path.symlink_to(path.name)
        case 3:
            path.symlink_to("/dev/zero")
        case _:
            path.write_bytes(b"")
