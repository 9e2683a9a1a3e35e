"""Error shapes: what Lambda's Python runtime answers and logs for an exception."""

import sys


class Fault(Exception):
    """An error that the runtime itself raises; it has no user code in its stack."""

    def __init__(self, error_type, message, trace=None):
        Exception.__init__(self, message)
        self.error_type = error_type
        self.message = message
        self.trace = trace or []


def document(request_id):
    """Describe the exception that is being handled."""
    error_type, error, frames = sys.exc_info()
    if isinstance(error, Fault):
        return shape(error.message, error.error_type, error.trace, request_id)
    return shape(text(error), error_type.__name__, user_frames(frames), request_id)


def shape(message, error_type, trace, request_id):
    return {
        "errorMessage": message,
        "errorType": error_type,
        "requestId": request_id,
        "stackTrace": trace,
    }


def text(error):
    try:
        return str(error)
    except Exception:  # str of an exception is user code
        return "<exception str() failed>"


def user_frames(frames):
    """Format the stack from the first frame that is not this runtime's."""
    import os
    import traceback

    own = os.path.dirname(os.path.abspath(__file__)) + os.sep
    entries = traceback.extract_tb(frames)
    first = 0
    while first < len(entries) and entries[first].filename.startswith(own):
        first += 1
    return traceback.format_list(entries[first:] or entries)


def header(error_type):
    """The error type as it fits into a frame's header."""
    return "".join(c if "!" <= c <= "~" else "_" for c in error_type[:256])
