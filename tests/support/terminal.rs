//! The program as somebody sees it who sits at a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

/// Runs a command at a terminal where these lines are typed, each when it is asked for; gives all that the terminal shows, and the exit code.
pub fn at_terminal(mut command: Command, dialogue: &[(&str, &str)]) -> (String, i32) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).expect("granted");
    unlockpt(&terminal).expect("unlocked");
    let name = ptsname(&terminal, Vec::new()).expect("a name").into_string().expect("UTF-8");
    let side = || Stdio::from(File::options().read(true).write(true).open(&name).expect("opened"));
    let mut child = command.stdin(side()).stdout(side()).stderr(side()).spawn().expect("started");
    drop(command);
    let mut terminal = File::from(terminal);
    let (mut shown, mut from, mut buffer) = (String::new(), 0, [0; 4096]);
    let mut dialogue = dialogue.iter().peekable();
    // ends with an error when nobody has the other side open any more
    while let Ok(read @ 1..) = terminal.read(&mut buffer) {
        shown.push_str(&String::from_utf8_lossy(&buffer[..read]));
        if let Some((question, answer)) = dialogue.peek()
            && let Some(at) = shown[from..].find(question)
        {
            from += at + question.len();
            listens(&terminal);
            terminal.write_all(format!("{answer}\r").as_bytes()).expect("typed");
            dialogue.next();
        }
    }
    assert_eq!(dialogue.next(), None, "it was not asked for; shown: {shown}");
    (shown, child.wait().expect("ended").code().expect("a code"))
}

/// Waits until the program reads what is typed: what was typed before that would be dropped, or shown.
fn listens(terminal: &File) {
    let begun = Instant::now();
    while tcgetattr(terminal).expect("a terminal").local_modes.contains(LocalModes::ECHO) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the program asks, and does not read");
        std::thread::sleep(Duration::from_millis(5));
    }
}
