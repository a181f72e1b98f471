// The last five hours on paper: the rate as an area, the share of the plan's window as a line; a gap stays a gap.
import { svg } from "./svg.js";
import { percent, short } from "./words.js";

const WIDE = 1200, HIGH = 150;

export class Strip {
  constructor(tach, slices = 300, slice_s = 60) {
    Object.assign(this, { tach, slice_s, kept: Array(slices).fill(null), number: 0 });
    this.paper = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" });
  }

  // Take the publisher's memory; its last slice is the present one.
  seed(slices, now) {
    this.kept = slices;
    this.number = Math.floor(now / this.slice_s);
    this.draw();
  }

  add(rate, share, now) {
    const number = Math.floor(now / this.slice_s);
    for (; this.number < number && number - this.number < this.kept.length; this.number += 1) {
      this.kept.push(null);
      this.kept.shift();
    }
    this.number = number;
    const last = this.kept.length - 1;
    this.kept[last] = [Math.max(rate, this.kept[last]?.[0] ?? 0), share];
    this.draw();
  }

  get text() {
    const rates = this.kept.filter(Boolean).map(([rate]) => rate);
    const share = this.kept.at(-1)?.[1];
    return rates.length ? `highest ${short(Math.max(...rates))}${Number.isFinite(share) ? `, now ${percent(share)}` : ""}` : "nothing yet";
  }

  draw() {
    const highest = Math.max(this.tach.zones[0].start, ...this.kept.map((slice) => slice?.[0] ?? 0)) * 1.08;
    const x = (index) => (index * WIDE / this.kept.length).toFixed(1);
    const y = (part) => (HIGH - part * (HIGH - 4)).toFixed(1);
    let area = "", line = "", pen = "M";
    this.kept.forEach((slice, index) => {
      if (!slice) {
        pen = "M";
        return;
      }
      if (slice[0] > 0) area += `M${x(index)} ${HIGH}V${y(slice[0] / highest)}H${x(index + 1)}V${HIGH}z`;
      if (slice[1] === null) return;
      line += `${pen}${x(index)} ${y(slice[1])}H${x(index + 1)}`;
      pen = "L";
    });
    const red = y(this.tach.zones[0].start / highest);
    this.paper.replaceChildren(
      ...[1, 2, 3, 4].map((hour) => svg("path", { class: "hour", d: `M${WIDE * hour / 5} 0V${HIGH}` })),
      svg("path", { class: "red", d: `M0 ${red}H${WIDE}` }),
      svg("path", { class: "rate", d: area }), svg("path", { class: "share", d: line }));
  }
}
