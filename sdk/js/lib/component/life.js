// A package is loaded once, when it is built; its instances begin as copies of what it was then, and only they have a host.

let isBegun = false;
const beginnings = [];

/** False while the package is loaded: no function of the host can be called. */
export const hasHost = () => isBegun;

/** `body` runs when an instance is called for the first time, before anything of the author's. */
export function whenBegun(body) {
  beginnings.push(body);
}

/** An instance is called. */
export function begin() {
  if (isBegun) return;
  isBegun = true;
  for (const body of beginnings) body();
}
