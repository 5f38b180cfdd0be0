"""What an application written with redis-py does, on every node: argv holds the nodes' ports."""

import sys
import time

import redis

ports = [int(port) for port in sys.argv[1:]]


def check(actual, expected):
    assert actual == expected, f"expected {expected!r}, got {actual!r}"


for protocol in (2, 3):
    clients = [redis.Redis(port=port, protocol=protocol, decode_responses=True) for port in ports]
    first, second, third = clients
    check(first.ping(), True)
    first.flushall()

    # What one node acknowledged, the others read.
    check(first.set("greeting", "hello"), True)
    for client in clients:
        check(client.get("greeting"), "hello")

    # Counters are exact, whichever node is asked.
    for _ in range(10):
        for client in clients:
            client.incr("counter")
    check(second.get("counter"), "30")

    # A pipeline over many partitions answers in order.
    pipeline = third.pipeline(transaction=False)
    for number in range(300):
        pipeline.set(f"key:{number}", number)
    for number in range(300):
        pipeline.get(f"key:{number}")
    answers = pipeline.execute()
    check(answers[:300], [True] * 300)
    check(answers[300:], [str(number) for number in range(300)])
    check(first.mget("key:1", "absent", "key:299"), ["1", None, "299"])
    check(sorted(second.scan_iter("key:*", count=50)), sorted(f"key:{number}" for number in range(300)))
    check(second.dbsize(), 302)

    # A transaction on keys with one owner.
    with first.pipeline(transaction=True) as transaction:
        transaction.set("{owner}:a", "1")
        transaction.incr("{owner}:a")
        check(transaction.execute(), [True, 2])

    # Expiry, seen or not.
    first.set("short", "lived", px=300)
    assert 0 < second.pttl("short") <= 300
    time.sleep(0.5)
    check(third.get("short"), None)
    check(third.exists("short"), 0)

    # Redis' own words for what is wrong.
    try:
        first.execute_command("INCR", "greeting")
        raise SystemExit("INCR of a text must fail")
    except redis.ResponseError as error:
        check(str(error), "value is not an integer or out of range")

    check(second.delete("greeting", "counter", "absent"), 2)
    check(first.exists("greeting"), 0)

print("ok")
