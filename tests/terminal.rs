//! `top` on a terminal: what it draws there, which keys it knows, and how it leaves.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::cluster::{Cluster, PATIENCE, Running};

/// How many lines and columns a terminal has.
const LINES: usize = 30;
const COLUMNS: usize = 120;

/// A terminal, as its user sees it. A program draws what has changed, and nothing else: so it keeps what is there.
struct Terminal {
    keyboard: File,
    /// The end that a program has.
    line: File,
    shows: Receiver<Vec<u8>>,
    screen: Screen,
}

/// What is drawn: single-byte characters, and a `?` for each other one.
struct Screen {
    cells: [[u8; COLUMNS]; LINES],
    line: usize,
    column: usize,
    /// The control sequence that has begun.
    sequence: Option<Vec<u8>>,
    /// Whether a program has the other screen of the terminal.
    is_other: bool,
}

impl Screen {
    fn take(&mut self, byte: u8) {
        if let Some(mut sequence) = self.sequence.take() {
            sequence.push(byte);
            // It ends with a letter.
            match byte {
                b'[' | b'?' | b';' | b'0'..=b'9' => self.sequence = Some(sequence),
                _ => self.control(&String::from_utf8(sequence).unwrap()),
            }
            return;
        }
        match byte {
            0x1b => self.sequence = Some(Vec::new()),
            0x80..=0xbf => {} // the rest of one that was begun
            byte => {
                self.cells[self.line][self.column] = if byte < 0x80 { byte } else { b'?' };
                self.column = (self.column + 1).min(COLUMNS - 1);
            }
        }
    }

    fn control(&mut self, sequence: &str) {
        match sequence {
            "[?1049h" => self.is_other = true,
            "[?1049l" => self.is_other = false,
            "[2J" => self.cells = [[b' '; COLUMNS]; LINES],
            _ => {}
        }
        let place =
            sequence.strip_prefix('[').and_then(|rest| rest.strip_suffix('H')).and_then(|at| at.split_once(';'));
        if let Some((line, column)) = place {
            let number = |text: &str| text.parse::<usize>().unwrap() - 1;
            (self.line, self.column) = (number(line), number(column));
        }
    }

    fn text(&self) -> String {
        let line = |line: &[u8; COLUMNS]| String::from_utf8_lossy(line).trim_end().to_owned();
        self.cells.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Terminal {
    fn new() -> Self {
        let user: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&user).and_then(|()| unlockpt(&user)).unwrap();
        let path = ptsname(&user, Vec::new()).unwrap().into_string().unwrap();
        let line = File::options().read(true).write(true).open(path).unwrap();
        let size = Winsize { ws_row: LINES as u16, ws_col: COLUMNS as u16, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&line, size).unwrap();
        let keyboard = File::from(user);
        let mut output = keyboard.try_clone().unwrap();
        let (send, shows) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                if send.send(bytes[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let cells = [[b' '; COLUMNS]; LINES];
        let screen = Screen { cells, line: 0, column: 0, sequence: None, is_other: false };
        Self { keyboard, line, shows, screen }
    }

    /// Waits until the screen is so.
    #[track_caller]
    fn wait_until(&mut self, what: &str, is_so: impl Fn(&Screen) -> bool) {
        let start = Instant::now();
        while !is_so(&self.screen) {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let Ok(bytes) = self.shows.recv_timeout(left) else { panic!("no {what}:\n{}", self.screen.text()) };
            bytes.into_iter().for_each(|byte| self.screen.take(byte));
        }
    }

    /// Waits until this is shown.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |screen| screen.text().contains(text));
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether lines are edited and shown as they are typed: how a shell leaves it, and wants it back.
    fn is_a_shells(&self) -> bool {
        let modes = tcgetattr(self.line.as_fd()).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }
}

/// A controller with a process, `top` on a terminal, and that one when it has drawn the process.
fn watching(cluster: &Cluster) -> (Running, Running, Terminal) {
    let server = cluster.serving("publisher");
    let mut terminal = Terminal::new();
    assert!(terminal.is_a_shells());
    let top = cluster.bare("top").args(["top", "--interval", "200ms"]).start_on(&terminal.line);
    terminal.wait_for("PROCESS");
    terminal.wait_for("publisher");
    assert!(terminal.screen.is_other);
    assert!(!terminal.is_a_shells());
    (server, top, terminal)
}

/// It has left the terminal as it found it.
fn has_left(top: &Running, mut terminal: Terminal, code: i32) {
    assert_eq!(top.exit_code(), code);
    terminal.wait_until("own screen", |screen| !screen.is_other);
    assert!(terminal.is_a_shells());
}

#[test]
fn keys_change_what_top_shows_and_end_it() {
    let cluster = Cluster::new();
    let (_server, top, mut terminal) = watching(&cluster);
    terminal.press("t");
    terminal.wait_until("list of tenants alone", |screen| !screen.text().contains("publisher"));
    terminal.wait_for("all of");
    terminal.press("t");
    terminal.wait_for("publisher");
    terminal.press("q");
    has_left(&top, terminal, 0);
}

#[test]
fn top_gives_its_terminal_back_when_it_is_told_to_end() {
    for key in [Some("\x03"), None] {
        let cluster = Cluster::new();
        let (_server, top, mut terminal) = watching(&cluster);
        match key {
            Some(key) => terminal.press(key),
            None => top.terminate(),
        }
        has_left(&top, terminal, 0);
    }
}

#[test]
fn top_tells_that_its_controller_has_gone_and_goes_on_when_it_is_back() {
    let cluster = Cluster::new();
    let (server, top, mut terminal) = watching(&cluster);
    server.kill();
    terminal.wait_for("no controller");
    let _server = cluster.serving("subscriber");
    terminal.wait_for("subscriber");
    terminal.press("q");
    has_left(&top, terminal, 0);
}
