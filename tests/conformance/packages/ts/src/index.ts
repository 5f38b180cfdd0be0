// The conformance package in TypeScript: that of JavaScript, whose every role the compiler checks against the types of the SDK.

import type { Admin, Handler, HttpHandler, Listener, Scheduler, Timer } from "#recoil";

import * as roles from "../../js/src/index.js";

export const handler: Handler = roles.handler;
export const timer: Timer = roles.timer;
export const listener: Listener = roles.listener;
export const httpHandler: HttpHandler = roles.httpHandler;
export const admin: Admin = roles.admin;
export const scheduler: Scheduler = roles.scheduler;
