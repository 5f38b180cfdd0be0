import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeCluster, FakeConnection, FakePartition, setSetting } from "../lib/fake.js";
import { HttpRequest, HttpResponse, Key, KeyRange, MalformedRequestError, RecoilError, RoutedCall, settings } from "../lib/index.js";

const text = (bytes) => bytes && new TextDecoder().decode(bytes);

const contents = {
  handler: {
    handle(transaction, request) {
      if (text(request) === "look") return transaction.get("row");
      transaction.put("row", request);
      transaction.publish("topic", request);
      transaction.setTimer("timer", transaction.nowUs + 10, request);
      if (text(request) === "bad") throw new RecoilError("refused");
      if (text(request) === "mistake") undefined.nothing;
      return request;
    },
  },
  timer: {
    fire(transaction, id, payload) {
      transaction.put(id, payload);
      if (text(payload) === "fails") throw new RecoilError("not yet");
    },
  },
};

test("an exception rolls back rows, timers and messages", () => {
  const partition = new FakePartition(contents);
  partition.write("good");
  const { nowUs } = partition;
  assert.throws(() => partition.write("bad"), { name: "RecoilError", kind: "rejected", message: "refused" });
  assert.throws(() => partition.write("mistake"), TypeError);
  assert.ok(partition.nowUs > nowUs);
  assert.equal(text(partition.row("row")), "good");
  assert.deepEqual(partition.published.map(({ message }) => text(message)), ["good"]);
  assert.deepEqual(partition.timers().map(({ atUs, payload }) => [atUs, text(payload)]), [[nowUs + 10, "good"]]);
});

test("a timer fires when due, and again when it failed", () => {
  const partition = new FakePartition(contents);
  partition.write("good");
  assert.equal(partition.advance(9), 0);
  assert.equal(partition.advance(1), 1);
  assert.equal(text(partition.row("timer")), "good");
  assert.equal(partition.timers().length, 0);
  partition.write("fails");
  assert.equal(partition.advance(100), 1);
  assert.equal(text(partition.row("timer")), "good", "a failed timer writes nothing");
  assert.equal(partition.timers().length, 1);
});

test("a read refuses writes, and limits hold", () => {
  const partition = new FakePartition(contents);
  assert.throws(() => partition.read("x"), { kind: "read-only" });
  assert.throws(() => partition.view().setTimer("x", 1), { kind: "read-only" });
  const full = new Uint8Array(8 << 20);
  const put = (key, value) => partition.transact((transaction) => transaction.put(key, value));
  assert.throws(() => put("k", new Uint8Array((8 << 20) + 1)), { kind: "too-large" });
  assert.throws(() => put(new Uint8Array(65_515), ""), { kind: "too-large" });
  assert.throws(() => partition.transact((transaction) => {
    transaction.put("k", full);
    transaction.put("l", full);
  }), { kind: "too-large" });
  assert.equal(partition.rows().length, 0);
});

test("entries pages through everything once, in both directions", () => {
  const partition = new FakePartition(contents);
  partition.pageEntries = 7; // pages shorter than asked for are not the end
  const key = (number) => String(number).padStart(4, "0");
  for (let number = 0; number < 1000; number++) partition.insert(key(number), "");
  const view = partition.view();
  const keys = (range, options) => Array.from(view.entries(range, options), (entry) => Number(text(entry.key)));
  const expected = Array.from({ length: 890 }, (_, at) => at + 10);
  assert.deepEqual(keys(KeyRange.between(key(10), key(900))), expected);
  assert.deepEqual(keys(KeyRange.between(key(10), key(900)), { reverse: true }), expected.toReversed());
  assert.deepEqual(keys(KeyRange.prefix("099")), [990, 991, 992, 993, 994, 995, 996, 997, 998, 999]);
  assert.equal(keys().length, 1000);
  assert.equal(KeyRange.prefix(Uint8Array.of(0xff, 0xff)).end, undefined);
  assert.deepEqual([...KeyRange.prefix(Uint8Array.of(1, 0xff)).end], [2]);
});

