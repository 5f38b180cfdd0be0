//! Commands that ask every partition: SCAN, KEYS, DBSIZE, RANDOMKEY, FLUSHALL, INFO.
//!
//! A SCAN cursor is a place, not a memory: `partition << 40 | position in hash order`, where the walk goes on (see
//! [`crate::walks`]). 0 is the start of partition 0 and, as an answer, the end, which no walk goes on from. It stays below
//! 2^53, where JavaScript clients lose digits, up to 8,192 partitions. Keys never change their partition's number (a
//! partition that moves to other nodes keeps it), so every key that is there throughout is met, once.
//!
//! Invariant: none of these is a transaction: partitions are asked one by one or side by side, each at its own moment.

use recoil_sdk::encoding::{Reader, push_bytes};
use recoil_sdk::{CallError, Mode, RoutedCall};

use super::info::{info_sections, push_section};
use super::{REPLY_BYTES_MAX, Session, Step, WRITE_BYTES, call_error, has_code, random};
use crate::command::Cluster;
use crate::keys::NO_DATABASE;
use crate::keyspace::HASH_BITS;
use crate::keyspace::databases::DATABASES;
use crate::numbers::{parse_i64, parse_u64, push_u64};
use crate::request::{self, Op, Routing, Style, push_number};
use crate::resp::{Arguments, push_array, push_bulk, push_integer, push_null, push_simple, push_text};
use crate::strings::{NOT_AN_INTEGER, SYNTAX};
use crate::walks::{Counted, END, Walked};

/// Partitions asked side by side. Each may answer about 256 KiB of keys.
const WAVE: usize = 32;
/// Rows that DBSIZE looks at in one request.
const COUNT_ROWS: u64 = 10_000;
/// Rows of each partition that INFO estimates from.
const ESTIMATE_ROWS: u64 = 100;
const SWAP_BY_DATABASE: &str = "ERR with the setting routing = database each database is on a partition of its own, and SWAPDB would \
    have to move all keys between two: rename the databases in the clients";
const SWAP_OVER_GROUPS: &str = "ERR SWAPDB exchanges databases on all partitions at the same moment or not at all, which is possible where \
    one Raft group has all of them";

/// Random partitions that RANDOMKEY tries before it asks all.
const RANDOM_ATTEMPTS: u32 = 3;

/// Where and what SCAN walks.
struct Scan<'a> {
    partition: u64,
    position: u64,
    count: u64,
    pattern: &'a [u8],
    kind: &'a [u8],
}

