#!/usr/bin/env python3
"""Writes vectors.json: signed handshake blocks, computed without Sluice's code.

Run in this directory. Random bytes come from a small generator that the tests
have as well: x = x * 1103515245 + 12345 mod 2^32, byte = x >> 16 & 255.
"""
import hashlib
import hmac
import json

TAIL = bytes.fromhex("f0eec24a8068bee82e00d0d1029e7e576eec5d2d29806fab93b8e636cfeb31ae")
CLIENT = b"Genuine Adobe Flash Player 001" + TAIL
SERVER = b"Genuine Adobe Flash Media Server 001" + TAIL
assert (len(CLIENT), len(SERVER)) == (62, 68)


def noise(seed, n):
    x, out = seed, bytearray()
    for _ in range(n):
        x = (x * 1103515245 + 12345) % 2**32
        out.append(x >> 16 & 255)
    return bytes(out)


def mac(key, *parts):
    return hmac.digest(key, b"".join(parts), "sha256")


def sign(block, scheme, key):
    """The block with its digest in place, the digest, and where it stands."""
    if scheme == 0:
        at = 776 + sum(block[772:776]) % 728
    else:
        at = 12 + sum(block[8:12]) % 728
    digest = mac(key, block[:at], block[at + 32 :])
    return block[:at] + digest + block[at + 32 :], digest, at


vectors = []
for scheme in (0, 1):
    place = 772 if scheme == 0 else 8
    for side, short in (("client", CLIENT[:30]), ("server", SERVER[:36])):
        # The four offset bytes: least, some, just wrapped, greatest offset, greatest sum, any.
        for seed, offset in ((1, "00000000"), (2, "ffffff00"), (3, "f0f0f008"), (4, "f0f0f007"), (5, "ffffffff"), (6, None)):
            block = bytearray(noise(seed, 1536))
            if offset:
                block[place : place + 4] = bytes.fromhex(offset)
            signed, digest, at = sign(bytes(block), scheme, short)
            # What the other side answers this with.
            random = noise(seed + 100, 1504)
            other = SERVER if side == "client" else CLIENT
            vectors.append({
                "side": side, "scheme": scheme, "seed": seed, "offset": offset or "",
                "at": at, "digest": digest.hex(),
                "block_sha256": hashlib.sha256(signed).hexdigest(),
                "proof": mac(mac(other, digest), random).hex(),
            })

with open("vectors.json", "w") as f:
    json.dump(vectors, f, indent=1)
    f.write("\n")
