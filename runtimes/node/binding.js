'use strict';
// What Node's own modules are made of, without loading those: that is a good part of
// a start.

// binding returns one by its name; undefined where this Node keeps it to itself, or
// permissions forbid it. Node warns whoever asks for some of them, which is no function's concern.
module.exports = function binding(name) {
  const quiet = Object.getOwnPropertyDescriptor(process, 'noDeprecation');
  process.noDeprecation = true;
  try {
    return process.binding(name);
  } catch {
    return undefined;
  } finally {
    if (quiet) Object.defineProperty(process, 'noDeprecation', quiet);
    else delete process.noDeprecation;
  }
};
