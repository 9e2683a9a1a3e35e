using Workerd = import "/workerd/workerd.capnp";

# The benchmark copies this, worker.mjs and the handler of functions/node into one
# directory: workerd embeds nothing from outside.
const config :Workerd.Config = (
  services = [ (name = "main", worker = .worker) ],
  sockets = [ (name = "http", address = "127.0.0.1:0", http = (), service = "main") ],
);

const worker :Workerd.Worker = (
  modules = [
    (name = "worker.mjs", esModule = embed "worker.mjs"),
    (name = "index.mjs", esModule = embed "index.mjs"),
  ],
  compatibilityDate = "2026-11-01",
);
