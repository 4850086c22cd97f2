// Tries the streams of an API: their items as they arrive, what has arrived so far, and how they end.
const SHOWN = 200; // items in the page: the newest
const STREAMS = ["text/event-stream", "application/x-ndjson", "application/jsonl", "application/json-seq",
  "multipart/x-mixed-replace", "text/csv", "text/plain", "application/octet-stream"];
const METHODS = ["get", "post", "put", "patch", "query"];
const at = (id) => document.getElementById(id);
let operations = [], description = {}, abort = null;

async function load() {
  const response = await fetch(document.body.dataset.openapi);
  description = await response.json();
  at("title").textContent = `Streams of ${description.info.title}`;
  for (const [path, item] of Object.entries(description.paths))
    for (const method of METHODS) {
      const found = item[method] && streamOf(item[method]);
      if (found) operations.push({ path, method, type: found, operation: item[method] });
    }
  for (const [index, each] of operations.entries())
    at("operation").append(new Option(`${each.method.toUpperCase()} ${each.path}   (${each.type})`, index));
  at("operation").onchange = show;
  const wanted = operations.findIndex((each) => each.operation.operationId === location.hash.slice(1));
  if (wanted > 0) at("operation").value = wanted;
  at("start").disabled = !operations.length;
  if (operations.length) show();
  else finish("", "This API describes no streams. A handler that yields says so by its annotation: -> AsyncIterator[Item].");
}

function streamOf(operation) {
  for (const [status, response] of Object.entries(operation.responses))
    if (status.startsWith("2"))
      for (const [type, content] of Object.entries(response.content ?? {}))
        if (content.itemSchema || STREAMS.includes(type)) return type;
}

function show() {
  const { operation } = operations[at("operation").value];
  location.replace(`#${operation.operationId}`);
  at("about").textContent = operation.summary ?? "";
  at("parameters").replaceChildren(...(operation.parameters ?? []).filter((each) => each.in !== "cookie").map(field));
  const json = operation.requestBody?.content?.["application/json"];
  at("body").hidden = !json;
  at("json").value = json ? "{}" : "";
}

function field(parameter) {
  const label = document.createElement("label"), input = document.createElement("input"), about = document.createElement("small");
  label.textContent = `${parameter.name}${parameter.required ? " *" : ""}`;
  about.textContent = `${parameter.in}${parameter.description ? ": " + parameter.description : ""}`;
  input.dataset.name = parameter.name;
  input.dataset.in = parameter.in;
  input.required = parameter.required;
  input.placeholder = parameter.schema?.default ?? parameter.schema?.type ?? "";
  label.append(input, about);
  return label;
}

function request() {
  const { path, method, type } = operations[at("operation").value];
  const query = new URLSearchParams(), headers = { accept: `${type}, application/problem+json` };
  let address = path;
  for (const input of at("parameters").querySelectorAll("input")) {
    const { name, in: place } = input.dataset;
    if (place === "path") address = address.replace(`{${name}}`, encodeURIComponent(input.value));
    else if (input.value && place === "query") query.append(name, input.value);
    else if (input.value) headers[name] = input.value;
  }
  const root = description.servers?.[0]?.url ?? "";
  const options = { method: method.toUpperCase(), headers };
  if (!at("body").hidden) {
    options.body = at("json").value;
    headers["content-type"] = "application/json";
  }
  return [root + address + (query.size ? `?${query}` : ""), options];
}

async function start(event) {
  event.preventDefault();
  const [address, options] = request();
  const counts = { bytes: 0, items: 0, began: performance.now(), recent: [] };
  abort = new AbortController();
  at("items").replaceChildren();
  finish("", "");
  at("start").disabled = true;
  at("stop").disabled = false;
  const clock = setInterval(() => tell(counts), 250);
  try {
    const response = await fetch(address, { ...options, signal: abort.signal });
    at("status").textContent = `${response.status} ${response.headers.get("content-type") ?? ""}`;
    if (!response.ok) {
      finish("broken", `An error before the first item, so it has a status of its own:\n${await response.text()}`);
      return;
    }
    await read(response, counts);
    finish("whole", "The stream has ended: this is all of it.");
  } catch (error) {
    if (error.name === "AbortError") finish("", "Stopped here. The server has seen that, and has cancelled the handler.");
    else finish("broken", `The stream broke off after ${counts.items} items: what came is not all of it.\n${error}`);
  } finally {
    clearInterval(clock);
    tell(counts);
    at("start").disabled = false;
    at("stop").disabled = true;
  }
}

async function read(response, counts) {
  const type = (response.headers.get("content-type") ?? "").split(";")[0];
  const reader = response.body.getReader(), decoder = new TextDecoder(), split = splitter(type);
  for (let rest = ""; ;) {
    const { done, value } = await reader.read();
    if (value) {
      counts.bytes += value.length;
      counts.recent.push([performance.now(), value.length]);
    }
    let items;
    [items, rest] = split(rest + decoder.decode(value, { stream: !done }), done);
    for (const item of items) add(item, counts);
    if (done) return;
  }
}

// What is between two of these is an item; of other types each chunk is one.
function splitter(type) {
  const between = {
    "text/event-stream": /\r?\n\r?\n/, "application/x-ndjson": /\n/, "application/jsonl": /\n/, "text/csv": /\r?\n/,
    "application/json-seq": /\x1e/, "text/plain": /\n/,
  }[type];
  return (text, done) => {
    const parts = between ? text.split(between) : [text, ""];
    const rest = done ? "" : parts.pop();
    return [parts.filter((part) => part.trim()), rest];
  };
}

function add(text, counts) {
  counts.items += 1;
  const line = document.createElement("li"), time = document.createElement("time"), shown = document.createElement("span");
  time.textContent = `${((performance.now() - counts.began) / 1000).toFixed(2)} s`;
  shown.textContent = text;
  line.append(time, shown);
  at("items").prepend(line);
  if (at("items").childElementCount > SHOWN) at("items").lastElementChild.remove();
}

function tell(counts) {
  const now = performance.now(), seconds = (now - counts.began) / 1000;
  counts.recent = counts.recent.filter(([when]) => now - when < 1000);
  const rate = counts.recent.reduce((sum, [, size]) => sum + size, 0);
  at("bytes").textContent = counts.bytes.toLocaleString("en");
  at("count").textContent = counts.items.toLocaleString("en");
  at("rate").textContent = `${rate.toLocaleString("en")} bytes/s`;
  at("time").textContent = `${seconds.toFixed(1)} s`;
}

function finish(kind, text) {
  at("end").className = kind;
  at("end").textContent = text;
}

at("form").onsubmit = start;
at("stop").onclick = () => abort?.abort();
load().catch((error) => finish("broken", `The description of the API cannot be read: ${error}`));
