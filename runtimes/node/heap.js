'use strict';
// The heap's limit is a flag of V8's. While any flag is set V8 refuses what Node
// brings compiled of its own modules, and compiles each anew: 5 ms for net, 16 for
// those that an SDK needs. The main thread's heap has its limit from the moment that
// it was made, so the flag is taken back; it is set again before there is a worker,
// whose heap gets its limit from the flag too.

const binding = require('./binding.js');

const NAME = '--max-old-space-size=';

const flag = process.execArgv.findLast((arg) => arg.startsWith(NAME));
let setFlags; // undefined where the flag is left as it is
let set = flag !== undefined;

// release takes the flag back, where a worker cannot miss it.
function release() {
  // Options of the function's own may have made one already.
  if (!set || process.moduleLoadList.includes('NativeModule internal/worker')) return;
  setFlags = (binding('v8') ?? require('v8')).setFlagsFromString;
  change(false);
  onFirstWorker(() => change(true));
}

function change(wanted) {
  setFlags(wanted ? flag : NAME + '0');
  set = wanted;
}

// onFirstWorker calls act before there can be a worker: the module that makes them
// replaces process.chdir when it is loaded.
function onFirstWorker(act) {
  const { chdir } = process;
  Object.defineProperty(process, 'chdir', {
    configurable: true,
    enumerable: true,
    get: () => chdir,
    set(value) {
      Object.defineProperty(process, 'chdir', { value, writable: true, configurable: true, enumerable: true });
      act();
    },
  });
}

// released calls compile while V8 takes what was compiled before.
function released(compile) {
  if (!setFlags || !set) return compile();
  change(false);
  try {
    return compile();
  } finally {
    change(true);
  }
}

module.exports = { release, released };
