//! Tables as kubectl prints them: no borders, titles in upper case, three spaces between columns,
//! the last column not padded.

/// Stands for what is not there.
pub const NONE: &str = "<none>";
/// Stands for what cannot be known.
pub const UNKNOWN: &str = "<unknown>";

const GAP: usize = 3;

/// Rows under titles.
#[derive(Debug, Default)]
pub struct Table {
    titles: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(titles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Table { titles: titles.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Adds a column behind the others.
    pub fn column(&mut self, title: &'static str, cells: impl Iterator<Item = String>) {
        self.titles.push(title.to_owned());
        for (row, cell) in self.rows.iter_mut().zip(cells) {
            row.push(cell);
        }
    }

    /// Writes the table; columns are as wide as their widest cell.
    pub fn print(&self, has_headers: bool) -> String {
        let shown = has_headers.then_some(&self.titles).into_iter().chain(&self.rows);
        let widths: Vec<usize> = (0..self.titles.len())
            .map(|column| {
                let cells = shown.clone().filter_map(|row| row.get(column));
                cells.map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        for row in shown {
            let mut line = String::new();
            for (cell, widest) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', widest - width(cell) + GAP));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// How many columns of a terminal a cell takes; colours take none.
fn width(cell: &str) -> usize {
    let mut width = 0;
    let mut is_code = false;
    for c in cell.chars() {
        match c {
            '\u{1b}' => is_code = true,
            'm' if is_code => is_code = false,
            _ if is_code => {}
            _ => width += 1,
        }
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["NAME", "AGE", "NOTE"]);
        table.row(vec!["a".into(), "5m".into(), String::new()]);
        table.row(vec!["\u{1b}[31mlonger\u{1b}[0m".into(), "1h".into(), "x".into()]);
        assert_eq!(
            table.print(true),
            "NAME     AGE   NOTE\na        5m\n\u{1b}[31mlonger\u{1b}[0m   1h    x\n"
        );
        assert_eq!(table.print(false).lines().count(), 2);
    }
}
