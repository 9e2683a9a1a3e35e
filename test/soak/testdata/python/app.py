"""A function that behaves as its event says, and tells who it is."""

import os
import subprocess
import time
import uuid

code = "CODE"
boot = str(uuid.uuid4())
stream = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
found = [name for name in os.listdir("/tmp") if name != "lost+found"]
with open("/tmp/boot", "w") as file:
    file.write(boot)
count = 0
inside = 0


def children():
    subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" TERM; (setsid sleep 1000 &); sleep 1000'],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )


def act(event):
    do = event["do"]
    if do == "sleep":
        time.sleep(event["ms"] / 1000)
    elif do == "log":
        for i in range(event["lines"]):
            print("line %s %d" % (event["nonce"], i))
    elif do == "spawn":
        children()
    elif do == "throw":
        raise RuntimeError("thrown " + event["nonce"])
    elif do == "exit":
        os._exit(7)
    elif do == "hang":
        children()
        time.sleep(3600)
    elif do == "oom":
        hoard = []
        while True:
            hoard.append(b"\x01" * (1 << 20))


def handler(event, context):
    global count, inside
    count += 1
    inside += 1
    mine = {"count": count, "together": inside}
    print("mark %s %s %d" % (event["nonce"], stream, count), flush=True)
    try:
        act(event)
    finally:
        inside -= 1
    with open("/tmp/boot") as file:
        tmp = file.read()
    return {
        **mine, "nonce": event["nonce"], "data": event.get("data"), "code": code, "boot": boot, "stream": stream, "found": found,
        "request": context.aws_request_id, "name": context.function_name, "version": context.function_version, "tmp": tmp,
    }
