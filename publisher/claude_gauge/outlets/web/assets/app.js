// The web cluster: puts dials, lamps and figures on the page and keeps them true to what is heard.
import { Dial } from "./dial.js";
import { Heard } from "./heard.js";
import { Mqtt } from "./mqtt.js";
import { Stream } from "./stream.js";
import { Strip } from "./strip.js";
import { clock, percent, short, span } from "./words.js";

const LOST_MS = 1500; // a stream that comes back sooner was never away
const CONNECTING = "connecting"; // for the first moments, before anything can be stale
const options = new URLSearchParams(location.search);
const secrets = new URLSearchParams(location.hash.slice(1)); // a fragment is sent to no server
const still = matchMedia("(prefers-reduced-motion: reduce)");
const theme = options.get("theme");
if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;

const seconds = () => Date.now() / 1000;
const field = (name) => document.querySelector(`[data-field="${name}"]`);
let scales, heard, dials, lamps, strip, staleTimer, before;

async function begin() {
  try {
    const answer = await fetch("scales");
    if (!answer.ok) throw new Error(answer.status);
    scales = await answer.json();
  } catch {
    document.getElementById("state").textContent = "publisher does not answer, trying again";
    setTimeout(begin, 2000);
    return;
  }
  heard = new Heard(scales.silence_s);
  dials = scales.gauges.map((gauge) => new Dial(gauge, scales.movement));
  document.getElementById("gauges").replaceChildren(...dials.map((dial) => dial.element));
  lamps = scales.lamps.map(makeLamp);
  document.getElementById("lamps").replaceChildren(...lamps.map((lamp) => lamp.element));
  strip = new Strip(scales.gauges[1]);
  document.querySelector("#strip .paper").replaceChildren(strip.paper);
  strip.draw();
  show();
  options.has("broker") ? listenToBroker() : listenToPublisher();
  setInterval(show, 1000);
  document.addEventListener("visibilitychange", show);
}

function listenToPublisher() {
  let age = 0, lost;
  const take = (kind, data) => {
    if (kind === "age") age = Number(data);
    else if (kind === "open") {
      clearTimeout(lost);
      lost = undefined;
      heard.trouble = "";
      remember();
    } else if (kind === "lost") {
      lost ??= setTimeout(() => {
        heard.trouble = "publisher lost, connecting again";
        show();
      }, LOST_MS);
    } else if (heard.payload(data, seconds(), age)) {
      age = 0;
      note();
    }
    show();
  };
  setInterval(() => document.hidden || lost || remember(), 60_000);
  if (!globalThis.SharedWorker) return new Stream("events", take);
  const worker = new SharedWorker("worker.js", { type: "module", name: "claude-gauge" });
  worker.onerror = () => new Stream("events", take);
  worker.port.onmessage = (event) => take(...event.data);
  addEventListener("pagehide", () => worker.port.postMessage("gone"));
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}

async function remember() {
  try {
    const memory = await (await fetch("history")).json();
    strip.slice_s = memory.slice_s;
    strip.seed(memory.slices, seconds());
    show();
  } catch {
    // the strip goes on with what comes
  }
}

function listenToBroker() {
  const node = options.get("node") ?? scales.node;
  const usage = `claude-gauge/${node}/usage`, status = `claude-gauge/${node}/status`;
  new Mqtt({
    url: options.get("broker"), user: secrets.get("user"), password: secrets.get("password"), topics: [status, usage],
    heard(topic, text, retained) {
      if (topic === status) heard.status = text;
      else if (retained ? heard.retained(text, seconds()) : heard.payload(text, seconds())) note();
      show();
    },
    trouble(why) {
      heard.trouble = why;
      show();
    },
  });
}

// Put what was just heard onto the strip.
function note() {
  if (!heard.stale(seconds())) strip.add(heard.usage.rate_1m, heard.usage.window_5h_pct, seconds());
}

function makeLamp(lamp) {
  const element = document.createElement("li");
  element.dataset.field = lamp.field;
  const legend = document.createElement("span"), state = document.createElement("span");
  legend.className = "legend";
  state.className = "hearable";
  element.append(legend, state);
  return { ...lamp, element, legend, state };
}

function small(text) {
  const element = document.createElement("small");
  element.textContent = text;
  return element;
}

