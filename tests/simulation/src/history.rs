//! Histories of calls and what must be true of them.
//!
//! Every value is appended once at most, and every answer is a whole list, so one list, the final one, tells the order of all appends,
//! and every answer tells its own place in that order. Whether the history is linearizable is then decided exactly and in
//! n log n, where in general it is NP-complete (Gibbons and Korach, "Testing Shared Memories", 1997; with the state told by every
//! answer as in Elle's list-append, Kingsbury and Alvaro, 2020): the places must not contradict the order of real time. A
//! linearizable object is linearizable key by key (Herlihy and Wing, 1990), so keys are checked one by one; of a transaction,
//! moreover, all appends are there or none.

use std::collections::{BTreeMap, HashMap};

use crate::guest::{Ask, Key};

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done; the list afterwards.
    Done(Vec<u64>),
    /// It did nothing.
    Nothing,
    /// It may have happened, or may yet.
    Unknown,
}

/// How a call reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Linearizable,
    /// From any replica: some earlier list.
    Stale,
}

/// One call on one key.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) client: String,
    pub(crate) key: Key,
    pub(crate) ask: Ask,
    pub(crate) kind: Kind,
    /// Calls of one transaction share a number.
    pub(crate) transaction: Option<u64>,
    pub(crate) began: u64,
    /// Absent: no answer came.
    pub(crate) ended: Option<u64>,
    pub(crate) outcome: Outcome,
}

/// All calls of a run, in the order in which they began.
#[derive(Default)]
pub(crate) struct History {
    calls: Vec<Call>,
    clock: u64,
}

impl History {
    /// A call begins; answers its number.
    pub(crate) fn begin(&mut self, client: &str, key: Key, ask: Ask, kind: Kind, transaction: Option<u64>) -> usize {
        self.clock += 1;
        let (client, began) = (client.to_owned(), self.clock);
        self.calls.push(Call { client, key, ask, kind, transaction, began, ended: None, outcome: Outcome::Unknown });
        self.calls.len() - 1
    }

    /// Its answer has come.
    pub(crate) fn end(&mut self, call: usize, outcome: Outcome) {
        self.clock += 1;
        self.calls[call].ended = Some(self.clock);
        self.calls[call].outcome = outcome;
    }

    pub(crate) fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The first contradiction, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut keys: BTreeMap<Key, Vec<&Call>> = BTreeMap::new();
        for call in &self.calls {
            keys.entry(call.key).or_default().push(call);
        }
        let mut places: BTreeMap<Key, HashMap<u64, usize>> = BTreeMap::new();
        for (key, calls) in &keys {
            places.insert(*key, check_key(*key, calls)?);
        }
        let mut transactions: BTreeMap<u64, Vec<(&Call, bool)>> = BTreeMap::new();
        for call in &self.calls {
            if let (Some(number), Ask::Append(value)) = (call.transaction, call.ask) {
                let there = places.get(&call.key).is_some_and(|places| places.contains_key(&value));
                transactions.entry(number).or_default().push((call, there));
            }
        }
        for (number, calls) in transactions {
            if calls.iter().any(|(_, there)| *there) && !calls.iter().all(|(_, there)| *there) {
                let told: Vec<String> =
                    calls.iter().map(|(call, there)| format!("{} there: {there}", tell(call))).collect();
                return Err(format!("transaction {number} was done in part: {}", told.join("; ")));
            }
        }
        Ok(())
    }
}

fn tell(call: &Call) -> String {
    let Call { client, key, ask, kind, began, ended, outcome, .. } = call;
    let end = ended.map_or_else(|| "never".to_owned(), |ended| ended.to_string());
    format!("{client}: k{} {ask:?} {kind:?} [{began}, {end}] {outcome:?}", key.0)
}

