// One stream for all tabs: a browser opens only six connections to a server, and fifty tabs must all be live.
import { Stream } from "./stream.js";

const ports = new Set();
let state = "lost";
let newest = null;

const seconds = () => performance.now() / 1000;

function tell(kind, data) {
  if (kind === "age") newest = { at: seconds() - Number(data), text: null };
  else if (kind === "usage") newest = { at: newest && newest.text === null ? newest.at : seconds(), text: data };
  else state = kind;
  for (const port of ports) port.postMessage([kind, data]);
}

self.onconnect = (event) => {
  const port = event.ports[0];
  ports.add(port);
  port.onmessage = () => ports.delete(port); // the only thing a tab says is that it goes
  port.postMessage([state, ""]);
  if (newest && newest.text !== null) {
    port.postMessage(["age", String(seconds() - newest.at)]);
    port.postMessage(["usage", newest.text]);
  }
};

new Stream("events", tell);
