'use strict';
// Loads CommonJS files of the package with the code cache that was made of them
// when the function was deployed. V8 checks that a cache is of its own version,
// flags and source, and compiles where it is not.

const fs = require('fs');
const path = require('path');
const vm = require('vm');
const Module = require('module');
const heap = require('./heap.js');

const SUFFIX = '.v8';
const PARAMETERS = ['exports', 'require', 'module', '__filename', '__dirname'];

// V8 (as of Node 20) forgets how to import() in what comes out of a cache.
const DYNAMIC_IMPORT = /\bimport\s*[(/]/;

// produce returns the cache of a file's source; undefined where none can be used.
// It throws where the source does not compile.
function produce(source, filename) {
  if (source.startsWith('#!') || DYNAMIC_IMPORT.test(source)) return undefined;
  return vm.compileFunction(source, PARAMETERS, { filename, produceCachedData: true }).cachedData;
}

// use has require() take the caches in folder for the files below root.
function use(root, folder) {
  const below = root + path.sep;
  const original = Module.prototype._compile;
  Module.prototype._compile = function _compile(content, filename, ...rest) {
    const cachedData = filename.startsWith(below) ? read(path.join(folder, filename.slice(below.length) + SUFFIX)) : undefined;
    if (cachedData === undefined) return original.call(this, content, filename, ...rest);
    const run = heap.released(() => vm.compileFunction(content, PARAMETERS, { filename, cachedData }));
    return Reflect.apply(run, this.exports, [this.exports, requireOf(this), this, filename, path.dirname(filename)]);
  };
}

function read(file) {
  try {
    return fs.readFileSync(file);
  } catch {
    return undefined;
  }
}

// requireOf is what Node gives a module as its require.
function requireOf(module) {
  const require = (id) => module.require(id);
  require.resolve = (request, settings) => Module._resolveFilename(request, module, false, settings);
  require.resolve.paths = (request) => Module._resolveLookupPaths(request, module);
  require.main = process.mainModule;
  require.extensions = Module._extensions;
  require.cache = Module._cache;
  return require;
}

module.exports = { SUFFIX, produce, use };
