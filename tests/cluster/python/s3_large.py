"""A large object in and out of guests/s3 while nodes come and go: `s3_large.py large-in|large-out FOLDER MEBIBYTES PORT...`.

Parts go through all nodes. A request whose outcome is not known is sent again, through another node; what was acknowledged is noted,
and must be there, with the ETag that was acknowledged, before the upload is completed. The object is compared by its SHA-256."""

import hashlib
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

step, folder, mebibytes, ports = sys.argv[1], sys.argv[2], int(sys.argv[3]), [int(port) for port in sys.argv[4:]]
MIB = 1 << 20
PART = 16 * MIB
THREADS = 6
# Longer than a node is away.
PATIENCE_S = 120
BUCKET, KEY = "load", "large"
KEYS = {"aws_access_key_id": "alices-key", "aws_secret_access_key": "alices-secret-key"}


def client(port):
    # This script sends again by itself, through another node.
    config = Config(signature_version="s3v4", retries={"max_attempts": 1, "mode": "standard"}, connect_timeout=5, read_timeout=60)
    return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", config=config, **KEYS)


clients = [client(port) for port in ports]


def insistently(first, ask):
    """What `ask` returns, of whichever node answers, and how often it was asked in vain."""
    end, attempt = time.monotonic() + PATIENCE_S, 0
    while True:
        try:
            return ask(clients[(first + attempt) % len(clients)]), attempt
        except (BotoCoreError, ClientError, HTTPError, OSError) as error:
            status = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 503)
            if status < 500 or time.monotonic() > end:
                raise
            attempt += 1
            time.sleep(0.2)


BLOCK = hashlib.sha512(b"large").digest() * (MIB // 64)


def part(number):
    """The bytes of a part, which are those of no other."""
    size = min(PART, mebibytes * MIB - (number - 1) * PART)
    stamps = (b"%d %d " % (number, block) for block in range(size // MIB))
    return b"".join((stamp + BLOCK)[:MIB] for stamp in stamps)


def large_in():
    upload = insistently(0, lambda s3: s3.create_multipart_upload(Bucket=BUCKET, Key=KEY))[0]["UploadId"]
    count = -(-mebibytes * MIB // PART)

    def send(number):
        body = part(number)
        put = lambda s3: s3.upload_part(Bucket=BUCKET, Key=KEY, UploadId=upload, PartNumber=number, Body=body)
        answer, again = insistently(number, put)
        return number, answer["ETag"], again

    with ThreadPoolExecutor(THREADS) as pool:
        acknowledged = list(pool.map(send, range(1, count + 1)))
    found, marker = {}, 0
    while True:
        list_parts = lambda s3: s3.list_parts(Bucket=BUCKET, Key=KEY, UploadId=upload, PartNumberMarker=marker)
        page = insistently(0, list_parts)[0]
        found |= {item["PartNumber"]: item["ETag"] for item in page.get("Parts", [])}
        if not page["IsTruncated"]:
            break
        marker = page["NextPartNumberMarker"]
    lost = [number for number, etag, _ in acknowledged if found.get(number) != etag]
    assert not lost, f"acknowledged parts are lost: {lost}"
    parts = [{"PartNumber": number, "ETag": etag} for number, etag, _ in acknowledged]
    complete = lambda s3: s3.complete_multipart_upload(Bucket=BUCKET, Key=KEY, UploadId=upload, MultipartUpload={"Parts": parts})
    insistently(1, complete)
    digest = hashlib.sha256()
    for number in range(1, count + 1):
        digest.update(part(number))
    with open(os.path.join(folder, "large.json"), "w") as file:
        json.dump({"sha256": digest.hexdigest()}, file)
    again = sum(again for _, _, again in acknowledged)
    print(f"{mebibytes} MiB in, {count} parts acknowledged, 0 lost, {again} requests sent again;")


def large_out():
    with open(os.path.join(folder, "large.json")) as file:
        expected = json.load(file)["sha256"]
    digest, at, size, breaks = hashlib.sha256(), 0, mebibytes * MIB, 0
    node = 0
    while at < size:
        # The rest, from whichever node answers, until it breaks off.
        begun = at
        answer, _ = insistently(node, lambda s3: s3.get_object(Bucket=BUCKET, Key=KEY, Range=f"bytes={at}-"))
        assert answer["ContentRange"] == f"bytes {at}-{size - 1}/{size}", answer["ContentRange"]
        try:
            while piece := answer["Body"].read(MIB):
                digest.update(piece)
                at += len(piece)
        except (BotoCoreError, HTTPError, OSError):
            breaks += 1
            node += 1
            assert breaks < 1000 or at > begun, "reading comes to nothing"
    assert at == size, f"{at} of {size} bytes"
    assert digest.hexdigest() == expected, "the object has other bytes than were written"
    print(f"{mebibytes} MiB out with the SHA-256 that went in, {breaks} answers broke off;")


{"large-in": large_in, "large-out": large_out}[step]()
