// The one error of this SDK. What its kinds mean is in index.d.ts.

/** What is said of the kinds for which the host has no words of its own. */
const WORDS = {
  "read-only": "a write in a read-only call: route it with the mode write",
  "conflict": "the transaction lost to a conflicting one: retry it",
  "closed": "the connection is closed",
  "timed-out": "the client was idle for too long",
};

export class RecoilError extends Error {
  constructor(message, kind = "rejected") {
    super(message || WORDS[kind] || (message ?? kind));
    this.name = "RecoilError";
    this.kind = kind;
  }
}

/** A request that is not what its reader asks of it: an HTTP handler that throws it answers 400. */
export class MalformedRequestError extends RecoilError {
  constructor(message) {
    super(message);
    this.name = "MalformedRequestError";
  }
}

/** The outcome of `body`; only what the host or a handler refused is an outcome, anything else is thrown on. */
export function attempt(body) {
  try {
    return { ok: true, value: body() };
  } catch (error) {
    if (error instanceof RecoilError) return { ok: false, error };
    throw error;
  }
}
