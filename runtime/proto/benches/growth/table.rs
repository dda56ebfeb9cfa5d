//! The tables: what an operation costs at each step, by how much that grows a decade, and what it is said to be.
//!
//! | reading | a row grows tenfold more work by |
//! |---|---|
//! | constant | up to 3.2: trees are some levels deeper, and caches colder |
//! | below linear | up to 6.3 |
//! | linear | up to 25: tenfold, and colder caches; with a logarithm it is 13 |
//! | worse than linear | more |
//!
//! The reading is that of the last decade, since what is bounded grows up to its bound and no further.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// What a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Time of an operation.
    Nanoseconds,
    /// Memory.
    Bytes,
}

/// How a row grows with the work, from the least on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Growth {
    /// As good as not.
    Constant,
    /// Slower than the work.
    BelowLinear,
    /// As the work does.
    Linear,
    /// Faster.
    Worse,
}

impl Growth {
    /// By how much a row grew over a decade, as a word.
    fn of(factor: f64) -> Self {
        match factor.log10() {
            power if power <= 0.5 => Self::Constant,
            power if power <= 0.8 => Self::BelowLinear,
            power if power <= 1.4 => Self::Linear,
            _ => Self::Worse,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::BelowLinear => "below linear",
            Self::Linear => "linear",
            Self::Worse => "worse than linear",
        }
    }
}

/// One table: rows by what grows.
pub struct Table {
    title: &'static str,
    /// What the steps count.
    of: &'static str,
    steps: Vec<usize>,
    rows: Vec<Row>,
}

struct Row {
    label: &'static str,
    unit: Unit,
    /// The most that it should grow by.
    most: Growth,
    values: Vec<f64>,
}

impl Table {
    /// A table without rows; each step has ten times as much as the one before.
    pub fn new(title: &'static str, of: &'static str, steps: &[usize]) -> Self {
        Self { title, of, steps: steps.to_vec(), rows: Vec::new() }
    }

    /// The steps.
    pub fn steps(&self) -> Vec<usize> {
        self.steps.clone()
    }

    /// What a row has at the next step.
    pub fn put(&mut self, label: &'static str, unit: Unit, most: Growth, value: f64) {
        match self.rows.iter_mut().find(|row| row.label == label) {
            Some(row) => row.values.push(value),
            None => self.rows.push(Row { label, unit, most, values: vec![value] }),
        }
    }

    /// A row that should not grow.
    pub fn constant(&mut self, label: &'static str, nanoseconds: f64) {
        self.put(label, Unit::Nanoseconds, Growth::Constant, nanoseconds);
    }

    /// Bytes a thing, which should not grow.
    pub fn bytes(&mut self, label: &'static str, bytes: f64) {
        self.put(label, Unit::Bytes, Growth::Constant, bytes);
    }

    /// A row that may grow as the work does.
    pub fn linear(&mut self, label: &'static str, nanoseconds: f64) {
        self.put(label, Unit::Nanoseconds, Growth::Linear, nanoseconds);
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("\n{:<66}", self.title);
        for step in &self.steps {
            let _ = write!(text, " {:>9}", grouped(*step));
        }
        let _ = writeln!(text, "   {:<24} reading", "grows a decade by");
        for row in &self.rows {
            let _ = write!(text, "  {:<64}", row.label);
            for value in &row.values {
                let _ = write!(text, " {:>9}", row.shown(*value));
            }
            let factors: Vec<String> = row.factors().map(|factor| format!("{factor:.1}")).collect();
            let missed = if row.growth() > row.most { " (!)" } else { "" };
            let _ = writeln!(text, "   {:<24} {}{missed}", factors.join(" "), row.growth().word());
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "row": row.label,
                "unit": match row.unit { Unit::Nanoseconds => "ns", Unit::Bytes => "bytes" },
                "values": row.values,
                "growth_a_decade": row.factors().collect::<Vec<_>>(),
                "reading": row.growth().word(),
                "at_most": row.most.word(),
            })
        };
        json!({
            "table": self.title, "of": self.of, "steps": self.steps,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

impl Row {
    fn factors(&self) -> impl Iterator<Item = f64> {
        self.values.iter().zip(self.values.iter().skip(1)).map(|(before, after)| after / before)
    }

    fn growth(&self) -> Growth {
        Growth::of(self.factors().last().unwrap_or(1.0))
    }

    fn shown(&self, value: f64) -> String {
        match self.unit {
            Unit::Bytes => format!("{} B", grouped(value.round() as usize)),
            Unit::Nanoseconds if value < 1e4 => format!("{} ns", grouped(value.round() as usize)),
            Unit::Nanoseconds if value < 1e7 => format!("{} us", grouped((value / 1e3).round() as usize)),
            Unit::Nanoseconds => format!("{} ms", grouped((value / 1e6).round() as usize)),
        }
    }
}

/// `1,000`.
fn grouped(number: usize) -> String {
    match number {
        0..=999 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1000), number % 1000),
    }
}
