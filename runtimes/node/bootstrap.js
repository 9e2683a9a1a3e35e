'use strict';
// Hearth's bootstrap of the managed Node.js runtimes. It says hello, waits for
// the go frame, loads the handler and serves invocations until its socket ends. As
// a stem cell it is told to park first. Its modules are written into it (bundle.go).

require('./heap.js').release(); // first: the rest is loaded faster then
const frames = require('./frames.js');
const trace = require('./trace.js');
const { TYPE } = frames;

const REQUEST_ID = Symbol.for('aws.lambda.runtime.requestId');

let handler;
let streaming; // how the handler's response is streamed; undefined where it returns it
let fixed; // what every context has; to ask process.env takes a microsecond for each
let logError = () => {};
let currentId; // the request id of the running call where there is one at a time
let calls; // the InvokeStore of the running calls where there are several
const running = new Map(); // request id → Invocation

const channel = frames.open(3, onFrame, () => process.exit(1));

function onFrame(type, header, payload) {
  if (type === TYPE.invoke) invoke(JSON.parse(header), payload);
  else if (type === TYPE.credit) running.get(header)?.stream?.taken(Number(payload));
  else if (type === TYPE.go) initialize(JSON.parse(payload));
  else if (type === TYPE.park) park();
}

// park does what every function would wait for, before there is one: it begins as
// for a function, loads the handler and runs an invocation, so that all on the way
// is compiled and in memory. What it has set it takes back.
async function park() {
  const { send } = channel;
  const environment = { ...process.env };
  const go = JSON.stringify(require('./rehearsal.js').go(environment, __dirname));
  for (const module of ['rehearsal', 'rehearsal_esm', 'rehearsal']) {
    const loader = begin(JSON.parse(go));
    handler = await loader.load(__dirname, `${module}.handler`);
    const answer = await new Promise((answered) => {
      channel.send = answered;
      invoke(JSON.parse('{"id":"rehearsal","ms":1000,"arn":"","trace":"rehearsal"}'), '{"items":[1,2],"name":"rehearsal"}');
    });
    if (answer !== TYPE.response) throw new Error('the rehearsal of an invocation failed');
    loader.forget(__dirname, 'rehearsal.js');
    loader.forget(__dirname, 'rehearsal_esm.mjs');
  }
  trace.set('');
  setEnvironment(environment);
  process.chdir('/');
  delete globalThis.awslambda;
  delete globalThis[REQUEST_ID];
  [handler, currentId, fixed] = [];
  channel.send = send;
  channel.hold();
  channel.send(TYPE.park, '', '');
}

// setEnvironment makes this the whole environment.
function setEnvironment(wanted) {
  const home = process.env.HOME;
  // A name that the process was started with and that is not the function's goes.
  for (const name of Object.keys(process.env)) {
    if (!(name in wanted)) delete process.env[name];
  }
  for (const [name, value] of Object.entries(wanted)) {
    if (process.env[name] !== value) process.env[name] = value;
  }
  // Where require() looks last was found out when the process began.
  if (process.env.HOME !== home) require('module')._initPaths();
}

// begin makes the process the function's, all but its code.
function begin(go) {
  const env = go.environment;
  setEnvironment(env);
  fixed = {
    version: env.AWS_LAMBDA_FUNCTION_VERSION,
    name: env.AWS_LAMBDA_FUNCTION_NAME,
    memory: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroup: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStream: env.AWS_LAMBDA_LOG_STREAM_NAME,
    callbacks: env.AWS_EXECUTION_ENV !== 'AWS_Lambda_nodejs24.x', // else what a handler returns is the result
  };
  process.chdir(go.taskRoot);
  if (go.compiled) require('./compiled.js').use(go.taskRoot, go.compiled);
  if (go.concurrency > 1) {
    calls = new (require('./calls.js').InvokeStore)();
    require('./output.js').attribute(() => calls.currentId());
  }
  const requestId = () => (calls ? calls.currentId() : currentId);
  logError = require('./console.js').patch(process.env, requestId);
  Object.defineProperty(globalThis, REQUEST_ID, { get: requestId, configurable: true });
  const loader = require('./handler.js');
  loader.defineGlobals(calls);
  return loader;
}

