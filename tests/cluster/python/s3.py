"""What applications and tools do with guests/s3: `s3.py STEP FOLDER PORT...`. The clients are boto3, the AWS CLI, minio-py and s3cmd, unchanged."""

import hashlib
import io
import os
import subprocess
import sys
import urllib.error
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

step, folder, ports = sys.argv[1], sys.argv[2], [int(port) for port in sys.argv[3:]]
KEYS = {"aws_access_key_id": "alices-key", "aws_secret_access_key": "alices-secret-key"}
MIB = 1 << 20


def client(port):
    # Version 4 by name: boto3 still signs URLs with version 2 where a region allows it.
    config = Config(signature_version="s3v4", retries={"max_attempts": 10, "mode": "standard"}, read_timeout=120)
    return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", config=config, **KEYS)


def aws(port, *words):
    names = {"AWS_ACCESS_KEY_ID": KEYS["aws_access_key_id"], "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"]}
    environment = os.environ | names | {"AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": "/dev/null"}
    program = [sys.executable, "-m", "awscli", "--endpoint-url", f"http://127.0.0.1:{port}"]
    ran = subprocess.run(program + list(words), env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, f"aws {' '.join(words)}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def check(actual, expected):
    assert actual == expected, f"expected {expected!r}, got {actual!r}"


def code(function, **arguments):
    try:
        function(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


def write(name, size):
    """A file of bytes that differ from each other."""
    path = os.path.join(folder, name)
    block = hashlib.sha512(name.encode()).digest() * (MIB // 64)
    with open(path, "wb") as file:
        for number in range(0, size, MIB):
            file.write((number.to_bytes(8, "big") + block)[: min(MIB, size - number)])
    return path


def read(path):
    with open(path, "rb") as file:
        return file.read()


def command_line():
    small, large, back = write("small", 1024), write("large", 100 * MIB), os.path.join(folder, "back")
    aws(ports[0], "s3", "mb", "s3://tools")
    aws(ports[1], "s3", "cp", "--no-progress", small, "s3://tools/dir/small.txt")
    aws(ports[2], "s3", "cp", "--no-progress", large, "s3://tools/large")
    for port in ports:
        listed = aws(port, "s3", "ls", "s3://tools")
        assert "PRE dir/" in listed and "104857600 large" in listed, listed
    for source, name in ((small, "dir/small.txt"), (large, "large")):
        aws(ports[0], "s3", "cp", "--no-progress", f"s3://tools/{name}", back)
        assert read(source) == read(back), name
    aws(ports[1], "s3api", "get-object", "--bucket", "tools", "--key", "large", "--range", "bytes=8388600-8388615", back)
    check(read(back), read(large)[8388600:8388616])
    aws(ports[0], "s3", "mv", "--no-progress", "s3://tools/dir/small.txt", "s3://tools/a name+plus")
    aws(ports[0], "s3", "sync", "--no-progress", folder, "s3://tools/synced", "--exclude", "*", "--include", "small")
    aws(ports[2], "s3", "rm", "--recursive", "s3://tools")
    check(aws(ports[0], "s3", "ls", "s3://tools"), "")
    aws(ports[1], "s3", "rb", "s3://tools")
    assert "tools" not in aws(ports[2], "s3", "ls")
    print("the command line is served")


def application():
    first, second, third = (client(port) for port in ports)
    first.create_bucket(Bucket="app")
    check(code(second.create_bucket, Bucket="app"), None)
    check(code(second.create_bucket, Bucket="app", ACL="public-read"), "BucketAlreadyExists")
    check(code(second.get_object, Bucket="app", Key="absent"), "NoSuchKey")
    put = first.put_object(Bucket="app", Key="a b/ü+", Body=b"text", Metadata={"name": "value"}, ContentType="text/plain")
    got = second.get_object(Bucket="app", Key="a b/ü+")
    check((got["Body"].read(), got["ETag"], got["ContentType"], got["Metadata"]), (b"text", put["ETag"], "text/plain", {"name": "value"}))
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        summed = first.put_object(Bucket="app", Key=algorithm, Body=b"sum", ChecksumAlgorithm=algorithm)
        got = second.get_object(Bucket="app", Key=algorithm, ChecksumMode="ENABLED")
        check((got["Body"].read(), got[f"Checksum{algorithm}"]), (b"sum", summed[f"Checksum{algorithm}"]))
    # Of those who make the same key at once, one wins, whichever node it asked.
    won = [code(each.put_object, Bucket="app", Key="once", Body=b"x", IfNoneMatch="*") for each in (first, second, third)]
    check(won, [None, "PreconditionFailed", "PreconditionFailed"])
    for number in range(30):
        first.put_object(Bucket="app", Key=f"many/{number % 3}/{number:03}", Body=b"")
    pages = third.get_paginator("list_objects_v2").paginate(Bucket="app", Prefix="many/", PaginationConfig={"PageSize": 7})
    keys = [item["Key"] for page in pages for item in page["Contents"]]
    check(keys, sorted(f"many/{number % 3}/{number:03}" for number in range(30)))
    page = third.list_objects_v2(Bucket="app", Prefix="many/", Delimiter="/")
    check([prefix["Prefix"] for prefix in page["CommonPrefixes"]], ["many/0/", "many/1/", "many/2/"])
    url = second.generate_presigned_url("get_object", Params={"Bucket": "app", "Key": "a b/ü+"}, ExpiresIn=60)
    check(urllib.request.urlopen(url, timeout=60).read(), b"text")
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/app/once", timeout=60)
        raise AssertionError("anybody may read")
    except urllib.error.HTTPError as error:
        check(error.code, 403)
    copied = second.copy_object(Bucket="app", Key="copy", CopySource={"Bucket": "app", "Key": "a b/ü+"})
    check(copied["CopyObjectResult"]["ETag"], put["ETag"])
    first.put_bucket_versioning(Bucket="app", VersioningConfiguration={"Status": "Enabled"})
    first.put_object(Bucket="app", Key="copy", Body=b"newer")
    second.delete_object(Bucket="app", Key="copy")
    check(code(third.get_object, Bucket="app", Key="copy"), "NoSuchKey")
    versions = third.list_object_versions(Bucket="app", Prefix="copy")
    check((len(versions["Versions"]), len(versions["DeleteMarkers"])), (2, 1))
    for listed in third.get_paginator("list_object_versions").paginate(Bucket="app"):
        objects = [{"Key": item["Key"], "VersionId": item["VersionId"]} for kind in ("Versions", "DeleteMarkers") for item in listed.get(kind, [])]
        deleted = third.delete_objects(Bucket="app", Delete={"Objects": objects, "Quiet": True})
        check(deleted.get("Errors", []), [])
    first.delete_bucket(Bucket="app")
    print("the application is served")


def minio():
    """minio-py signs chunks of what it uploads, asks for regions, and reads XML with namespaces."""
    import minio as library

    def connect(port):
        key, secret = KEYS["aws_access_key_id"], KEYS["aws_secret_access_key"]
        return library.Minio(f"127.0.0.1:{port}", access_key=key, secret_key=secret, secure=False)

    first, second, third = (connect(port) for port in ports)
    first.make_bucket("minio")
    assert second.bucket_exists("minio") and not second.bucket_exists("absent")
    large = write("minio", 12 * MIB)
    put = first.put_object("minio", "dir/small", io.BytesIO(b"text"), 4, content_type="text/plain", metadata={"name": "value"})
    second.fput_object("minio", "dir/large", large, part_size=5 * MIB)
    found = third.stat_object("minio", "dir/small")
    check((found.etag, found.size, found.metadata["x-amz-meta-name"]), (put.etag, 4, "value"))
    answer = third.get_object("minio", "dir/large", offset=5 * MIB - 8, length=16)
    check(answer.read(), read(large)[5 * MIB - 8 : 5 * MIB + 8])
    answer.close()
    answer.release_conn()
    check([item.object_name for item in first.list_objects("minio", prefix="dir/", recursive=True)], ["dir/large", "dir/small"])
    check([item.object_name for item in first.list_objects("minio")], ["dir/"])
    copied = second.copy_object("minio", "copy", library.commonconfig.CopySource("minio", "dir/small"))
    check(copied.etag, put.etag)
    url = first.presigned_get_object("minio", "copy")
    check(urllib.request.urlopen(url, timeout=60).read(), b"text")
    removed = [library.deleteobjects.DeleteObject(name) for name in ("copy", "dir/small", "dir/large")]
    check(list(third.remove_objects("minio", removed)), [])
    first.remove_bucket("minio")
    print("minio-py is served")


def s3cmd_tool():
    """s3cmd lists with version 1, compares ETags with MD5s, and knows access control lists."""
    program = [sys.executable, os.path.join(os.path.dirname(sys.executable), "s3cmd"), "--config=/dev/null", "--no-ssl", "--no-progress"]
    keys = [f"--access_key={KEYS['aws_access_key_id']}", f"--secret_key={KEYS['aws_secret_access_key']}"]

    def run(port, *words):
        host = f"127.0.0.1:{port}"
        ran = subprocess.run(program + keys + [f"--host={host}", f"--host-bucket={host}", *words], capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, f"s3cmd {' '.join(words)}: {ran.stdout}{ran.stderr}"
        return ran.stdout

    small, large, back = write("s3cmd-small", 1024), write("s3cmd-large", 12 * MIB), os.path.join(folder, "s3cmd-back")
    run(ports[0], "mb", "s3://s3cmd")
    run(ports[1], "put", small, "s3://s3cmd/a+b c/small")
    run(ports[2], "put", "--multipart-chunk-size-mb=5", large, "s3://s3cmd/large")
    listed = run(ports[0], "ls", "--recursive", "s3://s3cmd")
    assert "s3://s3cmd/a+b c/small" in listed and "s3://s3cmd/large" in listed, listed
    for source, name in ((small, "a+b c/small"), (large, "large")):
        run(ports[1], "get", "--force", f"s3://s3cmd/{name}", back)
        assert read(source) == read(back), name
    run(ports[2], "setacl", "--acl-public", "s3://s3cmd/large")
    check(urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/s3cmd/large", timeout=60).read()[:8], read(large)[:8])
    assert "anon" in run(ports[0], "info", "s3://s3cmd/large")
    run(ports[0], "del", "--recursive", "--force", "s3://s3cmd")
    run(ports[1], "rb", "s3://s3cmd")
    print("s3cmd is served")


def begin():
    client(ports[0]).create_bucket(Bucket="load")
    print("the bucket is there")


ROUNDS_MAX = 12


def upload():
    """Puts through one node, whatever happens to the others, until the file `stop` is there."""
    s3, path = client(ports[0]), write("load", 32 * MIB)
    transfer = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=3)
    for number in range(ROUNDS_MAX):
        s3.upload_file(path, "load", f"large-{number:02}", Config=transfer)
        s3.put_object(Bucket="load", Key=f"small-{number:02}", Body=f"round {number}".encode())
        with open(os.path.join(folder, "rounds"), "w") as file:
            file.write(str(number + 1))
        if os.path.exists(os.path.join(folder, "stop")):
            break
    print("uploaded")


def verify():
    """Everything that was acknowledged, through every node."""
    expected, rounds = read(os.path.join(folder, "load")), int(read(os.path.join(folder, "rounds")))
    names = [f"{kind}-{number:02}" for kind in ("large", "small") for number in range(rounds)]
    for port in ports:
        s3 = client(port)
        check([item["Key"] for item in s3.list_objects_v2(Bucket="load")["Contents"]], names)
        for number in range(rounds):
            assert s3.get_object(Bucket="load", Key=f"large-{number:02}")["Body"].read() == expected, f"{port} {number}"
            check(s3.get_object(Bucket="load", Key=f"small-{number:02}")["Body"].read(), f"round {number}".encode())
    print(f"verified {rounds} rounds")


{"cli": command_line, "application": application, "minio": minio, "s3cmd": s3cmd_tool, "begin": begin, "upload": upload, "verify": verify}[step]()
