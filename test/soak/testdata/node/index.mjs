// A function that behaves as its event says, and tells who it is.
import crypto from 'node:crypto';
import fs from 'node:fs';
import { spawn } from 'node:child_process';

const code = 'CODE';
const boot = crypto.randomUUID();
const stream = process.env.AWS_LAMBDA_LOG_STREAM_NAME;
const found = fs.readdirSync('/tmp').filter((name) => name !== 'lost+found');
fs.writeFileSync('/tmp/boot', boot);
let count = 0;
let inside = 0;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const children = () => {
  spawn('/bin/sh', ['-c', 'trap "" TERM; (setsid sleep 1000 &); sleep 1000'], { stdio: 'ignore', detached: true }).unref();
};

const actions = {
  echo: () => {},
  sleep: (event) => sleep(event.ms),
  log: (event) => {
    for (let i = 0; i < event.lines; i += 1) console.log(`line ${event.nonce} ${i}`);
  },
  spawn: children,
  throw: (event) => {
    throw new Error(`thrown ${event.nonce}`);
  },
  exit: () => process.exit(7),
  hang: () => {
    children();
    return sleep(3_600_000);
  },
  oom: () => {
    const hoard = [];
    for (;;) hoard.push(Buffer.alloc(1 << 20, 1));
  },
};

export const handler = async (event, context) => {
  count += 1;
  inside += 1;
  const mine = { count, together: inside };
  console.log(`mark ${event.nonce} ${stream} ${count}`);
  try {
    await actions[event.do](event);
  } finally {
    inside -= 1;
  }
  return {
    ...mine, nonce: event.nonce, data: event.data, code, boot, stream, found,
    request: context.awsRequestId, name: context.functionName, version: context.functionVersion,
    tmp: fs.readFileSync('/tmp/boot', 'utf8'),
  };
};
