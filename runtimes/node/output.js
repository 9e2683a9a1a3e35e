'use strict';
// Writes to the log. Where several invocations run at once, every line says whose
// it is; package logs of Hearth (framed.go) defines how.

const fs = require('fs');

const START = '\x1e';
const ENDS = '\x1f';
const GOES_ON = '\x1d';
// What a pipe takes at once: up to this nothing of another process comes in between.
const PIPE_BUF = 4096;
const NEWLINE = 0x0a;

let currentId = () => undefined; // of the running call, where lines must say it

// write returns when the kernel has it all: a line that was logged is not lost when
// the process ends. The pipe may have been made non-blocking by user code that
// touched process.stdout.
function write(data) {
  let at = 0;
  while (at < data.length) {
    try {
      at += fs.writeSync(1, data, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') return; // closed by the function itself: it wants no log
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

// writeOutput writes data of the running call as it is, or framed by lines.
function writeOutput(data) {
  const id = currentId();
  if (id === undefined) {
    write(data);
    return;
  }
  const room = PIPE_BUF - id.length - 3;
  for (let at = 0; at < data.length;) {
    const newline = data.indexOf(NEWLINE, at);
    const lineEnd = newline < 0 ? data.length : newline;
    const end = Math.min(lineEnd, at + room);
    const ends = end === newline;
    writeRecord(id, ends, data.subarray(at, end));
    at = ends ? end + 1 : end;
  }
}

function writeRecord(id, ends, text) {
  const head = START + id + (ends ? ENDS : GOES_ON);
  const record = Buffer.allocUnsafe(head.length + text.length + 1);
  record.latin1Write(head, 0);
  record.set(text, head.length);
  record[record.length - 1] = NEWLINE;
  write(record);
}

// writeLine writes one line; newlines within it become carriage returns.
function writeLine(line) {
  writeOutput(Buffer.from(line.replaceAll('\n', '\r') + '\n'));
}

// attribute makes everything that is written from here on say whose it is:
// requestId returns the id of the running call. The streams are still made when
// somebody asks for them, as they cost time.
function attribute(requestId) {
  currentId = requestId;
  for (const name of ['stdout', 'stderr']) {
    const { get } = Object.getOwnPropertyDescriptor(process, name);
    let stream;
    Object.defineProperty(process, name, {
      configurable: true,
      enumerable: true,
      get() {
        if (stream === undefined) {
          stream = get.call(process);
          stream.write = writeChunk;
        }
        return stream;
      },
    });
  }
}

// writeChunk is the write method of a stream.
function writeChunk(chunk, encoding, callback) {
  if (typeof encoding === 'function') [encoding, callback] = [undefined, encoding];
  writeOutput(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Buffer.from(chunk));
  if (typeof callback === 'function') process.nextTick(callback);
  return true;
}

module.exports = { attribute, writeLine };
