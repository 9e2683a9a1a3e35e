"""Hearth's bootstrap of the managed Python runtimes.

It says hello, waits for the go frame, loads the handler and serves invocations
until its socket ends. As a stem cell it is told to park first. Runs on Python 3.8 and later; imports little, because every
import is part of every cold start.
"""

import os
import sys

# This folder's modules are the runtime's own: user code must not find them first. Here
# they are looked for first, as every other place would be searched before.
RUNTIME_DIR = os.path.dirname(os.path.realpath(__file__))
search_path = [path for path in sys.path if path not in (RUNTIME_DIR, os.path.dirname(__file__))] + [RUNTIME_DIR]
sys.path[:] = [RUNTIME_DIR] + search_path

import select
import time

import hearth_context
import hearth_errors
import hearth_json
import hearth_logging

sys.path[:] = search_path

TRACE = b"_X_AMZN_TRACE_ID"
HELLO, PARK, GO, READY, INIT_ERROR, INVOKE, RESPONSE, ERROR = b"HPGREIDF"
PREFIX = 8
CHUNK, LARGE = 64 * 1024, 1024 * 1024  # what is read at once: at first, and of a large frame


class Channel:
    """The frame protocol with Hearth on descriptor 3; runtimeapi/wire.go defines it."""

    def __init__(self, fd):
        # As a plain descriptor: importing socket costs more than all of this file.
        os.set_inheritable(fd, False)
        os.set_blocking(fd, True)
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._rest = b""  # what was read behind the last frame
        self.send_lock = None  # a lock where several threads answer

    def receive(self):
        """Return (type, header, payload), or end the process when Hearth is gone."""
        data = self._rest
        while len(data) < PREFIX:
            # A read that waits is woken for nothing when Hearth reads the last answer,
            # because there is room to write then; poll waits for input alone.
            self._poll.poll()
            data += self._read(CHUNK)
        end = 4 + int.from_bytes(data[:4], "big")
        if len(data) < end:
            data = self._whole(data, end)
        self._rest = data[end:]
        at = PREFIX + int.from_bytes(data[5:8], "big")
        return data[4], data[PREFIX:at], data[at:end]

    def _whole(self, data, end):
        """Return data and what is missing of a frame that ends there."""
        parts, missing = [data], end - len(data)
        while missing > 0:
            parts.append(self._read(min(missing, LARGE)))
            missing -= len(parts[-1])
        return b"".join(parts)

    def _read(self, most):
        data = os.read(self._fd, most)
        if not data:
            os._exit(1)
        return data

    def send(self, kind, header=b"", payload=b""):
        size = 4 + len(header) + len(payload)
        prefix = size.to_bytes(4, "big") + bytes((kind,)) + len(header).to_bytes(3, "big")
        frame = prefix + header + payload
        if self.send_lock is None:
            self._write(frame)
            return
        with self.send_lock:
            self._write(frame)

    def _write(self, frame):
        rest = memoryview(frame)
        while rest:
            rest = rest[os.write(self._fd, rest) :]


def apply_environment(wanted):
    """Make os.environ the function's environment, and nothing else's."""
    for name in [name for name in os.environ if name not in wanted]:
        del os.environ[name]
    zone = os.environ.get("TZ")
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
    if os.environ.get("TZ") != zone:
        time.tzset()


def set_trace(trace):
    """Set or remove the trace id in os.environ. Only there: the C library's setenv keeps
    each value that it was ever given, 150 bytes of an instance's memory for each
    invocation. A child process gets it where it is given os.environ."""
    if trace:
        os.environ._data[TRACE] = trace.encode()
    else:
        os.environ._data.pop(TRACE, None)


def set_import_path(task_root, layers):
    """Put the package first, then layers, as Lambda does."""
    first = [task_root]
    if layers:
        first.append(layers + "/python/lib/python%d.%d/site-packages" % sys.version_info[:2])
        first.append(layers + "/python")
    sys.path[:] = first + [path for path in sys.path if path not in first]


def load_handler(name):
    module_name, dot, function = name.rpartition(".")
    if not dot:
        raise hearth_errors.Fault(
            "Runtime.MalformedHandlerName",
            "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % name,
        )
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise hearth_errors.Fault(
            "Runtime.BuiltInModuleConflict",
            "Cannot use built-in module %s as a handler module" % module_name,
        )
    dotted = module_name.replace("/", ".")
    try:
        __import__(dotted)  # importlib.import_module, without importing importlib
        module = sys.modules[dotted]
    except ImportError as error:
        raise hearth_errors.Fault(
            "Runtime.ImportModuleError",
            "Unable to import module '%s': %s" % (module_name, error),
        )
    except SyntaxError as error:
        raise hearth_errors.Fault(
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module '%s': %s" % (module_name, error),
            ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)],
        )
    try:
        return getattr(module, function)
    except AttributeError:
        raise hearth_errors.Fault(
            "Runtime.HandlerNotFound",
            "Handler '%s' missing on module '%s'" % (function, module_name),
        )


