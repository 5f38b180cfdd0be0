// What an application with the AWS SDK for JavaScript does with guests/s3: `s3.mjs PORT...`. The SDK is npm's, unchanged.
// Bodies that are streams are sent in chunks with a checksum behind them, which no other client of these tests does.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Readable } from "node:stream";

import {
  AbortMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
  paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const MIB = 1 << 20;
const Bucket = "javascript";
const clients = process.argv.slice(2).map(
  (port) =>
    new S3Client({
      endpoint: `http://127.0.0.1:${port}`,
      forcePathStyle: true,
      region: "us-east-1",
      maxAttempts: 10,
      credentials: { accessKeyId: "alices-key", secretAccessKey: "alices-secret-key" },
    }),
);
const [first, second, third] = clients;

/** Bytes that differ from each other. */
function bytes(count, seed) {
  const data = Buffer.alloc(count);
  for (let at = 0; at < count; at += 32) {
    createHash("sha256").update(`${seed} ${at}`).digest().copy(data, at);
  }
  return data;
}

async function body(answer) {
  return Buffer.from(await answer.Body.transformToByteArray());
}

/** The code with which a command is refused. */
async function code(client, command) {
  try {
    await client.send(command);
  } catch (error) {
    return error.Code ?? error.name;
  }
  return null;
}

await first.send(new CreateBucketCommand({ Bucket }));

// A text, with what comes back of it.
const Key = "a b/ü+&";
const put = await first.send(
  new PutObjectCommand({ Bucket, Key, Body: "text", ContentType: "text/plain", Metadata: { name: "value" } }),
);
const got = await second.send(new GetObjectCommand({ Bucket, Key }));
assert.deepEqual(
  [(await body(got)).toString(), got.ETag, got.ContentType, got.Metadata],
  ["text", put.ETag, "text/plain", { name: "value" }],
);
assert.equal(await code(third, new GetObjectCommand({ Bucket, Key: "absent" })), "NoSuchKey");
assert.equal(await code(third, new HeadObjectCommand({ Bucket, Key: "absent" })), "NotFound");

// A stream, in chunks with a trailer, checked on its way out as well.
for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "SHA1", "SHA256"]) {
  const data = bytes(300_000, ChecksumAlgorithm);
  const pieces = [data.subarray(0, 70_000), data.subarray(70_000)];
  await second.send(
    new PutObjectCommand({
      Bucket,
      Key: ChecksumAlgorithm,
      Body: Readable.from(pieces),
      ContentLength: data.length,
      ChecksumAlgorithm,
    }),
  );
  const answer = await third.send(new GetObjectCommand({ Bucket, Key: ChecksumAlgorithm, ChecksumMode: "ENABLED" }));
  assert.ok(answer[`Checksum${ChecksumAlgorithm}`], ChecksumAlgorithm);
  assert.deepEqual(await body(answer), data);
}

// An upload in parts, of a stream whose length nobody knows.
const large = bytes(12 * MIB + 3, "large");
const upload = new Upload({
  client: first,
  params: { Bucket, Key: "large", Body: Readable.from([large.subarray(0, 7 * MIB), large.subarray(7 * MIB)]) },
  partSize: 5 * MIB,
  queueSize: 3,
});
const uploaded = await upload.done();
assert.match(uploaded.ETag, /-3"$/);
assert.deepEqual(await body(await third.send(new GetObjectCommand({ Bucket, Key: "large" }))), large);
const Range = `bytes=${5 * MIB - 8}-${5 * MIB + 7}`;
const range = await second.send(new GetObjectCommand({ Bucket, Key: "large", Range }));
assert.equal(range.ContentRange, `bytes ${5 * MIB - 8}-${5 * MIB + 7}/${large.length}`);
assert.deepEqual(await body(range), large.subarray(5 * MIB - 8, 5 * MIB + 8));
const { UploadId } = await first.send(new CreateMultipartUploadCommand({ Bucket, Key: "given up" }));
const running = await second.send(new ListMultipartUploadsCommand({ Bucket }));
assert.deepEqual(running.Uploads.map((each) => [each.Key, each.UploadId]), [["given up", UploadId]]);
await third.send(new AbortMultipartUploadCommand({ Bucket, Key: "given up", UploadId }));

// Of those who make the same key at once, one wins, whichever node it asked.
const race = await Promise.all(
  clients.map((client) => code(client, new PutObjectCommand({ Bucket, Key: "once", Body: "x", IfNoneMatch: "*" }))),
);
assert.equal(race.filter((each) => each === null).length, 1, `${race}`);

const copied = await second.send(new CopyObjectCommand({ Bucket, Key: "copy", CopySource: encodeURI(`${Bucket}/large`) }));
assert.ok(copied.CopyObjectResult.ETag);
const url = await getSignedUrl(first, new GetObjectCommand({ Bucket, Key }), { expiresIn: 60 });
assert.equal(await (await fetch(url)).text(), "text");
const to = await getSignedUrl(second, new PutObjectCommand({ Bucket, Key: "signed" }), { expiresIn: 60 });
assert.equal((await fetch(to, { method: "PUT", body: "by URL" })).status, 200);
assert.equal((await body(await third.send(new GetObjectCommand({ Bucket, Key: "signed" })))).toString(), "by URL");

const keys = [];
for await (const page of paginateListObjectsV2({ client: third, pageSize: 2 }, { Bucket })) {
  keys.push(...page.Contents.map((each) => each.Key));
}
assert.deepEqual(keys, ["CRC32", "CRC32C", "SHA1", "SHA256", Key, "copy", "large", "once", "signed"]);
const folders = await first.send(new ListObjectsV2Command({ Bucket, Delimiter: "/", Prefix: "a" }));
assert.deepEqual(folders.CommonPrefixes, [{ Prefix: "a b/" }]);

const status = { Bucket, VersioningConfiguration: { Status: "Enabled" } };
await first.send(new PutBucketVersioningCommand(status));
const { VersionId } = await second.send(new PutObjectCommand({ Bucket, Key: "once", Body: "newer" }));
assert.ok(VersionId);
const Objects = [...keys.map((each) => ({ Key: each, VersionId: "null" })), { Key: "once", VersionId }];
const deleted = await third.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
assert.deepEqual([deleted.Deleted.length, deleted.Errors ?? []], [Objects.length, []]);
await first.send(new DeleteBucketCommand({ Bucket }));
console.log("the SDK for JavaScript is served");
