// Where the lines of a bundle come from: the little of a source map that stacks need.

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The numbers of one segment of a source map: base 64, five bits a digit, the lowest first, the lowest of all the sign. */
function decode(segment) {
  const numbers = [];
  let [value, shift] = [0, 0];
  for (const character of segment) {
    const digit = DIGITS.indexOf(character);
    value |= (digit & 31) << shift;
    shift += 5;
    if (digit >= 32) continue;
    numbers.push(value & 1 ? -(value >>> 1) : value >>> 1);
    [value, shift] = [0, 0];
  }
  return numbers;
}

/**
 * For each line of the bundle the number of its file and its line there, of the first thing in it; null for lines that come
 * from a file that `isShown` refuses.
 */
export function lineTable({ sources, mappings }, isShown) {
  const files = [];
  let [source, sourceLine] = [0, 0];
  const lines = mappings.split(";").map((line) => {
    let first = null;
    for (const segment of line.split(",")) {
      const [, bySource, byLine] = decode(segment);
      if (bySource === undefined) continue;
      source += bySource;
      sourceLine += byLine;
      first ??= [source, sourceLine + 1];
    }
    if (first === null || !isShown(sources[first[0]])) return null;
    const known = files.indexOf(sources[first[0]]);
    return [known < 0 ? files.push(sources[first[0]]) - 1 : known, first[1]];
  });
  while (lines.at(-1) === null) lines.pop();
  return { files, lines };
}
