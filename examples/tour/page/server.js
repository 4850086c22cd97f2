// What the server sees: a line for each thing that happens, and for each stream that is open how far it has come.

import { bytes, whole } from "./numbers.js";

/** Show it, and tell each card of its own stream. */
export function watchServer(cards) {
  const log = document.getElementById("log"), open = document.getElementById("open");
  const source = new EventSource("/activity");
  const own = (visit) => cards.find((card) => card.visit === visit);

  source.addEventListener("line", (event) => {
    const { visit, kind, text, made } = JSON.parse(event.data);
    const item = document.createElement("li");
    item.className = kind;
    item.textContent = text;
    log.append(item);
    log.scrollTop = log.scrollHeight;
    if (kind !== "started") own(visit)?.ended(kind, made);
  });

  source.addEventListener("streams", (event) => {
    const levels = JSON.parse(event.data);
    for (const level of levels) own(level.visit)?.told(level);
    open.replaceChildren(...levels.map(({ name, made, unit }) => {
      const item = document.createElement("li"), amount = document.createElement("b");
      amount.textContent = unit === "bytes" ? bytes(made) : `${whole(made)} ${unit}`;
      item.append(name, amount);
      return item;
    }));
  });
}
