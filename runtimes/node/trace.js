'use strict';
// The trace id of the invocation as process.env has it. It is not in the process's
// own environment: the C library's setenv keeps each value that it was ever given,
// 150 bytes of the instance's memory for each invocation, and takes three microseconds.

const NAME = '_X_AMZN_TRACE_ID';

let id; // undefined where there is none

const property = () => ({ value: id, writable: true, enumerable: true, configurable: true });

let environment; // as install made it

// install puts the variable into process.env, for everyone who asks that.
function install() {
  environment = new Proxy(process.env, {
    get: (env, name) => (name === NAME ? id : env[name]),
    has: (env, name) => (name === NAME ? id !== undefined : name in env),
    ownKeys: (env) => (id === undefined ? Reflect.ownKeys(env) : [...Reflect.ownKeys(env), NAME]),
    getOwnPropertyDescriptor(env, name) {
      if (name !== NAME) return Reflect.getOwnPropertyDescriptor(env, name);
      return id === undefined ? undefined : property();
    },
    set(env, name, value) {
      if (name === NAME) id = `${value}`;
      else env[name] = value;
      return true;
    },
    defineProperty(env, name, descriptor) {
      if (name !== NAME) return Reflect.defineProperty(env, name, descriptor);
      id = `${descriptor.value}`;
      return true;
    },
    deleteProperty(env, name) {
      if (name === NAME) id = undefined;
      else delete env[name];
      return true;
    },
  });
  process.env = environment;
}

// set makes this the trace id; '' or undefined is none.
function set(trace) {
  id = trace || undefined;
  if (process.env === environment) return;
  if (id) process.env[NAME] = id; // the function has put an object of its own there
  else delete process.env[NAME];
}

module.exports = { install, set };
