// Between the component's exports and the package's: what the host calls, and what an author wrote.
//
// Invariant: an exception costs the call and not the instance. A `RecoilError` is a refusal, and its message is what the
// caller is told; anything else is a mistake, which the log shows with its stack.

import { received } from "#engine";
import { toCommands, toOutput } from "../admin.js";
import { Connection } from "../connection.js";
import { MalformedRequestError, RecoilError } from "../errors.js";
import { HttpRequest, HttpResponse } from "../http.js";
import { closeAll } from "../resources.js";
import { handlerFunction, roleMethod } from "../role.js";
import { Router } from "../router.js";
import { toPlan, toView } from "../scheduler.js";
import { Transaction } from "../transaction.js";
import { describe } from "../values.js";
import { advice } from "./advice.js";
import { connectionPort, routerPort, transactionPort, wellFormed, write } from "./host.js";
import { begin } from "./life.js";
import { trace } from "./trace.js";

const router = new Router(routerPort);

/** Runs an author's function; what it throws becomes the text that both engines make an `err` of. */
function guarded(what, body) {
  try {
    begin();
    return body();
  } catch (thrown) {
    if (thrown instanceof RecoilError) throw wellFormed(thrown.message);
    const summary = typeof thrown?.message === "string" ? `${thrown.name}: ${thrown.message}` : String(thrown);
    write("error", `${what}: ${summary}${trace(thrown)}${advice(thrown)}`);
    throw wellFormed(summary);
  } finally {
    closeAll();
  }
}

export function handlerRole(role, hasTimer) {
  const handle = handlerFunction(role);
  const transaction = new Transaction(transactionPort(hasTimer));
  return { handle: (request) => guarded("handler.handle", () => handle(transaction, received(request))) };
}

export function timerRole(role) {
  const fire = roleMethod(role, "timer", "fire");
  const transaction = new Transaction(transactionPort(true));
  return { fire: (id, payload) => guarded("timer.fire", () => void fire(transaction, received(id), received(payload))) };
}

export function listenerRole(role) {
  const serve = roleMethod(role, "listener", "serve");
  return {
    serve(connection) {
      const port = connectionPort(connection);
      try {
        guarded("listener.serve", () => void serve(new Connection(port), router));
      } finally {
        port.close();
      }
    },
  };
}

export function httpHandlerRole(role) {
  const handle = roleMethod(role, "httpHandler", "handle");
  return {
    handle: (request) => guarded("httpHandler.handle", () => {
      const answer = orBadRequest(() => handle(toRequest(request), router));
      if (answer === null || typeof answer !== "object") {
        throw new TypeError(`httpHandler.handle must answer an HttpResponse or { status, headers, body }, not ${describe(answer)}`);
      }
      const { status, headers, body } = answer instanceof HttpResponse ? answer : new HttpResponse(answer);
      return { status, headers, body };
    }),
  };
}

/** What `body` answers, or that the client's request cannot be read. */
function orBadRequest(body) {
  try {
    return body();
  } catch (thrown) {
    if (thrown instanceof MalformedRequestError) return HttpResponse.text(400, `${thrown.message}\n`);
    throw thrown;
  }
}

export function adminRole(role) {
  const [commands, run] = ["commands", "run"].map((method) => roleMethod(role, "admin", method));
  return {
    // What is thrown here ends the instance: the contract has no error for it.
    commands: () => guarded("admin.commands", () => toCommands(commands())),
    run: (typed) => guarded("admin.run", () => toOutput(run(typed, router))),
  };
}

export function schedulerRole(role) {
  const plan = roleMethod(role, "scheduler", "plan");
  return { plan: (view) => guarded("scheduler.plan", () => toPlan(plan(toView(view)))) };
}

function toRequest({ headers, body, ...rest }) {
  const pairs = Array.from(headers, ([name, value]) => [name, received(value)]);
  return new HttpRequest({ ...rest, headers: pairs, body: received(body) });
}
