"""What an application written with redis-py does, on every node: argv holds the nodes' ports."""

import sys
import threading
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

    # Collections, small and large, whichever node is asked.
    first.hset("hash", mapping={f"field:{number}": number for number in range(200)})
    check(second.hget("hash", "field:7"), "7")
    check(third.hlen("hash"), 200)
    check(len(dict(first.hscan_iter("hash", count=20))), 200)
    first.sadd("{s}a", *range(300))
    second.sadd("{s}b", *range(200, 500))
    check(third.sinterstore("{s}c", "{s}a", "{s}b"), 100)
    check(len(set(first.sscan_iter("{s}c"))), 100)
    first.zadd("scores", {f"member:{number}": number / 2 for number in range(400)})
    check([tuple(pair) for pair in second.zrange("scores", 10, 11, withscores=True)], [("member:10", 5.0), ("member:11", 5.5)])
    check(third.zrevrank("scores", "member:399"), 0)
    check(first.zcount("scores", "(5", 6), 2)
    first.rpush("list", *range(200))
    check(second.lrange("list", 100, 101), ["100", "101"])
    check(third.lpop("list", 2), ["0", "1"])
    first.geoadd("places", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"))
    check(second.geosearch("places", longitude=15, latitude=37, radius=200, unit="km", sort="ASC"), ["Catania", "Palermo"])
    first.pfadd("visitors", *range(1000))
    assert 970 <= second.pfcount("visitors") <= 1030
    check(first.delete("hash", "scores", "list"), 3)
    check(second.type("hash"), "none")

    # Blocking commands are served by whichever node brings something, in the order in which they came.
    got = []
    waiting = [threading.Thread(target=lambda client=client: got.append(client.brpop(["queue:a", "queue:b"], timeout=20))) for client in clients]
    for thread in waiting:
        thread.start()
    time.sleep(0.3)
    for number in range(3):
        clients[number].lpush(f"queue:{'ab'[number % 2]}", f"job:{number}")
    for thread in waiting:
        thread.join(20)
    check(sorted(job for _, job in got), ["job:0", "job:1", "job:2"])
    check(first.blpop("queue:a", timeout=0.2), None)
    check(first.exists("queue:a", "queue:b"), 0)

    # Redis' own words for what is wrong.
    try:
        first.execute_command("INCR", "greeting")
        raise SystemExit("INCR of a text must fail")
    except redis.ResponseError as error:
        check(str(error), "value is not an integer or out of range")

    check(second.delete("greeting", "counter", "absent"), 2)
    check(first.exists("greeting"), 0)

print("ok")
