'use strict';
// Error shapes: what Lambda's Node.js runtime answers and logs for a thrown value.

const util = require('util');

class RuntimeError extends Error {}

// One class for each error that the runtime itself raises; its name is the errorType.
function define(name) {
  const type = class extends RuntimeError {};
  Object.defineProperty(type, 'name', { value: name });
  type.prototype.name = 'Runtime.' + name;
  return type;
}

const ImportModuleError = define('ImportModuleError');
const HandlerNotFound = define('HandlerNotFound');
const MalformedHandlerName = define('MalformedHandlerName');
const UserCodeSyntaxError = define('UserCodeSyntaxError');
const MalformedStreamingHandler = define('MalformedStreamingHandler');
const InvalidStreamingOperation = define('InvalidStreamingOperation');
const NodeJsExit = define('NodeJsExit');
const CallbackHandlerDeprecated = define('CallbackHandlerDeprecated');
const MarshalError = define('MarshalError');
const UnhandledPromiseRejection = define('UnhandledPromiseRejection');

function looksLikeError(value) {
  return value && typeof value.name === 'string' && typeof value.message === 'string' && typeof value.stack === 'string'
    && value.name !== '' && value.message !== '' && value.stack !== '';
}

// toDocument is the error as the caller of the invocation sees it. It never
// throws, whatever the value's getters do.
function toDocument(error) {
  try {
    if (util.types.isNativeError(error) || looksLikeError(error)) {
      return {
        errorType: String(error.name),
        errorMessage: String(error.message),
        trace: typeof error.stack === 'string' ? error.stack.split('\n') : [],
      };
    }
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  } catch {
    return {
      errorType: 'handled',
      errorMessage: 'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack',
    };
  }
}

// toLine is the error as the log shows it, behind the words that say where.
function toLine(error) {
  try {
    return '\t' + JSON.stringify(error, (_, value) => withHidden(value));
  } catch {
    return '\t' + JSON.stringify(toDocument(error));
  }
}

// withHidden shows the members of an error that are not enumerable.
function withHidden(error) {
  if (!(error instanceof Error)) return error;
  const shown = { errorType: error.name, errorMessage: error.message, code: error.code, ...error };
  if (typeof error.stack === 'string') shown.stack = error.stack.split('\n');
  return shown;
}

function unhandledRejection(reason, promise) {
  // The reason may be anything, and String of it may throw.
  let text = 'unhandled rejection';
  try {
    text = String(reason);
  } catch { /* the general text stays */ }
  const error = new UnhandledPromiseRejection(text);
  error.reason = reason;
  error.promise = promise;
  return error;
}

module.exports = {
  ImportModuleError, HandlerNotFound, MalformedHandlerName, UserCodeSyntaxError, MalformedStreamingHandler,
  InvalidStreamingOperation, NodeJsExit, CallbackHandlerDeprecated, MarshalError, toDocument, toLine, unhandledRejection,
};
