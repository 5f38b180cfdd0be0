//! Printing: aligned tables, JSON and YAML. Never panics on a closed pipe.

use std::io::{self, Write};

use serde::Serialize;

use super::Format;

/// Where results go, and in which form.
pub struct Output {
    format: Format,
    to: Box<dyn Write + Send>,
}

impl Output {
    /// To standard output.
    pub fn stdout(format: Format) -> Self {
        Output { format, to: Box::new(io::stdout()) }
    }

    /// The form asked for.
    pub fn format(&self) -> Format {
        self.format
    }

    /// One line of text.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.to, "{text}")?;
        self.to.flush()
    }

    /// Text as it is, without the end of a line.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.to.write_all(text.as_bytes())?;
        self.to.flush()
    }

    /// A value for programs: as YAML if that was asked for, else as indented JSON.
    pub fn value(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = match self.format {
            Format::Yaml => serde_yaml_ng::to_string(value).map_err(io::Error::other)?,
            Format::Json | Format::Table => serde_json::to_string_pretty(value).map_err(io::Error::other)?,
        };
        self.line(text.trim_end())
    }

    /// Rows below a heading, each column as wide as its widest cell. Nothing at all when there are no rows.
    pub fn table<const N: usize>(&mut self, heading: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut widths = heading.map(|cell| cell.chars().count());
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        let mut row = |cells: [&str; N]| {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        };
        row(heading);
        for cells in rows {
            row(cells.each_ref().map(String::as_str));
        }
        self.to.write_all(text.as_bytes())?;
        self.to.flush()
    }
}

/// Time since the Unix epoch as `2026-11-24T13:44:46.123Z`.
pub(super) fn utc(time_us: u64) -> String {
    let (seconds, ms) = (time_us / 1_000_000, time_us / 1_000 % 1_000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days: years of 365.2425 days that begin in March, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_printed_as_utc() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200, "2024-03-01T00:00:00.000Z"),
            (4_102_444_799, "2099-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(utc(seconds * 1_000_000), expected);
        }
        assert_eq!(utc(1_234_567), "1970-01-01T00:00:01.234Z");
    }
}
