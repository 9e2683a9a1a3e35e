"""The context object of a handler."""

import os
import sys
import time


class LambdaContext:
    """What an invocation knows of itself; the names are Lambda's."""

    def __init__(self, call):
        self._deadline = time.monotonic() + call["ms"] / 1000
        environ = os.environ
        self.aws_request_id = call["id"]
        self.log_group_name = environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = call["arn"]
        self.tenant_id = None
        self.attempt = call.get("attempt")  # Hearth's own: of an asynchronous invocation, from 1; else None
        self.client_context = filled(ClientContext, call.get("client"))
        if self.client_context is not None:
            self.client_context.client = filled(Client, self.client_context.client)
        cognito = call.get("cognito") or {}
        self.identity = CognitoIdentity()
        self.identity.cognito_identity_id = cognito.get("cognitoIdentityId")
        self.identity.cognito_identity_pool_id = cognito.get("cognitoIdentityPoolId")

    def get_remaining_time_in_millis(self):
        return max(0, int((self._deadline - time.monotonic()) * 1000))

    def log(self, message):
        sys.stdout.write(str(message))

    def __repr__(self):
        names = (
            "aws_request_id", "log_group_name", "log_stream_name", "function_name", "memory_limit_in_mb",
            "function_version", "invoked_function_arn", "client_context", "identity", "tenant_id",
        )
        return "LambdaContext([%s])" % ",".join("%s=%s" % (name, getattr(self, name)) for name in names)


class Record:
    """An object with fixed members, which are None until set."""

    __slots__ = ()

    def __repr__(self):
        members = ",".join("%s=%s" % (name, getattr(self, name)) for name in self.__slots__)
        return "%s([%s])" % (type(self).__name__, members)


class CognitoIdentity(Record):
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")


class Client(Record):
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


class ClientContext(Record):
    __slots__ = ("custom", "env", "client")


def filled(kind, values):
    if not isinstance(values, dict):
        return None
    record = kind()
    for name in kind.__slots__:
        setattr(record, name, values.get(name))
    return record
