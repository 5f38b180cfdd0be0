//! What processes have used, as the kernel counts it in `/proc`.
//!
//! Time is counted in ticks of 10 ms on most machines, so it means something over seconds only.

use std::fs;
use std::ops::Sub;
use std::time::Duration;

use anyhow::Context as _;

/// Processor time, in user and kernel mode together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Of the processes.
    pub(crate) own: Duration,
    /// Of their children that have ended.
    pub(crate) children: Duration,
}

impl Used {
    /// Of living processes, together.
    pub(crate) fn of(processes: &[u32]) -> anyhow::Result<Used> {
        let mut sum = Used::default();
        for process in processes {
            let used = Used::of_one(&process.to_string())?;
            sum.own += used.own;
            sum.children += used.children;
        }
        Ok(sum)
    }

    /// Of this program.
    pub(crate) fn of_self() -> anyhow::Result<Used> {
        Used::of_one("self")
    }

    fn of_one(process: &str) -> anyhow::Result<Used> {
        let path = format!("/proc/{process}/stat");
        let text = fs::read_to_string(&path).with_context(|| format!("{path}: has the process ended?"))?;
        parse_stat(&text, rustix::param::clock_ticks_per_second())
            .with_context(|| format!("{path} has another form than proc(5) says: {text}"))
    }

    /// Both together.
    pub(crate) fn total(self) -> Duration {
        self.own + self.children
    }
}

impl Sub for Used {
    type Output = Used;

    fn sub(self, earlier: Used) -> Used {
        Used { own: self.own.saturating_sub(earlier.own), children: self.children.saturating_sub(earlier.children) }
    }
}

/// Processor time that the machine has given to anybody, or that its host has kept from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy(Duration);

impl Busy {
    /// Until now.
    pub(crate) fn now() -> anyhow::Result<Busy> {
        let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let busy = parse_busy(&text, rustix::param::clock_ticks_per_second());
        busy.context("/proc/stat has another form than proc(5) says")
    }

    /// Since an earlier moment.
    pub(crate) fn since(self, earlier: Busy) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Memory that processes have in RAM, bytes, together.
pub(crate) fn resident_bytes(processes: &[u32]) -> anyhow::Result<u64> {
    let one = |process: &u32| {
        let path = format!("/proc/{process}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("{path}: has the process ended?"))?;
        parse_resident(&text).with_context(|| format!("{path} has no VmRSS"))
    };
    processes.iter().map(one).sum()
}

/// Pages of a process that no file is behind, bytes: what it has on the heap and in caches of its own.
pub(crate) fn anonymous_bytes(process: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("{path}: has the process ended?"))?;
    parse_kilobytes(&text, "RssAnon:").with_context(|| format!("{path} has no RssAnon"))
}

/// What processes have had written to disks since they began, bytes, together. The kernel counts a page when it is first
/// changed, so a write counts before it has reached the disk.
pub(crate) fn written_bytes(processes: &[u32]) -> anyhow::Result<u64> {
    let one = |process: &u32| {
        let path = format!("/proc/{process}/io");
        let text = fs::read_to_string(&path).with_context(|| format!("{path}: has the process ended?"))?;
        parse_written(&text).with_context(|| format!("{path} has no write_bytes"))
    };
    processes.iter().map(one).sum()
}

/// Fields 14 to 17 of `/proc/PID/stat`. The name in the second may hold anything, so counting begins behind its last bracket.
fn parse_stat(text: &str, ticks_per_second: u64) -> Option<Used> {
    let (_, rest) = text.rsplit_once(") ")?;
    let times: Vec<u64> = rest.split(' ').skip(11).take(4).map(str::parse).collect::<Result<_, _>>().ok()?;
    let [user, system, children_user, children_system] = times[..] else { return None };
    let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64);
    Some(Used { own: time(user + system), children: time(children_user + children_system) })
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal. Waiting is not busy.
fn parse_busy(text: &str, ticks_per_second: u64) -> Option<Busy> {
    let cells = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
    let ticks: Vec<u64> = cells.map(str::parse).collect::<Result<_, _>>().ok()?;
    let [user, nice, system, _idle, _iowait, irq, softirq, steal] = ticks[..] else { return None };
    let busy = user + nice + system + irq + softirq + steal;
    Some(Busy(Duration::from_secs_f64(busy as f64 / ticks_per_second as f64)))
}

fn parse_resident(status: &str) -> Option<u64> {
    parse_kilobytes(status, "VmRSS:")
}

fn parse_written(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

fn parse_kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_any_name() {
        let text = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 10 5 20 0 1 0 100 1000 200";
        let used = parse_stat(text, 100).unwrap();
        assert_eq!(used, Used { own: Duration::from_secs(2), children: Duration::from_millis(150) });
        assert_eq!(used.total(), Duration::from_millis(2150));
        assert_eq!(parse_stat("42 (name) S 1 2 3", 100), None);
    }

    #[test]
    fn waiting_is_not_busy() {
        let text = "cpu  100 10 20 1000 500 5 15 50 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(parse_busy(text, 100), Some(Busy(Duration::from_secs(2))));
        assert_eq!(parse_busy("cpu  1 2\n", 100), None);
        assert_eq!(Busy::now().unwrap().since(Busy(Duration::MAX)), Duration::ZERO);
    }

    #[test]
    fn memory_is_in_kilobytes() {
        assert_eq!(parse_resident("VmHWM:\t  300 kB\nVmRSS:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(parse_resident("Name:\tx\n"), None);
        assert_eq!(parse_kilobytes("VmRSS:\t 9 kB\nRssAnon:\t 5 kB\n", "RssAnon:"), Some(5 * 1024));
    }

    /// Fails if writes that were taken back are counted, or calls of write(2).
    #[test]
    fn what_goes_to_the_disk_is_counted() {
        let text = "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\ncancelled_write_bytes: 7\n";
        assert_eq!(parse_written(text), Some(6));
        assert_eq!(parse_written("wchar: 2\n"), None);
    }

    #[test]
    fn this_process_has_used_something() {
        let id = std::process::id();
        assert!(resident_bytes(&[id]).unwrap() > 100_000);
        assert_eq!(Used::of(&[id]).unwrap() - Used::of(&[id]).unwrap(), Used::default());
    }
}
