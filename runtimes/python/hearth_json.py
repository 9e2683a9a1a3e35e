"""JSON without the cost of importing json, which is half of what starting Python with
this runtime takes: the same C code, called as json calls it. Where that fails, json
itself does it again, and words the error.
"""

try:
    from _json import encode_basestring_ascii, encode_basestring, make_encoder, make_scanner
except ImportError:  # an interpreter without its accelerator
    make_scanner = None


class Decoder:
    """What the scanner asks for; the values are json's defaults."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo = {}

    @staticmethod
    def parse_constant(name):
        return {"-Infinity": -float("inf"), "Infinity": float("inf"), "NaN": float("nan")}[name]


BLANKS = " \t\n\r"
scan = make_scanner and make_scanner(Decoder)


def loads(text):
    """json.loads of UTF-8 bytes."""
    if scan:
        try:
            decoded = text.decode("utf-8")
            value, end = scan(decoded, len(decoded) - len(decoded.lstrip(BLANKS)))
            if end == len(decoded) or not decoded[end:].strip(BLANKS):
                return value
        except (ValueError, StopIteration):
            pass
    import json

    return json.loads(text)


def refuse(value):
    raise TypeError(type(value).__name__)


def dumps(value, ensure_ascii=True):
    """json.dumps."""
    if scan:
        try:
            quote = encode_basestring_ascii if ensure_ascii else encode_basestring
            if isinstance(value, str):
                return quote(value)
            encode = make_encoder({}, refuse, quote, None, ": ", ", ", False, False, True)
            return "".join(encode(value, 0))
        except Exception:
            pass
    import json

    return json.dumps(value, ensure_ascii=ensure_ascii)
