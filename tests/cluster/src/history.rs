//! What clients saw of keys that are only appended to, and whether one honest server could have said it.
//!
//! Every append adds a token that nobody else uses, and is answered with the length that the value has then. So each operation
//! says at which point of the key's life it happened: an append at the place of its token, a read at the length it saw. A
//! history is linearizable if and only if these points contradict neither each other nor the clock: no operation that began
//! after another had ended may lie before it. That is decided exactly and in one pass, where a general checker would have
//! to search.
//!
//! An operation whose answer did not come may have happened at any time after it began, or never. One that was refused with
//! the promise that nothing was written must never have happened.

use std::collections::HashMap;
use std::time::Instant;

/// What a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Added this token.
    Append(String),
    /// Asked for the value.
    Read,
}

/// What the client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The append is done, and the value has this length now.
    Length(usize),
    /// The value.
    Value(String),
    /// Nothing was written, and nothing ever will be.
    Refused(String),
    /// An error that promises nothing, or no answer at all.
    Unknown(String),
}

/// One operation on one key.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What was asked.
    pub action: Action,
    /// When the request left.
    pub started: Instant,
    /// When the answer was there.
    pub ended: Instant,
    /// The answer.
    pub outcome: Outcome,
    /// Which client, through which node: for the report.
    pub client: String,
}

/// Decides whether `operations` on one key agree with each other and with the value at the end.
pub fn check(operations: &[Operation], value: &str) -> Result<(), String> {
    let ends = places(value)?;
    let mut points = Vec::with_capacity(operations.len());
    let mut known = 0;
    for operation in operations {
        let (before, after) = match (&operation.action, &operation.outcome) {
            (Action::Append(token), outcome) => {
                let end = ends.get(token.as_str()).copied();
                known += usize::from(end.is_some());
                match (end, outcome) {
                    (None, Outcome::Length(_)) => return Err(told("an acknowledged write is lost", operation)),
                    (Some(end), Outcome::Length(length)) if end != *length => {
                        return Err(told(&format!("an acknowledged write ends at {end} instead"), operation));
                    }
                    (Some(_), Outcome::Refused(_)) => {
                        return Err(told("a write was refused as not done, and is there", operation));
                    }
                    (Some(end), _) => (end - token.len(), end),
                    (None, _) => continue,
                }
            }
            (Action::Read, Outcome::Value(seen)) => {
                if !value.starts_with(seen.as_str()) || !(seen.is_empty() || seen.ends_with(END)) {
                    let text = format!("a read saw what the value never was; it is {} bytes at the end", value.len());
                    return Err(told(&text, operation));
                }
                (seen.len(), seen.len())
            }
            (Action::Read, _) => continue,
        };
        let answered = !matches!(operation.outcome, Outcome::Unknown(_));
        points.push(Point { before, after, answered, operation });
    }
    if known != ends.len() {
        return Err(format!("the value holds {} tokens, of which the clients wrote {known}", ends.len()));
    }
    follow_the_clock(points)
}

/// What ends every token.
pub const END: char = ';';

struct Point<'a> {
    /// The value's length that the operation found.
    before: usize,
    /// And left.
    after: usize,
    answered: bool,
    operation: &'a Operation,
}

/// Where each token ends; each is there once.
fn places(value: &str) -> Result<HashMap<&str, usize>, String> {
    let mut ends = HashMap::new();
    let mut end = 0;
    for token in value.split_inclusive(END) {
        end += token.len();
        if ends.insert(token, end).is_some() {
            return Err(format!(
                "{token} is there twice: a write was applied more than once, the second time at {end}"
            ));
        }
    }
    Ok(ends)
}

fn follow_the_clock(mut points: Vec<Point<'_>>) -> Result<(), String> {
    points.sort_by_key(|point| point.operation.started);
    let mut by_end: Vec<&Point<'_>> = points.iter().filter(|point| point.answered).collect();
    by_end.sort_by_key(|point| point.operation.ended);
    let mut ended = by_end.into_iter().peekable();
    // Of all operations that had ended, the one that left the longest value.
    let mut newest: Option<&Point<'_>> = None;
    for point in &points {
        while let Some(other) = ended.next_if(|other| other.operation.ended < point.operation.started) {
            if newest.is_none_or(|newest| newest.after < other.after) {
                newest = Some(other);
            }
        }
        if let Some(other) = newest.filter(|newest| newest.after > point.before) {
            let late = point.operation.started - other.operation.ended;
            let what = match point.operation.action {
                Action::Read => "a stale read",
                Action::Append(_) => "a write in the past",
            };
            return Err(format!(
                "{what}: it found {} bytes, and {} bytes had been there {} ms before it began:\n  {}\n  {}",
                point.before,
                other.after,
                late.as_millis(),
                told("earlier", other.operation),
                told("later", point.operation)
            ));
        }
    }
    Ok(())
}

