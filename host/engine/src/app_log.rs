//! An app's log on one node: a bounded ring of lines, fed by its instances and read by operators.
//!
//! Invariant: the log holds at most its limits of lines and bytes, whatever guests write; what was lost is counted. Lines
//! have consecutive numbers, so a follower knows what it missed. Deliberately absent: files, and other nodes' lines.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use recoil_base::{Clock, PartitionId};
use tokio::sync::watch;

/// Bytes of one line; longer ones are cut.
const LINE_BYTES_MAX: usize = 8 << 10;
/// What a line costs beyond its text.
const LINE_OVERHEAD: usize = 48;

/// How much a log holds.
#[derive(Clone, Copy, Debug)]
pub struct AppLogOptions {
    /// Lines.
    pub lines_max: usize,
    /// Bytes.
    pub bytes_max: usize,
    /// Lines that guests, and as many that the host, may write in a second; a sixteenth of `bytes_max` bytes likewise. Four
    /// seconds' worth may come at once.
    pub lines_per_second: u32,
}

impl Default for AppLogOptions {
    fn default() -> Self {
        AppLogOptions { lines_max: 4096, bytes_max: 1 << 20, lines_per_second: 256 }
    }
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Steps.
    Trace,
    /// Findings for the author.
    Debug,
    /// What happens.
    Info,
    /// What should not.
    Warn,
    /// What failed.
    Error,
}

impl LogLevel {
    /// Its lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its number in this log, from 0.
    pub sequence: u64,
    /// When it was written, microseconds since the Unix epoch.
    pub time_us: u64,
    /// How much it matters.
    pub level: LogLevel,
    /// The partition whose handler wrote it; none for a listener.
    pub partition: Option<u32>,
    /// The text, at most 8 KiB.
    pub message: String,
}

/// An app's log; clones share it.
#[derive(Clone, Debug)]
pub struct AppLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    options: AppLogOptions,
    ring: Mutex<Ring>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<LogLine>,
    bytes: usize,
    next: u64,
    dropped: u64,
    /// Of guests and of the host.
    rates: [Rate; 2],
}

/// A bucket of lines and one of bytes, both in thousandths of a second's worth.
#[derive(Debug, Default)]
struct Rate {
    used_lines: u64,
    used_bytes: u64,
    settled_us: u64,
    /// Lines dropped since the last one that was kept.
    dropped: u64,
}

/// Seconds' worth of lines that may come at once.
const BURST_SECONDS: u64 = 4;

impl Rate {
    /// True if one more line of `bytes` may be kept.
    fn allows(&mut self, options: &AppLogOptions, now_us: u64, bytes: usize) -> bool {
        let (lines, size) = (u64::from(options.lines_per_second), (options.bytes_max as u64 / 16).max(1));
        let passed_us = now_us.saturating_sub(self.settled_us);
        self.settled_us = now_us;
        let paid = |used: u64, each_second: u64| used.saturating_sub(passed_us.saturating_mul(each_second));
        // In millionths, so that short times count.
        self.used_lines = paid(self.used_lines, lines);
        self.used_bytes = paid(self.used_bytes, size);
        let second = 1_000_000;
        let full = self.used_lines + second > lines * BURST_SECONDS * second
            || (self.used_bytes > 0 && self.used_bytes + bytes as u64 * second > size * BURST_SECONDS * second);
        if full {
            self.dropped += 1;
            return false;
        }
        self.used_lines += second;
        self.used_bytes += bytes as u64 * second;
        true
    }
}

impl Ring {
    fn keep(&mut self, options: &AppLogOptions, line: LogLine) {
        self.next += 1;
        self.bytes += line.message.len() + LINE_OVERHEAD;
        self.lines.push_back(line);
        while self.lines.len() > options.lines_max.max(1) || (self.bytes > options.bytes_max && self.lines.len() > 1) {
            if let Some(oldest) = self.lines.pop_front() {
                self.bytes -= oldest.message.len() + LINE_OVERHEAD;
                self.dropped += 1;
            }
        }
    }

    /// Says how many lines were dropped, if any were.
    fn confess(&mut self, options: &AppLogOptions, of: usize, time_us: u64) {
        let dropped = std::mem::take(&mut self.rates[of].dropped);
        if dropped == 0 {
            return;
        }
        self.dropped += dropped;
        let whose = ["the app", "the host"][of];
        let message = format!(
            "{dropped} lines that {whose} wrote here were dropped (limit log_lines_per_second: {}); write less",
            options.lines_per_second
        );
        let line = LogLine { sequence: self.next, time_us, level: LogLevel::Warn, partition: None, message };
        self.keep(options, line);
    }
}

impl AppLog {
    /// An empty log.
    pub fn new(clock: Clock, options: AppLogOptions) -> Self {
        AppLog { shared: Arc::new(Shared { clock, options, ring: Mutex::default(), changed: watch::Sender::new(0) }) }
    }

    /// Appends a line of the host's, cut at 8 KiB, and drops the oldest ones above the limits. One that comes too soon after too many
    /// others is only counted.
    pub fn push(&self, level: LogLevel, partition: Option<PartitionId>, message: &str) {
        self.push_of(1, level, partition, message);
    }

