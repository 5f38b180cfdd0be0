// Values in lines of text: what `console` needs, and no more.

const DEPTH_MAX = 3;
const ITEMS_MAX = 100;

/** Values as `console` shows them, `trace` the stacks of errors. */
export function format(values, trace) {
  const rest = [...values];
  const parts = [];
  const text = (value) => (typeof value === "string" ? value : inspect(value, trace, []));
  if (typeof rest[0] === "string" && rest.length > 1) {
    parts.push(rest.shift().replace(/%[sdifjoO%]/g, (directive) => {
      if (directive === "%%") return "%";
      if (rest.length === 0) return directive;
      const value = rest.shift();
      switch (directive) {
        case "%s": return text(value);
        case "%d": return String(Number(value));
        case "%i": return String(Math.trunc(Number(value)));
        case "%f": return String(parseFloat(value));
        case "%j": return JSON.stringify(value);
        default: return inspect(value, trace, []);
      }
    }));
  }
  return [...parts, ...rest.map(text)].join(" ");
}

function inspect(value, trace, around) {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return `[function ${value.name || "(anonymous)"}]`;
  if (value === null || typeof value !== "object") return String(value);
  if (around.includes(value)) return "[circular]";
  if (value instanceof Error) return `${value.name}: ${value.message}${trace(value)}`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
  if (value instanceof RegExp) return String(value);
  const name = value.constructor?.name ?? "";
  if (around.length >= DEPTH_MAX) return `[${name || "object"}]`;
  const inside = [...around, value];
  const each = (item) => inspect(item, trace, inside);
  if (Array.isArray(value)) return list("[", value, each, "]");
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return `${name}(${value.length}) ${list("[", value, each, "]")}`;
  if (value instanceof Map) return `Map(${value.size}) ${list("{", value, ([key, item]) => `${each(key)} => ${each(item)}`, "}")}`;
  if (value instanceof Set) return `Set(${value.size}) ${list("{", value, each, "}")}`;
  const prefix = name === "Object" || name === "" ? "" : `${name} `;
  return prefix + list("{", Object.entries(value), ([key, item]) => `${key}: ${each(item)}`, "}");
}

function list(open, items, show, close) {
  const shown = [];
  for (const item of items) {
    if (shown.length === ITEMS_MAX) {
      shown.push("…");
      break;
    }
    shown.push(show(item));
  }
  if (shown.length === 0) return open + close;
  return open === "[" ? `[${shown.join(", ")}]` : `{ ${shown.join(", ")} }`;
}
