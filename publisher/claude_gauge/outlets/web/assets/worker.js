// One stream for all tabs that show the same: its address is this worker's name.
import { Stream } from "./stream.js";

const ports = new Set();
let state = "lost", status = "", newest = null;
const nodes = new Map();

const seconds = () => performance.now() / 1000;

function emit(kind, data) {
  if (kind === "age") newest = { at: seconds() - Number(data), text: null };
  else if (kind === "usage") newest = { at: newest && newest.text === null ? newest.at : seconds(), text: data };
  else if (kind === "status") status = data;
  else if (kind === "node") nodes.set(JSON.parse(data).node, [data, seconds()]);
  else if (kind !== "scales") state = kind;
  for (const port of ports) port.postMessage([kind, data, 0]);
}

self.onconnect = (event) => {
  const port = event.ports[0];
  ports.add(port);
  port.onmessage = () => ports.delete(port); // the only thing a tab says is that it goes
  port.postMessage([state, ""]);
  if (status) port.postMessage(["status", status]);
  if (newest && newest.text !== null) {
    port.postMessage(["age", String(seconds() - newest.at)]);
    port.postMessage(["usage", newest.text]);
  }
  for (const [data, at] of nodes.values()) port.postMessage(["node", data, seconds() - at]);
};

new Stream(self.name, emit);
