//! One error type for the binary: a message chain, a hint and the exit code of design section 4.

use std::fmt::Display;

/// Exit codes: 0 done, 1 a check said no, 2 usage or configuration, 3 data damaged, 4 numerics, 130 interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A check said no.
    Check = 1,
    /// Usage, configuration, or a file that is not where it should be.
    Usage = 2,
    /// Bytes that should have been sound are not.
    Data = 3,
    /// A loss or gradient that is not finite.
    Numerics = 4,
    /// Ctrl-C; everything committed is safe.
    Interrupted = 130,
}

/// What a verb returns when it cannot go on.
#[derive(Debug)]
pub struct Failure {
    /// Exit code of the process.
    pub code: Code,
    /// What happened, outermost first; empty when it has been said.
    pub chain: Vec<String>,
    /// What to do next, if there is something to say.
    pub hint: Option<String>,
}

/// Result of a verb.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A usage or configuration error.
    pub fn usage(message: impl Display) -> Self {
        Self::new(Code::Usage, message)
    }

    /// Damaged data.
    pub fn data(message: impl Display) -> Self {
        Self::new(Code::Data, message)
    }

    /// A failure with the given exit code.
    pub fn new(code: Code, message: impl Display) -> Self {
        Self {
            code,
            chain: vec![message.to_string()],
            hint: None,
        }
    }

    /// The same failure when it has been said, here or by another process.
    pub fn said(self) -> Self {
        Self {
            chain: Vec::new(),
            hint: None,
            ..self
        }
    }

    /// Adds what to do next.
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// The chain as lines for stderr.
    pub fn render(&self) -> String {
        if self.chain.is_empty() {
            return String::new();
        }
        let mut text = format!("error: {}", self.chain[0]);
        for cause in &self.chain[1..] {
            text.push_str(&format!("\n  caused by: {cause}"));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\nhint: {hint}"));
        }
        text
    }
}

/// The messages of an error and its sources, without repeating one that already contains the next.
fn chain_of(error: &dyn std::error::Error) -> Vec<String> {
    let mut chain = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !chain.last().is_some_and(|last| last.contains(&text)) {
            chain.push(text);
        }
        source = cause.source();
    }
    chain
}

/// Turns library errors into failures with an exit code.
pub trait OrFail<T> {
    /// Failure with this exit code, keeping the error's own chain.
    fn or_fail(self, code: Code) -> Result<T>;
    /// Failure with exit code 2.
    fn or_usage(self) -> Result<T>;
    /// Failure with exit code 3.
    fn or_data(self) -> Result<T>;
}

impl<T, E: std::error::Error> OrFail<T> for std::result::Result<T, E> {
    fn or_fail(self, code: Code) -> Result<T> {
        self.map_err(|error| Failure {
            code,
            chain: chain_of(&error),
            hint: None,
        })
    }

    fn or_usage(self) -> Result<T> {
        self.or_fail(Code::Usage)
    }

    fn or_data(self) -> Result<T> {
        self.or_fail(Code::Data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendering_names_cause_and_hint() {
        let failure = Failure {
            code: Code::Usage,
            chain: vec!["a".into(), "b".into()],
            hint: None,
        };
        assert_eq!(
            failure.hint("do c").render(),
            "error: a\n  caused by: b\nhint: do c"
        );
    }

    #[test]
    fn library_errors_keep_their_chain() {
        let failed: std::result::Result<(), _> = "x".parse::<i32>().map(drop);
        let failure = failed.or_data().unwrap_err();
        assert_eq!(failure.code, Code::Data);
        assert!(failure.chain[0].contains("invalid digit"));
    }
}
