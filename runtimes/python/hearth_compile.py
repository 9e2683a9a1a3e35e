"""Compiles the package's modules, without running any of them, and writes the
byte code of each to descriptor 3, under the name that an interpreter with
sys.pycache_prefix looks for. Arguments: the package's root, the prefix.
"""

import importlib.machinery
import importlib.util
import os
import sys
from importlib._bootstrap_external import _code_to_hash_pyc


def emit(name, data):
    """Write a record: the lengths of name and data, 4 bytes each, and both."""
    name = os.fsencode(name)
    rest = memoryview(len(name).to_bytes(4, "big") + len(data).to_bytes(4, "big") + name + data)
    while rest:
        rest = rest[os.write(3, rest) :]


def compile_module(path):
    with open(path, "rb") as file:
        source = file.read()
    code = importlib.machinery.SourceFileLoader("", path).source_to_code(source, path)
    # Unchecked: the package cannot change below its byte code.
    return _code_to_hash_pyc(code, importlib.util.source_hash(source), False)


def main(root, prefix):
    sys.pycache_prefix = prefix
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            path = os.path.join(folder, name)
            if not name.endswith(".py") or os.path.islink(path):
                continue
            try:
                data = compile_module(path)
            except Exception:  # a template, or a mistake that is the function's to meet
                continue
            emit(os.path.relpath(importlib.util.cache_from_source(path), prefix), data)


if __name__ == "__main__":
    main(*sys.argv[1:])
