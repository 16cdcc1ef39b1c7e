// What JSON.parse reads of JSON documents: frames as judge.rs takes them, a line of JSON for each.
import { readFileSync } from "node:fs";

const paths = JSON.parse(process.argv[2]);

function told(value) {
  if (value === undefined || value === null) return null;
  if (typeof value === "number") return "#" + String(value + 0);
  if (Array.isArray(value)) return value.map((item) => (typeof item === "string" ? item : "?"));
  return typeof value === "object" ? "{}" : value;
}

function member(value, key) {
  const object = typeof value === "object" && value !== null && !Array.isArray(value);
  return object && Object.hasOwn(value, key) ? value[key] : undefined;
}

const input = readFileSync(0);
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lines = [];
for (let at = 0; at < input.length; ) {
  const start = at + 4;
  at = start + input.readUInt32BE(at);
  try {
    const document = JSON.parse(decoder.decode(input.subarray(start, at)));
    lines.push(JSON.stringify(paths.map((path) => told(path.split(".").reduce(member, document)))));
  } catch (error) {
    lines.push(JSON.stringify({ refused: error.name }));
  }
}
process.stdout.write(lines.map((line) => line + "\n").join(""));
