"""Files as accidents leave them: valid ones with bytes changed, lost, moved or repeated, always the same for a seed."""

import io
import os
import random
import zipfile

COUNT = int(os.environ.get("CVXROBUST_MUTATIONS", "60"))
"""How many a test tries; 10,000 for a thorough search."""


def mutations(original: bytes, tokens, seed: int, count: int = COUNT):
    """Mutations of a file, each of one to four accidents.

    Args:
        original: A valid file.
        tokens: What may stand where nobody expects it.
        seed: Of the accidents.
        count: How many mutations.
    """
    rng = random.Random(seed)
    for _ in range(count):
        data = bytearray(original)
        for _ in range(rng.randint(1, 4)):
            _spoil(data, tokens, rng)
        yield bytes(data)


def assignments(original: bytes, tokens, seed: int, count: int = COUNT):
    """Mutations of a file of ``key = value`` lines: of one or two values or keys, or of the bytes."""
    rng = random.Random(seed)
    lines = original.split(b"\n")
    places = [number for number, line in enumerate(lines) if b" = " in line]
    for number in range(count):
        if number % 4 == 0:
            yield from mutations(original, tokens, rng.randrange(2**32), 1)
            continue
        spoilt = list(lines)
        for place in rng.sample(places, rng.randint(1, 2)):
            key, _, value = lines[place].partition(b" = ")
            if rng.randrange(4):
                spoilt[place] = key + b" = " + rng.choice(tokens)
            else:
                spoilt[place] = rng.choice(
                    (b"", rng.choice(tokens) + b" = " + value, lines[place] + b"\n" + lines[place])
                )
        yield b"\n".join(spoilt)


def archives(original: bytes, seed: int, count: int = COUNT):
    """Mutations of a ZIP archive: of what is packed, with sums that are right, or of the whole file."""
    rng = random.Random(seed)
    with zipfile.ZipFile(io.BytesIO(original)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for number in range(count):
        if number % 3 == 0:
            yield from mutations(original, (), rng.randrange(2**32), 1)
            continue
        packed = dict(members)
        name = rng.choice(list(packed))
        (packed[name],) = mutations(packed[name], DTYPES, rng.randrange(2**32), 1)
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w") as archive:
            for member, data in packed.items():
                archive.writestr(member, data)
        yield written.getvalue()


# fmt: off
DTYPES = (
    b"'<f8'", b"'<c16'", b"'<M8[s]'", b"'<m8'", b"'|O'", b"'<U9'", b"'|S8'", b"'<f2'", b"'|b1'", b"'>i8'", b"'<u8'",
    b"(0, 3)", b"(3,)", b"()", b"(-1,)", b"(9999999999, 3)", b"True", b"\x00" * 8, b"\xff" * 8,
)
# fmt: on
"""What may stand in the header of an array's file, and bytes that are NaN or enormous in its body."""


def _spoil(data: bytearray, tokens, rng: random.Random) -> None:
    place, other = (rng.randrange(len(data) + 1) for _ in range(2))
    kind = rng.randrange(8 if tokens else 6)
    if kind == 0 and place < len(data):
        data[place] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[place : place + rng.randint(1, 20)]
    elif kind == 2:
        del data[place:]
    elif kind == 3:
        data[place:place] = rng.randbytes(rng.randint(1, 6))
    elif kind == 4:
        data[place:place] = data[other : other + rng.randint(1, 60)]
    elif kind == 5:
        lines = bytes(data).split(b"\n")
        rng.shuffle(lines)
        data[:] = b"\n".join(lines)
    elif kind == 6:
        data[place:place] = rng.choice(tokens)
    elif kind == 7:
        # In place of a word, where a token does most harm.
        end = place
        while end < len(data) and data[end : end + 1].isalnum():
            end += 1
        data[place:end] = rng.choice(tokens)


# -- texts that solvers write ------------------------------------------------------------------------------------

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
