//! From samples to figures, and from figures to a table that can be pasted into `RESULTS.md`.
//!
//! Everything here is pure. A figure of a table is a median over rounds, because what else a machine does shows in the extremes;
//! the lowest and the highest are printed beside it where they say whether a difference means anything.

use std::time::Duration;

/// The middle of the samples, or the mean of the two in the middle. None of none.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The smallest sample that `percent` of all are not above. Zero of none.
pub(crate) fn percentile<T: Copy + Ord + Default>(samples: &mut [T], percent: usize) -> T {
    samples.sort_unstable();
    let rank = (samples.len() * percent).div_ceil(100);
    samples.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The lowest and the highest. None of none.
pub(crate) fn spread(samples: &[f64]) -> Option<(f64, f64)> {
    let lowest = samples.iter().copied().min_by(f64::total_cmp)?;
    let highest = samples.iter().copied().max_by(f64::total_cmp)?;
    Some((lowest, highest))
}

/// `1234567.8` as `1,234,568`.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
    let mut out = sign.to_owned();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Three significant digits for what is small, none behind the point for what is not.
pub(crate) fn short(number: f64) -> String {
    match number.abs() {
        size if size < 1.0 => format!("{number:.3}"),
        size if size < 10.0 => format!("{number:.2}"),
        size if size < 100.0 => format!("{number:.1}"),
        _ => thousands(number),
    }
}

/// Bytes as megabytes (10^6).
pub(crate) fn megabytes(bytes: f64) -> String {
    format!("{:.0} MB", bytes / 1e6)
}

/// Milliseconds of a duration.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A Markdown table. Its first column is text, the others are numbers.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(header: &[&str]) -> Self {
        Table { rows: vec![header.iter().map(ToString::to_string).collect()] }
    }

    /// One more row: as many cells as there are headings, those that lack are empty.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().collect();
        cells.resize(self.rows[0].len(), String::new());
        self.rows.push(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.rows[0].len()).map(|column| width(column).max(3)).collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(f, "| {cell:<width$} ")?;
                } else {
                    write!(f, "| {cell:>width$} ")?;
                }
            }
            writeln!(f, "|")?;
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let line = "-".repeat(width + 1);
                    write!(f, "|{line}{}", if column == 0 { '-' } else { ':' })?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 9.0, 2.0]), Some(3.0));
    }

    #[test]
    fn a_percentile_is_a_sample() {
        let mut samples: Vec<u32> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut samples, 50), 50);
        assert_eq!(percentile(&mut samples, 99), 99);
        assert_eq!(percentile(&mut samples, 100), 100);
        assert_eq!(percentile(&mut [7, 3], 99), 7);
        assert_eq!(percentile(&mut [7], 50), 7);
        assert_eq!(percentile::<u32>(&mut [], 50), 0);
    }

    #[test]
    fn a_spread_has_two_ends() {
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[2.0, 8.0, 5.0]), Some((2.0, 8.0)));
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(thousands(0.4), "0");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(1_234_567.8), "1,234,568");
        assert_eq!(thousands(-12_345.0), "-12,345");
        assert_eq!([0.1234, 1.234, 12.34, 1234.0].map(short), ["0.123", "1.23", "12.3", "1,234"]);
        assert_eq!(megabytes(123_456_789.0), "123 MB");
    }

    #[test]
    fn a_table_is_markdown_with_straight_columns() {
        let mut table = Table::new(&["what", "rate"]);
        table.row(["a longer name".to_owned(), "1".to_owned()]);
        table.row(["b".to_owned()]);
        let text = "\
| what          | rate |
|---------------|-----:|
| a longer name |    1 |
| b             |      |
";
        assert_eq!(table.to_string(), text);
    }
}
