"""Drives boto3's Lambda client from lines of JSON on stdin, as js/client.mjs does
with @aws-sdk/client-lambda: {"call": METHOD, "input": {...}}, METHOD as the model
names it, is answered with {"output": ...}, {"error": {"name", "message"}}, or
{"unknown": true} for an operation that this version does not have. ZipFile,
Payload and InvokeArgs are base64."""
import base64, datetime, json, os, sys

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.eventstream import EventStream
from botocore.exceptions import ClientError, ParamValidationError

client = boto3.client("lambda", endpoint_url=os.environ["HEARTH_ENDPOINT"], config=Config(retries={"max_attempts": 0}))
methods = client.meta.method_to_api_mapping


def decode(pairs):
    return {k: base64.b64decode(v) if k in ("ZipFile", "Payload", "InvokeArgs") else v for k, v in pairs}


def encode(value):
    if isinstance(value, EventStream):
        return list(value)
    if hasattr(value, "read"):
        value = value.read()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value) if isinstance(value, datetime.datetime) else repr(value)


for line in sys.stdin:
    request = json.loads(line, object_pairs_hook=decode)
    method = xform_name(request["call"])
    try:
        if method not in methods:
            raise LookupError
        output = getattr(client, method)(**request["input"])
        output.pop("ResponseMetadata")
        reply = {"output": output}
    except (LookupError, ParamValidationError):  # an operation or a member that is newer
        reply = {"unknown": True}
    except ClientError as e:
        reply = {"error": {"name": e.response["Error"]["Code"], "message": e.response["Error"]["Message"]}}
    print(json.dumps(reply, default=encode), flush=True)
