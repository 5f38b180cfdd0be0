// Requests and answers of an HTTP handler. Deliberately absent: routing, cookies, streams.

import { MalformedRequestError } from "./errors.js";
import { describe, toBytes, toExactText, toObject, toText } from "./values.js";

export class HttpRequest {
  constructor({ method = "GET", path, target = "/", query, headers = [], body = "", peerAddress = "127.0.0.1:50312" } = {}) {
    const mark = target.indexOf("?");
    this.method = method;
    this.path = path ?? (mark < 0 ? target : target.slice(0, mark));
    this.query = query ?? (mark < 0 ? "" : target.slice(mark + 1));
    this.headers = toHeaders(headers);
    this.body = toBytes(body, "body");
    this.peerAddress = peerAddress;
  }

  header(name) {
    const wanted = name.toLowerCase();
    const found = this.headers.find(([other]) => other === wanted);
    return found && asText(found[1], `the header ${wanted}`);
  }

  get segments() {
    return this.path.split("/").filter((part) => part !== "").map((part) => decode(part, "the path"));
  }

  queryValue(name) {
    for (const pair of this.query.split("&")) {
      const [key, ...value] = pair.split("=");
      if (pair !== "" && decode(key, "the query", true) === name) return decode(value.join("="), "the query", true);
    }
    return undefined;
  }

  text() {
    return asText(this.body, "the body");
  }

  json() {
    return JSON.parse(this.text());
  }
}

/** Bytes of a request as text. With U+FFFD in the place of what is not UTF-8, two keys could become one. */
function asText(bytes, what) {
  const text = toExactText(bytes);
  if (text === undefined) throw new MalformedRequestError(`${what} is not UTF-8`);
  return text;
}

/** Undoes percent-encoding (RFC 3986, section 2.1); what is not encoded properly stays as it is. */
function decode(text, what, plusIsSpace = false) {
  const spaced = plusIsSpace ? text.replaceAll("+", " ") : text;
  return spaced.replace(/(?:%[0-9a-fA-F]{2})+/g, (run) => {
    return asText(Uint8Array.from(run.slice(1).split("%"), (digits) => parseInt(digits, 16)), what);
  });
}

export class HttpResponse {
  constructor({ status = 200, headers = [], body = "" } = {}) {
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw new TypeError(`an answer's status must be a whole number from 200 to 599, not ${describe(status)}`);
    }
    this.status = status;
    this.headers = toHeaders(headers);
    // No key is made of what a client reads: half of a surrogate pair becomes U+FFFD there, as it does on any web server.
    this.body = toBytes(typeof body === "string" ? body.toWellFormed() : body, "the body of an answer");
  }

  static text(status, text) {
    return new HttpResponse({ status, headers: { "content-type": "text/plain; charset=utf-8" }, body: text });
  }

  static json(status, value) {
    const text = JSON.stringify(value);
    if (text === undefined) throw new TypeError(`${describe(value)} has no form in JSON`);
    return new HttpResponse({ status, headers: { "content-type": "application/json" }, body: text });
  }

  text() {
    return toText(this.body);
  }

  json() {
    return JSON.parse(this.text());
  }

  header(name) {
    const found = this.headers.find(([other]) => other === name.toLowerCase());
    return found && toText(found[1]);
  }
}

/** Lower-case names with bytes, from pairs (arrays, a Map, Headers) or from an object, whose values may be arrays. */
function toHeaders(headers) {
  const given = toObject(headers, "headers");
  const pairs = typeof given[Symbol.iterator] === "function"
    ? [...given]
    : Object.entries(given).flatMap(([name, value]) => [value].flat().map((each) => [name, each]));
  return pairs.map(([name, value]) => [String(name).toLowerCase(), toBytes(value, `the header ${name}`)]);
}
