'use strict';
// Compiles the package's CommonJS files, without running any of them, and writes
// V8's code cache of each to descriptor 3; compiled.js uses it. Arguments: the
// package's root, the least size of a file in bytes.

require('./heap.js').release(); // as when the cache is used
const fs = require('fs');
const path = require('path');
const compiled = require('./compiled.js');

const root = process.argv[2];
const least = Number(process.argv[3]);

function visit(folder) {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) visit(file);
    else if (entry.isFile() && /\.c?js$/.test(entry.name) && fs.statSync(file).size >= least) compile(file);
  }
}

function compile(file) {
  let cache;
  try {
    cache = compiled.produce(fs.readFileSync(file, 'utf8'), file);
  } catch {
    return; // an ES module, or a mistake that is the function's to meet
  }
  if (cache) emit(path.relative(root, file) + compiled.SUFFIX, cache);
}

// A record is the lengths of name and data, 4 bytes each, and both.
function emit(name, data) {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(Buffer.byteLength(name), 0);
  head.writeUInt32BE(data.length, 4);
  for (let rest = Buffer.concat([head, Buffer.from(name), data]); rest.length > 0; ) {
    rest = rest.subarray(fs.writeSync(3, rest));
  }
}

visit(root);
