// The function that is measured: it reads a small event and returns a small
// result. The bare server of the comparison imports this very file.
export const handler = async (event) => ({
  greeting: `hello, ${event.name}`,
  count: event.items.length,
  sum: event.items.reduce((sum, item) => sum + item, 0),
});
