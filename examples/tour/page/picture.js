// The picture of a stream: producer, channel, client, and what moves between them.

import { bytes, Rate, whole } from "./numbers.js";

const DOING = {
  idle: "not started", working: "at work", waiting: "waits for room",
  finished: "has finished", left: "was closed", failed: "has failed",
};
const FULL = 0.9; // of what the channel holds: then the producer waits
const STEP = 16; // pixels between two dots on a wire
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Picture {
  constructor(box) {
    this.box = box;
    this.unit = box.dataset.unit;
    this.room = 1024 * (box.dataset.room ?? 64);
    this.wires = [".first i", ".second i"].map((place) => this.find(place).animate(
      { backgroundPositionX: ["0", `${STEP}px`] }, { duration: 1000, iterations: Infinity }));
    this.reset();
  }

  find(selector) { return this.box.querySelector(selector); }
  amount(number) { return this.unit === "bytes" ? bytes(number) : whole(number); }

  reset() {
    this.rates = { made: new Rate(), bytes: new Rate() };
  }

  /** Draw it: units made, handed on and read; bytes sent and read; how many there will be; how the producer is. Returns
   *  what is made and read in a second. What the server says is up to a tenth of a second old. */
  show({ made: known, handed, sent, read, bytesRead, total, producer, open }) {
    const made = Math.max(known, read);
    const each = this.unit === "bytes" ? 1 : handed ? sent / handed : 0; // bytes in a unit
    const waiting = open ? Math.max(0, made - handed) * each : 0;
    const underWay = open ? Math.max(0, sent - bytesRead) : 0;
    const level = Math.min(1, waiting / this.room);
    const making = this.rates.made.add(made), reading = this.rates.bytes.add(bytesRead);
    this.write("b.made", this.amount(made));
    this.write("b.read", this.amount(read));
    this.write(".making", open ? `${this.amount(making)}/s` : "");
    this.write(".volume", this.unit === "bytes" ? "" : bytes(bytesRead));
    this.write(".reading", open ? `${bytes(reading)}/s` : "");
    this.write(".waiting", bytes(waiting));
    this.write(".under-way", bytes(underWay));
    this.state(producer === "working" && level > FULL ? "waiting" : producer);
    this.find(".level").style.transform = `scaleX(${level})`;
    if (total) {
      this.find("i.made").style.transform = `scaleX(${made / total})`;
      this.find("i.got").style.transform = `scaleX(${read / total})`;
    }
    this.move(this.wires[0], open ? making * each : 0);
    this.move(this.wires[1], open ? reading : 0);
    return { making, reading };
  }

  write(place, text) {
    const element = this.find(place);
    if (element.textContent !== text) element.textContent = text;
  }

  state(name) {
    this.find(".producer").dataset.state = name;
    this.write(".doing", DOING[name]);
  }

  /** Dots move by the logarithm of what moves, in bytes a second. */
  move(wire, speed) {
    if (calm.matches || speed < 1) wire.pause();
    else {
      wire.playbackRate = Math.max(0.5, Math.log10(speed) - 2);
      wire.play();
    }
  }
}