fn told(what: &str, operation: &Operation) -> String {
    let text = |value: &str| {
        let from = value.len().saturating_sub(80);
        format!("{} bytes, ending {:?}", value.len(), value.get(from..).unwrap_or(value))
    };
    let outcome = match &operation.outcome {
        Outcome::Value(value) => text(value),
        other => format!("{other:?}"),
    };
    let took = operation.ended - operation.started;
    format!("{what}: {} {:?} took {} ms: {outcome}", operation.client, operation.action, took.as_millis())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Story {
        start: Instant,
        operations: Vec<Operation>,
    }

    impl Story {
        fn new() -> Self {
            Story { start: Instant::now(), operations: vec![] }
        }

        fn add(mut self, from: u64, to: u64, action: Action, outcome: Outcome) -> Self {
            let at = |millis| self.start + Duration::from_millis(millis);
            let (started, ended) = (at(from), at(to));
            self.operations.push(Operation { action, started, ended, outcome, client: "c".into() });
            self
        }

        fn append(self, from: u64, to: u64, token: &str, length: usize) -> Self {
            self.add(from, to, Action::Append(token.into()), Outcome::Length(length))
        }

        fn read(self, from: u64, to: u64, value: &str) -> Self {
            self.add(from, to, Action::Read, Outcome::Value(value.into()))
        }

        fn lost(self, from: u64, to: u64, token: &str) -> Self {
            self.add(from, to, Action::Append(token.into()), Outcome::Unknown("cut".into()))
        }

        fn refused(self, token: &str) -> Self {
            self.add(0, 1, Action::Append(token.into()), Outcome::Refused("no leader".into()))
        }

        fn fails(self, value: &str, why: &str) {
            let error = check(&self.operations, value).unwrap_err();
            assert!(error.contains(why), "{error}");
        }

        fn holds(self, value: &str) {
            check(&self.operations, value).unwrap();
        }
    }

    #[test]
    fn honest_histories_hold() {
        Story::new().append(0, 1, "a;", 2).read(2, 3, "a;").append(4, 5, "b;", 4).holds("a;b;");
        // Side by side, either order will do.
        Story::new().append(0, 9, "a;", 4).append(0, 9, "b;", 2).read(1, 8, "").read(1, 8, "b;a;").holds("b;a;");
        // Without an answer: never, or at once, or late.
        Story::new().lost(0, 1, "a;").read(2, 3, "").holds("");
        Story::new().lost(0, 1, "a;").read(2, 3, "a;").holds("a;");
        Story::new().lost(0, 1, "a;").read(2, 3, "").append(4, 5, "b;", 2).read(6, 7, "b;").holds("b;a;");
        Story::new().refused("a;").holds("");
    }

    #[test]
    fn each_kind_of_lie_is_found() {
        Story::new().append(0, 1, "a;", 2).fails("", "lost");
        Story::new().append(0, 1, "a;", 2).fails("a;a;", "twice");
        Story::new().lost(0, 1, "a;").fails("a;a;", "twice");
        Story::new().append(0, 9, "a;", 2).append(0, 9, "b;", 4).fails("b;a;", "ends at");
        Story::new().refused("a;").fails("a;", "refused");
        Story::new().append(0, 1, "a;", 2).fails("a;z;", "wrote 1");
        Story::new().append(0, 1, "a;", 2).read(2, 3, "").fails("a;", "stale read");
        Story::new().append(0, 1, "a;", 2).read(0, 1, "b;").fails("a;", "never was");
        Story::new().append(0, 1, "a1;", 3).read(0, 1, "a1").fails("a1;", "never was");
        // Two reads in a row that go back, while a write is under way.
        Story::new().lost(0, 9, "a;").read(1, 2, "a;").read(3, 4, "").fails("a;", "stale read");
        // Written after the other had been acknowledged, and standing before it.
        Story::new().append(0, 1, "a;", 4).append(2, 3, "b;", 2).fails("b;a;", "in the past");
        // Seen before anybody wrote it.
        Story::new().read(0, 1, "a;").append(2, 3, "a;", 2).fails("a;", "in the past");
    }
}
