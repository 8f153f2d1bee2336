//! Questions to the person in front of the terminal.
//!
//! Knows: how an answer is read, hidden or not. Refuses to know: what is asked. Guarantees: nothing is asked where nobody
//! can answer; a secret is not echoed; an interrupted prompt leaves the terminal as it was.

use std::io::{BufRead as _, IsTerminal as _, Read as _, stdin};

use secrecy::SecretString;

use crate::screen::Screen;
use crate::trouble::Trouble;

/// Longer than any secret of Entra, and than any answer.
const LINE_BYTES: u64 = 4_096;

/// Whether somebody sits there.
pub(crate) fn is_answered() -> bool {
    stdin().is_terminal()
}

/// Asks for a line.
pub(crate) async fn ask(question: &str) -> Result<String, Trouble> {
    let question = format!("  {question} ");
    read(move || {
        // Prompts are for the person, whoever reads standard output.
        eprint(&question);
        let mut line = String::new();
        stdin().lock().take(LINE_BYTES).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    })
    .await
}

/// Asks for a line that is not shown.
pub(crate) async fn ask_hidden(question: &str) -> Result<SecretString, Trouble> {
    let question = format!("  {question} ");
    let answer = read(move || rpassword::prompt_password(question)).await?;
    Ok(answer.trim().to_owned().into())
}

/// The first line of standard input, which somebody pipes in.
pub(crate) async fn piped() -> Result<SecretString, Trouble> {
    let line = read(|| {
        let mut line = String::new();
        stdin().lock().take(LINE_BYTES).read_line(&mut line)?;
        Ok(line)
    })
    .await?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned().into())
}

/// Asks whether to go on; only a plain yes counts.
pub(crate) async fn confirm(question: &str) -> Result<bool, Trouble> {
    let answer = ask(&format!("{question} [y/N]")).await?;
    Ok(["y", "yes"].contains(&answer.to_ascii_lowercase().as_str()))
}

/// Reading blocks, so it happens on a thread of its own; an interruption does not wait for it.
async fn read(work: impl FnOnce() -> std::io::Result<String> + Send + 'static) -> Result<String, Trouble> {
    let answer = tokio::task::spawn_blocking(work).await;
    answer.ok().and_then(Result::ok).ok_or_else(|| {
        Trouble::usage(
            "no_answer",
            "the answer could not be read from the terminal",
            "run the command in a terminal, or give the answers as its help describes",
        )
    })
}

fn eprint(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// How the terminal was before a prompt hid what is typed.
pub(crate) struct Terminal {
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl Terminal {
    pub(crate) fn remember() -> Self {
        Self {
            #[cfg(unix)]
            before: rustix::termios::tcgetattr(stdin()).ok(),
        }
    }

    /// After an interruption: the prompt's own clean-up never comes.
    pub(crate) fn restore(&self, screen: Screen) {
        #[cfg(unix)]
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(stdin(), rustix::termios::OptionalActions::Now, before);
        }
        screen.still();
        eprint("\n");
    }
}
