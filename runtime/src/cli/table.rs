//! Tables for people: columns as wide as their widest cell. What cells say may come from another machine.

use crate::plain::plain;

/// The lines of a table, without blanks at their ends.
pub fn table(rows: &[impl AsRef<[String]>]) -> Vec<String> {
    let rows = rows.iter().map(|row| row.as_ref().iter().map(|cell| plain(cell)).collect());
    let rows: Vec<Vec<String>> = rows.collect();
    let mut widths = vec![0; rows.iter().map(Vec::len).max().unwrap_or(0)];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
