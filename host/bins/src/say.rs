//! Saying something to whoever started the program, who may not listen.
//!
//! `println!` panics when nobody takes what it prints: `| head -1`, a full disk, a terminal that is
//! gone. What a node does is worth more than its sentences, so it goes on without them. That nobody
//! takes them is said once, on stderr, unless the reader of a pipe has gone away: it has what it
//! wanted. Results of `recoilctl` are another matter: see [`crate::ctl::Output`].

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Prints a line to stdout, and goes on if it cannot.
pub fn say(text: impl AsRef<str>) {
    static SPOKEN_OF: AtomicBool = AtomicBool::new(false);
    print(&mut io::stdout().lock(), &mut io::stderr().lock(), &SPOKEN_OF, text.as_ref());
}

/// Prints a line to stderr, and goes on if it cannot: there is nowhere to say so.
pub fn complain(text: impl AsRef<str>) {
    let mut stderr = io::stderr().lock();
    // One write, so that lines of several threads do not mix.
    let _ = stderr.write_all(format!("{}\n", text.as_ref()).as_bytes());
}

fn print(to: &mut impl Write, complaints: &mut impl Write, spoken_of: &AtomicBool, text: &str) {
    let Err(error) = writeln!(to, "{text}").and_then(|()| to.flush()) else { return };
    if error.kind() != io::ErrorKind::BrokenPipe && !spoken_of.swap(true, Ordering::Relaxed) {
        let _ = writeln!(complaints, "cannot write to standard output ({error}); going on without");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes nothing.
    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    /// Fails if a full disk is not spoken of, or with each line, or the end of a reader is.
    #[test]
    fn that_nobody_takes_a_line_is_said_once_and_a_reader_may_leave_in_silence() {
        let complaints = |kind, lines| {
            let (mut complaints, spoken_of) = (Vec::new(), AtomicBool::new(false));
            (0..lines).for_each(|_| print(&mut Failing(kind), &mut complaints, &spoken_of, "text"));
            String::from_utf8(complaints).unwrap()
        };
        assert_eq!(complaints(io::ErrorKind::StorageFull, 3).lines().count(), 1);
        assert!(complaints(io::ErrorKind::StorageFull, 1).contains("standard output"));
        assert_eq!(complaints(io::ErrorKind::BrokenPipe, 3), "");
        let mut printed = Vec::new();
        print(&mut printed, &mut Failing(io::ErrorKind::Other), &AtomicBool::new(false), "a line");
        assert_eq!(printed, b"a line\n");
        print(&mut Failing(io::ErrorKind::Other), &mut Failing(io::ErrorKind::Other), &AtomicBool::new(false), "text");
    }
}
