"""Log records as JSON, with Lambda's members."""

import json
from datetime import datetime, timezone

# Members of a record that are not the user's own.
RESERVED = frozenset(
    "name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno funcName created"
    " msecs relativeCreated thread threadName processName process taskName aws_request_id".split()
)


def formatter(logging):
    class JsonFormatter(logging.Formatter):
        def format(self, record):
            # A level between two of the known ones counts as the lower.
            level = logging.getLevelName(min(50, max(0, record.levelno)) // 10 * 10)
            stamp = datetime.fromtimestamp(record.created, tz=timezone.utc)
            result = {
                "timestamp": stamp.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
                "level": level,
                "message": record.getMessage(),
                "logger": record.name,
            }
            if record.exc_info:
                import traceback

                kind, error, frames = record.exc_info
                result["stackTrace"] = traceback.format_tb(frames)
                result["errorType"] = kind.__name__ if kind else None
                result["errorMessage"] = str(error)
                result["location"] = "%s:%s:%s" % (record.pathname, record.funcName, record.lineno)
            result["requestId"] = record.aws_request_id
            for name, value in record.__dict__.items():
                if name not in RESERVED and name not in result:
                    result[name] = value
            result = {name: value for name, value in result.items() if value is not None}
            return json.dumps(result, ensure_ascii=False, default=str) + "\n"

    return JsonFormatter()
