// What a package is written with: documented in index.d.ts.

export { Connection } from "./connection.js";
export { DecodeError, Key, KeyReader, Reader, Writer } from "./encoding.js";
export { MalformedRequestError, RecoilError } from "./errors.js";
export { HttpRequest, HttpResponse } from "./http.js";
export { log } from "./log.js";
export { Pending, RoutedCall, Router, Subscription } from "./router.js";
export { settings } from "./settings.js";
export { KeyRange, Storage } from "./storage.js";
export { Transaction } from "./transaction.js";
