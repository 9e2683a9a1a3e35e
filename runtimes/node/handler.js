'use strict';
// Finds the user's handler: `dir/file.export.member` below the package's root.

const fs = require('fs');
const path = require('path');
const errors = require('./errors.js');

// Types are stripped by Node itself from 24 on.
const EXTENSIONS = ['.js', '.mjs', '.cjs', ...(Number(process.versions.node.split('.')[0]) >= 24 ? ['.ts', '.mts', '.cts'] : [])];

// require() of ES modules: 20.19 and 22.12 brought it, 22.13 no longer warns of it. With
// options of the function's own, import() may be something else.
const CAN_REQUIRE_ESM = process.features.require_module === true && !/^v22\.1[0-2]\./.test(process.version)
  && !process.env.NODE_OPTIONS;

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const RESPONSE = 'response'; // what may be streamed

async function load(root, name) {
  const { directory, module: base, members } = parse(name);
  const exported = await importModule(root, directory, base);
  const find = (from) => members.reduce((value, member) => value?.[member], from);
  const handler = find(exported) ?? find(exported?.default);
  if (!handler) throw new errors.HandlerNotFound(`${name} is undefined or not exported`);
  if (typeof handler !== 'function') throw new errors.HandlerNotFound(`${name} is not a function`);
  refuse(handler);
  return handler;
}

function parse(name) {
  if (name.includes('..')) {
    throw new errors.MalformedHandlerName(
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`);
  }
  const last = path.basename(name);
  const dot = last.indexOf('.');
  if (dot < 0) throw new errors.MalformedHandlerName('Bad handler');
  return {
    directory: name.slice(0, name.lastIndexOf(last)),
    module: last.slice(0, dot),
    members: last.slice(dot + 1).split('.'),
  };
}

async function importModule(root, directory, base) {
  try {
    return await findModule(root, directory, base);
  } catch (error) {
    if (error instanceof SyntaxError) throw wrap(errors.UserCodeSyntaxError, error);
    if (error?.code === 'MODULE_NOT_FOUND') throw wrap(errors.ImportModuleError, error);
    throw error;
  }
}

// wrap keeps the words and the stack of the cause under the runtime's type.
function wrap(Type, cause) {
  const error = new Type(String(cause), { cause });
  if (cause instanceof SyntaxError) error.stack = cause.stack; // it says where
  return error;
}

// The order of names is Lambda's. A file without extension and .cjs are CommonJS,
// .mjs is an ES module, .js is what the nearest package.json says. TypeScript
// files only where this Node strips types by itself (24 and later).
async function findModule(root, directory, base) {
  const file = path.resolve(root, directory, base);
  if (isFile(file)) return require(file);
  for (const extension of EXTENSIONS) {
    const found = file + extension;
    if (!isFile(found)) continue;
    const kind = extension[1];
    if (kind === 'c' || kind !== 'm' && !isModulePackage(path.dirname(file))) return require(found);
    return importFile(found);
  }
  // As Node itself would resolve it: a directory with index.js, a package below
  // node_modules. The runtime's own folder is not where the search begins.
  return require(require.resolve(base, { paths: [root, path.resolve(root, directory)] }));
}

// importFile loads an ES module. Where this Node can, without import(): that reads each
// file in another thread, which takes several times as long. A module that awaits at
// its top level, or whose imports do, needs import(); then none was run yet.
async function importFile(file) {
  if (CAN_REQUIRE_ESM) {
    try {
      return require(file);
    } catch (error) {
      if (error?.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw error;
    }
  }
  return import(require('url').pathToFileURL(file).href);
}

function isFile(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() === true;
}

// isModulePackage reports whether the nearest package.json says "type": "module".
function isModulePackage(folder) {
  for (;;) {
    if (folder.endsWith('/node_modules')) return false;
    const file = path.join(folder, 'package.json');
    if (fs.statSync(file, { throwIfNoEntry: false })) {
      try {
        return JSON.parse(fs.readFileSync(file, 'utf8'))?.type === 'module';
      } catch (error) {
        console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, error);
        return false;
      }
    }
    if (folder === path.dirname(folder)) return false;
    folder = path.dirname(folder);
  }
}

// refuse stops handlers of styles that cannot work here, at init and in words.
function refuse(handler) {
  if (handler[STREAMING] && handler[STREAMING] !== RESPONSE) {
    throw new errors.MalformedStreamingHandler('Only response streaming is supported.');
  }
  if (process.env.AWS_EXECUTION_ENV === 'AWS_Lambda_nodejs24.x' && handler.length >= 3 && !handler[STREAMING]) {
    throw new errors.CallbackHandlerDeprecated(
      'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this '
      + 'function to use a supported handler signature to use Node.js 24 or later. For more information see '
      + 'https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.');
  }
}

// streaming is how a handler wants its response streamed; undefined where it returns it.
function streaming(handler) {
  if (!handler[STREAMING]) return undefined;
  const mark = Number(handler[HIGH_WATER_MARK]);
  return { ...require('./stream.js'), highWaterMark: mark > 0 ? mark : undefined };
}

// defineGlobals sets what Lambda offers to every module. The store is of the
// running invocations, where there may be several.
function defineGlobals(store) {
  globalThis.awslambda = {
    streamifyResponse(handler, options) {
      handler[STREAMING] = RESPONSE;
      if (typeof options?.highWaterMark === 'number') handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
      return handler;
    },
    get HttpResponseStream() { return require('./stream.js').HttpResponseStream; },
  };
  if (store) globalThis.awslambda.InvokeStore = store;
}

// forget drops a CommonJS module that load loaded, as if it had not. The program that
// required it is the main module.
function forget(root, file) {
  const name = path.join(root, file);
  const { cache, main } = require;
  delete cache[name];
  main.children = main.children.filter((child) => child.id !== name);
}

module.exports = { load, streaming, defineGlobals, forget };
