//! What `top` shows: a widget of rows and a choice, which knows no terminal.

use std::cmp::Ordering;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::rows::Row;
use super::screen::Key;
use crate::cli::table::table;
use crate::cli::usage::{digits, short_bytes, short_time};
use crate::plain::plain;

/// Columns that rows can be sorted by, in the order in which the keys go through them.
const COLUMNS: [&str; 10] =
    ["PROCESS", "TENANT", "CALLS/S", "P50", "P99", "FAILED/S", "CPU", "MEMORY", "IN-FLIGHT", "WAIT"];

/// How many kinds of errors a row names.
const MAX_KINDS_SHOWN: usize = 3;

/// What the user chose to see.
#[derive(Clone, Debug)]
pub struct Choice {
    /// By which of [`COLUMNS`] rows are sorted.
    column: usize,
    /// Whether only tenants are shown.
    by_tenant: bool,
    /// How many rows are above the screen.
    above: usize,
}

impl Default for Choice {
    fn default() -> Self {
        // By calls a second.
        Self { column: 2, by_tenant: false, above: 0 }
    }
}

impl Choice {
    /// A key was pressed.
    pub fn press(&mut self, key: Key) {
        match key {
            Key::Right => self.column = (self.column + 1) % COLUMNS.len(),
            Key::Left => self.column = (self.column + COLUMNS.len() - 1) % COLUMNS.len(),
            Key::Down => self.above = self.above.saturating_add(1),
            Key::Up => self.above = self.above.saturating_sub(1),
            Key::Tenants => (self.by_tenant, self.above) = (!self.by_tenant, 0),
            Key::Quit | Key::Other => {}
        }
    }

    /// Names from a to z, numbers from the largest on.
    pub fn sort(&self, rows: &mut [Row]) {
        rows.sort_by(|a, b| {
            let names = || (&a.tenant, &a.process).cmp(&(&b.tenant, &b.process));
            let number = |row: &Row| match self.column {
                2 => row.calls_per_second,
                3 => quantile(row, 0.5),
                4 => quantile(row, 0.99),
                5 => row.failures_per_second,
                6 => row.processors,
                7 => row.all.memory_bytes as f64,
                8 => row.in_flight as f64,
                _ => wait(row).as_secs_f64(),
            };
            let order = match self.column {
                0 => a.process.cmp(&b.process),
                1 => Ordering::Equal,
                _ => number(b).total_cmp(&number(a)),
            };
            order.then_with(names)
        });
    }
}

fn quantile(row: &Row, part: f64) -> f64 {
    row.since.latencies.quantile(part).unwrap_or_default().as_secs_f64()
}

/// How long a call waited on average.
fn wait(row: &Row) -> std::time::Duration {
    let calls = u32::try_from(row.since.served()).unwrap_or(u32::MAX).max(1);
    row.since.queue_time / calls
}

/// All that is on the screen.
pub struct View<'a> {
    pub rows: &'a [Row],
    pub totals: &'a [Row],
    pub choice: &'a Choice,
    /// What keeps it from showing anything new.
    pub trouble: Option<&'a str>,
}

impl Widget for &View<'_> {
    /// A line that says what is shown, the heading, and as many rows as there is room for.
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let [status_line, heading_line, room] =
            Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        let (processes, tenants) = (self.rows.len(), self.totals.len());
        let sorted = COLUMNS.get(self.choice.column).copied().unwrap_or_default();
        let status = match self.trouble {
            Some(trouble) => plain(trouble),
            None => format!(
                "{processes} processes, {tenants} tenants, by {sorted}   q quit  ←→ sort  ↑↓ scroll  t {}",
                if self.choice.by_tenant { "processes" } else { "tenants only" }
            ),
        };
        let rows = if self.choice.by_tenant { &[] } else { self.rows };
        let mut lines = table(&cells(rows, self.totals));
        let heading = if lines.is_empty() { String::new() } else { lines.remove(0) };
        Line::raw(status).render(status_line, buffer);
        buffer.set_style(heading_line, Style::new().reversed());
        Line::raw(heading).render(heading_line, buffer);
        let above = self.choice.above.min(lines.len().saturating_sub(room.height.into()));
        for (line, place) in lines.into_iter().skip(above).zip(room.rows()) {
            Line::raw(line).render(place, buffer);
        }
    }
}

/// The heading, a row for each process, and one for each tenant.
pub fn cells(rows: &[Row], totals: &[Row]) -> Vec<Vec<String>> {
    let heading = COLUMNS.iter().copied().chain(["ERRORS"]).map(str::to_owned).collect();
    std::iter::once(heading).chain(rows.iter().chain(totals).map(row)).collect()
}

