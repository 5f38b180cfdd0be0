//! Lists.

use std::collections::VecDeque;

use super::*;

#[test]
fn lists_as_redis_documents_them() {
    check(
        &cluster(),
        r#"
        RPUSH l a b c               => :3
        LPUSH l z y                 => :5
        LRANGE l 0 -1               => *5 $1 y $1 z $1 a $1 b $1 c
        LRANGE l -2 100             => *2 $1 b $1 c
        LRANGE l 3 1                => *0
        LRANGE nope 0 -1            => *0
        LLEN l                      => :5
        LINDEX l 0                  => $1 y
        LINDEX l -1                 => $1 c
        LINDEX l 5                  => $-1
        LINDEX l -6                 => $-1
        LSET l 1 Z                  => +OK
        LSET l 9 x                  => -ERR index out of range
        LSET l x x                  => -ERR value is not an integer or out of range
        LSET nope 0 x               => -ERR no such key
        LINSERT l BEFORE a 1        => :6
        LINSERT l after a 2         => :7
        LINSERT l AFTER nope 2      => :-1
        LINSERT nope AFTER a 2      => :0
        LINSERT l BESIDE a 2        => -ERR syntax error
        LRANGE l 0 -1               => *7 $1 y $1 Z $1 1 $1 a $1 2 $1 b $1 c
        LPOP l                      => $1 y
        RPOP l                      => $1 c
        LPOP l 2                    => *2 $1 Z $1 1
        RPOP l 2                    => *2 $1 b $1 2
        LPOP l 0                    => *0
        LPOP l -1                   => -ERR value is out of range, must be positive
        LPOP l 1 2                  => -ERR wrong number of arguments for 'lpop' command
        LPOP l 9                    => *1 $1 a
        EXISTS l                    => :0
        LPOP l                      => $-1
        LPOP l 1                    => *-1
        LPUSHX l a                  => :0
        RPUSHX l a                  => :0
        RPUSH r a b a c a           => :5
        LREM r 1 a                  => :1
        LREM r -1 a                 => :1
        LRANGE r 0 -1               => *3 $1 b $1 a $1 c
        LREM r 0 nope               => :0
        LTRIM r 1 -1                => +OK
        LRANGE r 0 -1               => *2 $1 a $1 c
        LTRIM r 5 9                 => +OK
        EXISTS r                    => :0
        RPUSH p a b c 1 2 3 c c     => :8
        LPOS p c                    => :2
        LPOS p c RANK 2             => :6
        LPOS p c RANK -1            => :7
        LPOS p c COUNT 2            => *2 :2 :6
        LPOS p c COUNT 0 RANK -2    => *2 :6 :2
        LPOS p c COUNT 0 MAXLEN 3   => *1 :2
        LPOS p nope                 => $-1
        LPOS p nope COUNT 1         => *0
        LPOS p c RANK 0             => -ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list
        LPOS p c COUNT -1           => -ERR COUNT can't be negative
        LPOS p c MAXLEN -1          => -ERR MAXLEN can't be negative
        RPUSH {m}a 1 2 3            => :3
        LMOVE {m}a {m}b LEFT RIGHT  => $1 1
        LMOVE {m}a {m}b RIGHT LEFT  => $1 3
        LRANGE {m}b 0 -1            => *2 $1 3 $1 1
        RPOPLPUSH {m}b {m}b         => $1 1
        LRANGE {m}b 0 -1            => *2 $1 1 $1 3
        LMOVE {m}a {m}a LEFT LEFT   => $1 2
        LMOVE {m}nope {m}a LEFT LEFT => $-1
        LMOVE {m}a {m}b LEFT X      => -ERR syntax error
        LMOVE {m}a {m}b LEFT RIGHT  => $1 2
        EXISTS {m}a                 => :0
        LMPOP 2 {m}a {m}b LEFT      => *2 $4 {m}b *1 $1 1
        LMPOP 2 {m}a {m}b RIGHT COUNT 5 => *2 $4 {m}b *2 $1 2 $1 3
        LMPOP 2 {m}a {m}b LEFT      => *-1
        LMPOP 0 {m}a LEFT           => -ERR numkeys should be greater than 0
        LMPOP 1 {m}a LEFT COUNT 0   => -ERR count should be greater than 0
        LMPOP 1 {m}a UP             => -ERR syntax error
        "#,
    );
}

