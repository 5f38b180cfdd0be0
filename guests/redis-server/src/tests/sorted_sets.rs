//! Sorted sets.

use super::*;

#[test]
fn adding_and_scores() {
    check(
        &cluster(),
        r#"
        ZADD z 1 a 2 b 1 a          => :2
        ZADD z CH 5 a 2 b 3 c       => :2
        ZADD z NX 9 a 4 d           => :1
        ZADD z XX 9 e               => :0
        ZADD z XX CH 6 a            => :1
        ZADD z GT CH 5 a            => :0
        ZADD z GT CH 7 a            => :1
        ZADD z LT CH 8 a            => :0
        ZADD z LT CH 1 a            => :1
        ZADD z GT CH -5 new         => :1
        ZADD z LT INCR 5 a          => $-1
        ZADD z INCR 5 a             => $1 6
        ZADD z NX INCR 5 a          => $-1
        ZADD z XX INCR 5 nope       => $-1
        ZSCORE z a                  => $1 6
        ZSCORE z nope               => $-1
        ZMSCORE z a nope b          => *3 $1 6 $-1 $1 2
        ZMSCORE nope a              => *1 $-1
        ZINCRBY z 1.5 a             => $3 7.5
        ZINCRBY z 0.1 tenth         => $3 0.1
        ZADD z nan x                => -ERR value is not a valid float
        ZADD z x x                  => -ERR value is not a valid float
        ZADD z 1 a 2                => -ERR syntax error
        ZADD z NX XX 1 a            => -ERR XX and NX options at the same time are not compatible
        ZADD z NX GT 1 a            => -ERR GT, LT, and/or NX options at the same time are not compatible
        ZADD z GT LT 1 a            => -ERR GT, LT, and/or NX options at the same time are not compatible
        ZADD z INCR 1 a 2 b         => -ERR INCR option supports a single increment-element pair
        ZADD i inf x -inf y         => :2
        ZINCRBY i -inf x            => -ERR resulting score is not a number (NaN)
        ZRANGE i 0 -1 WITHSCORES    => *4 $1 y $4 -inf $1 x $3 inf
        ZREM z a a nope             => :1
        ZCARD z                     => :5
        ZADD n -0 zero 0 nought     => :2
        ZSCORE n zero               => $1 0
        ZRANGE n 0 -1 WITHSCORES    => *4 $6 nought $1 0 $4 zero $1 0
        "#,
    );
}

