// One round gauge, drawn from its scale: plate, bezel, face, zones, marks, needle, and a placard with the figure.
import { Needle } from "./needle.js";
import { svg } from "./svg.js";
import { value } from "./words.js";

const MIDDLE = 120;
const ARC = 93, MARKS = 88, FIGURES = 72, LETTER = 4.7;
const NEEDLE = "M120 34l2.4 9 1.8 83a4.2 4.2 0 0 1 -.6 2l1.6 14a5.2 5.2 0 0 1 -10.4 0l1.6 -14a4.2 4.2 0 0 1 -.6 -2l1.8 -83z";

const at = (degrees, radius) => {
  const turn = degrees * Math.PI / 180;
  return [MIDDLE + radius * Math.sin(turn), MIDDLE - radius * Math.cos(turn)].map((each) => each.toFixed(2));
};

const circle = (radius, name) => svg("circle", { cx: MIDDLE, cy: MIDDLE, r: radius, class: name });

export class Dial {
  constructor(gauge, movement) {
    this.gauge = gauge;
    this.movement = movement;
    this.needle = new Needle(movement);
    this.pointer = svg("g", { class: "needle" });
    this.figure = svg("text", { x: 222, y: 261.8 });
    this.element = document.createElement("div");
    this.element.className = "gauge";
    this.element.tabIndex = 0;
    this.element.dataset.field = gauge.field;
    for (const [name, text] of [["role", "meter"], ["aria-label", gauge.label], ["aria-valuemin", 0], ["aria-valuemax", gauge.high]])
      this.element.setAttribute(name, text);
    this.element.append(this.draw());
    this.turn();
  }

  // Show a payload's figure, or rest when there is none to believe.
  show(figure) {
    const known = figure !== null && figure !== undefined;
    const text = known ? value(this.gauge, figure) : "––";
    this.figure.textContent = text;
    this.figure.setAttribute("class", `figure ${known ? this.role(figure) : ""}`);
    this.element.setAttribute("aria-valuenow", known ? Math.min(figure, this.gauge.high) : 0);
    this.element.setAttribute("aria-valuetext", known ? `${text} ${this.gauge.unit === "%" ? "" : this.gauge.unit}`.trim() : "unknown");
    this.needle.point(known ? Math.min(1, Math.max(0, figure / this.gauge.high)) : null);
  }

  turn() {
    const angle = this.needle.angle.toFixed(2);
    this.pointer.setAttribute("transform", `rotate(${angle} ${MIDDLE} ${MIDDLE})`);
    this.shadow.setAttribute("transform", `translate(2 3.5) rotate(${angle} ${MIDDLE} ${MIDDLE})`);
    this.element.dataset.angle = angle;
  }

  role(figure) {
    const inside = this.gauge.zones.filter((zone) => figure >= zone.start && (figure <= zone.end || zone.end >= this.gauge.high));
    return inside.length ? inside.at(-1).role : "";
  }

  angle(figure) {
    return this.movement.zero + this.movement.scale * figure / this.gauge.high;
  }

  draw() {
    const { zero, rest, scale } = this.movement;
    this.pointer.append(svg("path", { d: NEEDLE }));
    this.shadow = svg("path", { class: "shadow", d: NEEDLE });
    const [x, y] = at(zero - rest - 5, MARKS - 6);
    return svg("svg", { viewBox: "0 0 240 278", "aria-hidden": "true", focusable: "false" },
      svg("rect", { class: "plate", x: 1, y: 1, width: 238, height: 276, rx: 24 }),
      ...[[20, 20, 30], [220, 20, 105], [20, 220, 160], [220, 220, 70]].map(screw),
      circle(112, "well"), circle(110, "bezel"), circle(104, "rim"), circle(102, "face"),
      this.arc(0, this.gauge.high, "track"),
      ...this.gauge.zones.map((zone) => this.arc(zone.start, zone.end, `zone ${zone.role}`)),
      ...this.gauge.minors.map((tick) => this.mark(tick, 7, "minor")),
      ...this.gauge.majors.map((tick) => this.mark(tick, 13, "major")),
      ...this.gauge.majors.map((tick) => this.numeral(tick)),
      svg("text", { class: "note", x: MIDDLE, y: 94 }, this.gauge.note),
      svg("rect", { class: "window", x: 9, y: 238, width: 222, height: 32, rx: 8 }),
      svg("text", { class: "label", x: 19, y: 258.6, ...(this.gauge.label.length > 12 ? { textLength: 116, lengthAdjust: "spacingAndGlyphs" } : {}) }, this.gauge.label),
      this.figure,
      svg("circle", { class: "stop", cx: x, cy: y, r: 2.4 }),
      this.shadow, this.pointer,
      circle(11, "cap"), circle(3.2, "pin"),
      svg("path", { class: "glass", d: "M120 20a100 100 0 0 1 96 72c-50-30-142-30-192 0a100 100 0 0 1 96-72z" }));
  }

  arc(from, to, name) {
    const wide = this.angle(to) - this.angle(from) > 180 ? 1 : 0;
    return svg("path", { class: name, d: `M${at(this.angle(from), ARC)}A${ARC} ${ARC} 0 ${wide} 1 ${at(this.angle(to), ARC)}` });
  }

  mark(tick, length, name) {
    const degrees = this.angle(tick.value);
    return svg("path", { class: name, d: `M${at(degrees, MARKS)}L${at(degrees, MARKS - length)}` });
  }

  // A figure keeps the same distance from its mark, however many digits it has.
  numeral(tick) {
    const degrees = this.angle(tick.value), turn = degrees * Math.PI / 180;
    const room = Math.abs(Math.sin(turn)) * tick.figure.length * LETTER + Math.abs(Math.cos(turn)) * 6.5;
    const [x, y] = at(degrees, FIGURES - room);
    return svg("text", { class: `numeral ${this.gauge.name === "tach" && this.role(tick.value) === "danger" ? "danger" : ""}`, x, y }, tick.figure);
  }
}

function screw([x, y, turn]) {
  return svg("g", { class: "screw", transform: `translate(${x} ${y}) rotate(${turn})` },
    svg("circle", { r: 6.5 }), svg("path", { d: "M-4.6 0H4.6" }));
}
