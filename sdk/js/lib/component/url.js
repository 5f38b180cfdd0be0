// URL and URLSearchParams for QuickJS: the WHATWG URL standard for schemes with an authority (`http:`, `https:`, `ws:`,
// `wss:`, `ftp:`) and for opaque paths (`mailto:`, `data:`).
//
// Deliberately absent: `file:` and its drive letters, host names beyond ASCII (IDNA) and the many notations of IPv4 addresses.

const PORTS = { "http:": "80", "https:": "443", "ws:": "80", "wss:": "443", "ftp:": "21" };

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Percent-encodes what is beyond ASCII, a control character or in `set`. */
function encode(text, set) {
  let encoded = "";
  for (const character of text) {
    if (character > " " && character < "\x7f" && !set.includes(character)) {
      encoded += character;
    } else {
      for (const byte of encoder.encode(character)) encoded += `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    }
  }
  return encoded;
}

const FRAGMENT = "\"<>`";
const QUERY = "\"#<>'";
const PATH = "\"#<>?`{}^";
const USER = "\"#<>?`{}/:;=@[\\]^|";

/** Undoes percent-encoding; what is not encoded properly stays as it is. */
function decodePercent(text) {
  return text.replace(/(?:%[0-9a-fA-F]{2})+/g, (run) => {
    return decoder.decode(Uint8Array.from(run.slice(1).split("%"), (digits) => parseInt(digits, 16)));
  });
}

const decodeForm = (text) => decodePercent(text.replaceAll("+", " "));
const encodeForm = (text) => encode(text, "!\"#$%&'()+,/:;<=>?@[\\]^`{|}~").replaceAll("%20", "+");

class URLSearchParams {
  #pairs = [];
  #changed = () => {};

  constructor(init = "", changed = undefined) {
    if (typeof init === "string") this.#parse(init);
    else if (typeof init[Symbol.iterator] === "function") for (const [name, value] of init) this.append(name, value);
    else for (const [name, value] of Object.entries(init)) this.append(name, value);
    if (changed !== undefined) this.#changed = changed;
  }

  #parse(text) {
    for (const pair of text.replace(/^\?/, "").split("&")) {
      if (pair === "") continue;
      const mark = pair.indexOf("=");
      this.#pairs.push(mark < 0 ? [decodeForm(pair), ""] : [decodeForm(pair.slice(0, mark)), decodeForm(pair.slice(mark + 1))]);
    }
  }

  get size() {
    return this.#pairs.length;
  }

  append(name, value) {
    this.#pairs.push([String(name), String(value)]);
    this.#changed(this);
  }

  delete(name, value) {
    this.#pairs = this.#pairs.filter(([other, its]) => other !== name || (value !== undefined && its !== String(value)));
    this.#changed(this);
  }

  get(name) {
    return this.#pairs.find(([other]) => other === name)?.[1] ?? null;
  }

  getAll(name) {
    return this.#pairs.filter(([other]) => other === name).map(([, value]) => value);
  }

  has(name, value) {
    return this.#pairs.some(([other, its]) => other === name && (value === undefined || its === String(value)));
  }

  set(name, value) {
    const at = this.#pairs.findIndex(([other]) => other === name);
    if (at < 0) return this.append(name, value);
    this.#pairs = this.#pairs.filter(([other], place) => place <= at || other !== name);
    this.#pairs[at] = [name, String(value)];
    this.#changed(this);
  }

  sort() {
    this.#pairs.sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0));
    this.#changed(this);
  }

  forEach(body, that) {
    for (const [name, value] of this) body.call(that, value, name, this);
  }

  *entries() {
    yield* this.#pairs.map((pair) => [...pair]);
  }

  *keys() {
    for (const [name] of this.#pairs) yield name;
  }

  *values() {
    for (const [, value] of this.#pairs) yield value;
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  toString() {
    return this.#pairs.map(([name, value]) => `${encodeForm(name)}=${encodeForm(value)}`).join("&");
  }
}

class URL {
  #protocol;
  #username = "";
  #password = "";
  #hostname = "";
  #port = "";
  #pathname;
  /** With its mark, which stays when nothing is behind it; so does the hash's. */
  #search = "";
  #hash = "";
  #searchParams;

  constructor(input, base) {
    const text = String(input).replace(/^[\0- ]+|[\0- ]+$/g, "").replace(/[\t\n\r]/g, "");
    const from = base === undefined ? undefined : new URL(base);
    const [, scheme, rest] = /^([a-zA-Z][a-zA-Z0-9+.-]*:)(.*)$/s.exec(text) ?? [];
    if (scheme === undefined) {
      if (from === undefined || from.#isOpaque) throw new TypeError(`Invalid URL: ${text}`);
      this.#protocol = from.#protocol;
      this.#relative(text, from);
    } else {
      this.#protocol = scheme.toLowerCase();
      if (this.#isOpaque) this.#opaque(rest);
      else if (from?.#protocol === this.#protocol && !/^[/\\]/.test(rest)) this.#relative(rest, from);
      else this.#absolute(rest.replace(/^[/\\]*/, ""));
    }
    this.#linkParams();
  }

  /** What is changed in `searchParams` is changed in the URL. */
  #linkParams() {
    this.#searchParams = new URLSearchParams(this.#search, (params) => {
      const query = params.toString();
      this.#search = query === "" ? "" : `?${query}`;
    });
  }

  static canParse(input, base) {
    return URL.parse(input, base) !== null;
  }

  static parse(input, base) {
    try {
      return new URL(input, base);
    } catch {
      return null;
    }
  }

  get #isOpaque() {
    return !(this.#protocol in PORTS);
  }

  /** Takes query and fragment off the end of `text`; answers what is before them. */
  #tail(text) {
    const [, before, query, fragment] = /^([^?#]*)(\?[^#]*)?(#.*)?$/s.exec(text);
    this.#search = query === undefined ? "" : `?${encode(query.slice(1), QUERY)}`;
    this.#hash = fragment === undefined ? "" : `#${encode(fragment.slice(1), FRAGMENT)}`;
    return before;
  }

  #opaque(rest) {
    if (this.#protocol === "file:") throw new TypeError("URLs of files are not supported: there are none");
    this.#pathname = this.#tail(rest).replace(/[^ -~]+/g, (run) => encode(run, ""));
  }

  #absolute(rest) {
    const [, authority, path] = /^([^/\\?#]*)(.*)$/s.exec(rest);
    const at = authority.lastIndexOf("@");
    if (at >= 0) {
      const [, user, password] = /^([^:]*):?(.*)$/s.exec(authority.slice(0, at));
      this.#username = encode(user, USER);
      this.#password = encode(password, USER);
    }
    const [, host, port] = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]*)(?::(\d*))?$/.exec(authority.slice(at + 1)) ?? [];
    const name = host && decodePercent(host).toLowerCase();
    if (!name || /[\0- #%/:<>?@\\^|\x7f-\uffff]/.test(name.startsWith("[") ? "" : name) || Number(port ?? 0) > 0xffff) {
      throw new TypeError(`Invalid URL: the host of ${this.#protocol}//${rest}`);
    }
    this.#hostname = name;
    this.#setPort(port ?? "");
    this.#setPath(this.#tail(path), []);
  }

  #setPort(port) {
    const short = port === "" ? "" : String(Number(port));
    this.#port = short === PORTS[this.#protocol] ? "" : short;
  }

  #relative(text, from) {
    if (/^[/\\]{2}/.test(text)) return this.#absolute(text.replace(/^[/\\]+/, ""));
    [this.#username, this.#password] = [from.#username, from.#password];
    [this.#hostname, this.#port] = [from.#hostname, from.#port];
    const path = this.#tail(text);
    if (path === "") {
      this.#pathname = from.#pathname;
      if (!text.startsWith("?")) this.#search = from.#search;
    } else {
      this.#setPath(path, /^[/\\]/.test(path) ? [] : from.#pathname.split("/").slice(1, -1));
    }
  }

  /** The path, its dots resolved, below the segments `above`. */
  #setPath(path, above) {
    const segments = [...above];
    const given = path.replace(/^[/\\]/, "").split(/[/\\]/);
    given.forEach((segment, at) => {
      const plain = segment.replaceAll(/%2e/gi, ".");
      const last = at === given.length - 1;
      if (plain === "..") segments.pop();
      if (plain === "." || plain === "..") {
        if (last) segments.push("");
      } else segments.push(encode(segment, PATH));
    });
    this.#pathname = `/${segments.join("/")}`;
  }

  get href() {
    if (this.#isOpaque) return this.#protocol + this.#pathname + this.#search + this.#hash;
    const password = this.#password === "" ? "" : `:${this.#password}`;
    const user = this.#username + password === "" ? "" : `${this.#username}${password}@`;
    return `${this.#protocol}//${user}${this.host}${this.#pathname}${this.#search}${this.#hash}`;
  }

  get origin() {
    return this.#isOpaque ? "null" : `${this.#protocol}//${this.host}`;
  }

  get protocol() {
    return this.#protocol;
  }

  get username() {
    return this.#username;
  }

  get password() {
    return this.#password;
  }

  get host() {
    return this.#port === "" ? this.#hostname : `${this.#hostname}:${this.#port}`;
  }

  get hostname() {
    return this.#hostname;
  }

  get port() {
    return this.#port;
  }

  get pathname() {
    return this.#pathname;
  }

  set pathname(path) {
    if (!this.#isOpaque) this.#setPath(String(path).replace(/[?#]/g, encodeURIComponent), []);
  }

  get search() {
    return this.#search === "?" ? "" : this.#search;
  }

  set search(query) {
    const text = String(query).replace(/^\?/, "");
    this.#search = text === "" ? "" : `?${encode(text, QUERY)}`;
    this.#linkParams();
  }

  get hash() {
    return this.#hash === "#" ? "" : this.#hash;
  }

  set hash(fragment) {
    const text = String(fragment).replace(/^#/, "");
    this.#hash = text === "" ? "" : `#${encode(text, FRAGMENT)}`;
  }

  get searchParams() {
    return this.#searchParams;
  }

  toString() {
    return this.href;
  }

  toJSON() {
    return this.href;
  }
}

globalThis.URL = URL;
globalThis.URLSearchParams = URLSearchParams;