test("arguments of a wrong kind are named", () => {
  const partition = new FakePartition(contents);
  const attempts = {
    "key must be a Uint8Array or a string, not undefined": (transaction) => transaction.get(undefined),
    "value must be a Uint8Array or a string, not the number 3": (transaction) => transaction.put("k", 3),
    "keys must be an array, not the string ab": (transaction) => transaction.getMany("ab"),
    "entry.value must be a Uint8Array or a string, not null": (transaction) => transaction.putMany([{ key: "k", value: null }]),
    "limit must be a whole number from 0 to 4294967295, not the number -1": (transaction) => transaction.scan({}, { limit: -1 }),
    "atUs must be a whole number from 0 to 9007199254740991, not the bigint 1": (transaction) => transaction.setTimer("t", 1n),
  };
  for (const [message, attempt] of Object.entries(attempts)) {
    assert.throws(() => partition.transact(attempt), { name: "TypeError", message });
  }
  const cluster = new FakeCluster(contents);
  assert.throws(() => cluster.call({ request: "x", mode: "read" }), /give it either `key` or `partition`/);
  assert.throws(() => cluster.call({ key: "k", request: "x", mode: "sideways" }), /mode must be one of write, read, stale-read/);
  assert.throws(() => new FakePartition({ handler: { handle: async () => "" } }).write("x"), /handler.handle answered a promise/);
  assert.throws(() => new FakePartition({ handler: {} }).write("x"), /an object with a function `handle`, but its `handle` is undefined/);
  const untimed = new FakePartition({ handler: contents.handler });
  assert.throws(() => untimed.write("x"), /setTimer needs an export/);
});

test("a transaction is all or nothing, and within one group", () => {
  const cluster = new FakeCluster(contents, { partitions: 6, groups: 3 });
  const to = (id, request) => RoutedCall.toPartition(id, request, "write");
  const subscription = cluster.subscribe("topic");
  assert.deepEqual(cluster.transact([to(1, "a"), to(4, "b")]).map(text), ["a", "b"]);
  assert.throws(() => cluster.transact([to(1, "c"), to(4, "bad")]), { kind: "rejected" });
  assert.throws(() => cluster.transact([to(1, "c"), to(2, "c")]), { kind: "rejected", message: /groups 1, 2/ });
  assert.deepEqual([1, 4].map((id) => text(cluster.partition(id).row("row"))), ["a", "b"]);
  assert.deepEqual([subscription.next(0), subscription.next(0)].map(text).sort(), ["a", "b"]);
  assert.equal(subscription.next(0), undefined, "a transaction that was rolled back publishes nothing");
  subscription.close();
  assert.throws(() => subscription.next(0), /closed/);
});

test("calls go to their partition, and fail by themselves", () => {
  const cluster = new FakeCluster(contents, { partitions: 4, groups: 2 });
  cluster.call(RoutedCall.write("some key", "v"));
  assert.equal(cluster.locate("some key").id, cluster.owner("some key"));
  const other = (cluster.owner("some key") + 1) % 4;
  cluster.failPartition(other, new RecoilError("gone", "unavailable"));
  const answers = cluster.scatter("look", "read");
  assert.equal(answers[other].error.kind, "unavailable");
  assert.equal(text(answers[cluster.owner("some key")].value), "v");
  cluster.failPartition(other);
  assert.equal(cluster.callMany([RoutedCall.toPartition(other, "w", "write"), RoutedCall.toPartition(99, "w", "write")])
    .map(({ ok }) => ok).join(), "true,false");
  cluster.storage.put("a", "1");
  cluster.storage.put("b", "2");
  assert.deepEqual(Array.from(cluster.storage.entries(KeyRange.between("a", "c")), ({ value }) => text(value)), ["1", "2"]);
});

test("submitted calls are waited for once, in any number", () => {
  const cluster = new FakeCluster(contents);
  const pending = Array.from({ length: 2500 }, (_, at) => cluster.submit(RoutedCall.write("k", String(at))));
  assert.deepEqual(cluster.waitAll(pending).map(({ value }) => Number(text(value))), pending.map((_, at) => at));
  assert.throws(() => pending[0].wait(), /waited for once/);
  const refused = cluster.submit(RoutedCall.write("k", "bad"));
  assert.ok(refused.isReady());
  assert.throws(() => refused.wait(), { kind: "rejected" });
  const left = cluster.submit(RoutedCall.write("k", "x"));
  left.close();
  assert.throws(() => left.wait(), /forgotten/);
});

