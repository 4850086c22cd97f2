// The page of the tour: its cards, and what the server sees of them.

import { Card } from "./card.js";
import { watchServer } from "./server.js";
import { Frame, Load, Rows, Speeds } from "./views.js";

const view = (id) => document.querySelector(`#${id} .view`);
const csv = document.querySelector("[value='/orders.csv']");

const cards = [
  new Card("download", new Speeds(view("download"))),
  new Card("table", new Rows(view("table"), () => csv.checked)),
  new Card("load", new Load(view("load"))),
  new Card("pieces", new Frame(view("pieces"))),
];

watchServer(cards);
setInterval(() => cards.filter((card) => card.running).forEach((card) => card.show()), 100);
cards[0].start();
