// The page of the chat room: a WebSocket that takes and gives JSON.

const place = new URLSearchParams(location.search);
const name = place.get("name") ?? `guest ${Math.floor(Math.random() * 1000)}`;
const room = encodeURIComponent(place.get("room") ?? "lobby");
const url = `${location.origin.replace(/^http/, "ws")}/chat/${room}?name=${encodeURIComponent(name)}`;
const socket = new WebSocket(url);
const byId = (id) => document.getElementById(id);

socket.onopen = () => { byId("state").textContent = `connected as ${name}`; };

socket.onmessage = (event) => {
  const { who, text, present } = JSON.parse(event.data);
  const item = document.createElement("li"), name = document.createElement("span");
  name.className = "who";
  name.textContent = `${who}: `;
  item.append(name, text);
  byId("lines").append(item);
  byId("lines").scrollTop = byId("lines").scrollHeight;
  byId("present").textContent = present;
};

socket.onclose = (event) => { byId("state").textContent = `closed with ${event.code} ${event.reason}`; };

byId("say").onsubmit = (event) => {
  event.preventDefault();
  socket.send(JSON.stringify({ text: byId("text").value }));
  byId("text").value = "";
};
