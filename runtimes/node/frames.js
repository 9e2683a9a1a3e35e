'use strict';
// The frame protocol with Hearth on descriptor 3; runtimeapi/wire.go defines it.
// Everything here is on the path of every invocation.

const fs = require('fs');
const binding = require('./binding.js');

const PREFIX = 8;
const SMALL = 64 * 1024;
const EMPTY = Buffer.alloc(0);

// open calls onFrame(type, header, payload) for each frame, with header and
// payload as text, and onEnd when Hearth's end is closed.
function open(fd, onFrame, onEnd) {
  let pending = EMPTY; // the beginning of a frame that has not arrived whole
  let chunks = null; // parts of a large one, joined once
  let missing = 0; // bytes of the large one that are to come

  // take hands over the frames in the first bytes of data, and returns how many bytes they are.
  function take(data, length) {
    let at = 0;
    while (length - at >= PREFIX) {
      const end = at + 4 + data.readUInt32BE(at);
      if (end > length) break;
      const type = data[at + 4];
      const payloadAt = at + PREFIX + (data.readUInt32BE(at + 4) & 0xffffff);
      onFrame(type, data.utf8Slice(at + PREFIX, payloadAt), data.utf8Slice(payloadAt, end));
      at = end;
    }
    return at;
  }

  // The buffer of the socket is used again after this returns: what is kept is copied.
  function onData(n, buffer) {
    let data = buffer;
    let length = n;
    if (chunks !== null) {
      chunks.push(Buffer.from(buffer.subarray(0, n)));
      missing -= n;
      if (missing > 0) return true;
      data = Buffer.concat(chunks);
      chunks = null;
    } else if (pending.length > 0) {
      data = Buffer.concat([pending, buffer.subarray(0, n)]);
    }
    if (data !== buffer) length = data.length;
    pending = EMPTY;
    const used = take(data, length);
    const rest = length - used;
    if (rest === 0) return true;
    const kept = Buffer.from(data.subarray(used, length));
    if (rest >= PREFIX) {
      chunks = [kept];
      missing = 4 + kept.readUInt32BE(0) - rest;
    } else {
      pending = kept;
    }
    return true;
  }

  const buffer = Buffer.allocUnsafeSlow(64 * 1024);
  const handle = read(fd, buffer, onData, onEnd);
  let socket = handle ? undefined : makeSocket();

  // makeSocket makes a stream of the descriptor. Loading net is a tenth of a start, so
  // it is not done before something has to wait for room.
  function makeSocket() {
    handle?.readStop();
    const made = new (require('net').Socket)({
      ...(handle ? { handle } : { fd }),
      readable: true,
      writable: true,
      allowHalfOpen: false,
      onread: { buffer, callback: onData },
    });
    made.on('error', onEnd);
    made.on('close', onEnd);
    return made;
  }

  const small = Buffer.allocUnsafeSlow(SMALL); // used for one frame after the other

  // send writes one frame; done is called when the kernel has all of it.
  function send(type, header, payload, done) {
    const least = PREFIX + header.length * 3 + payload.length * 3; // what UTF-8 may need
    const frame = least <= SMALL ? small : Buffer.allocUnsafe(PREFIX + Buffer.byteLength(header) + Buffer.byteLength(payload));
    const headerLength = frame.utf8Write(header, PREFIX);
    const length = headerLength + frame.utf8Write(payload, PREFIX + headerLength);
    frame.writeUInt32BE(4 + length, 0);
    frame.writeUInt32BE(((type << 24) | headerLength) >>> 0, 4);
    sendFrame(frame, PREFIX + length, done);
  }

  // sendBytes is send for a payload of bytes.
  function sendBytes(type, header, payload, done) {
    const frame = Buffer.allocUnsafe(PREFIX + header.length + payload.length);
    frame.writeUInt32BE(4 + header.length + payload.length, 0);
    frame.writeUInt32BE(((type << 24) | header.length) >>> 0, 4);
    frame.latin1Write(header, PREFIX); // a request id
    frame.set(payload, PREFIX + header.length);
    sendFrame(frame, frame.length, done);
  }

  // sendFrame writes the first bytes of frame. The kernel gets them at once where it has
  // room, and the rest in the order of the stream: what a stream does for each write
  // costs more than all else here.
  function sendFrame(frame, length, done) {
    let sent = 0;
    if (!socket?.writableLength) {
      try {
        sent = fs.writeSync(fd, frame, 0, length);
      } catch { /* no room, or the end of Hearth: the stream finds out */ }
    }
    if (sent < length) {
      socket ??= makeSocket();
      socket.write(Buffer.from(frame.subarray(sent, length)), done);
    } else if (done) process.nextTick(done);
  }

  return {
    send,
    sendBytes,
    // While the handler runs the socket does not keep the process's event loop
    // alive: an empty loop is how the end of an invocation is noticed.
    hold: () => (handle ?? socket).ref(),
    release: () => (handle ?? socket).unref(),
  };
}

// read calls onData(length, buffer) with what arrives, and onEnd at the end, through
// what net's sockets are made of. Undefined where this Node keeps that to itself.
function read(fd, buffer, onData, onEnd) {
  const pipes = binding('pipe_wrap');
  const streams = binding('stream_wrap');
  if (!pipes || !streams) return undefined;
  const { streamBaseState, kReadBytesOrError } = streams;
  const handle = new pipes.Pipe(pipes.constants.SOCKET);
  handle.onread = () => {
    const length = streamBaseState[kReadBytesOrError];
    if (length > 0) onData(length, buffer);
    else if (length < 0) onEnd();
  };
  handle.useUserBuffer(buffer);
  handle.open(fd);
  handle.readStart();
  return handle;
}

const TYPE = Object.freeze({
  hello: 0x48, park: 0x50, go: 0x47, ready: 0x52, initError: 0x45, invoke: 0x49, response: 0x44, error: 0x46, crash: 0x43,
  stream: 0x53, chunk: 0x4b, credit: 0x57,
});

module.exports = { open, TYPE };
