// What to do with the bytes of a stream: each view takes them, shows them, and says how many units they complete.

const NEWEST = 4000; // bytes of text, which the view shows the end of
const SPAN = 200; // tenths of a second that a chart of speeds shows

/** How often a text stands in another, the end of which may be its beginning: what is left over comes back next time. */
class Marks {
  constructor(mark) { Object.assign(this, { mark, rest: "", decoder: new TextDecoder() }); }

  /** The pieces that end with a mark. */
  split(data) {
    const pieces = (this.rest + this.decoder.decode(data, { stream: true })).split(this.mark);
    this.rest = pieces.pop();
    return pieces;
  }
}

/** The newest rows of a table. */
export class Rows {
  constructor(view, hasHeader) { Object.assign(this, { view, hasHeader }); }

  start() {
    this.header = this.hasHeader() ? 1 : 0;
    this.text = "";
    this.decoder = new TextDecoder();
  }

  take(data) {
    let lines = 0;
    for (let at = data.indexOf(10); at >= 0; at = data.indexOf(10, at + 1)) lines++;
    this.text = (this.text + this.decoder.decode(data.subarray(-NEWEST))).slice(-NEWEST);
    if (lines && this.header) lines -= this.header--;
    return lines;
  }

  show() {
    if (this.text) this.view.textContent = this.text.slice(this.text.indexOf("\n") + 1, this.text.lastIndexOf("\n"));
  }
}

/** A chart of shares, 0 to 1: the newest at the right edge. */
class Chart {
  constructor(view, names) {
    this.view = view;
    view.setAttribute("viewBox", "0 0 100 100");
    view.setAttribute("preserveAspectRatio", "none");
    view.innerHTML = names.map((name) => `<path class="area ${name}"/><path class="line ${name}"/>`).join("");
  }

  /** Draw a list of values for each name, `width` of them at most. */
  draw(lists, width) {
    lists.forEach((list, index) => {
      const points = list.slice(-width).map((value, at, all) =>
        `${(100 - (100 * (all.length - 1 - at)) / (width - 1)).toFixed(2)} ${(98 - 94 * Math.min(1, value)).toFixed(2)}`);
      const line = points.length > 1 ? `M${points.join("L")}` : "";
      this.view.children[2 * index].setAttribute("d", line && `${line}L100 100L${points[0].split(" ")[0]} 100Z`);
      this.view.children[2 * index + 1].setAttribute("d", line);
    });
  }
}

/** How many bytes were made, and how many were read, in each second. */
export class Speeds extends Chart {
  constructor(view) { super(view, ["three", "one"]); this.start(); }
  start() { Object.assign(this, { made: [], read: [] }); }
  take(data) { return data.length; }
  show({ making, reading }) {
    this.made.push(making);
    this.read.push(reading);
    const most = 1.5 * Math.max(...this.read.slice(-SPAN), 1); // more is made while the buffers on the way fill up
    this.draw([this.made, this.read].map((list) => list.map((speed) => speed / most)), SPAN);
  }
}

/** The load of a machine, as server-sent events. */
export class Load extends Chart {
  constructor(view) { super(view, ["three", "one"]); this.start(); }
  start() { this.memory = []; this.processors = []; this.events = new Marks("\n\n"); }
  take(data) {
    const events = this.events.split(data);
    for (const event of events) {
      const found = /^data: (\{.*\})$/m.exec(event);
      if (!found) continue;
      const { memory, processors } = JSON.parse(found[1]);
      this.memory.push(memory);
      this.processors.push(processors);
    }
    this.draw([this.memory, this.processors], 40);
    return events.length;
  }
}

/** A page that is shown while it arrives. */
export class Frame {
  constructor(view) { this.view = view; }
  start() {
    this.pieces = new Marks("</div>");
    this.decoder = new TextDecoder();
    this.view.contentDocument.open();
  }
  take(data) {
    this.view.contentDocument.write(this.decoder.decode(data, { stream: true }));
    return this.pieces.split(data).length;
  }
  end() { this.view.contentDocument.close(); }
}
