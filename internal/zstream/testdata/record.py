# Records streams of zlib itself for TestRecorded: python3 record.py, in this
# directory. A line is a packet and its piece of the stream, in hexadecimal.
import random
import zlib

words = [bytes(random.Random(i).choices(b"abcdefghijklmnop -/.", k=3 + i % 9)) for i in range(200)]


def packets(seed):
    r = random.Random(seed)
    for i in range(24):
        kind = r.randrange(6)
        if kind == 0:
            yield r.randbytes(r.randrange(1, 80))
        elif kind == 1:
            yield bytes([r.randrange(256)]) * r.randrange(1, 700)
        elif kind == 2:
            yield bytes([94, 0, 0, 0, r.randrange(4), 0, 0, 0, 1, r.randrange(256)])
        else:
            yield b" ".join(r.choices(words, k=r.randrange(1, 90)))


for name, level, strategy, memory, modes in [
    ("openssh", 6, zlib.Z_DEFAULT_STRATEGY, 8, [zlib.Z_PARTIAL_FLUSH]),
    ("sync", 6, zlib.Z_DEFAULT_STRATEGY, 8, [zlib.Z_SYNC_FLUSH]),
    ("full", 9, zlib.Z_DEFAULT_STRATEGY, 9, [zlib.Z_FULL_FLUSH]),
    ("fast", 1, zlib.Z_DEFAULT_STRATEGY, 8, [zlib.Z_PARTIAL_FLUSH]),
    ("stored", 0, zlib.Z_DEFAULT_STRATEGY, 8, [zlib.Z_PARTIAL_FLUSH, zlib.Z_SYNC_FLUSH]),
    ("fixed", 6, zlib.Z_FIXED, 8, [zlib.Z_PARTIAL_FLUSH]),
    ("huffman", 6, zlib.Z_HUFFMAN_ONLY, 1, [zlib.Z_PARTIAL_FLUSH, zlib.Z_FULL_FLUSH]),
    ("runs", 6, zlib.Z_RLE, 8, [zlib.Z_PARTIAL_FLUSH]),
    ("mixed", 6, zlib.Z_DEFAULT_STRATEGY, 1, [zlib.Z_PARTIAL_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH]),
]:
    r = random.Random(name)
    z = zlib.compressobj(level, zlib.DEFLATED, 15, memory, strategy)
    with open(name + ".txt", "w") as f:
        for p in packets(name):
            print(p.hex(), (z.compress(p) + z.flush(r.choice(modes))).hex(), file=f)
