// The handler of functions/node in Google's functions framework. The benchmark
// copies it beside the handler.
import { http } from "@google-cloud/functions-framework";

import { handler } from "./handler.mjs";

http("handler", async (request, response) => response.json(await handler(request.body)));