fn row(row: &Row) -> Vec<String> {
    let time = |part| row.since.latencies.quantile(part).map_or_else(|| "-".to_owned(), short_time);
    vec![
        row.process.clone().unwrap_or_else(|| "all of".to_owned()),
        row.tenant.clone(),
        digits(row.calls_per_second),
        time(0.5),
        time(0.99),
        digits(row.failures_per_second),
        format!("{}%", digits(row.processors * 100.0)),
        short_bytes(row.all.memory_bytes),
        row.in_flight.to_string(),
        short_time(wait(row)),
        errors(row),
    ]
}

/// The kinds of errors of the window, the most frequent first.
fn errors(row: &Row) -> String {
    let mut kinds: Vec<_> =
        row.since.failures.iter().map(|failures| (failures.calls, failures.code.as_str())).collect();
    kinds.sort_by(|a, b| b.cmp(a));
    let shown: Vec<String> =
        kinds.iter().take(MAX_KINDS_SHOWN).map(|(calls, code)| format!("{calls} {code}")).collect();
    let more = if kinds.len() > MAX_KINDS_SHOWN { ", …" } else { "" };
    shown.join(", ") + more
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Instant;

    use daffi_proto::error::{Outcome, code};
    use daffi_proto::usage::Failures;

    use super::super::rows::tests::process;
    use super::super::rows::{Window, rows, totals};
    use super::*;

    fn busy() -> Vec<Row> {
        let mut window = Window::default();
        let mut failing = process("b", "acme", 40, 10);
        failing.usage.as_mut().unwrap().failures =
            vec![Failures { outcome: Outcome::Failed, code: code::TRAP.to_owned(), calls: 20 }];
        window.add(Instant::now(), vec![process("a", "acme", 1000, 10), failing, process("c", "globex", 70, 10)]);
        rows(&window)
    }

    fn shown(choice: &Choice, width: u16, height: u16, trouble: Option<&str>) -> Vec<String> {
        let mut rows = busy();
        choice.sort(&mut rows);
        let totals = totals(&rows, &BTreeSet::new());
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        View { rows: &rows, totals: &totals, choice, trouble }.render(area, &mut buffer);
        let line = |row: Rect| row.columns().map(|cell| buffer[cell.as_position()].symbol()).collect::<String>();
        area.rows().map(|row| line(row).trim_end().to_owned()).collect()
    }

    #[test]
    fn a_line_for_each_process_and_each_tenant() {
        let lines = shown(&Choice::default(), 200, 40, None);
        assert!(lines[0].starts_with("3 processes, 2 tenants, by CALLS/S"), "{lines:#?}");
        assert!(lines[1].starts_with("PROCESS  TENANT  CALLS/S  P50"), "{lines:#?}");
        let rows = lines.iter().skip(2).filter(|line| !line.is_empty());
        let firsts: Vec<_> = rows.map(|line| line.split("  ").next().unwrap()).collect();
        assert_eq!(firsts, ["a", "c", "b", "all of", "all of"]);
        assert!(lines[4].ends_with("20 trap"), "{lines:#?}");
        assert!(lines[2].contains("100") && lines[2].contains("10%"), "{lines:#?}");
    }

    #[test]
    fn keys_choose_the_order_and_what_is_shown() {
        let mut choice = Choice::default();
        [Key::Right, Key::Right, Key::Right].into_iter().for_each(|key| choice.press(key));
        assert!(shown(&choice, 200, 40, None)[2].starts_with("b "), "by failures");
        choice.press(Key::Tenants);
        let lines = shown(&choice, 200, 40, None);
        assert!(lines[3].starts_with("all of") && lines[4].is_empty(), "{lines:#?}");
        [Key::Tenants, Key::Down, Key::Left, Key::Left, Key::Left].into_iter().for_each(|key| choice.press(key));
        assert!(shown(&choice, 200, 5, None)[2].starts_with("c "), "one is above the screen");
    }

    #[test]
    fn nothing_is_outside_of_the_screen_and_trouble_is_told() {
        for (width, height) in [(20, 3), (1, 1), (0, 0), (300, 2)] {
            let lines = shown(&Choice::default(), width, height, Some("no controller\u{1b}[2J"));
            assert!(lines.iter().all(|line| !line.contains('\u{1b}')));
        }
        assert!(shown(&Choice::default(), 80, 10, Some("no controller"))[0].starts_with("no controller"));
    }
}
