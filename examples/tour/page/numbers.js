// Numbers for people.

const WINDOW = 1500; // milliseconds over which a rate is taken: on the way much comes in bursts

/** 1234567 -> "1,234,567" */
export const whole = (number) => Math.round(number).toLocaleString("en");

/** Bytes, in the unit that leaves few digits. */
export function bytes(number) {
  if (number < 2 ** 10) return `${Math.round(number)} B`;
  if (number < 2 ** 20) return `${Math.round(number / 2 ** 10)} KiB`;
  return `${(number / 2 ** 20).toFixed(number < 100 * 2 ** 20 ? 1 : 0)} MiB`;
}

/** How fast something grows, for who looks at it now and then. */
export class Rate {
  #samples = [];

  /** Look at it. Returns by how much it grows in a second. */
  add(value) {
    const now = performance.now();
    this.#samples.push([now, value]);
    while (this.#samples.length > 2 && this.#samples[0][0] < now - WINDOW) this.#samples.shift();
    const [then, before] = this.#samples[0];
    return now > then ? (1000 * (value - before)) / (now - then) : 0;
  }
}
