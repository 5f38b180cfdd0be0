// The place of the host where there is none: in native tests. `package.json` names it and `component/host.js` as `#platform`.

const values = new Map();

export function write(level, message) {
  process.stderr.write(`${level}: ${message}\n`);
}

export function setting(name) {
  return values.get(name);
}

export function setSetting(name, value) {
  values.set(name, String(value));
}

// Components have it (`component/console.js`), so code under test may use it.
globalThis.print ??= (...values) => console.log(...values);
