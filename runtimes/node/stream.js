'use strict';
// Response streaming: the stream that a streaming handler writes to, and its run.

const { Writable } = require('stream');
const { TYPE } = require('./frames.js');
const { InvalidStreamingOperation } = require('./errors.js');

const DEFAULT_TYPE = 'application/octet-stream';
const HTTP_TYPE = 'application/vnd.awslambda.http-integration-response';
const PIECE = 64 * 1024; // what goes into one frame
// How much of a response Hearth takes ahead of its client, where an instance serves
// several invocations at once: runtimeapi.StreamWindow.
const WINDOW = 256 * 1024;

class ResponseStream extends Writable {
  #channel;
  #id;
  #room; // bytes that may be sent before Hearth has taken what was
  #waiting; // goes on when there is room again
  #contentType = DEFAULT_TYPE;
  #prelude; // bytes that go before the first
  #written = false; // write or end was called
  #begun = false;
  #stopped = false;

  constructor(channel, id, several, highWaterMark) {
    super({ highWaterMark });
    this.#channel = channel;
    this.#id = id;
    this.#room = several ? WINDOW : Infinity; // else the socket is what fills
    this.on('error', () => {}); // it is told by the handler's promise
  }

  setContentType(type) {
    if (this.#written) throw new InvalidStreamingOperation('Cannot set content-type, too late.');
    this.#contentType = String(type);
  }

  setPrelude(metadata) {
    this.setContentType(HTTP_TYPE);
    this.#prelude = Buffer.concat([Buffer.from(JSON.stringify(metadata)), Buffer.alloc(8)]);
  }

  write(chunk, encoding, callback) {
    this.#written = true;
    return super.write(bytesOf(chunk), encoding, callback);
  }

  end(chunk, encoding, callback) {
    this.#written = true;
    const given = chunk !== undefined && chunk !== null && typeof chunk !== 'function';
    return super.end(given ? bytesOf(chunk) : chunk, encoding, callback);
  }

  _write(chunk, encoding, done) {
    this.#begin();
    this.#send(chunk, 0, done);
  }

  _final(done) {
    this.#begin();
    if (this.#prelude) this.#send(Buffer.alloc(0), 0, done);
    else done();
  }

  #begin() {
    if (this.#begun) return;
    this.#begun = true;
    const type = this.#contentType.replace(/[^\x20-\x7e]/g, '_').slice(0, 256);
    this.#channel.send(TYPE.stream, `${this.#id} ${type}`, '');
  }

  #send(data, at, done) {
    if (this.#prelude) {
      data = Buffer.concat([this.#prelude, data]);
      this.#prelude = undefined;
    }
    if (at >= data.length || this.#stopped) {
      setImmediate(done); // not in this turn: a handler that only writes would stop all timers
      return;
    }
    const piece = data.subarray(at, at + PIECE);
    if (piece.length > this.#room) {
      this.#waiting = () => this.#send(data, at, done);
      return;
    }
    this.#room -= piece.length;
    this.#channel.sendBytes(TYPE.chunk, this.#id, piece, () => this.#send(data, at + PIECE, done));
  }

  // taken says that Hearth has passed so many bytes on.
  taken(bytes) {
    this.#room += bytes;
    const resume = this.#waiting;
    this.#waiting = undefined;
    resume?.();
  }

  // flushed resolves when all that was written is on its way.
  flushed() {
    return new Promise((resolve) => {
      if (!this.#begun || this.destroyed || this.writableFinished) {
        resolve();
        return;
      }
      this.once('close', resolve);
      this.once('finish', resolve);
      this.end();
    });
  }

  // stop drops what is still written: the invocation is answered.
  stop() {
    this.#stopped = true;
    this.taken(0);
  }
}

// bytesOf is what may be written of a value that is neither text nor bytes.
function bytesOf(chunk) {
  return typeof chunk === 'string' || chunk instanceof Uint8Array ? chunk : JSON.stringify(chunk);
}

// run calls a streaming handler. It resolves when the handler has and the response is
// complete, and rejects with what went wrong.
async function run(handler, event, stream, context) {
  const ended = new Promise((resolve) => {
    stream.once('close', resolve);
    stream.once('finish', resolve);
  });
  const returned = handler(event, stream, context);
  if (typeof returned?.then !== 'function') throw new Error('Streaming does not support non-async handlers.');
  if ((await returned) !== undefined) console.warn('Streaming handlers ignore return values.');
  await ended;
  if (!stream.writableFinished) throw stream.errored ?? new Error('Response stream is not finished.');
}

// HttpResponseStream is what Lambda offers for responses that say their HTTP status,
// headers and cookies.
class HttpResponseStream {
  static from(stream, metadata) {
    stream.setPrelude(metadata);
    return stream;
  }
}

module.exports = { ResponseStream, HttpResponseStream, run };