/// Answers where each value is in the final list.
fn check_key(key: Key, calls: &[&Call]) -> Result<HashMap<u64, usize>, String> {
    let lists = calls.iter().filter_map(|call| match &call.outcome {
        Outcome::Done(list) => Some((*call, list)),
        _ => None,
    });
    let last = lists.clone().max_by_key(|(_, list)| list.len()).map_or(Vec::new(), |(_, list)| list.clone());
    let mut places = HashMap::new();
    for (place, value) in last.iter().enumerate() {
        if let Some(first) = places.insert(*value, place) {
            return Err(format!("applied twice: value {value} is at {first} and at {place} of k{}", key.0));
        }
    }
    for (call, list) in lists {
        if !last.starts_with(list) {
            return Err(format!("not one order: {} saw what is no beginning of the list {last:?}", tell(call)));
        }
    }
    let asked: HashMap<u64, &Call> = calls
        .iter()
        .filter_map(|call| match call.ask {
            Ask::Append(value) | Ask::Refused(value) => Some((value, *call)),
            Ask::Get => None,
        })
        .collect();
    for value in &last {
        match asked.get(value) {
            None => return Err(format!("out of nowhere: value {value} in k{}", key.0)),
            Some(call) if call.outcome == Outcome::Nothing || matches!(call.ask, Ask::Refused(_)) => {
                return Err(format!("it said that it did nothing and is there: {}", tell(call)));
            }
            Some(_) => {}
        }
    }
    check_order(calls, &places)?;
    Ok(places)
}

/// A call's place: appends at even numbers, what saw a list of a length right after the append that made it so long.
fn place(call: &Call, places: &HashMap<u64, usize>) -> Result<Option<usize>, String> {
    match (&call.ask, &call.outcome) {
        (Ask::Append(value), Outcome::Done(list)) => match places.get(value) {
            None => Err(format!("lost: {}", tell(call))),
            Some(place) if list.len() != place + 1 || list.last() != Some(value) => {
                Err(format!("an append that answers another list than it made: {}", tell(call)))
            }
            Some(place) => Ok(Some(2 * (place + 1))),
        },
        (Ask::Append(value), Outcome::Unknown) => Ok(places.get(value).map(|place| 2 * (place + 1))),
        (Ask::Get, Outcome::Done(list)) if call.kind == Kind::Linearizable => Ok(Some(2 * list.len() + 1)),
        _ => Ok(None),
    }
}

