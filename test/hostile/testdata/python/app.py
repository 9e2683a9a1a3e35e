"""What bad functions do, by name. event["do"] chooses."""

import errno
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request

count = 0


def outcome(error):
    return errno.errorcode.get(error.errno, str(error)) if isinstance(error, OSError) else str(error)


def background(*command):
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def do_count(event):
    global count
    count += 1
    return {"count": count}


def do_slow(event):
    global count
    time.sleep(event["ms"] / 1000)
    count += 1
    return {"slept": event["ms"], "count": count}


def do_forkForever(event):
    while True:
        try:
            os.fork()
        except OSError:
            pass


def do_fillMemory(event):
    hoard = []
    while True:
        hoard.append(b"\x01" * (1 << 20))


def do_fillTmp(event):
    megabytes = 0
    try:
        with open("/tmp/full", "wb", buffering=0) as full:
            while True:
                megabytes += full.write(b"\x01" * (1 << 20)) == 1 << 20
    except OSError as error:
        return {"error": outcome(error), "megabytes": megabytes}


def do_floodLogs(event):
    chunk = (b"x" * 99 + b"\n") * 640
    left = event["bytes"]
    while left > 0:
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(1, rest) :]
        left -= len(chunk)
    return {"written": event["bytes"]}


def do_closeSocket(event):
    os.close(3)
    time.sleep(3600)


def do_closeOutput(event):
    os.close(1)
    os.close(2)
    return {"closed": [1, 2]}


def do_rubbishOnSocket(event):
    os.write(3, b"rubbish rubbish rubbish rubbish")
    time.sleep(3600)


def do_answerForAnother(event):
    """Send a frame as the bootstrap does, for a request that this instance never had."""
    header, payload = b"00000000-0000-4000-8000-000000000000", b'"stolen"'
    size = 4 + len(header) + len(payload)
    os.write(3, size.to_bytes(4, "big") + b"D" + len(header).to_bytes(3, "big") + header + payload)
    time.sleep(3600)


def do_announceTooMuch(event):
    os.write(3, b"\xff\xff\xff\xffD\x00\x00\x24")
    time.sleep(3600)


def do_large(event):
    return "x" * (7 * 1024 * 1024)


def do_notJSON(event):
    return 1j


def do_throwLarge(event):
    raise ValueError("x" * (7 * 1024 * 1024))


def do_killAll(event):
    for pid in (1, -1, os.getppid() or 1, os.getpid()):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass


def do_stop(event):
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(3600)


def do_childFillsMemory(event):
    background("/bin/sh", "-c", "head -c 4000000000 /dev/zero | tail -c 4000000000")
    time.sleep(3600)


def do_openForever(event):
    hoard = []
    try:
        while True:
            hoard.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        for file in hoard:
            os.close(file)
        return {"error": outcome(error), "files": len(hoard)}


def do_endlessLine(event):
    chunk = b"x" * (1 << 20)
    for _ in range(4):
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(1, rest) :]
    return {"written": 4}


def do_exit(event):
    os._exit(7)


def do_hang(event):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    background("/bin/sh", "-c", 'trap "" TERM; sleep 1000 & (trap "" TERM; sleep 1000 & wait) & wait')
    time.sleep(3600)


def do_spin(event):
    while True:
        pass


def do_ignoreTerm(event):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return {"ignores": "SIGTERM"}


def do_daemon(event):
    global count
    if os.fork() == 0:
        os.setsid()
        if os.fork() > 0:
            os._exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.closerange(0, 1024)
        time.sleep(1000)
    count += 1
    return {"count": count}


def do_keepSecret(event):
    with open("/tmp/secret", "w") as secret:
        secret.write(event["secret"])
    os.chmod("/tmp/secret", 0o777)
    return {"kept": True}


def do_spy(event):
    """Look for the secret wherever a file can be opened, and try paths of the host."""
    places = []
    for top in ("/tmp", "/var", "/opt", "/etc", "/run", "/dev/shm"):
        for folder, _, names in os.walk(top):
            places += [os.path.join(folder, name) for name in names]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        places += ["/proc/%s/%s" % (pid, name) for name in ("environ", "cmdline", "root/tmp/secret", "mountinfo")]

    def holds(path):
        try:
            with open(path, "rb") as file:
                return event["secret"].encode() in file.read()
        except OSError:
            return False

    found = [path for path in places if holds(path)]
    opened = [path for path in event["paths"] if os.path.exists(path)]
    return {"looked": len(places), "found": found, "opened": opened}


def do_listen(event):
    listener = socket.create_server(("0.0.0.0", event["port"]), backlog=16)
    do_listen.kept = listener
    # The address that packets to somewhere else would come from; none is sent.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("1.1.1.1", 53))
        return [probe.getsockname()[0]]


def connect(target, results):
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1.5).close()
        results[target] = "connected"
    except TimeoutError:
        results[target] = "ETIMEDOUT"
    except OSError as error:
        results[target] = outcome(error)


def do_connect(event):
    results = {}
    threads = [threading.Thread(target=connect, args=(target, results)) for target in event["targets"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def do_fetch(event):
    try:
        with urllib.request.urlopen(event["url"], timeout=3) as response:
            return {"body": response.read().decode()}
    except OSError as error:
        return {"error": str(error)}


def handler(event, context):
    return globals()["do_" + event["do"]](event)
