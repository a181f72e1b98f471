// One of the server's event streams; reconnects by itself, also after an answer that ends it for good.

const AGAIN_MS = 2000;

export class Stream {
  // `emit(kind, data)`: open, lost, status, age (seconds of the next payload), usage (its text), node (an entry of the wall), scales (others than before).
  constructor(url, emit) {
    this.url = url;
    this.emit = emit;
    this.open();
  }

  open() {
    this.source = new EventSource(this.url);
    this.source.onopen = () => this.emit("open", "");
    for (const kind of ["age", "status", "node", "scales"]) this.source.addEventListener(kind, (event) => this.emit(kind, event.data));
    this.source.onmessage = (event) => this.emit("usage", event.data);
    this.source.onerror = () => {
      this.emit("lost", "");
      if (this.source.readyState === EventSource.CLOSED) setTimeout(() => this.open(), AGAIN_MS);
    };
  }
}

// Share one stream among all tabs, where the browser can: it opens only six connections to a server.
export function listen(url, emit) {
  if (!globalThis.SharedWorker) return new Stream(url, emit);
  const worker = new SharedWorker("worker.js", { type: "module", name: url });
  worker.onerror = () => new Stream(url, emit);
  worker.port.onmessage = (event) => emit(...event.data);
  addEventListener("pagehide", () => worker.port.postMessage("gone"));
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}
