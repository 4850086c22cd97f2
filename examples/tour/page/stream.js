// One stream, read with fetch() at a speed that may change meanwhile. What is not read is not sent, and what is not sent
// is not made: nothing else slows the producer down.

const TURN = 50; // milliseconds between two sips of a client that reads slowly

export class Stream {
  #abort = new AbortController();
  #changed = () => {};
  #reader;
  #room = 0; // bytes that may be read before the next turn
  #since = performance.now();
  #speed;

  /** To read a URL at so many bytes a second: 0 for nothing, Infinity for all that comes. */
  constructor(url, speed) {
    this.url = url;
    this.#speed = speed;
    this.bytes = 0;
  }

  set speed(speed) {
    this.#speed = speed;
    this.#changed();
  }

  /** Leave: the connection closes, and the server notices. */
  stop() {
    this.#abort.abort();
    this.#changed();
  }

  /** Ask for it. Returns the headers of the response. */
  async open() {
    const response = await fetch(this.url, { signal: this.#abort.signal });
    if (!response.ok) throw new Error(`status ${response.status}`);
    this.#reader = response.body.getReader();
    return response.headers;
  }

  /** What comes, in sips where reading is slow. Throws what the browser says of a stream that broke. */
  async *[Symbol.asyncIterator]() {
    for (let part = await this.#reader.read(); !part.done; part = await this.#reader.read()) {
      let rest = part.value;
      while (rest.length) {
        const sip = rest.subarray(0, await this.#allowed());
        this.bytes += sip.length;
        this.#room -= sip.length;
        rest = rest.subarray(sip.length);
        yield sip;
      }
    }
  }

  /** How many bytes may be read now: at least one, for which it waits. */
  async #allowed() {
    for (;;) {
      if (this.#speed === Infinity) return Infinity;
      const now = performance.now();
      const most = Math.max(1, (4 * TURN * this.#speed) / 1000);
      this.#room = Math.min(Math.max(this.#room, 0) + (this.#speed * (now - this.#since)) / 1000, most);
      this.#since = now;
      if (this.#room >= 1) return this.#room;
      await new Promise((resolve) => {
        this.#changed = resolve;
        if (this.#speed > 0) setTimeout(resolve, TURN);
      });
      this.#abort.signal.throwIfAborted();
    }
  }
}