impl<'a> Scan<'a> {
    fn parse(arguments: Arguments<'a>) -> Result<Self, &'static str> {
        let cursor = parse_u64(arguments.at(1)).ok_or("ERR invalid cursor")?;
        let mut scan = Scan {
            partition: cursor >> HASH_BITS,
            position: cursor & ((1 << HASH_BITS) - 1),
            count: 10,
            pattern: b"",
            kind: b"",
        };
        let mut options = arguments.from(2);
        while let Some(option) = options.next() {
            let value = options.next().ok_or(SYNTAX)?;
            if option.eq_ignore_ascii_case(b"COUNT") {
                let count = parse_i64(value).ok_or(NOT_AN_INTEGER)?;
                scan.count = u64::try_from(count).ok().filter(|count| *count > 0).ok_or(SYNTAX)?;
            } else if option.eq_ignore_ascii_case(b"MATCH") {
                scan.pattern = value;
            } else if option.eq_ignore_ascii_case(b"TYPE") {
                scan.kind = value;
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(scan)
    }
}

fn walk_call(style: Style, (partition, position): (u32, u64), count: u64, pattern: &[u8], kind: &[u8]) -> RoutedCall {
    let mut walk = request::begin(Op::Walk, style, false, 32 + pattern.len());
    push_number(&mut walk, position);
    push_number(&mut walk, count);
    push_bytes(&mut walk, pattern);
    push_bytes(&mut walk, kind);
    RoutedCall::to_partition(partition, walk, Mode::Read)
}

/// Why a command over partitions could not answer.
pub(super) fn damaged() -> String {
    "ERR a partition answered something that cannot be read".to_owned()
}

impl Session<'_> {
    pub(super) fn cluster_command(&mut self, which: Cluster, arguments: Arguments<'_>) -> Step {
        self.flush()?;
        let result = match which {
            Cluster::Scan => self.scan(arguments),
            Cluster::Keys => self.keys(arguments.at(1)),
            Cluster::DbSize => self.count_all().map(|keys| push_integer(&mut self.out, keys as i64)),
            Cluster::RandomKey => self.random_key(),
            Cluster::FlushAll => self.flush_all(arguments, true),
            Cluster::FlushDb => self.flush_all(arguments, false),
            Cluster::SwapDb => self.swap_databases(arguments),
            Cluster::Info => self.info(arguments),
        };
        if let Err(text) = result {
            self.answer_error(&text);
        }
        self.write_out(WRITE_BYTES)
    }

    fn scan(&mut self, arguments: Arguments<'_>) -> Result<(), String> {
        let scan = Scan::parse(arguments).map_err(str::to_owned)?;
        let style = self.style().internal();
        let partitions = self.partitions_of_database();
        let (first, partitions) = (u64::from(partitions.start), u64::from(partitions.end));
        let (mut partition, mut position, mut found, mut keys) = (scan.partition, scan.position, 0u64, Vec::new());
        if partition < first {
            (partition, position) = (first, 0);
        }
        // Small partitions are done several at a time, more and more while they bring little.
        let mut wave = 1;
        while partition < partitions && found < scan.count {
            let last = (partition + wave).min(partitions);
            let calls: Vec<_> = (partition..last)
                .map(|id| {
                    let from = if id == partition { position } else { 0 };
                    walk_call(style, (id as u32, from), scan.count - found, scan.pattern, scan.kind)
                })
                .collect();
            // An error in the middle must not lose what another call of the wave has found: it is found again.
            for answer in self.router.call_many(&calls) {
                let answer = answer.map_err(|error| call_error(&error))?;
                let walked = Walked::decode(&answer).map_err(|_| damaged())?;
                position = walked.next;
                walked
                    .for_each(|key| {
                        push_bulk(&mut keys, key);
                        found += 1;
                    })
                    .map_err(|_| damaged())?;
                if position != END {
                    break;
                }
                partition += 1;
            }
            if position != END {
                break;
            }
            wave = (wave * 2).min(WAVE as u64);
        }
        let next = if partition >= partitions { 0 } else { partition << HASH_BITS | position };
        let mut cursor = Vec::new();
        push_u64(&mut cursor, next);
        push_array(&mut self.out, 2);
        push_bulk(&mut self.out, &cursor);
        push_array(&mut self.out, found as usize);
        self.out.extend_from_slice(&keys);
        Ok(())
    }

    fn keys(&mut self, pattern: &[u8]) -> Result<(), String> {
        let (mut found, mut keys) = (0, Vec::new());
        let style = self.style().internal();
        self.walk_all(
            |partition, position| walk_call(style, (partition, position), u64::MAX, pattern, b""),
            |answer| {
                let walked = Walked::decode(answer).map_err(|_| damaged())?;
                let next = walked.next;
                walked
                    .for_each(|key| {
                        push_bulk(&mut keys, key);
                        found += 1;
                    })
                    .map_err(|_| damaged())?;
                if keys.len() > REPLY_BYTES_MAX {
                    return Err(format!("ERR the keys would come to more than {REPLY_BYTES_MAX} bytes: use SCAN"));
                }
                Ok(next)
            },
        )?;
        push_array(&mut self.out, found);
        self.out.extend_from_slice(&keys);
        Ok(())
    }

    fn count_all(&mut self) -> Result<u64, String> {
        let mut keys = 0;
        let style = self.style().internal();
        self.walk_all(
            |partition, position| count_call(style, partition, position),
            |answer| {
                let counted = Counted::decode(answer).map_err(|_| damaged())?;
                keys += counted.keys;
                Ok(counted.next)
            },
        )?;
        Ok(keys)
    }

    /// Walk the database on every partition to its end, some side by side. `visit` answers where a walk goes on.
    fn walk_all(
        &mut self,
        call: impl Fn(u32, u64) -> RoutedCall,
        mut visit: impl FnMut(&[u8]) -> Result<u64, String>,
    ) -> Result<(), String> {
        let mut fresh = self.partitions_of_database();
        let mut open: Vec<(u32, u64)> = Vec::new();
        loop {
            let room = WAVE - open.len();
            open.extend(fresh.by_ref().take(room).map(|partition| (partition, 0)));
            if open.is_empty() {
                return Ok(());
            }
            let calls: Vec<_> = open.iter().map(|(partition, position)| call(*partition, *position)).collect();
            let mut unfinished = Vec::new();
            for ((partition, _), answer) in open.iter().zip(self.router.call_many(&calls)) {
                let next = visit(&answer.map_err(|error| call_error(&error))?)?;
                if next != END {
                    unfinished.push((*partition, next));
                }
            }
            open = unfinished;
        }
    }

    fn random_key(&mut self) -> Result<(), String> {
        let partitions = self.partitions_of_database();
        let style = Style { resp3: self.resp3, ..self.style() };
        let call = |partition: u32| {
            let mut request = request::begin(Op::Random, style, false, 9);
            push_number(&mut request, random());
            RoutedCall::to_partition(partition, request, Mode::Read)
        };
        let is_key = |answer: &Result<Vec<u8>, CallError>| {
            answer.as_ref().is_ok_and(|reply| reply.starts_with(b"$") && reply != b"$-1\r\n")
        };
        for _ in 0..RANDOM_ATTEMPTS {
            let answer = self.router.call(&call(partitions.start + (random() % partitions.len().max(1) as u64) as u32));
            if is_key(&answer) {
                self.out.extend_from_slice(&answer.unwrap_or_default());
                return Ok(());
            }
        }
        let calls: Vec<_> = partitions.map(call).collect();
        let mut answers = self.router.call_many(&calls);
        let keys: Vec<_> = answers.extract_if(.., |answer| is_key(answer)).flatten().collect();
        if let Some(key) = keys.get((random() % keys.len().max(1) as u64) as usize) {
            self.out.extend_from_slice(key);
            return Ok(());
        }
        match answers.into_iter().find_map(Result::err) {
            Some(error) => Err(call_error(&error)),
            None => {
                push_null(&mut self.out, self.resp3);
                Ok(())
            }
        }
    }

    fn flush_all(&mut self, arguments: Arguments<'_>, all_databases: bool) -> Result<(), String> {
        let known = |option: &[u8]| option.eq_ignore_ascii_case(b"ASYNC") || option.eq_ignore_ascii_case(b"SYNC");
        if arguments.len() > 2 || arguments.from(1).any(|option| !known(option)) {
            return Err(SYNTAX.to_owned());
        }
        let (op, partitions) = match all_databases {
            true => (Op::Flush, 0..self.partition_count()),
            false => (Op::FlushDatabase, self.partitions_of_database()),
        };
        let request = request::begin(op, self.style().internal(), false, 0);
        let calls: Vec<_> =
            partitions.map(|partition| RoutedCall::to_partition(partition, request.clone(), Mode::Write)).collect();
        for answer in self.router.call_many(&calls) {
            answer.map_err(|error| call_error(&error))?;
        }
        // Without keys, partitions take a setting that was changed meanwhile.
        self.routing_is_known &= !all_databases;
        push_simple(&mut self.out, "OK");
        Ok(())
    }

    /// SWAPDB: on all partitions at the same moment, or nowhere.
    fn swap_databases(&mut self, arguments: Arguments<'_>) -> Result<(), String> {
        let index = |at: usize, error: &str| parse_i64(arguments.at(at)).ok_or_else(|| error.to_owned());
        let (one, other) = (index(1, "ERR invalid first DB index")?, index(2, "ERR invalid second DB index")?);
        let database = |index: i64| u8::try_from(index).ok().filter(|index| *index < DATABASES);
        let (Some(one), Some(other)) = (database(one), database(other)) else { return Err(NO_DATABASE.to_owned()) };
        if one == other {
            push_simple(&mut self.out, "OK");
            return Ok(());
        }
        let partitions = match self.routing {
            Routing::Key => 0..self.partition_count(),
            Routing::Database => {
                let (first, second) = (self.place_in(one, b""), self.place_in(other, b""));
                if first != second {
                    return Err(SWAP_BY_DATABASE.to_owned());
                }
                first..first + 1
            }
        };
        let mut request = request::begin(Op::Swap, self.style().internal(), false, 18);
        push_number(&mut request, u64::from(one));
        push_number(&mut request, u64::from(other));
        let calls: Vec<_> =
            partitions.map(|partition| RoutedCall::to_partition(partition, request.clone(), Mode::Write)).collect();
        match &calls[..] {
            [call] => drop(self.router.call(call).map_err(|error| call_error(&error))?),
            calls => match self.router.transact(calls) {
                Ok(_) => {}
                Err(CallError::Rejected(why)) if !has_code(&why) => return Err(format!("{SWAP_OVER_GROUPS} ({why})")),
                Err(error) => return Err(call_error(&error)),
            },
        }
        push_simple(&mut self.out, "OK");
        Ok(())
    }

    fn info(&mut self, arguments: Arguments<'_>) -> Result<(), String> {
        let asked = |name: &str| {
            arguments.len() == 1
                || arguments.from(1).any(|section| {
                    [name.as_bytes(), b"all", b"default", b"everything"]
                        .iter()
                        .any(|known| section.eq_ignore_ascii_case(known))
                })
        };
        let uptime = self.opened.elapsed().as_secs();
        let mut text = info_sections(self.id, (self.partition_count(), self.routing), uptime, asked);
        if asked("Keyspace") {
            let mut body = String::new();
            for (database, counted) in self.estimate()?.iter().enumerate().filter(|(_, counted)| counted.keys > 0) {
                let Counted { keys, expiring, .. } = counted;
                body.push_str(&format!("db{database}:keys={keys},expires={expiring},avg_ttl=0\r\n"));
            }
            push_section(&mut text, "Keyspace", &body);
        }
        push_text(&mut self.out, self.resp3, &text);
        Ok(())
    }

    /// How many keys each database has: exact while partitions are small, otherwise extrapolated from a part of each.
    fn estimate(&mut self) -> Result<[Counted; DATABASES as usize], String> {
        let mut request = request::begin(Op::CountDatabases, self.style().internal(), false, 9);
        push_number(&mut request, ESTIMATE_ROWS);
        let calls: Vec<_> = (0..self.partition_count())
            .map(|partition| RoutedCall::to_partition(partition, request.clone(), Mode::Read))
            .collect();
        let mut totals = [Counted::default(); DATABASES as usize];
        for answer in self.router.call_many(&calls) {
            let answer = answer.map_err(|error| call_error(&error))?;
            let mut reader = Reader::new(&answer);
            for total in &mut totals {
                let counted = Counted::read(&mut reader).map_err(|_| damaged())?.extrapolated();
                total.keys += counted.keys;
                total.expiring += counted.expiring;
            }
        }
        Ok(totals)
    }
}

fn count_call(style: Style, partition: u32, position: u64) -> RoutedCall {
    let mut count = request::begin(Op::Count, style, false, 18);
    push_number(&mut count, position);
    push_number(&mut count, COUNT_ROWS);
    RoutedCall::to_partition(partition, count, Mode::Read)
}
