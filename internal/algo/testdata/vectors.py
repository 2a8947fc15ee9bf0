#!/usr/bin/env python3
"""Makes packets.txt and kdf.txt: vectors from an implementation that shares no
code with ours (OpenSSL by way of Python's cryptography, and hashlib), written
as literally after the specifications as possible.

    python3 vectors.py packets > packets.txt
    python3 vectors.py kdf > kdf.txt

packets.txt: cipher, MAC or -, key, IV, MAC key, first sequence number, then for
each of the packets, sent one after the other, the payload's length and SHA-256
of the packet on the wire. Payload byte i is 7*i+n mod 256, n the payload's
length, padding bytes are 0xa5.
kdf.txt: hash, K with its length, H, session id, letter, key.
"""
import hashlib
import hmac
import sys
from struct import pack

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305


def material(label, n):
    return hashlib.shake_256(label.encode()).digest(n)


def packet(payload, block, lead):
    """RFC 4253, section 6: the least padding of at least four bytes."""
    pad = 4
    while (5 + len(payload) + pad - lead) % block or 5 + len(payload) + pad < 16:
        pad += 1
    return pack(">IB", 1 + len(payload) + pad, pad) + payload + b"\xa5" * pad


class GCM:
    block, lead = 16, 4

    def __init__(self, key, iv, mac, mackey):
        self.aead, self.fixed, self.count = AESGCM(key), iv[:4], int.from_bytes(iv[4:], "big")

    def seal(self, seq, p):
        nonce = self.fixed + self.count.to_bytes(8, "big")
        self.count = (self.count + 1) % 2**64
        return p[:4] + self.aead.encrypt(nonce, p[4:], p[:4])


class ChaCha:
    block, lead = 8, 4

    def __init__(self, key, iv, mac, mackey):
        self.k2, self.k1 = key[:32], key[32:]

    @staticmethod
    def stream(key, seq, counter, n):
        # 64 bits of counter, little endian, then 64 bits of nonce.
        nonce = pack("<Q", counter) + pack(">Q", seq)
        return Cipher(algorithms.ChaCha20(key, nonce), None).encryptor().update(bytes(n))

    def seal(self, seq, p):
        xor = lambda a, b: bytes(x ^ y for x, y in zip(a, b))
        length = xor(p[:4], self.stream(self.k1, seq, 0, 4))
        body = xor(p[4:], self.stream(self.k2, seq, 1, len(p) - 4))
        return length + body + Poly1305.generate_tag(self.stream(self.k2, seq, 0, 32), length + body)


class CTR:
    block = 16

    def __init__(self, key, iv, mac, mackey):
        self.etm, self.mackey = "-etm" in mac, mackey
        self.lead = 4 if self.etm else 0
        self.hash = "sha512" if "512" in mac else "sha256"
        self.aes = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()

    def seal(self, seq, p):
        tag = lambda b: hmac.digest(self.mackey, pack(">I", seq) + b, self.hash)
        if self.etm:
            c = p[:4] + self.aes.update(p[4:])
            return c + tag(c)
        return self.aes.update(p) + tag(p)


def packets():
    macs = {"hmac-sha2-256": 32, "hmac-sha2-512": 64,
            "hmac-sha2-256-etm@openssh.com": 32, "hmac-sha2-512-etm@openssh.com": 64}
    rows = [("aes128-gcm@openssh.com", "-", GCM, 16, 12, 0), ("aes256-gcm@openssh.com", "-", GCM, 32, 12, 0),
            ("chacha20-poly1305@openssh.com", "-", ChaCha, 64, 0, 0)]
    for size in (128, 192, 256):
        for mac, n in macs.items():
            rows.append(("aes%d-ctr" % size, mac, CTR, size // 8, 16, n))
    for name, mac, make, keylen, ivlen, maclen in rows:
        key, iv, mackey = material(name + mac + "key", keylen), material(name + mac + "iv", ivlen), material(mac, maclen)
        if make is GCM:  # the invocation counter wraps on the way
            iv = iv[:4] + b"\xff" * 7 + b"\xfd"
        c, first = make(key, iv, mac, mackey), 2**32 - 3
        out = []
        for i, n in enumerate([1, 5, 11, 12, 64, 127, 128, 255, 256, 1000, 32768 + 9]):
            p = packet(bytes((7 * j + n) % 256 for j in range(n)), c.block, c.lead)
            out.append("%d:%s" % (n, hashlib.sha256(c.seal((first + i) % 2**32, p)).hexdigest()))
        print(name, mac, key.hex(), iv.hex() or "-", mackey.hex() or "-", first, *out)


def kdf():
    for name in ("sha256", "sha384", "sha512"):
        k, h, sid = material("k" + name, 33), material("h" + name, 32), material("id" + name, 32)
        k = pack(">I", len(k)) + k
        digest = lambda b: hashlib.new(name, b).digest()
        for letter, n in (("A", 12), ("B", 16), ("C", 32), ("D", 64), ("E", 64), ("F", 200)):
            key = digest(k + h + letter.encode() + sid)
            while len(key) < n:
                key += digest(k + h + key)
            print(name, k.hex(), h.hex(), sid.hex(), letter, key[:n].hex())


{"packets": packets, "kdf": kdf}[sys.argv[1]]()
