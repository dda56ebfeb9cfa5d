//! Readers that read, and readers that do not.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A writer that takes nothing until it is let go.
struct Stuck(Receiver<()>, Kept);

fn stuck() -> (Sender<()>, Stuck, Kept) {
    let (go, stuck) = channel();
    let kept = Kept::default();
    (go, Stuck(stuck, kept.clone()), kept)
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // Gives up waiting when the test drops its end.
        let _ = self.0.recv();
        self.1.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log(printer: &Printer, line: &str) {
    let mut to = printer.log()();
    to.write_all(line.as_bytes()).unwrap();
}

#[test]
fn one_module_prints_as_it_is_and_several_with_their_names() {
    let (out, err) = (Kept::default(), Kept::default());
    let printer = Printer::to(out.clone(), err.clone(), LONG).unwrap();
    printer.output(None).print(GuestStream::Stderr, "oops\n");
    printer.output(None).print(GuestStream::Stdout, "Result = 20\n");
    printer.output(Some("b")).print(GuestStream::Stdout, "hello\nworld\n");
    printer.close();
    assert_eq!((out.text().as_str(), err.text().as_str()), ("Result = 20\nb | hello\nb | world\n", "oops\n"));
}

#[test]
fn what_is_put_on_both_streams_is_printed_in_order() {
    let both = Kept::default();
    let printer = Printer::to(both.clone(), both.clone(), LONG).unwrap();
    let output = printer.output(None);
    let mut expected = String::new();
    for line in 0..3000 {
        let text = format!("{line}\n");
        match line % 3 {
            0 => drop(output.print(GuestStream::Stdout, &text)),
            1 => drop(output.print(GuestStream::Stderr, &text)),
            _ => log(&printer, &text),
        }
        expected += &text;
    }
    printer.close();
    assert_eq!(both.text(), expected);
}

#[test]
fn a_stream_that_nobody_reads_does_not_hold_up_the_other() {
    let (go, out, kept) = stuck();
    let err = Kept::default();
    let printer = Printer::to(out, err.clone(), Duration::ZERO).unwrap();
    printer.output(None).print(GuestStream::Stdout, "a line\n");
    log(&printer, "info: something\n");
    assert!(printer.shared.wait_for_end(LONG, |waiting| waiting.err.is_idle()));
    assert_eq!((err.text().as_str(), kept.text().as_str()), ("info: something\n", ""));
    drop(go);
    printer.close();
    assert_eq!(kept.text(), "a line\n");
}

#[test]
fn a_log_that_nobody_reads_is_bounded_and_tells_how_much_was_lost() {
    let (go, err, kept) = stuck();
    let printer = Printer::to(Kept::default(), err, LONG).unwrap();
    let line = "x".repeat(1000) + "\n";
    for _ in 0..3000 {
        log(&printer, &line);
    }
    assert!(printer.shared.lock().log_bytes <= MAX_LOG_BYTES + line.len() + LOG_LINE_BYTES);
    drop(go);
    printer.close();
    let text = kept.text();
    let told = text
        .lines()
        .find_map(|line| line.strip_prefix("warning: ")?.strip_suffix(" log lines were lost: nobody read them"));
    let printed = text.lines().filter(|line| line.starts_with('x')).count();
    assert_eq!(told.unwrap().parse::<usize>().unwrap() + printed, 3000);
}

#[test]
fn what_is_printed_no_longer_counts_against_its_module() {
    let (go, out, _) = stuck();
    let printer = Printer::to(out, Kept::default(), LONG).unwrap();
    let output = printer.output(None);
    let waits = output.print(GuestStream::Stdout, "a line\n");
    assert!(waits.bytes() > 0);
    drop(go);
    printer.close();
    assert_eq!(waits.bytes(), 0);
}