function shine(lamp, usage) {
  const on = usage ? usage[lamp.field] : lamp.field === "stall";
  const family = lamp.field === "last_model" && on ? String(on) : "";
  if (lamp.shown !== family) lamp.legend.replaceChildren(...(family ? [small(lamp.name), family.toUpperCase()] : [lamp.name]));
  lamp.shown = family;
  lamp.state.textContent = family ? "" : on ? " on" : " off";
  lamp.element.classList.toggle("on", Boolean(on));
  lamp.element.classList.toggle("pulse", Boolean(on && lamp.pulse));
  lamp.element.style.setProperty("--shine", family && Object.hasOwn(lamp.families, family) ? lamp.families[family] : lamp.colour);
}

function show() {
  const why = heard.stale(seconds());
  told(why);
  if (document.hidden) return; // nobody sees the needles, but the tab's title is seen
  const usage = why ? null : heard.usage;
  document.documentElement.toggleAttribute("data-stale", Boolean(why));
  for (const dial of dials) dial.show(usage && usage[dial.gauge.field]);
  for (const lamp of lamps) shine(lamp, usage);
  write(heard.usage ?? {}, usage);
  move();
}

function told(why) {
  const since = heard.usage ? ` · last heard ${clock(heard.usage.updated_at)}` : "";
  const band = document.getElementById("stale");
  const text = why ? `Stale: ${why}${since}` : "";
  if (band.textContent !== text) band.textContent = text;
  band.hidden = !why || why === CONNECTING;
  const state = document.getElementById("state"), word = why ? "not live" : "live";
  if (state.textContent !== word) state.textContent = word;
  const title = why ? "STALE" : `${percent(heard.usage.window_5h_pct)} · ${short(heard.usage.rate_1m)}/min`;
  document.title = `${title} · claude-gauge`;
}

function write(usage, live) {
  const put = (name, text, alarm = false) => {
    const place = field(name);
    if (place.textContent !== text) place.textContent = text;
    place.classList.toggle("alarm", alarm);
  };
  const until = usage.window_5h_resets_at ? (Date.parse(usage.window_5h_resets_at) / 1000 - seconds()) / 60 : NaN;
  const known = (test, text) => test ? text : "—";
  put("node", String(usage.node ?? scales.node ?? ""));
  put("window_5h_tokens", known(Number.isFinite(usage.window_5h_tokens), `${short(usage.window_5h_tokens)} tokens`));
  put("window_5h_resets_at", known(until > 0, span(until)));
  put("minutes_to_limit", known(Number.isFinite(usage.minutes_to_limit), `${span(usage.minutes_to_limit)}${usage.limit_before_reset ? ", before the reset" : ""}`), usage.limit_before_reset === true);
  const week = usage.window_7d_resets_at ? (Date.parse(usage.window_7d_resets_at) / 1000 - seconds()) / 60 : NaN;
  put("window_7d_pct", Number.isFinite(usage.window_7d_pct) ? percent(usage.window_7d_pct) + (week > 0 ? `, ${span(week)} left` : "") : known(Number.isFinite(usage.window_7d_tokens), `${short(usage.window_7d_tokens)} tokens`));
  put("fuel_source", known(usage.fuel_source, usage.fuel_source === "plan" ? "the plan" : "ceiling"));
  put("updated_at", known(usage.updated_at, clock(usage.updated_at)));
  const parts = Object.entries(usage.sources ?? {});
  put("sources", known(parts.length, parts.map(([name, part]) => `${name} ${part.source}${part.ok ? "" : ` (${part.why || "unwell"})`}`).join(" · ")), parts.some(([, part]) => !part.ok));
  field("waiting").hidden = !live?.waiting;
  const text = strip.text;
  if (document.getElementById("strip-text").textContent !== text) document.getElementById("strip-text").textContent = text;
}

// Let the needles move until all of them rest; nothing runs while nothing moves.
function move() {
  before ??= requestAnimationFrame((first) => step(first, first));
}

function step(previous, now) {
  let moving = false;
  for (const dial of dials) {
    if (still.matches) dial.needle.jump();
    else moving = dial.needle.advance(Math.min(now - previous, 50) * 1000) || moving;
    dial.turn();
  }
  before = moving ? requestAnimationFrame((next) => step(now, next)) : undefined;
}

begin();
