// The handler of functions/node behind Node's own http server, with nothing
// between. It listens on a free port of 127.0.0.1, prints it as one line, and
// serves until it is killed.
import { createServer } from "node:http";

import { handler } from "../../functions/node/index.mjs";

const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", async () => {
    try {
      const answer = JSON.stringify(await handler(JSON.parse(Buffer.concat(chunks).toString())));
      response.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(answer) });
      response.end(answer);
    } catch (error) {
      response.writeHead(500, { "Content-Length": Buffer.byteLength(error.message) });
      response.end(error.message);
    }
  });
});
// The pauses between the rounds are longer than Node keeps a connection by default.
server.keepAliveTimeout = 0;
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