async function initialize(go) {
  if (go.wrapped) go = { ...go, environment: { ...process.env }, handler: process.env._HANDLER ?? go.handler };
  const loader = begin(go);
  process.on('uncaughtException', (error) => crash('Uncaught Exception', error, 129));
  process.on('unhandledRejection', (reason, promise) => {
    crash('Unhandled Promise Rejection', require('./errors.js').unhandledRejection(reason, promise), 128);
  });
  process.on('beforeExit', onEmptyLoop);
  try {
    handler = await loader.load(go.taskRoot, go.handler);
    streaming = loader.streaming(handler);
  } catch (error) {
    crash('Uncaught Exception', error, 129);
    return;
  }
  channel.send(TYPE.ready, '', '');
}

// crash reports an error that nobody caught and ends the process. The answer goes
// to the invocation whose code it was. The others end with the process, unless
// nobody knows whose the error is: then it is the answer of all.
function crash(where, error, code) {
  if (crash.begun) return;
  crash.begun = true;
  logError(where, error);
  const { document, type } = describe(error);
  const exit = () => process.exit(code);
  if (handler === undefined) {
    channel.send(TYPE.initError, clip(type), document, exit);
    return;
  }
  for (const { stream } of running.values()) stream?.stop();
  const culprit = calls?.currentId();
  // An invocation that was answered already may have left the error behind.
  const ids = culprit === undefined ? [...running.keys()] : running.has(culprit) ? [culprit] : [];
  if (ids.length === 0) exit();
  ids.forEach((id, i) => {
    channel.send(TYPE.crash, `${id} ${clip(type)}`, document, i === ids.length - 1 ? exit : undefined);
  });
}

function describe(error) {
  const shape = require('./errors.js').toDocument(error);
  return { document: JSON.stringify(shape), type: shape.errorType };
}

// clip keeps an error type within what a frame's header may hold.
function clip(type) {
  return Buffer.from(type.replace(/[^\x21-\x7e]/g, '_').slice(0, 256)).toString();
}

// now is the time in ms since some moment, as performance.now() tells it, which loads
// nine modules when it is first asked.
function now() {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}

// An Invocation is answered exactly once; everything after that is ignored.
class Invocation {
  constructor(header, argumentCount) {
    this.id = header.id;
    this.deadline = now() + header.ms;
    this.header = header;
    this.argumentCount = argumentCount;
    this.given = undefined; // the context
    this.result = undefined; // what callback gave while the event loop is not empty
    this.hasResult = false;
    this.finished = false; // a callback or the promise has spoken
    this.answered = false;
    this.stream = undefined; // the response, where the handler streams it
  }

  callback(error, result) {
    if (this.finished) return;
    this.finished = true;
    if (error !== undefined && error !== null) this.fail(error);
    else if (!this.waitsForEmptyLoop()) this.succeed(result);
    else [this.result, this.hasResult] = [result, true];
  }

  // The event loop is everybody's: whether it is empty says nothing of one of
  // several invocations, and under load it never is.
  waitsForEmptyLoop() { return !calls && Boolean(this.given.callbackWaitsForEmptyEventLoop); }

  done(error, result) {
    if (this.finished) return;
    this.finished = true;
    if (error !== undefined && error !== null) this.fail(error);
    else this.succeed(result);
  }

  succeed(result) {
    let text;
    try {
      text = result === undefined ? 'null' : JSON.stringify(result);
      // A value without a JSON form, such as a function, has become undefined.
      if (text === undefined) text = 'null';
    } catch (cause) {
      const { MarshalError } = require('./errors.js');
      this.fail(new MarshalError(`Unable to stringify response body as json: ${cause}`));
      return;
    }
    this.answer(TYPE.response, this.id, text);
  }

