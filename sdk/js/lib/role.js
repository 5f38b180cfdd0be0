// What a package exports, as the host and the fakes call it.

import { describe, toBytes } from "./values.js";

/** The function `method` of the export `name`, checked when this is called. */
export function roleMethod(role, name, method) {
  if (typeof role?.[method] !== "function") {
    const is = role === null || typeof role !== "object" ? `it is ${describe(role)}` : `its \`${method}\` is ${describe(role[method])}`;
    throw new TypeError(`the export \`${name}\` must be an object with a function \`${method}\`, but ${is}`);
  }
  return (...args) => {
    const answer = role[method](...args);
    if (typeof answer?.then === "function") {
      throw new TypeError(`${name}.${method} answered a promise: it must not be async, the host's functions wait by themselves`);
    }
    return answer;
  };
}

/** `handler.handle`, whose answer is bytes: none if it answers nothing. */
export function handlerFunction(handler) {
  const handle = roleMethod(handler, "handler", "handle");
  return (transaction, request) => toBytes(handle(transaction, request) ?? "", "the answer of handler.handle");
}
