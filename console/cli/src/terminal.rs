//! What the terminal is like, writing to it, and asking on it.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// Prints a line. A terminal that has gone is no reason to fail: what runs must still be stopped in order.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Prints a line for people where standard output is for programs.
pub fn tell(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether somebody looks and can be asked.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Whether lines may be redrawn and coloured.
pub fn is_fancy(plain: bool) -> bool {
    !plain
        && io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none()
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Asks on the terminal; the line that was typed, empty at its end.
pub fn ask(question: &str) -> io::Result<String> {
    let mut output = io::stdout().lock();
    write!(output, "{question}")?;
    output.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Asks a question that is answered with yes or no; yes when the answer is empty.
pub fn confirm(question: &str) -> io::Result<bool> {
    let mut output = io::stdout().lock();
    write!(output, "{question} [Y/n] ")?;
    output.flush()?;
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer)? == 0 {
        return Ok(false);
    }
    Ok(matches!(
        answer.trim().to_lowercase().as_str(),
        "" | "y" | "yes" | "s" | "si" | "sí"
    ))
}
