// What the operator has set for this app. In a native test `fake.js` gives the values.

import { setting } from "#platform";

export const settings = Object.freeze({
  text: (name) => setting(String(name)),
  integer(name) {
    const text = setting(String(name));
    return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : undefined;
  },
  boolean: (name) => ({ true: true, false: false })[setting(String(name))],
});
