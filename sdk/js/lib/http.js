// Requests and answers of an HTTP handler. Deliberately absent: routing, cookies, streams.

import { describe, toBytes, toObject, toText } from "./values.js";

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
    return found && toText(found[1]);
  }

  get segments() {
    return this.path.split("/").filter((part) => part !== "").map((part) => decode(part));
  }

  queryValue(name) {
    for (const pair of this.query.split("&")) {
      const [key, ...value] = pair.split("=");
      if (pair !== "" && decode(key, true) === name) return decode(value.join("="), true);
    }
    return undefined;
  }

  text() {
    return toText(this.body);
  }

  json() {
    return JSON.parse(this.text());
  }
}

/** Undoes percent-encoding (RFC 3986, section 2.1); what is not encoded properly stays as it is. */
function decode(text, plusIsSpace = false) {
  const spaced = plusIsSpace ? text.replaceAll("+", " ") : text;
  return spaced.replace(/(?:%[0-9a-fA-F]{2})+/g, (run) => {
    return toText(Uint8Array.from(run.slice(1).split("%"), (digits) => parseInt(digits, 16)));
  });
}

export class HttpResponse {
  constructor({ status = 200, headers = [], body = "" } = {}) {
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw new TypeError(`an answer's status must be a whole number from 200 to 599, not ${describe(status)}`);
    }
    this.status = status;
    this.headers = toHeaders(headers);
    this.body = toBytes(body, "the body of an answer");
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
    return HttpRequest.prototype.header.call(this, name);
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
