//! `top` on a terminal: what it draws there, which keys it knows, and how it leaves.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::cluster::{Cluster, PATIENCE, Running};

/// A terminal of 120 columns and 30 lines, as its user sees it.
struct Terminal {
    keyboard: File,
    /// The end that a program has.
    line: File,
    shows: Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    fn new() -> Self {
        let user: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&user).and_then(|()| unlockpt(&user)).unwrap();
        let path = ptsname(&user, Vec::new()).unwrap().into_string().unwrap();
        let line = File::options().read(true).write(true).open(path).unwrap();
        tcsetwinsize(&line, Winsize { ws_row: 30, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let keyboard = File::from(user);
        let mut screen = keyboard.try_clone().unwrap();
        let (send, shows) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut bytes) {
                if send.send(bytes[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keyboard, line, shows, shown: String::new() }
    }

    /// Waits until this was drawn since it was asked last.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        while !self.shown.contains(text) {
            let more = self.shows.recv_timeout(PATIENCE);
            let more = more.unwrap_or_else(|_| panic!("{text:?} is not shown: {:?}", self.shown));
            self.shown.push_str(&String::from_utf8_lossy(&more));
        }
        let end = self.shown.find(text).unwrap() + text.len();
        self.shown.drain(..end);
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
    // The other screen.
    terminal.wait_for("\x1b[?1049h");
    terminal.wait_for("PROCESS");
    terminal.wait_for("publisher");
    assert!(!terminal.is_a_shells());
    (server, top, terminal)
}

/// It has left the terminal as it found it.
fn has_left(top: &Running, mut terminal: Terminal, code: i32) {
    assert_eq!(top.exit_code(), code);
    terminal.wait_for("\x1b[?1049l");
    assert!(terminal.is_a_shells());
}

#[test]
fn keys_change_what_top_shows_and_end_it() {
    let cluster = Cluster::new();
    let (_server, top, mut terminal) = watching(&cluster);
    terminal.press("t");
    // Only what changes is drawn: of the hint, most of `processes`, which the key would bring back.
    terminal.wait_for("proces");
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
