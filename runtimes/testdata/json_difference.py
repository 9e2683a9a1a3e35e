"""Compares hearth_json with json: json_difference.py DIRECTORY SEED COUNT."""

import enum
import json
import random
import sys

sys.path.insert(0, sys.argv[1])
import hearth_json

r = random.Random(int(sys.argv[2]))


class Small(int):
    def __repr__(self):
        return "Small"


class Text(str):
    pass


class Mapping(dict):
    pass


class Colour(enum.IntEnum):
    RED = 1


CHARACTERS = "aZ09 \\\"/\b\f\n\r\t\0\x1f\x7f\u00e9\u2028\ud800\U0001f600"
SCALARS = [
    lambda: None, lambda: True, lambda: False, lambda: r.randint(-5, 5), lambda: r.randint(-10**30, 10**30),
    lambda: r.uniform(-1, 1) * 10 ** r.randint(-320, 308), lambda: -0.0, lambda: float("nan"), lambda: float("-inf"),
    lambda: text(), lambda: Small(7), lambda: Text(text()), lambda: Colour.RED,
]
STRANGE = [lambda: b"bytes", lambda: {1}, lambda: 1j, lambda: object, lambda: loop()]


def text():
    return "".join(r.choice(CHARACTERS) for _ in range(r.randint(0, 6)))


def loop():
    a = []
    a.append(a)
    return a


def key():
    return r.choice([text, text, text, lambda: 1, lambda: 1.5, lambda: None, lambda: True, lambda: Small(3), lambda: Colour.RED, lambda: (1,)] if r.random() < 0.1 else [text])()


def value(depth=0):
    kind = r.random()
    if depth > 3 or kind < 0.5:
        return r.choice(STRANGE if r.random() < 0.02 else SCALARS)()
    if kind < 0.75:
        items = [value(depth + 1) for _ in range(r.randint(0, 4))]
        return tuple(items) if r.random() < 0.2 else items
    made = {key(): value(depth + 1) for _ in range(r.randint(0, 4))}
    return Mapping(made) if r.random() < 0.2 else made


def outcome(call, *args, **named):
    try:
        return repr(call(*args, **named))
    except Exception as e:
        return type(e).__name__ + ": " + str(e)


def damaged(document):
    document = bytearray(document)
    for _ in range(r.randint(0, 3)):
        at = r.randint(0, len(document))
        piece = r.choice([b"", b" ", b"\n", b",", b"{", b"]", b'"', b"\\", b"\\ud83d", b"\\u12", b"-", b"01", b"1e5", b".", b"NaN", b"-Infinity", b"\0", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\xc2\xa0", b"nul"])
        document[at : at + r.randint(0, 2)] = piece
    return bytes(document)


def encoded(document):
    return document.encode(r.choice(["utf-8"] * 8 + ["utf-8-sig", "utf-16", "utf-32-le"]), "surrogatepass")


count = int(sys.argv[3])
for n in range(count):
    v, ascii = value(), r.random() < 0.5
    if (a := outcome(hearth_json.dumps, v, ascii)) != (b := outcome(json.dumps, v, ensure_ascii=ascii)):
        sys.exit(f"value {n}, ensure_ascii {ascii}: {a}, and json: {b}")
    try:
        document = json.dumps(v, ensure_ascii=ascii, indent=r.choice([None, None, 1]))
    except (TypeError, ValueError):
        continue
    document = damaged(encoded(document))
    if (a := outcome(hearth_json.loads, document)) != (b := outcome(json.loads, document)):
        sys.exit(f"text {n}, {document}: {a}, and json: {b}")
print(count)
