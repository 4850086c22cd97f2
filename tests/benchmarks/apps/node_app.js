// The routes with nothing but Node's own http; run as a program.
"use strict";

const fs = require("fs");
const http = require("http");
const { once } = require("events");

const ROUTES = Number(process.env.BENCHMARK_ROUTES || 0);
const POOL = 10000;
const rows = [];
const records = [];
for (let n = 0; n < POOL; n++) {
  rows.push(`${String(n).padStart(10, "0")} is the number of one of these rows\n`);
  records.push({ id: n, name: `user ${n}`, score: n / 8 + 1 / 16, new: n % 2 });
}

const sections = new Map();
for (let n = 0; n < ROUTES; n++) sections.set(`section${n}`, n);
const listeners = new Set();
const ends = new Map();
const now = () => Number(process.hrtime.bigint()) / 1e9;

function whole(response, body, type = "text/plain; charset=utf-8", status = 200) {
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body) });
  response.end(body);
}

async function stream(response, type, count, chunk) {
  response.writeHead(200, { "content-type": type });
  for (let n = 0; n < count; n++) {
    if (response.destroyed) return;
    if (!response.write(chunk(n))) await Promise.race([once(response, "drain"), once(response, "close")]);
  }
  response.end();
}

function order(request, response) {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const order = JSON.parse(Buffer.concat(parts));
    whole(response, JSON.stringify({ id: order.id, total: order.amount * order.count }), "application/json");
  });
}

function csvLine(values) {
  const quote = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  return values.map(quote).join(",") + "\r\n";
}

async function table(response, count) {
  const header = csvLine(Object.keys(records[0]));
  const line = (n) => (n ? csvLine(Object.values(records[(n - 1) % POOL])) : header);
  await stream(response, "text/csv; charset=utf-8", count + 1, line);
}

async function leave(response, key, pause) {
  let wake = () => {};
  response.on("close", () => wake());
  response.writeHead(200, { "content-type": "text/plain; charset=utf-8" });
  try {
    while (!response.destroyed) {
      response.write("here\n");
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, pause);
        wake = () => (clearTimeout(timer), resolve());
      });
    }
  } finally {
    ends.set(key, now());
  }
}

function events(response) {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write("data: ready\n\n");
  listeners.add(response);
  response.on("close", () => listeners.delete(response));
}

function publish(response, number) {
  for (const listener of listeners) listener.write(`data: event ${number}\n\n`);
  whole(response, "published");
}

async function hub(response, what, first, count) {
  if (what === "events") {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write(":\n\n");
    listeners.add(response);
    response.on("close", () => listeners.delete(response));
  } else if (what === "publish") {
    publish(response, first);
  } else {
    const begin = now();
    for (let n = 0; n < Number(count); n++) {
      const wait = begin + n / 1000 - now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait * 1000));
      for (const listener of listeners) listener.write(`data: event ${Number(first) + n}\n\n`);
    }
    whole(response, "published");
  }
}

function file(response, size) {
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": size });
  fs.createReadStream(`${process.env.BENCHMARK_FILES}/${size}`).pipe(response);
}

const text = "text/plain; charset=utf-8";
const routed = {
  "": (request, response) => whole(response, "Hello, world!"),
  order,
  async: (request, response, count) => stream(response, text, Number(count), (n) => rows[n % POOL]),
  json: (request, response, count) =>
    stream(response, "application/x-ndjson", Number(count), (n) => JSON.stringify(records[n % POOL]) + "\n"),
  csv: (request, response, count) => table(response, Number(count)),
  blocks: (request, response, size, count) => {
    const data = Buffer.alloc(Number(size), Buffer.from(Array.from({ length: 256 }, (_, n) => n)));
    return stream(response, "application/octet-stream", Number(count), () => data);
  },
  file: (request, response, size) => file(response, Number(size)),
  events: (request, response) => events(response),
  hub: (request, response, what, first, count) => hub(response, what, first, count),
  publish: (request, response, number) => publish(response, number),
  leave: (request, response, key, pause) => leave(response, key, Number(pause)),
  left: (request, response, key) => whole(response, String(ends.get(key) ?? "")),
};

const server = http.createServer((request, response) => {
  const [first, ...rest] = request.url.slice(1).split("/");
  if (sections.has(first)) whole(response, `${sections.get(first)} ${Number(rest[1])}`);
  else if (routed[first]) routed[first](request, response, ...rest);
  else whole(response, "", text, 404);
});
server.listen(Number(process.env.BENCHMARK_PORT), "127.0.0.1");
