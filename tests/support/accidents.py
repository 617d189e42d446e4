"""Files as accidents leave them: bytes changed, lines lost or twice, numbers as others write them."""

import random

WORDS = [
    *(b"nan", b"-inf", b"1e999", b"1.0D+00", b"0.3-100", b"0,5", b"1,234", b"1_0", b"0x10", b"--1", b"x2 = 2", b'"x1"'),
    *(b"{", b"}", b"***", b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"\xd9\xa1", b"=1+1", b"9" * 5000, b"[" * 3000),
    *(b"None", b"NONE", b"-", b""),
]


def mutated(content, rng: random.Random):
    """The content of a file with one to three accidents."""
    for _ in range(rng.randint(1, 3)):
        content = rng.choice(ACCIDENTS)(bytes(content), rng)
    return content


def _flipped(content, rng):
    if not content:
        return content
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


def _cut(content, rng):
    return content[: rng.randrange(len(content) + 1)]


def _spliced(content, rng):
    start, stop = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:start] + content[min(stop, start + 40) :]


def _worded(content, rng):
    words = content.split(b" ")
    words[rng.randrange(len(words))] = rng.choice(WORDS)
    return b" ".join(words)


def _inserted(content, rng):
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.choice(WORDS) + content[at:]


def _lines(content, rng):
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[at])
    elif kind == 2:
        rng.shuffle(lines)
    else:
        lines[at] = rng.choice(WORDS)
    return rng.choice([b"\n", b"\n", b"\r\n", b"\r"]).join(lines)


def _recoded(content, rng):
    text = content.decode("utf-8", "replace")
    return text.encode(rng.choice(["utf-16", "utf-8-sig", "utf-32"]))


ACCIDENTS = [_flipped, _flipped, _cut, _spliced, _worded, _worded, _inserted, _lines, _lines, _recoded]