fn check_order(calls: &[&Call], places: &HashMap<u64, usize>) -> Result<(), String> {
    let mut placed = Vec::new();
    for call in calls {
        if let Some(place) = place(call, places)? {
            placed.push((*call, place));
        }
    }
    // What has no outcome may happen after its end.
    let mut ends: Vec<_> = placed
        .iter()
        .filter(|(call, _)| matches!(call.outcome, Outcome::Done(_)))
        .filter_map(|(call, place)| Some((call.ended?, *place, *call)))
        .collect();
    ends.sort_by_key(|(ended, ..)| *ended);
    placed.sort_by_key(|(call, _)| call.began);
    let (mut next, mut newest): (usize, Option<(usize, &Call)>) = (0, None);
    for (call, place) in placed {
        while let Some((_, before, other)) = ends.get(next).filter(|(ended, ..)| *ended < call.began) {
            if newest.is_none_or(|(place, _)| *before > place) {
                newest = Some((*before, other));
            }
            next += 1;
        }
        if let Some((before, other)) = newest
            && before > place
        {
            return Err(format!("not linearizable: {} began after {} had ended", tell(call), tell(other)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: Key = Key(0);

    /// Calls as (ask, began, ended or 0, outcome), whatever their order.
    fn history(calls: &[(Ask, u64, u64, Outcome)]) -> History {
        let call = |(ask, began, ended, outcome): &(Ask, u64, u64, Outcome)| Call {
            client: "c".into(),
            key: K,
            ask: *ask,
            kind: Kind::Linearizable,
            transaction: None,
            began: *began,
            ended: Some(*ended).filter(|ended| *ended > 0),
            outcome: outcome.clone(),
        };
        History { calls: calls.iter().map(call).collect(), clock: 0 }
    }

    fn done(list: &[u64]) -> Outcome {
        Outcome::Done(list.to_vec())
    }

    fn refused(calls: &[(Ask, u64, u64, Outcome)]) -> String {
        history(calls).check().unwrap_err()
    }

    use Ask::{Append, Get, Refused};

    #[test]
    fn what_may_happen_passes() {
        let good = [
            (Append(1), 1, 10, done(&[1])),
            (Get, 2, 3, done(&[])),
            (Get, 4, 5, done(&[1])),
            // No answer, and it happened much later.
            (Append(2), 6, 0, Outcome::Unknown),
            (Get, 11, 12, done(&[1])),
            (Get, 13, 14, done(&[1, 2])),
            // No answer, and it never happened.
            (Append(3), 7, 8, Outcome::Unknown),
            // Told to be unknown, and it happened after that.
            (Append(6), 17, 18, Outcome::Unknown),
            (Get, 19, 20, done(&[1, 2])),
            (Get, 21, 22, done(&[1, 2, 6])),
            (Append(4), 15, 16, Outcome::Nothing),
            (Refused(5), 15, 16, Outcome::Nothing),
        ];
        assert_eq!(history(&good).check(), Ok(()));
    }

    #[test]
    fn what_may_not_is_told() {
        let one = (Append(1), 1, 2, done(&[1]));
        assert!(refused(&[one.clone(), (Get, 3, 4, done(&[]))]).starts_with("not linearizable"));
        // A read that goes back behind another read.
        let two = (Append(2), 3, 0, Outcome::Unknown);
        let back = [one.clone(), two.clone(), (Get, 4, 5, done(&[1, 2])), (Get, 6, 7, done(&[1]))];
        assert!(refused(&back).starts_with("not linearizable"));
        // An append that is there before it was asked for.
        assert!(
            refused(&[(Get, 1, 2, done(&[7])), (Append(7), 3, 0, Outcome::Unknown)]).starts_with("not linearizable")
        );
        assert!(refused(&[one.clone(), (Append(3), 3, 4, done(&[3]))]).starts_with("not one order"));
        assert!(
            refused(&[one.clone(), (Append(3), 3, 4, done(&[1, 3])), (Get, 5, 6, done(&[1, 3, 1]))])
                .starts_with("applied twice")
        );
        assert!(refused(&[one.clone(), (Get, 3, 4, done(&[1, 9]))]).starts_with("out of nowhere"));
        let nothing = [one.clone(), (Append(2), 3, 4, Outcome::Nothing), (Get, 5, 6, done(&[1, 2]))];
        assert!(refused(&nothing).starts_with("it said that it did nothing"));
        let no = [one.clone(), (Refused(2), 3, 4, Outcome::Nothing), (Get, 5, 6, done(&[1, 2]))];
        assert!(refused(&no).starts_with("it said that it did nothing"));
        // Two appends that both saw the same list before.
        assert!(refused(&[(Append(1), 1, 9, done(&[1])), (Append(2), 1, 9, done(&[2]))]).starts_with("not one order"));
    }

    #[test]
    fn a_transaction_is_done_whole_or_not() {
        let mut history = History::default();
        for (key, value) in [(Key(0), 1), (Key(1), 2)] {
            history.begin("c", key, Append(value), Kind::Linearizable, Some(1));
        }
        let (a, b) = (
            history.begin("c", Key(0), Get, Kind::Linearizable, None),
            history.begin("c", Key(1), Get, Kind::Linearizable, None),
        );
        history.end(a, done(&[1]));
        history.end(b, done(&[2]));
        assert_eq!(history.check(), Ok(()));
        history.end(b, done(&[]));
        assert!(history.check().unwrap_err().contains("in part"));
    }
}
