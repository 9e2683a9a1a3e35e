'use strict';
// Replaces console's methods: one line for each call, with time, request id and
// level, as text or JSON.

const util = require('util');
const errors = require('./errors.js');
const { writeLine } = require('./output.js');

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];

function textLine(requestId, level, params) {
  return `${new Date().toISOString()}\t${requestId}\t${level}\t${util.format(...params)}`;
}

function jsonLine(requestId, level, params) {
  const record = { timestamp: new Date().toISOString(), level, requestId };
  if (params.length === 1) {
    record.message = params[0];
    try {
      return JSON.stringify(record, errorReplacer);
    } catch {
      record.message = util.format(params[0]);
      return JSON.stringify(record);
    }
  }
  record.message = util.format(...params);
  const error = params.find((p) => p instanceof Error);
  if (error) Object.assign(record, describe(error));
  return JSON.stringify(record);
}

function describe(error) {
  return {
    errorType: error?.constructor?.name ?? 'UnknownError',
    errorMessage: error.message,
    stackTrace: typeof error.stack === 'string' ? error.stack.split('\n') : [],
  };
}

function errorReplacer(_, value) {
  return value instanceof Error ? { ...describe(value), ...value } : value;
}

// patch replaces the methods. currentId returns the request id of the running
// call. It returns logError(where, error), the runtime's own way to log.
function patch(env, currentId) {
  const json = env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === 'JSON';
  const format = json ? jsonLine : textLine;
  const lowest = Math.max(0, LEVELS.indexOf(env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()));
  const methods = { trace: 0, debug: 1, info: 2, log: 2, warn: 3, error: 4, fatal: 5 };
  for (const [method, level] of Object.entries(methods)) {
    console[method] = level < lowest && level < 5
      ? () => {}
      : (...params) => writeLine(format(currentId(), LEVELS[level], params));
  }
  return (where, error) => {
    const shown = error instanceof Error ? error : new Error(error);
    if (json) console.error(shown);
    else console.error(where, errors.toLine(shown));
  };
}

module.exports = { patch };
