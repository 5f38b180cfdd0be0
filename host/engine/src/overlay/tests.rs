use super::*;

type Row = (Bytes, Bytes);

/// A small generator: the same numbers in every run of a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn key(&mut self) -> Bytes {
        let mut key = vec![1 + self.below(3) as u8];
        key.extend((0..self.below(3)).map(|_| b'a' + self.below(4) as u8));
        key.into()
    }

    fn write(&mut self, serial: u64) -> Write {
        match self.below(10) {
            0..=4 => Write::Put { key: self.key(), value: serial.to_string().into() },
            5..=7 => Write::Remove { key: self.key() },
            _ => Write::RemoveRange { start: self.key(), end: (self.below(3) > 0).then(|| self.key()) },
        }
    }
}

fn apply_to_map(map: &mut BTreeMap<Bytes, Bytes>, write: &Write) {
    match write {
        Write::Put { key, value } => {
            map.insert(key.clone(), value.clone());
        }
        Write::Remove { key } => {
            map.remove(key);
        }
        Write::RemoveRange { start, end } => {
            let end = end.clone().unwrap_or_else(|| Bytes::from(vec![start[0] + 1]));
            map.retain(|key, _| !(key >= start && *key < end));
        }
    }
}

fn is_empty_range(write: &Write) -> bool {
    matches!(write, Write::RemoveRange { start, end: Some(end) } if end <= start)
}

fn base<'a>(
    map: &'a BTreeMap<Bytes, Bytes>,
    start: &'a [u8],
    end: Option<&'a [u8]>,
    reverse: bool,
) -> Box<dyn Iterator<Item = Result<Row, ()>> + 'a> {
    let rows = map.iter().filter(move |(key, _)| key[..] >= *start && end.is_none_or(|end| key[..] < *end));
    let rows = rows.map(|(key, value)| Ok((key.clone(), value.clone())));
    if reverse { Box::new(rows.rev()) } else { Box::new(rows) }
}

/// Writes go into the overlay at once and into the data later, in order; reads through both must always see all of them.
#[test]
fn data_under_an_overlay_reads_like_a_map_with_everything_applied() {
    for seed in 1..=60 {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let (mut data, mut model, mut overlay) = (BTreeMap::new(), BTreeMap::new(), Overlay::new());
        let mut waiting: VecDeque<(u64, Write)> = VecDeque::new();
        let mut version = 0;
        for serial in 0..300 {
            version += numbers.below(2);
            let write = numbers.write(serial);
            apply_to_map(&mut model, &write);
            overlay.apply(&write, version);
            waiting.push_back((version, write));
            if numbers.below(4) == 0 {
                let released = version.saturating_sub(numbers.below(6));
                while waiting.front().is_some_and(|(version, _)| *version <= released) {
                    apply_to_map(&mut data, &waiting.pop_front().unwrap().1);
                }
                overlay.release(released);
                // A range that ends before it starts waits like any write, but lays nothing over the data.
                let laid = waiting.iter().any(|(_, write)| !is_empty_range(write));
                assert_eq!(overlay.is_empty(), !laid, "seed {seed}: exactly the waiting writes are laid over the data");
            }
            let key = numbers.key();
            let read = overlay.get(&key).unwrap_or_else(|| data.get(&key).cloned());
            assert_eq!(read.as_ref(), model.get(&key), "seed {seed} serial {serial} key {key:?}");
            let (start, end, reverse) =
                (numbers.key(), (numbers.below(4) > 0).then(|| numbers.key()), numbers.below(2) == 0);
            let end = end.as_deref();
            let found: Vec<Row> =
                overlay.scan(base(&data, &start, end, reverse), &start, end, reverse).map(Result::unwrap).collect();
            let empty = end.is_some_and(|end| *end <= start[..]);
            let expected: Vec<Row> =
                if empty { vec![] } else { base(&model, &start, end, reverse).map(Result::unwrap).collect() };
            assert_eq!(found, expected, "seed {seed} serial {serial} {start:?}..{end:?} reverse {reverse}");
        }
        overlay.release(version);
        assert!(overlay.is_empty(), "seed {seed}: everything was released");
        assert_eq!(overlay.bytes(), 0, "seed {seed}: bytes are counted in and out");
    }
}

#[test]
fn a_range_without_an_end_stays_within_its_kind() {
    let mut overlay = Overlay::new();
    overlay.apply(&Write::RemoveRange { start: Bytes::from_static(b"\x01m"), end: None }, 1);
    assert_eq!(overlay.get(b"\x01a"), None);
    assert_eq!(overlay.get(b"\x01m"), Some(None));
    assert_eq!(overlay.get(b"\x01\xff\xff"), Some(None));
    assert_eq!(overlay.get(b"\x02"), None);
}

#[test]
fn an_error_of_the_base_comes_through() {
    let overlay = Overlay::new();
    let rows: Vec<Result<Row, &str>> = vec![Err("broken disk")];
    assert_eq!(overlay.scan(rows.into_iter(), b"", None, false).collect::<Vec<_>>(), [Err("broken disk")]);
}

#[test]
fn many_ranges_do_not_pile_up_where_one_covers_them() {
    let mut overlay = Overlay::new();
    for n in 0..1000u32 {
        let start = Bytes::from(format!("\x01{n:04}"));
        overlay.apply(&Write::RemoveRange { end: Some(Bytes::from(format!("\x01{:04}", n + 1))), start }, 1);
    }
    overlay.apply(&Write::RemoveRange { start: Bytes::from_static(b"\x01"), end: None }, 1);
    assert_eq!(overlay.removed.len(), 1);
}
