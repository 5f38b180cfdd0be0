// What the host holds on behalf of this instance: calls under way and subscriptions.
//
// JavaScript engines say too late, or never, that an object is gone. So everything open is remembered here, and closed at
// the end of the call in which it was opened.

const open = new Set();

/** `resource` has a method `close`. */
export function opened(resource) {
  open.add(resource);
}

export function closed(resource) {
  open.delete(resource);
}

/** The call is over. */
export function closeAll() {
  for (const resource of open) resource.close();
}
