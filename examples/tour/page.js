// The page of the tour. Each card runs one stream and tells how far it has come and how it ended; what the server says
// about the same stream comes by /activity, and is found by the number in the response's "x-visit" header.
"use strict";

const STATES = { idle: "", running: "running", finished: "complete", stopped: "stopped", broken: "broken off" };
const MIB = 2 ** 20;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const byVisit = new Map();

/** Draw lines of shares (0 to 1) on a canvas, the newest values at the right edge. */
function plot(canvas, lines, width) {
  const ratio = devicePixelRatio, { clientWidth: w, clientHeight: h } = canvas;
  if (canvas.width !== w * ratio || canvas.height !== h * ratio) [canvas.width, canvas.height] = [w * ratio, h * ratio];
  const pen = canvas.getContext("2d"), style = getComputedStyle(canvas);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, w, h);
  pen.strokeStyle = pen.fillStyle = probe(style, "--line");
  for (const share of [0, 0.25, 0.5, 0.75, 1]) pen.fillRect(0, 1 + share * (h - 3), w, 1);
  for (const [name, values] of lines) {
    const points = values.slice(-width).map((v, i, all) => [w - ((all.length - 1 - i) * w) / (width - 1), h - 2 - Math.min(v, 1) * (h - 6)]);
    if (!points.length) continue;
    pen.strokeStyle = pen.fillStyle = probe(style, name);
    pen.lineWidth = 2.5;
    pen.lineJoin = "round";
    pen.beginPath();
    for (const [x, y] of points) pen.lineTo(x, y);
    pen.stroke();
    pen.lineTo(w, h);
    pen.lineTo(points[0][0], h);
    pen.globalAlpha = 0.13;
    pen.fill();
    pen.globalAlpha = 1;
  }
}

/** A colour as the style sheet means it now: a canvas does not know light-dark(). */
function probe(style, name) {
  const pair = /^light-dark\((.+),(.+)\)$/.exec(style.getPropertyValue(name).trim());
  return pair ? pair[matchMedia("(prefers-color-scheme: dark)").matches ? 2 : 1].trim() : style.getPropertyValue(name);
}

/** One card: its numbers, its state, its buttons. Kinds of streams fill in open(). */
class Card {
  constructor(id) {
    this.box = document.getElementById(id);
    this.view = this.find(".view");
    this.unit = this.box.dataset.unit;
    this.find("h2").insertAdjacentHTML("beforeend", '<span class="state" role="status"></span>');
    for (const button of this.box.querySelectorAll("[data-start]")) button.onclick = () => this.start(button.dataset.start);
    this.find(".stop").onclick = () => this.stop();
    this.state("idle");
  }
  find(selector) { return this.box.querySelector(selector); }
  get running() { return this.box.dataset.state === "running"; }

  start(url) {
    if (this.running) return;
    Object.assign(this, { count: 0, made: 0, total: 0, visit: 0 });
    this.state("running");
    this.show();
    this.timer = setInterval(() => this.measure(), 250);
    this.open(url);
  }
  end(state, why = "") {
    if (!this.running) return;
    clearInterval(this.timer);
    this.state(state);
    this.show();
    if (state === "broken") this.note(`browser: ${why}`, true);
  }
  state(name) {
    this.box.dataset.state = name;
    this.find(".state").textContent = STATES[name];
    this.find(".stop").disabled = name !== "running";
    for (const button of this.box.querySelectorAll("[data-start]")) button.disabled = name === "running";
  }
  /** Four times a second. */
  measure() { this.show(); }
  /** What the server says about this card's stream. */
  told(count) { this.made = count; this.show(); }
  text(count) { return count.toLocaleString("en"); }
  lead() { return this.made ? `${this.text(this.made)} sent` : ""; }
  note(text, trouble = false) {
    this.find(".lead").textContent = text;
    this.find(".lead").classList.toggle("trouble", trouble);
  }
  show() {
    this.box.dataset.count = this.count;
    this.find(".count").textContent = this.text(this.count);
    if (this.box.dataset.state !== "broken") this.note(this.lead());
    if (!this.total) return;
    this.find(".made").style.transform = `scaleX(${this.made / this.total})`;
    this.find(".got").style.transform = `scaleX(${this.count / this.total})`;
  }
}

/** A stream that is read with fetch(). To stop is to abort: the connection closes, and the server notices. */
class FetchCard extends Card {
  async open(url) {
    this.abort = new AbortController();
    try {
      const response = await fetch(url, { signal: this.abort.signal });
      if (!response.ok) throw new Error(`status ${response.status}`);
      this.visit = Number(response.headers.get("x-visit"));
      byVisit.set(this.visit, this);
      this.total = Number(response.headers.get("x-rows") ?? response.headers.get("content-length") ?? 0);
      const reader = response.body.getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        await this.pace(part.value);
      }
      this.end("finished");
    } catch (error) {
      this.end(error.name === "AbortError" ? "stopped" : "broken", error.message);
    }
  }
  stop() { this.abort?.abort(); }
  /** Take no more in a second than the box says: what is not read is not sent, and what is not sent is not made. */
  async pace(bytes) {
    const slow = this.find(".slow");
    while (slow?.checked && bytes.length) {
      const size = slow.dataset.rate / 20;
      this.take(bytes.subarray(0, size));
      this.show();
      bytes = bytes.subarray(size);
      await sleep(50);
      this.abort.signal.throwIfAborted();
    }
    if (bytes.length) this.take(bytes);
  }
}

