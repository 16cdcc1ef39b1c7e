// An upstream on Node's http: answers every request and writes down what it saw.
//
//     node tests/framing/node.mjs PORT LOG
import { openSync, readFileSync, writeSync } from "node:fs";
import { createServer } from "node:http";

const [port, path] = process.argv.slice(2);
const answer = readFileSync(new URL("answer.json", import.meta.url));
const log = openSync(path, "a");
const note = (line) => writeSync(log, JSON.stringify(line) + "\n");
const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    note({ method: request.method, target: request.url, body: Buffer.concat(parts).toString("latin1") });
    response.writeHead(200, { "content-type": "application/json", "content-length": answer.length });
    response.end(answer);
  });
});
server.on("clientError", (error, socket) => {
  if (error.code !== "ECONNRESET") note({ error: error.code });
  socket.destroy();
});
server.keepAliveTimeout = 0;
server.listen(Number(port), "127.0.0.1");
