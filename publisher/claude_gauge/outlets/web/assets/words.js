// Figures and times as people read them; the same words as the terminal's.

const PREFIXES = [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"], [1, ""]];

export function short(count) {
  for (const [power, prefix] of PREFIXES) {
    const scaled = count / power;
    if (scaled < 0.9995 && power !== 1) continue;
    const digits = power === 1 || scaled >= 99.95 ? 0 : scaled >= 9.995 ? 1 : 2;
    return (Math.floor(scaled * 10 ** digits + 0.5) / 10 ** digits).toFixed(digits) + prefix;
  }
  return "";
}

export const percent = (share) => `${Math.floor(share * 100 + 0.5)} %`;

const PARTS = { rate_1m: "tach", cache_hit_rate: "tach", window_5h_tokens: "fuel", window_5h_pct: "fuel", thinking_ratio: "thinking" };

// A figure of a payload, or null where it is not known: the same rule as Usage.figure of claude_gauge/contract/usage.py.
export function figure(usage, field) {
  const found = usage?.[field], part = usage?.sources?.[PARTS[field]];
  if (!Number.isFinite(found)) return null;
  if (!part || part.ok || (field === "window_5h_pct" && usage.fuel_source)) return found;
  return field === "thinking_ratio" || (usage.stall && !found) ? null : found;
}

export const value = (gauge, figure) => gauge.unit === "%" ? percent(figure) : short(figure);

export function span(minutes) {
  const whole = Math.max(1, Math.round(minutes));
  if (whole < 60) return `${whole} min`;
  const hours = Math.floor(whole / 60);
  return hours < 48 ? `${hours} h ${String(whole % 60).padStart(2, "0")} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export const clock = (stamp) => new Date(stamp).toLocaleTimeString([], { hour12: false });

// Name the sources of a payload's parts, each once: [text, whether one is in trouble].
export function sources(parts) {
  const named = Object.entries(parts ?? {}), groups = new Map();
  for (const [name, part] of named) {
    const text = `${part.source}${part.ok ? "" : ` (${part.why || "unwell"})`}`;
    groups.set(text, [...(groups.get(text) ?? []), name]);
  }
  const all = named.length > 1 && groups.size === 1;
  const texts = [...groups].map(([text, names]) => all ? `all from ${text}` : `${names.join(", ")} ${text}`);
  return [texts.join(" · "), named.some(([, part]) => !part.ok)];
}
