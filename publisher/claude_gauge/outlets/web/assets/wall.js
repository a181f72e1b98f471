// All machines side by side: a card for each, with its dials and what its lamps would say.
import { Dial } from "./dial.js";
import { Freshness } from "./freshness.js";
import { figure, percent } from "./words.js";

const seconds = () => Date.now() / 1000;

function made(tag, name, text = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}

class Card {
  constructor(node, scales) {
    this.newest = new Freshness(scales.silence_s, "");
    this.dials = scales.gauges.map((gauge) => new Dial(gauge, scales.movement));
    this.element = made("article", "card");
    this.element.setAttribute("aria-label", node);
    const head = made("h2", ""), link = made("a", "", node);
    link.href = `?${new URLSearchParams({ ...Object.fromEntries(new URLSearchParams(location.search)), node })}`;
    this.state = made("span", "state");
    head.append(link, this.state);
    const faces = made("div", "faces");
    faces.append(...this.dials.map((dial) => dial.element));
    this.element.append(head, faces);
  }

  show() {
    const why = this.newest.stale(seconds()), usage = why ? null : this.newest.usage;
    const lit = usage ? [
      usage.waiting && "waits for you", usage.limit_before_reset && "limit before reset",
      usage.limit_pct >= 1 && `${String(usage.limit_name).replaceAll("_", " ")} ${percent(usage.limit_pct)}`,
      usage.hot && "HOT", usage.warn && "WARN", usage.stall && "STALL", usage.idle && "idle",
    ].filter(Boolean) : [`stale: ${why}`];
    const text = lit.join(" · ");
    if (this.state.textContent !== text) this.state.textContent = text;
    this.element.toggleAttribute("data-stale", Boolean(why));
    this.element.toggleAttribute("data-waits", Boolean(usage?.waiting));
    for (const dial of this.dials) dial.show(figure(usage, dial.gauge.field));
    return !why;
  }
}

export class Wall {
  constructor(place, scales) {
    Object.assign(this, { place, scales, cards: new Map() });
  }

  // Take one node's entry, so many seconds after it came.
  take(text, late = 0) {
    const { node, status, age_s: age, usage } = JSON.parse(text);
    if (node === "all") return; // what a fleet adds up has the large dials
    if (!this.cards.has(node)) {
      this.cards.set(node, new Card(node, this.scales));
      this.place.replaceChildren(...[...this.cards.keys()].sort().map((name) => this.cards.get(name).element));
    }
    const { newest } = this.cards.get(node);
    newest.status = status;
    if (usage) newest.take(usage, seconds(), (age ?? 0) + late);
  }

  get dials() {
    return [...this.cards.values()].flatMap((card) => card.dials);
  }

  // Show all; return how many are live.
  show() {
    return [...this.cards.values()].map((card) => card.show()).filter(Boolean).length;
  }
}
