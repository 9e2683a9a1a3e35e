'use strict';
// Which invocation a piece of code runs for, where several run at once. AWS's
// libraries ask for it as awslambda.InvokeStore, with these names.

const { AsyncLocalStorage } = require('async_hooks');

const REQUEST_ID = Symbol.for('_AWS_LAMBDA_REQUEST_ID');
const TRACE_ID = Symbol.for('_AWS_LAMBDA_X_RAY_TRACE_ID');
const TENANT_ID = Symbol.for('_AWS_LAMBDA_TENANT_ID');
const PROTECTED = [REQUEST_ID, TRACE_ID, TENANT_ID];

class InvokeStore {
  #storage = new AsyncLocalStorage();

  run(context, fn) { return this.#storage.run({ ...context }, fn); }

  getContext() { return this.#storage.getStore(); }

  hasContext() { return this.#storage.getStore() !== undefined; }

  get(key) { return this.#storage.getStore()?.[key]; }

  set(key, value) {
    if (this.isProtectedKey(key)) throw new Error(`Cannot modify protected Lambda context field: ${String(key)}`);
    const context = this.#storage.getStore();
    if (context) context[key] = value;
  }

  isProtectedKey(key) { return PROTECTED.includes(key); }

  getRequestId() { return this.get(REQUEST_ID) ?? '-'; }

  getXRayTraceId() { return this.get(TRACE_ID); }

  getTenantId() { return this.get(TENANT_ID); }

  // What the bootstrap needs.
  runCall(id, trace, fn) { return this.#storage.run({ [REQUEST_ID]: id, [TRACE_ID]: trace }, fn); }

  currentId() { return this.#storage.getStore()?.[REQUEST_ID]; }
}

module.exports = { InvokeStore };
