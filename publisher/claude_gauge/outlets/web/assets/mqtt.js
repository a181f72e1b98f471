// A reader of MQTT 3.1.1 over websockets, straight from the broker: connects, subscribes, and never gives up.

const KEEPALIVE_S = 20;
const SLOWEST_MS = 30_000;
const REFUSALS = { 1: "speaks another MQTT version", 2: "refuses our name", 3: "is not available", 4: "refuses user or password", 5: "does not let us in" };
const encoder = new TextEncoder();
const decoder = new TextDecoder();

const word = (text) => {
  const bytes = encoder.encode(text);
  return [bytes.length >> 8, bytes.length & 255, ...bytes];
};

const packet = (head, body) => {
  const length = [];
  let left = body.length;
  do {
    length.push(left > 127 ? (left & 127) | 128 : left);
    left >>= 7;
  } while (left > 0);
  return new Uint8Array([head, ...length, ...body]);
};

export class Mqtt {
  // `heard(topic, text, retained)`; `trouble(why)`, "" once all is well.
  constructor({ url, user, password, topics, heard, trouble }) {
    Object.assign(this, { url, user, password, topics, heard, trouble, wait: 500 });
    this.open();
  }

  open() {
    this.buffer = new Uint8Array();
    this.why = "broker does not answer";
    this.answered = true;
    try {
      this.socket = new WebSocket(this.url, "mqtt");
    } catch {
      this.trouble(`${this.url} is no address of a broker`);
      return;
    }
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.connect();
    this.socket.onmessage = (event) => this.take(new Uint8Array(event.data));
    this.socket.onclose = () => this.again();
    this.deadline = setTimeout(() => this.socket.close(), 10_000);
  }

  again() {
    clearTimeout(this.deadline);
    clearInterval(this.ping);
    this.trouble(this.why);
    setTimeout(() => this.open(), this.wait * (0.5 + Math.random()));
    this.wait = Math.min(SLOWEST_MS, this.wait * 2);
  }

  connect() {
    const named = this.user ? [...word(this.user), ...(this.password ? word(this.password) : [])] : [];
    const flags = 2 | (this.user ? 128 : 0) | (this.user && this.password ? 64 : 0);
    const id = `gauge-page-${Math.random().toString(36).slice(2, 10)}`;
    this.socket.send(packet(0x10, [...word("MQTT"), 4, flags, 0, KEEPALIVE_S, ...word(id), ...named]));
  }

  take(bytes) {
    const joined = new Uint8Array(this.buffer.length + bytes.length);
    joined.set(this.buffer);
    joined.set(bytes, this.buffer.length);
    this.buffer = joined;
    while (this.one());
  }

  // Handle one whole packet of what came; false when there is none yet.
  one() {
    let length = 0, at = 1;
    for (let shift = 0; ; shift += 7, at += 1) {
      if (at >= this.buffer.length) return false;
      length |= (this.buffer[at] & 127) << shift;
      if (this.buffer[at] < 128) break;
      if (shift > 20) {
        this.why = "broker speaks no MQTT";
        this.socket.close();
        return false;
      }
    }
    const begin = at + 1;
    if (this.buffer.length < begin + length) return false;
    const head = this.buffer[0], body = this.buffer.slice(begin, begin + length);
    this.buffer = this.buffer.slice(begin + length);
    this.handle(head, body);
    return true;
  }

  handle(head, body) {
    const kind = head >> 4;
    if (kind === 2) this.accepted(body[1]);
    else if (kind === 13) this.answered = true;
    else if (kind === 3) {
      const end = 2 + (body[0] << 8 | body[1]);
      const sure = (head >> 1) & 3;
      if (sure) this.socket.send(packet(0x40, [...body.slice(end, end + 2)]));
      this.heard(decoder.decode(body.slice(2, end)), decoder.decode(body.slice(end + (sure ? 2 : 0))), (head & 1) === 1);
    }
  }

  accepted(code) {
    if (code) {
      this.why = `broker ${REFUSALS[code] ?? "refuses us"}`;
      this.socket.close();
      return;
    }
    clearTimeout(this.deadline);
    this.wait = 500;
    this.why = "broker lost";
    this.socket.send(packet(0x82, [0, 1, ...this.topics.flatMap((topic) => [...word(topic), 1])]));
    this.ping = setInterval(() => {
      if (!this.answered) return this.socket.close();
      this.answered = false;
      this.socket.send(packet(0xc0, []));
    }, KEEPALIVE_S * 500);
    this.trouble("");
  }
}
