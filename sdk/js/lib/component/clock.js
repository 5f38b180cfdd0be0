// `performance` for QuickJS: its own counts from when the component was made, in another process.

import { whenBegun } from "./life.js";

const sinceMade = performance.now.bind(performance);
let start = 0;

whenBegun(() => {
  start = sinceMade();
});

globalThis.performance = { now: () => sinceMade() - start };
