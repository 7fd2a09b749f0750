#!/usr/bin/env python3
"""Writes captures.json: what is in the captured sessions, read without Sluice's code.

Run in this directory. For each file: how many messages the chunk stream after the
handshake has, and the SHA-256 of all of them, each as type, message stream id,
timestamp, chunk stream id, length, offset at which it is complete (big endian,
8 and then 32 bits each), and payload.
"""
import hashlib
import json
import struct
from pathlib import Path

HANDSHAKE = 1 + 2 * 1536


def messages(d):
    pos, size, streams = 0, 128, {}
    while pos < len(d):
        fmt, cs = d[pos] >> 6, d[pos] & 63
        pos += 1
        if cs == 0:
            cs, pos = 64 + d[pos], pos + 1
        elif cs == 1:
            cs, pos = 64 + d[pos] + 256 * d[pos + 1], pos + 2
        s = streams.setdefault(cs, {"msid": 0, "ts": 0, "buf": b"", "ext": False})
        fresh = not s["buf"]
        if fmt < 3:
            field, pos = int.from_bytes(d[pos : pos + 3], "big"), pos + 3
            if fmt < 2:
                s["len"], s["type"] = int.from_bytes(d[pos : pos + 3], "big"), d[pos + 3]
                pos += 4
            if fmt < 1:
                s["msid"], s["ts"] = struct.unpack_from("<I", d, pos)[0], 0
                pos += 4
            s["ext"] = field == 0xFFFFFF
        if s["ext"]:
            field, pos = struct.unpack_from(">I", d, pos)[0], pos + 4
        if fmt < 3:
            s["delta"] = field
        if fresh:
            s["ts"] = (s["ts"] + s["delta"]) % 2**32
        n = min(size, s["len"] - len(s["buf"]))
        s["buf"] += d[pos : pos + n]
        pos += n
        assert pos <= len(d)
        if len(s["buf"]) == s["len"]:
            b, s["buf"] = s["buf"], b""
            if s["type"] == 1:
                size = struct.unpack(">I", b)[0]
            yield struct.pack(">BIIIII", s["type"], s["msid"], s["ts"], cs, len(b), pos) + b


result = {}
for f in sorted(Path("../../../../testdata/captures").glob("*.[cs]2[cs]")):
    all_ = list(messages(f.read_bytes()[HANDSHAKE:]))
    result[f.name] = {"messages": len(all_), "sha256": hashlib.sha256(b"".join(all_)).hexdigest()}
with open("captures.json", "w") as f:
    json.dump(result, f, indent=1)
    f.write("\n")
