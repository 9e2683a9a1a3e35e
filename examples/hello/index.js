// The smallest function: it greets, and counts the calls of its instance.
let calls = 0;

exports.handler = async (event) => {
  calls += 1;
  console.log(`greeting ${event.name ?? 'world'}`);
  return { greeting: `hello, ${event.name ?? 'world'}`, calls };
};
