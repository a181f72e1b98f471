// What this page knows: the newest payload, and whether it can still be believed; the same rule as claude_gauge/contract/freshness.py.

const steady = () => performance.now() / 1000;

export class Heard {
  constructor(silence_s) {
    this.silence = silence_s;
    this.usage = null;
    this.status = "";
    this.trouble = "connecting";
    this.left = 0; // how long it was to be believed when it came
    this.came = [0, 0];
  }

  // Take a payload of a known age in seconds; false for what is none.
  payload(text, now, age = 0) {
    let found;
    try {
      found = JSON.parse(text);
    } catch {
      return false;
    }
    if (found === null || typeof found !== "object" || !Number.isFinite(found.rate_1m) || typeof found.updated_at !== "string") return false;
    this.usage = found;
    this.left = this.silence - age;
    this.came = [now, steady()];
    return true;
  }

  // A payload that the broker had kept: its own stamp must vouch for it.
  retained(text, now) {
    if (!this.payload(text, now)) return false;
    const age = now - Date.parse(this.usage.updated_at) / 1000;
    this.left = Math.abs(age) <= this.silence ? this.silence - Math.max(0, age) : 0;
    return true;
  }

  // Say why what is known can't be believed, or "" while it can.
  stale(now) {
    if (this.trouble) return this.trouble;
    if (this.status === "offline") return "publisher offline";
    if (!this.usage) return "nothing heard yet";
    // The wall clock may be set back, the steady one stands still while a laptop sleeps: the one that ran further is right.
    const age = Math.max(now - this.came[0], steady() - this.came[1]);
    return age < this.left ? "" : "no heartbeat";
  }
}