class TableCard extends FetchCard {
  open(url) {
    this.header = url.endsWith(".csv") ? 1 : 0;
    this.rest = "";
    return super.open(url);
  }
  take(bytes) {
    let lines = 0;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines++;
    this.count += lines;
    if (lines && this.header) this.count -= this.header--;
    this.rest = (this.rest + new TextDecoder().decode(bytes.subarray(-2000))).slice(-2000);
    this.view.textContent = this.rest.split("\n").slice(-10, -1).join("\n");
  }
}

class DownloadCard extends FetchCard {
  open(url) { Object.assign(this, { rates: [], counts: [0], steps: 0 }); return super.open(url); }
  take(bytes) { this.count += bytes.length; }
  text(count) { return (count / MIB).toFixed(count < 10 * MIB && count ? 1 : 0); }
  measure() {
    super.measure();
    const steps = Math.min(++this.steps, 8); // over the last two seconds: chunks come in bursts
    this.counts.push(this.count);
    this.rates.push((4 * (this.count - this.counts.at(-1 - steps))) / steps);
    const most = Math.max(...this.rates.slice(-60), 1);
    plot(this.view, [["--one", this.rates.map((rate) => (0.85 * rate) / most)]], 60);
    this.find(".unit").textContent = `MiB here, ${Math.round(this.rates.at(-1) / MIB)} a second`;
  }
  end(...how) { this.find(".unit").textContent = "MiB here"; super.end(...how); }
}

class ClockCard extends FetchCard {
  open(url) { this.find(".ticks").replaceChildren(); return super.open(url); }
  take(bytes) {
    const times = new TextDecoder().decode(bytes).trim().split("\n");
    this.count += times.length;
    this.find(".time").textContent = times.at(-1);
    for (const _ of times) this.find(".ticks").append(document.createElement("i"));
    while (this.find(".ticks").children.length > 72) this.find(".ticks").firstChild.remove();
    this.show();
  }
  end(state, why) {
    super.end(state, why);
    if (state === "broken") this.find(".ticks").insertAdjacentHTML("beforeend", '<i class="broken">✕</i>');
  }
}

/** Events come by EventSource, which would reconnect by itself. */
class LoadCard extends Card {
  open(url) {
    this.lines = [["--two", []], ["--one", []]];
    this.busy = 0;
    this.source = new EventSource(url);
    this.source.addEventListener("load", (event) => {
      const { processors, memory } = JSON.parse(event.data);
      this.count++;
      this.lines[0][1].push(memory);
      this.lines[1][1].push(processors);
      plot(this.view, this.lines, 40);
      this.busy = processors;
      this.show();
    });
    this.source.addEventListener("unavailable", (event) => { this.source.close(); this.end("broken", event.data); });
  }
  lead() { return this.source?.readyState === EventSource.CONNECTING ? "connecting" : `${Math.round(100 * this.busy)} % busy`; }
  stop() { this.source?.close(); this.end("stopped"); }
}

/** A page in a frame. Its stop is the browser's own. */
class PiecesCard extends Card {
  open(url) {
    this.since = performance.now();
    this.view.onload = () => this.settle("finished");
    this.view.contentWindow.location.replace(url);
  }
  measure() {
    const count = this.view.contentDocument?.querySelectorAll(".piece").length ?? 0;
    if (count !== this.count) this.since = performance.now();
    this.count = count;
    super.measure();
    // Some browsers tell nobody that the connection of a frame broke. A piece takes half a second.
    if (performance.now() - this.since > 10000) this.end("broken", "nothing comes");
  }
  settle(state) {
    const page = this.view.contentDocument; // null where the browser shows an error page of its own
    if (!this.running || page?.URL === "about:blank") return;
    this.measure();
    // A frame has "loaded" also where its connection broke: the page's own last piece tells.
    const cut = state === "finished" && !page?.getElementById("whole");
    this.end(cut ? "broken" : state, "page is cut off");
  }
  stop() { this.view.contentWindow?.stop(); this.settle("stopped"); this.end("stopped"); }
}

/** The server's own view: a line for each thing that happens, and a count for each stream that is open. */
function watchServer() {
  const source = new EventSource("/activity");
  const log = document.getElementById("log"), open = document.getElementById("open");
  source.addEventListener("line", (event) => {
    const { visit, kind, text, count } = JSON.parse(event.data);
    const item = document.createElement("li");
    item.className = kind;
    item.textContent = text;
    log.append(item);
    log.scrollTop = log.scrollHeight;
    byVisit.get(visit)?.told(count);
  });
  source.addEventListener("streams", (event) => {
    const streams = Object.entries(JSON.parse(event.data));
    open.replaceChildren(...streams.map(([visit, [name, count, unit]]) => {
      byVisit.get(Number(visit))?.told(count);
      const item = document.createElement("li"), number = document.createElement("b");
      number.textContent = unit === "bytes" ? `${Math.round(count / MIB)} MiB` : `${count.toLocaleString("en")} ${unit}`;
      item.append(name, number);
      return item;
    }));
  });
}

const cards = [new TableCard("table"), new DownloadCard("download"), new ClockCard("clock"), new LoadCard("load"), new PiecesCard("pieces")];
const startAll = () => cards.forEach((card) => card.start([...card.box.querySelectorAll("[data-start]")].at(card.unit === "ticks" ? -1 : 0).dataset.start));
document.getElementById("start-all").onclick = startAll;
document.getElementById("stop-all").onclick = () => cards.forEach((card) => card.running && card.stop());
watchServer();
if (location.hash === "#autostart") startAll();
