// Drives @aws-sdk/client-lambda from lines of JSON on stdin: each is
// {"call": METHOD, "input": {…}} for a method of the client, or
// {"wait": "Active"|"Updated", "input": {…}}; ZipFile, Payload and InvokeArgs are base64. Each
// is answered with one line, an event stream read to its end, {"output": …} or {"error": {"name", "message"}}.
import { createInterface } from "node:readline";
import { Lambda, waitUntilFunctionActiveV2, waitUntilFunctionUpdatedV2 } from "@aws-sdk/client-lambda";

const client = new Lambda({ endpoint: process.env.HEARTH_ENDPOINT, maxAttempts: 1 });
const waiters = { Active: waitUntilFunctionActiveV2, Updated: waitUntilFunctionUpdatedV2 };
const binary = (key, value) => ["ZipFile", "Payload", "InvokeArgs"].includes(key) && typeof value === "string" ? Buffer.from(value, "base64") : value;

async function answer({ call, wait, input }) {
  if (wait) {
    await waiters[wait]({ client, maxWaitTime: 60, minDelay: 1, maxDelay: 1 }, input);
    return {};
  }
  const output = await client[call](input);
  if (output.EventStream) {
    const events = [];
    for await (const event of output.EventStream) events.push(event);
    output.EventStream = events;
    for (const { PayloadChunk: chunk } of output.EventStream) if (chunk) chunk.Payload = Buffer.from(chunk.Payload).toString("base64");
  }
  if (output.Payload) output.Payload = Buffer.from(output.Payload).toString("base64");
  return output;
}

for await (const line of createInterface({ input: process.stdin })) {
  let reply;
  try {
    reply = { output: await answer(JSON.parse(line, binary)) };
  } catch (error) {
    reply = { error: { name: error.name, message: String(error.message) } };
  }
  process.stdout.write(JSON.stringify(reply) + "\n");
}