def marshal(result):
    # Up to 3.11 Lambda escapes what is not ASCII, from 3.12 on it does not.
    try:
        return hearth_json.dumps(result, ensure_ascii=sys.version_info < (3, 12)).encode()
    except Exception as error:
        raise hearth_errors.Fault("Runtime.MarshalError", "Unable to marshal response: %s" % error)


def unmarshal(payload):
    try:
        return hearth_json.loads(payload)
    except Exception as error:
        raise hearth_errors.Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error)


def report(channel, kind, request_id):
    """Log the exception that is being handled and send it."""
    document = hearth_errors.document(request_id)
    hearth_logging.log_error(document)
    error_type = hearth_errors.header(document["errorType"])
    header = (request_id + " " + error_type) if request_id else error_type
    channel.send(kind, header.encode(), hearth_json.dumps(document).encode())


def serve(channel, handler, call, payload):
    """Run one invocation and answer it. SystemExit ends the process, as on Lambda."""
    request_id = call["id"]
    hearth_logging.request_id.set(request_id)
    try:
        context = hearth_context.LambdaContext(call)
        response = marshal(handler(unmarshal(payload), context))
    except Exception:
        report(channel, ERROR, request_id)
        return
    channel.send(RESPONSE, request_id.encode(), response)


def initialize(channel, go):
    apply_environment(go["environment"])
    hearth_context.LambdaContext.fix(go["environment"])
    os.chdir(go["taskRoot"])
    set_import_path(go["taskRoot"], go.get("layers"))
    if "compiled" in go:
        sys.pycache_prefix = go["compiled"]
    if go["concurrency"] > 1:
        import hearth_threads

        hearth_threads.install()
    hearth_logging.install()
    try:
        return load_handler(go["handler"])
    except Exception:
        report(channel, INIT_ERROR, "")
        sys.exit(1)


def one_at_a_time(channel, handler):
    def run(header, payload):
        call = hearth_json.loads(header)
        set_trace(call.get("trace"))
        serve(channel, handler, call, payload)

    return run


def in_threads(channel, handler, limit):
    import threading

    import hearth_threads

    channel.send_lock = threading.Lock()

    def job(header_and_payload):
        header, payload = header_and_payload
        call = hearth_json.loads(header)
        hearth_threads.trace_id.set(call.get("trace", ""))
        serve(channel, handler, call, payload)

    workers = hearth_threads.Workers(limit, job)
    return lambda header, payload: workers.submit((header, payload))


class Rehearsal:
    """Stands for the channel while nothing that is sent is for Hearth."""

    def __init__(self):
        self.sent = []

    def send(self, kind, header=b"", payload=b""):
        self.sent.append(kind)


def park():
    """Do what most functions would wait for, before there is one: begin as for a
    function, import its module, run an invocation. What it has set it takes back."""
    import json  # most functions do; and it is what hearth_json falls back on

    environment, path, finders = dict(os.environ), list(sys.path), list(sys.meta_path)
    handler_of = {"AWS_LAMBDA_FUNCTION_NAME": "rehearsal", "_HANDLER": "hearth_rehearsal.handler", "AWS_REGION": "rehearsal"}
    go = {"environment": dict(environment, **handler_of), "handler": "hearth_rehearsal.handler", "taskRoot": RUNTIME_DIR, "concurrency": 1}
    for _ in range(2):
        channel = Rehearsal()
        run = one_at_a_time(channel, initialize(channel, hearth_json.loads(hearth_json.dumps(go).encode())))
        run(b'{"id":"rehearsal","ms":1000,"arn":"","trace":"rehearsal"}', b'{"items":[1,2.5,null,true],"name":"rehearsal"}')
        if channel.sent != [RESPONSE]:
            os._exit(1)  # the start finds no cell, and says so
        del sys.modules["hearth_rehearsal"]
        sys.path[:], sys.meta_path[:] = path, finders
    apply_environment(environment)
    set_trace(None)
    hearth_logging.request_id.set("")
    hearth_context.LambdaContext.fix({})
    os.chdir("/")


def main():
    channel = Channel(3)
    channel.send(HELLO)
    kind, _, payload = channel.receive()
    if kind == PARK:
        park()
        channel.send(PARK)
        kind, _, payload = channel.receive()
    if kind != GO:
        os._exit(1)
    go = hearth_json.loads(payload)
    if go.get("wrapped"):
        go["environment"] = dict(os.environ)
        go["handler"] = os.environ.get("_HANDLER", go["handler"])
    handler = initialize(channel, go)
    if go["concurrency"] > 1:
        run = in_threads(channel, handler, go["concurrency"])
    else:
        run = one_at_a_time(channel, handler)
    channel.send(READY)
    while True:
        kind, header, payload = channel.receive()
        if kind != INVOKE:
            os._exit(1)
        run(header, payload)


if __name__ == "__main__":
    main()
