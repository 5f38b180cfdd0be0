//! Tables for people.

use std::fmt;
use std::time::Duration;

/// Rows of cells, the first column to the left and the others to the right.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: impl IntoIterator<Item = String>) -> Self {
        Table { rows: vec![headings.into_iter().collect()] }
    }

    /// One more row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: usize, column: usize| self.rows[row].get(column).map_or("", String::as_str);
        let width = |column| (0..self.rows.len()).map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in 0..self.rows.len() {
            let mut line = String::new();
            for (column, width) in widths.iter().enumerate() {
                match column {
                    0 => line.push_str(&format!("{:width$}", cell(row, column))),
                    _ => line.push_str(&format!("  {:>width$}", cell(row, column))),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// What each case came to in each language.
pub struct Report {
    cases: Vec<String>,
    columns: Vec<Column>,
}

/// One language's results, in the order of the cases; absent where a case was not run.
struct Column {
    language: String,
    cells: Vec<String>,
    seconds: f64,
    failures: Vec<String>,
}

impl Report {
    /// Nothing yet, of these cases.
    pub fn new(cases: impl IntoIterator<Item = String>) -> Self {
        Report { cases: cases.into_iter().collect(), columns: Vec::new() }
    }

    /// A language whose package could not be built or installed.
    pub fn absent(&mut self, language: &str, why: String) {
        let cells = vec!["-".to_owned(); self.cases.len()];
        self.columns.push(Column { language: language.to_owned(), cells, seconds: 0.0, failures: vec![why] });
    }

    /// A language, with what each case came to and how long it took.
    pub fn language(&mut self, language: &str, results: Vec<(Result<(), String>, Duration)>) {
        let mut column =
            Column { language: language.to_owned(), cells: Vec::new(), seconds: 0.0, failures: Vec::new() };
        for ((result, took), case) in results.into_iter().zip(&self.cases) {
            column.seconds += took.as_secs_f64();
            match result {
                Ok(()) => column.cells.push(format!("{:.1} s", took.as_secs_f64())),
                Err(why) => {
                    column.cells.push("FAILED".into());
                    column.failures.push(format!("{case}: {why}"));
                }
            }
        }
        self.columns.push(column);
    }

    /// True if every case of every language came to what it should.
    pub fn is_good(&self) -> bool {
        self.columns.iter().all(|column| column.failures.is_empty())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings = self.columns.iter().map(|column| column.language.clone());
        let mut table = Table::new(["case".to_owned()].into_iter().chain(headings));
        for (row, case) in self.cases.iter().enumerate() {
            table.row([case.clone()].into_iter().chain(self.columns.iter().map(|column| column.cells[row].clone())));
        }
        let all = self.columns.iter().map(|column| format!("{:.0} s", column.seconds));
        table.row(["all".to_owned()].into_iter().chain(all));
        write!(f, "{table}")?;
        for column in &self.columns {
            for failure in &column.failures {
                writeln!(f, "\n{}: {failure}", column.language)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_stand_in_the_table_and_below_it() {
        let mut report = Report::new(["get".to_owned(), "put".to_owned()]);
        let took = Duration::from_millis(1500);
        report.language("rust", vec![(Ok(()), took), (Ok(()), took)]);
        assert!(report.is_good());
        report.language("other", vec![(Ok(()), took), (Err("no".into()), took)]);
        report.absent("third", "its compiler is missing".into());
        assert!(!report.is_good());
        let text = "case   rust   other  third\n\
                    get   1.5 s   1.5 s      -\n\
                    put   1.5 s  FAILED      -\n\
                    all     3 s     3 s    0 s\n\
                    \nother: put: no\n\
                    \nthird: its compiler is missing\n";
        assert_eq!(report.to_string(), text);
    }
}
