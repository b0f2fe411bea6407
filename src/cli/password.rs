//! Asking for a password: at a prompt, or from standard input. Never from an argument, which other users can see.

use std::io::{self, IsTerminal as _};

use clap::Args;

use super::outcome::Failed;

/// Where a password comes from.
#[derive(Debug, Args)]
pub(super) struct PasswordArgs {
    /// Read the password from standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
}

impl PasswordArgs {
    /// Asks for a new password, twice at a prompt.
    pub(super) fn ask(&self) -> Result<String, Failed> {
        let password = self.enter()?;
        if !self.password_stdin && rpassword::prompt_password("Again: ")? != password {
            return Err(Failed::Sentence("the two passwords differ; nothing was changed".into()));
        }
        Ok(password)
    }

    /// Asks for a password that is in use.
    pub(super) fn enter(&self) -> Result<String, Failed> {
        if self.password_stdin {
            let mut line = String::new();
            io::stdin().read_line(&mut line)?;
            return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
        }
        if !io::stdin().is_terminal() {
            let sentence =
                "there is no terminal to ask for a password: give it on standard input with --password-stdin";
            return Err(Failed::Sentence(sentence.into()));
        }
        Ok(rpassword::prompt_password("Password: ")?)
    }

    /// Whether one was given on standard input.
    pub(super) fn is_given(&self) -> bool {
        self.password_stdin
    }
}
