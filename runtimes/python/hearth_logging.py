"""The log of a function: a handler on the root logger, as text or JSON.

`logging` is a third of what starting Python with this runtime costs, so it is
configured at the moment at which somebody imports it.
"""

from _contextvars import ContextVar  # of contextvars, which has to be found and read
import os
import sys

request_id = ContextVar("hearth_request_id", default="")


def wants_json():
    return os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"


def install():
    """Configure logging now, if it is imported, or when it will be."""
    if "logging" in sys.modules:
        configure(sys.modules["logging"])
    else:
        sys.meta_path.insert(0, ImportHook())


class ImportHook:
    """Finds logging once, by the other finders, and configures it when it is loaded."""

    def find_spec(self, name, path=None, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        import importlib.util

        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            configure(module)

        spec.loader.exec_module = exec_module
        return spec


def configure(logging):
    """Give the root logger Lambda's handler."""
    import time

    logging.Formatter.converter = time.gmtime

    class RequestFilter(logging.Filter):
        def filter(self, record):
            record.aws_request_id = request_id.get()
            return True

    class StdoutHandler(logging.Handler):
        def emit(self, record):
            sys.stdout.write(self.format(record))

    handler = StdoutHandler()
    if wants_json():
        import hearth_json_log

        handler.setFormatter(hearth_json_log.formatter(logging))
    else:
        handler.setFormatter(
            logging.Formatter(
                "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n",
                "%Y-%m-%dT%H:%M:%S",
            )
        )
    handler.addFilter(RequestFilter())
    root = logging.getLogger()
    level = {"TRACE": "DEBUG", "FATAL": "CRITICAL"}.get(
        os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper(), os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    )
    if isinstance(getattr(logging, level or "-", None), int):
        root.setLevel(level)
    root.addHandler(handler)


def log_error(document):
    """Write an error document to the log, as the runtime does for what nobody caught."""
    if wants_json():
        import json
        import time

        stamp = {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": "ERROR"}
        stamp.update(document)
        sys.stdout.write(json.dumps(stamp, ensure_ascii=False) + "\n")
        return
    lines = ["[ERROR] %s: %s" % (document["errorType"], document["errorMessage"]), "Traceback (most recent call last):"]
    for element in document["stackTrace"]:
        for line in element.splitlines() or [""]:
            stripped = line.lstrip(" ")
            # No-break spaces keep the indentation where log viewers strip blanks.
            lines.append("\u00a0" * (len(line) - len(stripped)) + stripped)
    sys.stdout.write("\r".join(lines) + "\n")
