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
}

impl Default for AppLogOptions {
    fn default() -> Self {
        AppLogOptions { lines_max: 4096, bytes_max: 1 << 20 }
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
}

impl AppLog {
    /// An empty log.
    pub fn new(clock: Clock, options: AppLogOptions) -> Self {
        AppLog { shared: Arc::new(Shared { clock, options, ring: Mutex::default(), changed: watch::Sender::new(0) }) }
    }

    /// Appends a line, cut at 8 KiB, and drops the oldest ones above the limits.
    pub fn push(&self, level: LogLevel, partition: Option<PartitionId>, message: &str) {
        let message = cut(message);
        let shared = &*self.shared;
        let time_us = shared.clock.wall_us();
        let next = {
            let mut ring = shared.ring.lock();
            let sequence = ring.next;
            ring.next += 1;
            ring.bytes += message.len() + LINE_OVERHEAD;
            ring.lines.push_back(LogLine { sequence, time_us, level, partition: partition.map(|p| p.0), message });
            while ring.lines.len() > shared.options.lines_max.max(1)
                || (ring.bytes > shared.options.bytes_max && ring.lines.len() > 1)
            {
                if let Some(oldest) = ring.lines.pop_front() {
                    ring.bytes -= oldest.message.len() + LINE_OVERHEAD;
                    ring.dropped += 1;
                }
            }
            ring.next
        };
        shared.changed.send_replace(next);
    }

    /// The lines numbered `sequence` and above that are still held, oldest first, at most `limit`, and the number to ask
    /// for next.
    pub fn since(&self, sequence: u64, limit: usize) -> (Vec<LogLine>, u64) {
        let ring = self.shared.ring.lock();
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

    fn log(lines_max: usize, bytes_max: usize) -> AppLog {
        AppLog::new(Clock::with_wall(|| 7), AppLogOptions { lines_max, bytes_max })
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
        let log = log(1000, 20 << 10);
        for _ in 0..50 {
            log.push(LogLevel::Warn, None, &"é".repeat(8 << 10));
        }
        let (lines, _) = log.since(0, 1000);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.message.len() == 8 << 10));
    }
}
