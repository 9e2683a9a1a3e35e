// What bad functions do, by name. 'event.do' chooses.
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import { spawn } from 'node:child_process';

let count = 0;

const forever = () => new Promise((resolve) => setTimeout(resolve, 3_600_000));

// outcome is 'ok' or the code of the error that an attempt ends with.
const outcome = (attempt) => {
  try {
    attempt();
    return 'ok';
  } catch (error) {
    return error.code ?? String(error);
  }
};

const background = (command, ...args) => {
  const child = spawn(command, args, { stdio: 'ignore', detached: true });
  child.on('error', () => {}); // no room for one more is what is to be tried
  child.unref();
};

const walk = (dir, found = []) => {
  let entries = [];
  try {
    entries = fs.readdirSync(dir, { withFileTypes: true });
  } catch {
    return found;
  }
  for (const entry of entries) {
    const path = `${dir}/${entry.name}`;
    if (entry.isDirectory()) walk(path, found);
    else found.push(path);
  }
  return found;
};

const frame = (type, header, payload) => {
  const out = Buffer.alloc(8);
  out.writeUInt32BE(4 + header.length + payload.length, 0);
  out.write(type, 4);
  out.writeUIntBE(header.length, 5, 3);
  return Buffer.concat([out, Buffer.from(header + payload)]);
};

const connect = (target) => new Promise((resolve) => {
  const at = target.lastIndexOf(':');
  const socket = net.connect({ host: target.slice(0, at), port: Number(target.slice(at + 1)) });
  const end = (result) => {
    socket.destroy();
    resolve(result);
  };
  socket.setTimeout(1500, () => end('ETIMEDOUT'));
  socket.on('connect', () => end('connected'));
  socket.on('error', (error) => end(error.code));
});

const actions = {
  count: () => ({ count: ++count }),

  slow: async (event) => {
    await new Promise((resolve) => setTimeout(resolve, event.ms));
    return { slept: event.ms, count: ++count };
  },

  forkForever: () => {
    background('/bin/sh', '-c', 'while :; do (while :; do sleep 1000 & done) & done');
    return forever();
  },

  fillMemory: () => {
    const hoard = [];
    for (;;) hoard.push(Buffer.alloc(1 << 20, 1));
  },

  fillTmp: () => {
    const chunk = Buffer.alloc(1 << 20, 1);
    const file = fs.openSync('/tmp/full', 'w');
    let megabytes = 0;
    const error = outcome(() => {
      for (;;) megabytes += fs.writeSync(file, chunk) === chunk.length ? 1 : 0;
    });
    return { error, megabytes };
  },

  floodLogs: (event) => {
    const chunk = Buffer.from(`${'x'.repeat(99)}\n`.repeat(640));
    for (let left = event.bytes; left > 0; left -= chunk.length) {
      for (let done = 0; done < chunk.length;) done += fs.writeSync(1, chunk, done);
    }
    return { written: event.bytes };
  },

  closeSocket: () => {
    fs.closeSync(3);
    return forever();
  },

  closeOutput: () => {
    fs.closeSync(1);
    fs.closeSync(2);
    return { closed: [1, 2] };
  },

  rubbishOnSocket: () => {
    fs.writeSync(3, 'rubbish rubbish rubbish rubbish');
    return forever();
  },

  // A frame as the bootstrap sends them, for a request that this instance never had.
  answerForAnother: () => {
    const id = '00000000-0000-4000-8000-000000000000';
    fs.writeSync(3, frame('D', id, '"stolen"'));
    return forever();
  },

  announceTooMuch: () => {
    fs.writeSync(3, Buffer.from([0xff, 0xff, 0xff, 0xff, 0x44, 0, 0, 36]));
    return forever();
  },

  large: () => 'x'.repeat(7 * 1024 * 1024),

  throwLarge: () => {
    throw new Error('x'.repeat(7 * 1024 * 1024));
  },

  notJSON: () => 10n,

  killAll: () => {
    for (const pid of [1, -1, process.ppid || 1, process.pid]) outcome(() => process.kill(pid, 'SIGKILL'));
    return forever();
  },

  stop: () => {
    process.kill(process.pid, 'SIGSTOP');
    return forever();
  },

  childFillsMemory: () => {
    background('/bin/sh', '-c', 'head -c 4000000000 /dev/zero | tail -c 4000000000');
    return forever();
  },

  openForever: () => {
    let files = 0;
    const error = outcome(() => {
      for (;;) files += fs.openSync('/dev/null') > 0 ? 1 : 0;
    });
    return { error, files };
  },

  endlessLine: () => {
    const chunk = Buffer.alloc(1 << 20, 'x');
    for (let n = 0; n < 4; n++) {
      for (let done = 0; done < chunk.length;) done += fs.writeSync(1, chunk, done);
    }
    return { written: 4 };
  },

  exit: () => process.exit(7),

  hang: () => {
    process.on('SIGTERM', () => {});
    background('/bin/sh', '-c', 'trap "" TERM; sleep 1000 & (trap "" TERM; sleep 1000 & wait) & wait');
    return forever();
  },

  spin: () => {
    for (;;);
  },

  ignoreTerm: () => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => {});
    setInterval(() => {}, 1000);
    return { ignores: 'SIGTERM' };
  },

  daemon: () => {
    background('/bin/sh', '-c', 'trap "" TERM HUP; (setsid sleep 1000 &) ; sleep 1000');
    return { count: ++count };
  },

  keepSecret: (event) => {
    fs.writeFileSync('/tmp/secret', event.secret);
    fs.chmodSync('/tmp/secret', 0o777);
    return { kept: true };
  },

  // Looks for the secret wherever a file can be opened, and tries to open paths
  // of the host. What it returns has found only the paths.
  spy: (event) => {
    const places = [...walk('/tmp'), ...walk('/var'), ...walk('/opt'), ...walk('/etc'), ...walk('/run'), ...walk('/dev/shm')];
    for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      places.push(`/proc/${pid}/environ`, `/proc/${pid}/cmdline`, `/proc/${pid}/root/tmp/secret`, `/proc/${pid}/mountinfo`);
    }
    const found = places.filter((path) => {
      try {
        return fs.readFileSync(path).includes(event.secret);
      } catch {
        return false;
      }
    });
    const opened = event.paths.filter((path) => outcome(() => fs.accessSync(path)) === 'ok');
    return { looked: places.length, found, opened };
  },

  listen: async (event) => {
    await new Promise((resolve) => net.createServer((socket) => socket.end('hello')).listen(event.port, '0.0.0.0', resolve));
    return Object.values(os.networkInterfaces()).flat().filter((i) => i.family === 'IPv4' && !i.internal).map((i) => i.address);
  },

  connect: async (event) => Object.fromEntries(
    await Promise.all(event.targets.map(async (target) => [target, await connect(target)]))),

  fetch: (event) => new Promise((resolve) => {
    const request = http.get(event.url, { timeout: 3000, agent: false }, (response) => {
      response.setEncoding('utf8');
      response.once('data', (body) => resolve({ body }));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', (error) => resolve({ error: error.code }));
  }),
};

export const handler = async (event) => actions[event.do](event);
