//! The terminal: that it is afterwards as it was before, however the end comes, and the keys that are pressed on it.

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

/// Keys that wait to be looked at; more are dropped.
const MAX_KEYS_WAITING: usize = 64;

/// How long the thread that reads keys may notice late that nobody wants them any more.
const KEYS_POLL: Duration = Duration::from_millis(200);

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Quit,
    Left,
    Right,
    Up,
    Down,
    Tenants,
    /// The terminal has another size, or something else is to be drawn anew.
    Other,
}

/// The terminal while `top` has it.
pub struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal: its other screen, without a cursor, with each key as it is pressed. A panic gives it back first, so
    /// that what it says is to be read where the user is afterwards.
    ///
    /// # Errors
    /// There is none, or it has gone.
    pub fn open() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }

    /// Draws what has changed.
    ///
    /// # Errors
    /// The terminal has gone.
    pub fn draw(&mut self, view: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(view).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing more.
        let _ = ratatui::try_restore();
    }
}

/// The keys that are pressed from now on. A thread reads them, and ends when nobody wants them or the terminal has gone.
pub fn keys() -> mpsc::Receiver<Key> {
    let (sender, keys) = mpsc::channel(MAX_KEYS_WAITING);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            let event = match event::poll(KEYS_POLL) {
                Ok(true) => event::read(),
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            match event {
                Ok(event) => drop(read(&event).map(|key| sender.try_send(key))),
                Err(_) => return,
            }
        }
    });
    keys
}

/// What an event of the terminal asks for, if anything.
fn read(event: &Event) -> Option<Key> {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press | KeyEventKind::Repeat, .. }) = event else {
        return matches!(event, Event::Resize(..)).then_some(Key::Other);
    };
    Some(match code {
        // It interrupts nothing in this mode.
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Key::Quit,
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Key::Quit,
        KeyCode::Char('t' | 'T') => Key::Tenants,
        KeyCode::Left | KeyCode::Char('<' | 'h') => Key::Left,
        KeyCode::Right | KeyCode::Char('>' | 'l') => Key::Right,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        _ => Key::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_the_status_line_says() {
        let press = |code, modifiers| read(&Event::Key(KeyEvent::new(code, modifiers)));
        let plain = |code| press(code, KeyModifiers::NONE);
        assert_eq!(plain(KeyCode::Char('q')), Some(Key::Quit));
        assert_eq!(plain(KeyCode::Char('c')), Some(Key::Other));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!([KeyCode::Left, KeyCode::Up].map(plain), [Some(Key::Left), Some(Key::Up)]);
        assert_eq!(plain(KeyCode::Char('t')), Some(Key::Tenants));
        assert_eq!(read(&Event::Resize(80, 24)), Some(Key::Other));
        assert_eq!(read(&Event::FocusLost), None);
    }
}
