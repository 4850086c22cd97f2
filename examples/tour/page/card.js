// A card: one stream at a time, with a slider and buttons. What arrives goes to a view; what the server says of the same
// stream comes by way of server.js; picture.js draws both.

import { bytes } from "./numbers.js";
import { Picture } from "./picture.js";
import { Stream } from "./stream.js";

const STATES = { idle: "", running: "running", finished: "complete", stopped: "stopped", broken: "broken off" };
const NOTHING = { made: 0, handed: 0, sent: 0 };

export class Card {
  constructor(id, view) {
    this.box = document.getElementById(id);
    this.view = view;
    this.find(".view").before(document.getElementById("controls").content.cloneNode(true));
    this.picture = new Picture(this.box);
    this.slider = this.find("[type=range]");
    this.slider.value = this.box.dataset.speed;
    this.slider.oninput = () => this.turn();
    this.find(".toggle").onclick = () => (this.running ? this.stop() : this.start());
    this.find(".break").onclick = () => this.break();
    this.reset();
    this.turn();
    this.become("idle", "");
  }

  find(selector) { return this.box.querySelector(selector); }
  get running() { return this.box.dataset.state === "running"; }

  /** Bytes a second that are read. The slider's scale is logarithmic, between nothing and all that comes. */
  get speed() {
    const place = Number(this.slider.value), { slowest, fastest } = this.box.dataset;
    if (place === 0 || place === 100) return place ? Infinity : 0;
    return slowest * (fastest / slowest) ** ((place - 1) / 98);
  }

  turn() {
    const speed = this.speed;
    const words = speed === 0 ? "nothing" : speed === Infinity ? "full speed" : `${bytes(speed)}/s`;
    this.find(".value").textContent = words;
    this.slider.setAttribute("aria-valuetext", words);
    this.slider.style.setProperty("--place", `${this.slider.value}%`);
    if (this.stream) this.stream.speed = speed;
  }

  reset() {
    Object.assign(this, { level: NOTHING, read: 0, total: 0, visit: 0, producer: "idle", noticed: null, stream: null });
    this.picture.reset();
  }

  async start() {
    this.reset();
    this.become("running", "");
    this.producer = "working";
    this.stream = new Stream(this.find(":checked")?.value ?? this.box.dataset.url, this.speed);
    try {
      const headers = await this.stream.open();
      this.visit = Number(headers.get("x-visit"));
      this.total = Number(headers.get("x-total") ?? headers.get("content-length") ?? 0);
      this.view.start();
      for await (const part of this.stream) this.read += this.view.take(part);
      this.become("finished", "Complete.");
    } catch (error) {
      if (error.name === "AbortError") this.become("stopped", this.stopped());
      else this.become("broken", `Broken off. The browser says: ${error.message}.`);
    }
    this.view.end?.(this.box.dataset.state);
  }

  stop() {
    this.stoppedAt = performance.now();
    this.stream.stop();
  }

  /** There and back: the page hears of it when the server has noticed. */
  stopped() { return this.noticed ? `Stopped. The server noticed within ${this.noticed} ms.` : "Stopped."; }

  async break() {
    this.find(".break").disabled = true;
    this.say("The producer fails at its next step.");
    await fetch(`/visits/${this.visit}/break`, { method: "POST" });
  }

  /** What the server says of it while it is open. */
  told(level) { this.level = level; }

  /** What the server says of its producer's end. */
  ended(kind, made) {
    this.level = { ...this.level, made };
    this.producer = kind;
    this.find(".break").disabled = true;
    if (kind === "left") {
      this.noticed = Math.max(1, Math.round(performance.now() - this.stoppedAt));
      this.say(this.stopped());
    }
    if (kind === "failed" && this.running) this.say("The producer has failed. What it made before still arrives.");
    this.show();
  }

  become(state, words) {
    this.box.dataset.state = state;
    this.find(".state").textContent = STATES[state];
    this.find(".toggle").textContent = this.running ? "Stop" : state === "idle" ? "Start" : "Start again";
    this.find(".break").disabled = !this.running;
    this.say(words);
    this.show();
  }

  say(words) { this.find(".status").textContent = words; }

  /** Ten times a second, while it runs; and at its end. */
  show() {
    this.box.dataset.read = this.read;
    this.box.dataset.made = this.level.made;
    const rates = this.picture.show({
      ...this.level, read: this.read, bytesRead: this.stream?.bytes ?? 0, total: this.total,
      producer: this.producer, open: this.running,
    });
    if (this.stream) this.view.show?.(rates);
  }
}
