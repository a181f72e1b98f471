// How a needle moves: the firmware's rule, the same as claude_gauge/contract/needle.py.

export class Needle {
  constructor(movement) {
    this.movement = movement;
    this.at = 0;
    this.target = 0;
    this.way = 1;
    this.speed = 0;
    this.owed = 0;
  }

  // Name the place on the scale where it should go; null is the stop.
  point(share) {
    const { rest, scale, steps, sweep } = this.movement;
    this.target = share === null ? 0 : Math.round((rest + scale * share) * steps / sweep);
  }

  // Move one step and return how many microseconds that takes, or null at rest.
  // A speed of n needs n steps to stop, so it never exceeds the way left.
  step() {
    const left = (this.target - this.at) * this.way;
    this.speed = Math.max(this.speed - 1, Math.min(this.speed + 1, this.movement.waits_us.length, left));
    if (this.speed <= 0) {
      this.speed = 0;
      if (this.at === this.target) return null;
      this.way = this.target > this.at ? 1 : -1;
      this.speed = 1;
    }
    this.at += this.way;
    return this.movement.waits_us[this.speed - 1];
  }

  // Make the steps that fit into the time that went by; return whether it still moves.
  advance(elapsed_us) {
    this.owed += elapsed_us;
    while (this.owed > 0) {
      const took = this.step();
      if (took === null) {
        this.owed = 0;
        return false;
      }
      this.owed -= took;
    }
    return true;
  }

  // Go there at once, for people who asked for less motion.
  jump() {
    this.at = this.target;
    this.speed = 0;
  }

  get angle() {
    const { zero, rest, steps, sweep } = this.movement;
    return zero - rest + this.at * sweep / steps;
  }
}