  fail(error) {
    logError('Invoke Error', error);
    const { document, type } = describe(error);
    this.answer(TYPE.error, `${this.id} ${clip(type)}`, document);
  }

  answer(type, header, payload) {
    if (this.answered) return;
    this.answered = true;
    this.stream?.stop();
    running.delete(this.id);
    if (!calls) channel.hold();
    channel.send(type, header, payload);
  }

  context() {
    // A plain literal: accessors and spread cost more than the rest of an invocation's object.
    const context = {
      callbackWaitsForEmptyEventLoop: !calls,
      succeed: (result) => this.done(null, result),
      fail: (error) => this.done(error ?? 'handled'),
      done: (error, result) => this.done(error, result),
      functionVersion: fixed.version,
      functionName: fixed.name,
      memoryLimitInMB: fixed.memory,
      logGroupName: fixed.logGroup,
      logStreamName: fixed.logStream,
      clientContext: this.header.client,
      identity: this.header.cognito,
      invokedFunctionArn: this.header.arn,
      awsRequestId: this.id,
      getRemainingTimeInMillis: () => Math.max(0, Math.round(this.deadline - now())),
    };
    if (calls) { // what is said of it is everybody's and does not count
      Object.defineProperty(context, 'callbackWaitsForEmptyEventLoop', { get: () => false, set() {}, enumerable: true });
    }
    const { attempt } = this.header; // Hearth's own: the number of the try of an asynchronous invocation
    if (attempt) context.attempt = attempt;
    this.given = context;
    return context;
  }
}

function invoke(header, payload) {
  const invocation = new Invocation(header, handler.length);
  running.set(invocation.id, invocation);
  if (calls) { // the next event may be what this one waits for: the loop is never over

    calls.runCall(invocation.id, header.trace, () => run(invocation, payload));
    return;
  }
  channel.release();
  currentId = invocation.id;
  run(invocation, payload);
}

function run(invocation, payload) {
  const { header } = invocation;
  if (!calls) trace.set(header.trace); // one variable cannot hold the trace ids of several calls
  if (streaming) {
    runStreaming(invocation, payload);
    return;
  }
  try {
    const result = handler(JSON.parse(payload), invocation.context(), (error, value) => invocation.callback(error, value));
    if (typeof result?.then === 'function' || !fixed.callbacks) {
      Promise.resolve(result).then((value) => invocation.done(null, value), (error) => invocation.done(error ?? 'handled'));
    }
  } catch (error) {
    invocation.callback(error ?? 'handled');
  }
}

async function runStreaming(invocation, payload) {
  invocation.stream = new streaming.ResponseStream(channel, invocation.id, calls !== undefined, streaming.highWaterMark);
  try {
    await streaming.run(handler, JSON.parse(payload), invocation.stream, invocation.context());
    if (invocation.finished) return;
    invocation.finished = true;
    invocation.answer(TYPE.response, invocation.id, '');
  } catch (error) {
    await invocation.stream.flushed();
    invocation.done(error ?? 'handled');
  }
}

// onEmptyLoop runs when nothing is left that could answer: what a callback gave
// is the answer; a handler that never spoke answers null, an async one fails.
function onEmptyLoop() {
  channel.hold();
  for (const invocation of [...running.values()]) {
    if (invocation.hasResult) invocation.succeed(invocation.result);
    else if (invocation.stream) invocation.done(new Error('Response stream is not finished.'));
    else if (handler.constructor?.name === 'AsyncFunction') {
      const { NodeJsExit } = require('./errors.js');
      invocation.finished = true;
      invocation.fail(new NodeJsExit());
    } else {
      invocation.finished = true;
      invocation.succeed(null);
    }
  }
}

trace.install();
channel.send(TYPE.hello, '', '');
