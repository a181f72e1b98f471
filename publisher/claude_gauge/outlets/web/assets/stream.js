// The publisher's event stream; reconnects by itself, also after an answer that ends it for good.

const AGAIN_MS = 2000;

export class Stream {
  // `tell(kind, data)`: open, lost, age (seconds of the next payload), usage (its text).
  constructor(url, tell) {
    this.url = url;
    this.tell = tell;
    this.open();
  }

  open() {
    this.source = new EventSource(this.url);
    this.source.onopen = () => this.tell("open", "");
    this.source.addEventListener("age", (event) => this.tell("age", event.data));
    this.source.onmessage = (event) => this.tell("usage", event.data);
    this.source.onerror = () => {
      this.tell("lost", "");
      if (this.source.readyState === EventSource.CLOSED) setTimeout(() => this.open(), AGAIN_MS);
    };
  }
}
