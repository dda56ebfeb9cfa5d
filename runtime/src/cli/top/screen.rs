//! The terminal: what is drawn on it, keys, and that it is afterwards as it was before, however the end comes.

use std::io::{self, Read, Stdout, Write};
use std::sync::Arc;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

/// To the other screen of the terminal, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";

/// The end of [`ENTER`].
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Keys that wait to be looked at; more are dropped.
const MAX_KEYS_WAITING: usize = 64;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Quit,
    Left,
    Right,
    Up,
    Down,
    Tenants,
    Other,
}

/// The terminal while `top` has it.
pub struct Screen {
    stdout: Stdout,
    /// Given back, once.
    before: Arc<Termios>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// There is none, or it has gone.
    pub fn open() -> io::Result<Self> {
        let before = Arc::new(tcgetattr(io::stdin())?);
        let mut raw = (*before).clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        let screen = Self { stdout: io::stdout(), before: before.clone() };
        // What a panic says is to be read where the user is afterwards.
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back(&before);
            print(panic);
        }));
        (&screen.stdout).write_all(ENTER.as_bytes())?;
        Ok(screen)
    }

    /// Draws these lines, the second one as a heading.
    ///
    /// # Errors
    /// The terminal has gone.
    pub fn draw(&mut self, lines: impl FnOnce(usize, usize) -> Vec<String>) -> io::Result<()> {
        let size = tcgetwinsize(&self.stdout)?;
        let mut text = String::from("\x1b[H");
        for (number, line) in lines(size.ws_col.into(), size.ws_row.into()).iter().enumerate() {
            let (on, off) = if number == 1 { ("\x1b[7m", "\x1b[0m") } else { ("", "") };
            let next = if number == 0 { "" } else { "\r\n" };
            text.push_str(&format!("{next}{on}{line}\x1b[K{off}"));
        }
        text.push_str("\x1b[J");
        self.stdout.write_all(text.as_bytes())?;
        self.stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back(&self.before);
    }
}

fn give_back(before: &Termios) {
    let mut stdout = io::stdout();
    let _ = stdout.write_all(LEAVE.as_bytes()).and_then(|()| stdout.flush());
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
}

/// The keys that are pressed from now on. A thread reads them, which ends with its process.
pub fn keys() -> mpsc::Receiver<Key> {
    let (sender, keys) = mpsc::channel(MAX_KEYS_WAITING);
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok(length @ 1..) = io::stdin().read(&mut bytes) {
            for key in read(bytes.get(..length).unwrap_or_default()) {
                let _ = sender.try_send(key);
            }
            if sender.is_closed() {
                return;
            }
        }
    });
    keys
}

/// The keys of what a terminal sends at once.
fn read(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while let Some((key, rest)) = first(bytes) {
        keys.push(key);
        bytes = rest;
    }
    keys
}

fn first(bytes: &[u8]) -> Option<(Key, &[u8])> {
    Some(match bytes {
        [] => return None,
        // An arrow, in either of its two forms.
        [0x1b, b'[' | b'O', letter, rest @ ..] => {
            let key = match letter {
                b'A' => Key::Up,
                b'B' => Key::Down,
                b'C' => Key::Right,
                b'D' => Key::Left,
                _ => Key::Other,
            };
            (key, rest)
        }
        // Ctrl-C does not interrupt in this mode.
        [b'q' | b'Q' | 3, rest @ ..] => (Key::Quit, rest),
        [b't' | b'T', rest @ ..] => (Key::Tenants, rest),
        [b'<' | b'h', rest @ ..] => (Key::Left, rest),
        [b'>' | b'l', rest @ ..] => (Key::Right, rest),
        [b'k', rest @ ..] => (Key::Up, rest),
        [b'j', rest @ ..] => (Key::Down, rest),
        [_, rest @ ..] => (Key::Other, rest),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_what_a_terminal_sends() {
        assert_eq!(read(b"\x1b[A\x1bOBq"), [Key::Up, Key::Down, Key::Quit]);
        assert_eq!(read(b"t\x03x"), [Key::Tenants, Key::Quit, Key::Other]);
        assert_eq!(read(b"\x1b["), [Key::Other, Key::Other]);
        assert_eq!(read(b""), []);
    }
}