/// A generator for a test's own course.
struct Course(u64);

impl Course {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
/// Fails if any operation on a list in rows leaves a gap, a row too many, or a value at another place than in a list in memory.
fn a_list_in_rows_is_what_a_list_in_memory_is() {
    let mut course = Course(0x5eed);
    let cluster = FakeCluster::new::<Redis>(1, 1);
    let mut model: VecDeque<String> = VecDeque::new();
    for step in 0..1500 {
        let value = format!("v{}", course.below(40));
        let length = model.len() as u64;
        // Around the length at which a list moves to rows, and beyond.
        let grows = length < 150 || (length < 400 && course.below(2) == 0);
        let command = match course.below(12) {
            0..=2 if grows => {
                model.push_front(value.clone());
                format!("LPUSH l {value}")
            }
            3..=5 if grows => {
                model.push_back(value.clone());
                format!("RPUSH l {value}")
            }
            0..=2 => {
                model.pop_front();
                "LPOP l".to_owned()
            }
            3..=5 => {
                model.pop_back();
                "RPOP l".to_owned()
            }
            6 | 7 => {
                let pivot = format!("v{}", course.below(40));
                if let Some(at) = model.iter().position(|candidate| *candidate == pivot) {
                    model.insert(at + 1, value.clone());
                }
                format!("LINSERT l AFTER {pivot} {value}")
            }
            8 => {
                let count = course.below(7) as i64 - 3;
                let mut at: Vec<usize> = (0..model.len()).filter(|at| model[*at] == value).collect();
                if count < 0 {
                    at.reverse();
                }
                at.truncate(if count == 0 { usize::MAX } else { count.unsigned_abs() as usize });
                at.sort_unstable_by(|left, right| right.cmp(left));
                at.iter().for_each(|at| drop(model.remove(*at)));
                format!("LREM l {count} {value}")
            }
            9 if length > 0 => {
                let at = course.below(length) as usize;
                model[at] = value.clone();
                format!("LSET l {at} {value}")
            }
            10 if length > 20 => {
                let (left, right) = (course.below(4) as usize, course.below(4) as usize);
                model.truncate(model.len() - right);
                model.drain(..left);
                format!("LTRIM l {left} -{}", right + 1)
            }
            _ => "LLEN l".to_owned(),
        };
        run(&cluster, &command);
        let expected: String = model.iter().map(|value| format!(" ${} {value}", value.len())).collect();
        assert_eq!(run(&cluster, "LRANGE l 0 -1"), format!("*{}{expected}", model.len()), "step {step}: {command}");
        cluster.advance::<Redis>(10);
        cluster.with_partition(0, |partition| {
            let elements = partition.rows().keys().filter(|key| key[0] == 2).count();
            assert!(elements == 0 || elements == model.len(), "step {step}: {command}: {elements} rows");
        });
    }
    assert!(model.len() > 130);
}

#[test]
/// Fails if a large trim leaves rows where a later push writes, which the cleaner would then remove.
fn a_large_trim_keeps_what_it_should() {
    let cluster = FakeCluster::new::<Redis>(1, 1);
    for batch in 0..12 {
        let values: String = (0..2000).map(|number| format!(" {}", batch * 2000 + number)).collect();
        ask(&cluster, &format!("RPUSH l{values}"));
    }
    assert_eq!(
        run(&cluster, "LTRIM l 23000 -1\nLLEN l\nLINDEX l 0\nLPUSH l x y\nLRANGE l 0 2"),
        "+OK :1000 $5 23000 :1002 *3 $1 y $1 x $5 23000"
    );
    cluster.advance::<Redis>(1_000_000);
    assert_eq!(run(&cluster, "LRANGE l 1000 -1\nMEMORY USAGE l"), "*2 $5 23998 $5 23999 :20079");
    assert_eq!(cluster.with_partition(0, |partition| partition.rows().len()), 1003);
    assert_eq!(run(&cluster, "LTRIM l 1 0\nEXISTS l"), "+OK :0");
    cluster.advance::<Redis>(1_000_000);
    assert_eq!(cluster.with_partition(0, |partition| partition.rows().len()), 0);
}
