"""The handler of functions/python behind a small HTTP/1.1 server on asyncio: the
standard library has no faster one that keeps connections. It listens on a free
port of 127.0.0.1, prints it as one line, and serves until it is killed."""

import asyncio
import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../functions/python"))

from app import handler  # noqa: E402

MAX_HEAD = 16 << 10
MAX_BODY = 6 << 20


class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.buffer = bytearray()

    def data_received(self, data):
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self.buffer) > MAX_HEAD:
                    self.transport.abort()
                return
            length = content_length(bytes(self.buffer[:end]))
            if length > MAX_BODY:
                self.transport.abort()
                return
            begin = end + 4
            if len(self.buffer) < begin + length:
                return
            body = bytes(self.buffer[begin : begin + length])
            del self.buffer[: begin + length]
            self.answer(body)

    def answer(self, body):
        try:
            status, text = b"200 OK", json.dumps(handler(json.loads(body), None)).encode()
        except Exception as error:
            status, text = b"500 Internal Server Error", str(error).encode()
        self.transport.write(
            b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(text), text)
        )


def content_length(head):
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


async def main():
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
