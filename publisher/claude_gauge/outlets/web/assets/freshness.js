// What this page knows of one node: the newest payload, and whether it can still be believed; the same rule as
// claude_gauge/contract/freshness.py. What is no payload was refused by the server, which reads as that module does.

const steady = () => performance.now() / 1000;

export class Freshness {
  constructor(silence_s, trouble = "connecting") {
    this.silence = silence_s;
    this.usage = null;
    this.status = "";
    this.trouble = trouble;
    this.left = 0; // how long it was to be believed when it came
    this.came = [0, 0];
  }

  // Take a payload's text of a known age in seconds; false for what is none.
  payload(text, now, age = 0) {
    try {
      return this.take(JSON.parse(text), now, age);
    } catch {
      return false;
    }
  }

  take(found, now, age) {
    if (found === null || typeof found !== "object" || !Number.isFinite(found.rate_1m) || typeof found.updated_at !== "string") return false;
    this.usage = found;
    this.left = this.silence - age;
    this.came = [now, steady()];
    return true;
  }

  // Say why what is known can't be believed, or "" while it can.
  stale(now) {
    if (this.trouble) return this.trouble;
    if (this.status === "offline") return "publisher offline";
    if (!this.usage) return "nothing received yet";
    // The wall clock may be set back, the steady one stands still while a laptop sleeps: the one that ran further is right.
    const age = Math.max(now - this.came[0], steady() - this.came[1]);
    return age < this.left ? "" : "no heartbeat";
  }
}