    /// As [`AppLog::push`], for what guests write: a flood of theirs drops none of the host's lines.
    pub fn push_from_guest(&self, level: LogLevel, partition: Option<PartitionId>, message: &str) {
        self.push_of(0, level, partition, message);
    }

    fn push_of(&self, of: usize, level: LogLevel, partition: Option<PartitionId>, message: &str) {
        let shared = &*self.shared;
        let time_us = shared.clock.wall_us();
        let next = {
            let mut ring = shared.ring.lock();
            let bytes = message.len().min(LINE_BYTES_MAX) + LINE_OVERHEAD;
            if !ring.rates[of].allows(&shared.options, time_us, bytes) {
                return;
            }
            ring.confess(&shared.options, of, time_us);
            let sequence = ring.next;
            let (partition, message) = (partition.map(|p| p.0), cut(message));
            ring.keep(&shared.options, LogLine { sequence, time_us, level, partition, message });
            ring.next
        };
        shared.changed.send_replace(next);
    }

    /// The lines numbered `sequence` and above that are still held, oldest first, at most `limit`, and the number to ask
    /// for next.
    pub fn since(&self, sequence: u64, limit: usize) -> (Vec<LogLine>, u64) {
        let mut ring = self.shared.ring.lock();
        // Whoever reads shall know, even if no line follows those dropped.
        for of in 0..ring.rates.len() {
            ring.confess(&self.shared.options, of, self.shared.clock.wall_us());
        }
        let first = ring.lines.front().map_or(ring.next, |line| line.sequence);
        let skip = usize::try_from(sequence.saturating_sub(first)).unwrap_or(usize::MAX);
        let lines: Vec<LogLine> = ring.lines.iter().skip(skip).take(limit).cloned().collect();
        let next = lines.last().map_or(sequence.max(first).min(ring.next), |line| line.sequence + 1);
        (lines, next)
    }

    /// Watches the number that the next line will have: it changes with every line.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Lines lost because the log was full.
    pub fn dropped(&self) -> u64 {
        self.shared.ring.lock().dropped
    }
}

fn cut(message: &str) -> String {
    let mut end = message.len().min(LINE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if guests and the host share one rate, and if what was dropped is not told.
    #[test]
    fn a_flood_is_dropped_counted_and_leaves_the_lines_of_the_host() {
        let log = AppLog::new(Clock::with_wall(|| 7), AppLogOptions::default());
        log.push_from_guest(LogLevel::Info, None, "useful");
        for _ in 0..100_000 {
            log.push_from_guest(LogLevel::Info, None, "flood");
        }
        log.push(LogLevel::Error, None, "the handler failed");
        let (lines, _) = log.since(0, usize::MAX);
        let has = |text: &str| lines.iter().any(|line| line.message.contains(text));
        assert!(has("useful") && has("the handler failed"));
        assert!(
            has("98977 lines that the app wrote here were dropped (limit log_lines_per_second: 256)"),
            "{:?}",
            lines.last()
        );
        assert!(lines.len() < 1100);
        let huge = "x".repeat(1 << 20);
        for _ in 0..1000 {
            log.push(LogLevel::Info, None, &huge);
        }
        assert!(
            log.since(0, usize::MAX).0.iter().any(|line| line.message == "useful"),
            "huge lines evict nothing at once"
        );
    }

    fn log(lines_max: usize, bytes_max: usize) -> AppLog {
        AppLog::new(Clock::with_wall(|| 7), AppLogOptions { lines_max, bytes_max, lines_per_second: 100_000 })
    }

    #[test]
    fn the_oldest_lines_go_first_and_a_follower_sees_the_gap() {
        let log = log(3, 1 << 20);
        let watch = log.changed();
        for n in 0..5 {
            log.push(LogLevel::Info, Some(PartitionId(n)), &format!("line {n}"));
        }
        assert!(watch.has_changed().unwrap());
        let (lines, next) = log.since(0, 2);
        assert_eq!(lines.iter().map(|line| line.sequence).collect::<Vec<_>>(), [2, 3]);
        assert_eq!((lines[0].time_us, lines[0].partition, lines[0].message.as_str()), (7, Some(2), "line 2"));
        assert_eq!(next, 4);
        let (lines, next) = log.since(next, 10);
        assert_eq!((lines.len(), next), (1, 5));
        assert_eq!(log.since(next, 10), (vec![], 5));
        assert_eq!(log.since(900, 10), (vec![], 5));
        assert_eq!(log.dropped(), 2);
    }

    #[test]
    fn bytes_are_bounded_and_long_lines_cut_between_characters() {
        let minutes = std::sync::atomic::AtomicU64::new(0);
        let clock = Clock::with_wall(move || minutes.fetch_add(60_000_000, std::sync::atomic::Ordering::Relaxed));
        let log = AppLog::new(clock, AppLogOptions { lines_max: 1000, bytes_max: 20 << 10, lines_per_second: 256 });
        for _ in 0..50 {
            log.push(LogLevel::Warn, None, &"é".repeat(8 << 10));
        }
        let (lines, _) = log.since(0, 1000);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.message.len() == 8 << 10));
    }
}