#[test]
fn ranges_and_ranks() {
    check(
        &cluster(),
        r#"
        ZADD z 1 one 2 two 3 three  => :3
        ZRANGE z 0 -1               => *3 $3 one $3 two $5 three
        ZRANGE z 1 1                => *1 $3 two
        ZRANGE z 5 9                => *0
        ZRANGE z 0 -1 REV           => *3 $5 three $3 two $3 one
        ZREVRANGE z 0 0 WITHSCORES  => *2 $5 three $1 3
        ZRANGEBYSCORE z (1 3        => *2 $3 two $5 three
        ZRANGEBYSCORE z -inf +inf LIMIT 1 1 => *1 $3 two
        ZRANGEBYSCORE z -inf +inf LIMIT 2000000 10 => *0
        ZRANGEBYSCORE z -inf +inf LIMIT -1 10 => *0
        ZRANGEBYSCORE z -inf +inf LIMIT 1 -1 => *2 $3 two $5 three
        ZREVRANGEBYSCORE z 3 (1     => *2 $5 three $3 two
        ZRANGE z 1 -inf BYSCORE REV LIMIT 0 1 => *1 $3 one
        ZRANGE z 2 1 BYSCORE        => *0
        ZRANGE z 0 1 LIMIT 0 1      => -ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
        ZRANGE z - + BYLEX WITHSCORES => -ERR syntax error, WITHSCORES not supported in combination with BYLEX
        ZRANGE z x 1                => -ERR value is not an integer or out of range
        ZRANGE z (x 1 BYSCORE       => -ERR min or max is not a float
        ZRANGE z x [b BYLEX         => -ERR min or max not valid string range item
        ZRANGE z 0 1 BYSCORE BYLEX  => -ERR syntax error
        ZRANGEBYSCORE z 0 1 LIMIT 0 => -ERR syntax error
        ZCOUNT z -inf +inf          => :3
        ZCOUNT z (1 (3              => :1
        ZCOUNT z 3 1                => :0
        ZCOUNT nope 3 1             => :0
        ZRANK z two                 => :1
        ZREVRANK z two              => :1
        ZRANK z nope                => $-1
        ZRANK z two WITHSCORE       => *2 :1 $1 2
        ZRANK z nope WITHSCORE      => *-1
        ZRANK z two NONSENSE        => -ERR syntax error
        ZADD l 0 a 0 b 0 c 0 d      => :4
        ZRANGEBYLEX l - [c          => *3 $1 a $1 b $1 c
        ZRANGEBYLEX l (a (d         => *2 $1 b $1 c
        ZRANGEBYLEX l + -           => *0
        ZREVRANGEBYLEX l + [c       => *2 $1 d $1 c
        ZRANGE l [a [c BYLEX LIMIT 1 1 => *1 $1 b
        ZRANGE l + - BYLEX REV LIMIT 0 2 => *2 $1 d $1 c
        ZLEXCOUNT l - +             => :4
        ZLEXCOUNT l [b (d           => :2
        ZREMRANGEBYLEX l [b (d      => :2
        ZREMRANGEBYRANK z -100 -50  => :0
        ZREMRANGEBYRANK z 3 5       => :0
        ZREMRANGEBYRANK z 2 0       => :0
        ZREMRANGEBYRANK z 0 0       => :1
        ZREMRANGEBYSCORE z (2 inf   => :1
        ZRANGE z 0 -1               => *1 $3 two
        ZREMRANGEBYSCORE z -inf inf => :1
        EXISTS z                    => :0
        ZADD {s}a 1 a 2 b 3 c       => :3
        ZRANGESTORE {s}b {s}a 1 -1  => :2
        ZRANGESTORE {s}b {s}a 0 0 REV => :1
        ZRANGE {s}b 0 -1 WITHSCORES => *2 $1 c $1 3
        ZRANGESTORE {s}b {s}a 9 9   => :0
        EXISTS {s}b                 => :0
        ZRANGESTORE {s}b {s}a 0 0 WITHSCORES => -ERR syntax error
        "#,
    );
}

#[test]
fn popping_and_algebra() {
    check(
        &cluster(),
        r#"
        ZADD {z}a 1 a 2 b 3 c       => :3
        ZADD {z}b 10 b 20 c 30 d    => :3
        SADD {z}s a d               => :2
        ZUNION 2 {z}a {z}b WITHSCORES => *8 $1 a $1 1 $1 b $2 12 $1 c $2 23 $1 d $2 30
        ZUNION 2 {z}a {z}b WEIGHTS 2 1 AGGREGATE MAX WITHSCORES => *8 $1 a $1 2 $1 b $2 10 $1 c $2 20 $1 d $2 30
        ZUNION 2 {z}a {z}s          => *4 $1 d $1 a $1 b $1 c
        ZINTER 2 {z}a {z}b AGGREGATE MIN WITHSCORES => *4 $1 b $1 2 $1 c $1 3
        ZINTERCARD 2 {z}a {z}b      => :2
        ZINTERCARD 2 {z}a {z}b LIMIT 1 => :1
        ZDIFF 2 {z}a {z}b WITHSCORES => *2 $1 a $1 1
        ZDIFF 2 {z}a {z}a           => *0
        ZUNIONSTORE {z}d 2 {z}a {z}b => :4
        ZINTERSTORE {z}d 2 {z}a {z}s => :1
        ZSCORE {z}d a               => $1 2
        ZDIFFSTORE {z}d 2 {z}a {z}nope => :3
        ZINTERSTORE {z}d 2 {z}a {z}nope => :0
        EXISTS {z}d                 => :0
        ZUNION 0 {z}a               => -ERR at least 1 input key is needed for 'zunion' command
        ZUNION 2 {z}a               => -ERR syntax error
        ZUNION x {z}a               => -ERR value is not an integer or out of range
        ZUNION 1 {z}a WEIGHTS       => -ERR syntax error
        ZUNION 1 {z}a WEIGHTS x     => -ERR weight value is not a float
        ZUNION 1 {z}a AGGREGATE AVG => -ERR syntax error
        ZDIFF 1 {z}a WEIGHTS 1      => -ERR syntax error
        ZADD {i}1 inf x             => :1
        ZADD {i}2 -inf x            => :1
        ZUNIONSTORE {i}3 2 {i}1 {i}2 => :1
        ZSCORE {i}3 x               => $1 0
        ZPOPMIN {z}a                => *2 $1 a $1 1
        ZPOPMAX {z}a 5              => *4 $1 c $1 3 $1 b $1 2
        ZPOPMAX {z}a                => *0
        ZPOPMIN {z}b -1             => -ERR value is out of range, must be positive
        ZPOPMIN {z}b x              => -ERR value is out of range, must be positive
        ZMPOP 2 {z}a {z}b MIN       => *2 $4 {z}b *1 *2 $1 b $2 10
        ZMPOP 2 {z}a {z}b MAX COUNT 9 => *2 $4 {z}b *2 *2 $1 d $2 30 *2 $1 c $2 20
        ZMPOP 2 {z}a {z}b MIN       => *-1
        ZMPOP 1 {z}a UP             => -ERR syntax error
        "#,
    );
}

/// Rows of counts by level: their number and their sum.
fn counts(cluster: &FakeCluster) -> Vec<(usize, u64)> {
    cluster.with_partition(0, |partition| {
        let level = |level: u8| {
            let rows = partition.rows().iter().filter(|(key, _)| key[0] == 2 && key[9] == 1 + level);
            let counts: Vec<u64> = rows.map(|(_, value)| u64::from_le_bytes(value[..].try_into().unwrap())).collect();
            (counts.len(), counts.iter().sum())
        };
        [1, 2, 3].into_iter().map(level).filter(|(rows, _)| *rows > 0).collect()
    })
}

/// What the order of a large set must be: each score and member, sorted.
fn check_order(cluster: &FakeCluster, model: &std::collections::BTreeSet<(i64, String)>, every: usize) {
    let length = model.len();
    assert_eq!(run(cluster, "ZCARD z"), format!(":{length}"));
    assert!(counts(cluster).iter().all(|(_, sum)| *sum == length as u64), "{:?} of {length}", counts(cluster));
    for (rank, (score, member)) in model.iter().enumerate().step_by(every) {
        let bulk = |text: &str| format!("${} {text}", text.len());
        assert_eq!(run(cluster, &format!("ZRANK z {member}")), format!(":{rank}"), "{member}");
        assert_eq!(run(cluster, &format!("ZRANGE z {rank} {rank}")), format!("*1 {}", bulk(member)));
        let reverse = length - 1 - rank;
        assert_eq!(run(cluster, &format!("ZREVRANGE z {reverse} {reverse}")), format!("*1 {}", bulk(member)));
        let below = model.iter().filter(|(other, _)| other < score).count();
        assert_eq!(run(cluster, &format!("ZCOUNT z -inf ({score}")), format!(":{below}"));
        assert_eq!(run(cluster, &format!("ZRANGEBYSCORE z -inf inf LIMIT {rank} 1")), format!("*1 {}", bulk(member)));
        assert_eq!(
            run(cluster, &format!("ZREVRANGEBYSCORE z inf -inf LIMIT {reverse} 1")),
            format!("*1 {}", bulk(member))
        );
    }
}

#[test]
/// Fails if a count of any level is wrong after members come, go and change their scores.
fn ranks_stay_right_while_members_come_and_go() {
    let cluster = FakeCluster::new::<Redis>(1, 1);
    let mut model = std::collections::BTreeSet::new();
    let mut scores = std::collections::BTreeMap::new();
    let mut state = 0x5eed_5eedu64;
    let mut below = |end: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % end
    };
    for round in 0..40 {
        let mut command = String::new();
        for _ in 0..150 {
            let (member, score) = (format!("m{}", below(3000)), below(500) as i64 - 250);
            if below(4) == 0 {
                command.push_str(&format!("ZREM z {member}\n"));
                if let Some(score) = scores.remove(&member) {
                    model.remove(&(score, member));
                }
            } else {
                command.push_str(&format!("ZADD z {score} {member}\n"));
                if let Some(before) = scores.insert(member.clone(), score) {
                    model.remove(&(before, member.clone()));
                }
                model.insert((score, member));
            }
        }
        run(&cluster, &command);
        if round % 8 == 7 {
            check_order(&cluster, &model, 97);
        }
    }
    assert!(model.len() > 1000 && counts(&cluster).len() == 1);
    let popped = run(&cluster, "ZPOPMIN z 500");
    let expected: Vec<_> = model.iter().take(500).cloned().collect();
    assert!(expected.iter().zip(popped.split(' ').skip(2).step_by(4)).all(|((_, member), popped)| member == popped));
    expected.iter().for_each(|entry| assert!(model.remove(entry)));
    check_order(&cluster, &model, 31);
    let removed = run(&cluster, "ZREMRANGEBYRANK z 100 -101");
    let kept: std::collections::BTreeSet<_> =
        model.iter().take(100).chain(model.iter().rev().take(100)).cloned().collect();
    assert_eq!(removed, format!(":{}", model.len() - 200));
    check_order(&cluster, &kept, 1);
}

#[test]
/// Fails if the second level of counts, which a set gets at 16,384 members, is built or kept wrong.
fn ranks_of_a_set_with_two_levels() {
    let cluster = FakeCluster::new::<Redis>(1, 1);
    let mut model = std::collections::BTreeSet::new();
    for batch in 0..36i64 {
        let mut command = "ZADD z".to_owned();
        for number in 0..500i64 {
            let score = (number * 7919 + batch * 104_729) % 5000;
            let member = format!("m{batch}:{number}");
            command.push_str(&format!(" {score} {member}"));
            model.insert((score, member));
        }
        assert_eq!(ask(&cluster, &command), ":500");
    }
    let levels = counts(&cluster);
    assert_eq!(levels.len(), 2);
    assert!((60..300).contains(&levels[0].0), "{levels:?}");
    check_order(&cluster, &model, 1501);
    for number in (0..500).step_by(3) {
        let command = format!("ZREM z m3:{number}\nZADD z {} m5:{number}", number * 10);
        run(&cluster, &command);
        model.retain(|(_, member)| *member != format!("m3:{number}") && *member != format!("m5:{number}"));
        model.insert((number * 10, format!("m5:{number}")));
    }
    check_order(&cluster, &model, 1201);
}