test("a connection gives its chunks and announces messages", () => {
  const cluster = new FakeCluster(contents);
  const connection = new FakeConnection(["abc", "", "d"]);
  const subscription = cluster.subscribe("topic");
  assert.deepEqual(connection.waitAny([subscription], 0), { kind: "readable" });
  cluster.call(RoutedCall.write("k", "message"));
  assert.deepEqual(connection.waitAny([subscription], 0), { kind: "message", index: 0, subscription });
  assert.throws(() => connection.waitAny(["topic"], 0), /router.subscribe/);
  assert.deepEqual([2, 9, 9, 9].map((limit) => text(connection.read(limit))), ["ab", "c", "d", ""]);
  connection.write("x");
  connection.write("yz");
  assert.deepEqual([connection.outputText, connection.writes], ["xyz", 2]);
});

test("requests are taken apart and decoded", () => {
  const request = new HttpRequest({
    target: "/a%2Fb//c%20d/%zz%4?name=J%C3%B6rg+X&empty&name=other", headers: { "X-Trace": "7", "x-many": ["1", "2"] }, body: '{"a":1}',
  });
  assert.deepEqual(request.segments, ["a/b", "c d", "%zz%4"]);
  assert.deepEqual(["name", "empty", "absent", ""].map((name) => request.queryValue(name)), ["Jörg X", "", undefined, undefined]);
  assert.deepEqual([request.header("x-TRACE"), request.header("none")], ["7", undefined]);
  assert.equal(request.headers.length, 3);
  assert.deepEqual(request.json(), { a: 1 });
});

test("what is not UTF-8 in a request is not read as text", () => {
  const bytes = Uint8Array.of(0x61, 0xff);
  const request = new HttpRequest({ target: "/a/%FF?name=%ed%a0%80", headers: { a: bytes }, body: bytes });
  for (const read of [(it) => it.segments, (it) => it.queryValue("name"), (it) => it.header("A"), (it) => it.text(), (it) => it.json()]) {
    assert.throws(() => read(request), (error) => error instanceof MalformedRequestError && /is not UTF-8$/.test(error.message));
  }
  assert.deepEqual(new HttpRequest({ target: "/%EF%BF%BD/%EF%BB%BFa" }).segments, ["\ufffd", "\ufeffa"]);
});

test("texts that differ are keys that differ", () => {
  const partition = new FakePartition({ handler: { handle: (transaction, key) => transaction.put(String.fromCharCode(...key, 0xd800), "") } });
  assert.throws(() => partition.write("a"), /key has half of a surrogate pair, which UTF-8 cannot hold: pass a Uint8Array/);
  assert.throws(() => new Key(1).bytes("\udc00\ud800"), /part has half of a surrogate pair/);
  assert.deepEqual([...new Key(1).bytes("\ud83c\udf89\0").finish()], [1, 0xf0, 0x9f, 0x8e, 0x89, 0, 0xff, 0, 0]);
  assert.equal(HttpResponse.text(200, "a\ud800").text(), "a\ufffd");
});

test("answers are checked", () => {
  const answer = HttpResponse.json(201, { a: 1 });
  assert.deepEqual([answer.status, answer.header("Content-Type"), answer.text()], [201, "application/json", '{"a":1}']);
  assert.equal(new HttpResponse().status, 200);
  assert.throws(() => new HttpResponse({ status: "200" }), /must be a whole number from 200 to 599, not the string 200/);
  assert.throws(() => new HttpResponse({ headers: { a: 1 } }), /the header a must be/);
  assert.throws(() => HttpResponse.json(200, undefined), /no form in JSON/);
});

test("a test gives the settings", () => {
  assert.equal(settings.text("greeting"), undefined);
  setSetting("greeting", "hi");
  setSetting("count", -3);
  setSetting("loud", true);
  assert.deepEqual([settings.text("greeting"), settings.integer("count"), settings.boolean("loud")], ["hi", -3, true]);
  assert.deepEqual([settings.integer("greeting"), settings.boolean("count")], [undefined, undefined]);
});
