// The handler of functions/node in an isolate of workerd.
import { handler } from "./index.mjs";

export default {
  async fetch(request) {
    const answer = JSON.stringify(await handler(await request.json()));
    return new Response(answer, { headers: { "content-type": "application/json" } });
  },
};
