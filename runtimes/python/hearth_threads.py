"""Several invocations at once: threads, whose output says whose it is.

Only imported where an instance may hold more than one invocation.
"""

import contextvars
import io
import os
import queue
import sys
import threading

import hearth_logging

START, ENDS, GOES_ON = b"\x1e", b"\x1f", b"\x1d"
# What a pipe takes at once: up to this nothing of another thread or process comes
# in between.
PIPE_BUF = 4096

trace_id = contextvars.ContextVar("hearth_trace_id", default="")


class Workers:
    """Threads that run invocations; made when they are needed, and kept."""

    def __init__(self, limit, run):
        self._limit = limit
        self._run = run
        self._jobs = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._free = 0  # threads without a job, less the jobs that wait for one
        # Every invocation begins with what init left, not with what the thread did before.
        self._context = contextvars.copy_context()

    def submit(self, job):
        """Run the job in a thread; called by one thread only."""
        with self._lock:
            self._free -= 1
            start = self._free < 0 and self._threads < self._limit
        if start:
            self._start()
        self._jobs.put(job)

    def _start(self):
        try:
            threading.Thread(target=self._work, daemon=True).start()
        except RuntimeError:  # the instance has no more: the next one that is free takes it
            if self._threads == 0:
                raise
            return
        with self._lock:
            self._threads += 1
            self._free += 1

    def _work(self):
        while True:
            self._context.copy().run(self._finish, self._jobs.get())
            with self._lock:
                self._free += 1

    def _finish(self, job):
        try:
            self._run(job)
        except BaseException as error:  # what ends a process ends it from a thread too
            end_process(error)


def end_process(error):
    """Do what an uncaught exception of the main thread does."""
    code = 1
    if isinstance(error, SystemExit):
        code = error.code
        if code is None:
            code = 0
        elif not isinstance(code, int):
            sys.stderr.write("%s\n" % (code,))
            code = 1
    else:
        sys.excepthook(type(error), error, error.__traceback__)
    os._exit(code & 0xFF)


class Frames(io.RawIOBase):
    """Binary output to a descriptor, each line framed by whose it is; package logs
    of Hearth (framed.go) defines how."""

    def __init__(self, fd, name):
        io.RawIOBase.__init__(self)
        self._fd = fd
        self.name = name
        self.mode = "wb"

    def writable(self):
        return True

    def fileno(self):
        return self._fd

    def isatty(self):
        return False

    def write(self, data):
        data = memoryview(data).tobytes()
        request_id = hearth_logging.request_id.get().encode()
        if not request_id:
            self._write(data)
            return len(data)
        room = PIPE_BUF - len(request_id) - 3
        lines = data.split(b"\n")
        last = lines.pop()
        for line in lines:
            self._records(request_id, line, room, ENDS)
        if last:
            self._records(request_id, last, room, GOES_ON)
        return len(data)

    def _records(self, request_id, line, room, end):
        while len(line) > room:
            self._write(START + request_id + GOES_ON + line[:room] + b"\n")
            line = line[room:]
        self._write(START + request_id + end + line + b"\n")

    def _write(self, data):
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # somebody made the pipe non-blocking
                import select

                select.select([], [self._fd], [])


class Output(io.TextIOBase):
    """What sys.stdout and sys.stderr are: text, written at once and by whole writes."""

    encoding = "utf-8"
    newlines = None

    def __init__(self, fd, name, errors):
        io.TextIOBase.__init__(self)
        self.buffer = Frames(fd, name)
        self.name = name
        self.mode = "w"
        self._errors = errors

    @property
    def errors(self):
        return self._errors

    @property
    def line_buffering(self):
        return False

    @property
    def write_through(self):
        return True

    def reconfigure(self, **options):
        """Accepted and ignored: the log is UTF-8 and written at once."""

    def writable(self):
        return True

    def fileno(self):
        return self.buffer.fileno()

    def isatty(self):
        return False

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        self.buffer.write(text.encode("utf-8", self._errors))
        return len(text)


class Environ(os.environ.__class__):
    """os.environ, in which each invocation finds its own trace id."""

    def __getitem__(self, name):
        if name == "_X_AMZN_TRACE_ID" and trace_id.get():
            return trace_id.get()
        return super().__getitem__(name)


def install():
    """Make output and environment those of the running invocation."""
    sys.stdout = sys.__stdout__ = Output(1, "<stdout>", "surrogateescape")
    sys.stderr = sys.__stderr__ = Output(2, "<stderr>", "backslashreplace")
    os.environ.__class__ = Environ
