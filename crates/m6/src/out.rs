//! stdout is data, stderr is talk. The only file of the project that prints.

use crate::cli::Common;
use crate::error::Failure;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Where output goes and in which form.
pub struct Terminal {
    json: bool,
    quiet: bool,
    bar: bool,
    color: bool,
}

impl Terminal {
    /// From the common flags, `NO_COLOR` and whether stderr is a terminal.
    pub fn new(common: &Common) -> Self {
        let tty = std::io::stderr().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self {
            json: common.json,
            quiet: common.quiet,
            bar: tty && !common.no_progress,
            color: tty && !plain,
        }
    }

    /// A terminal on which nothing is seen but errors: of a process that another one speaks for.
    pub fn muted(&self) -> Self {
        Self {
            json: false,
            quiet: true,
            bar: false,
            color: self.color,
        }
    }

    /// Whether stdout takes JSON.
    pub fn json(&self) -> bool {
        self.json
    }

    /// One JSON value on a line of stdout.
    pub fn object(&self, value: &impl Serialize) {
        self.data(&format!(
            "{}\n",
            serde_json::to_string(value).expect("plain data serialises")
        ));
    }

    /// Text on stdout. A closed pipe ends the process quietly, as other command-line tools do.
    pub fn data(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        if stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .is_err()
        {
            std::process::exit(0);
        }
    }

    /// A line on stderr.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            // A closed stderr is no reason to stop work.
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// The failure on stderr.
    pub fn error(&self, failure: &Failure) {
        if failure.chain.is_empty() {
            return;
        }
        let text = failure.render();
        let text = if self.color {
            text.replacen("error:", "\u{1b}[1;31merror:\u{1b}[0m", 1)
        } else {
            text
        };
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// A progress line of `total` units; plain lines now and then when stderr is no terminal.
    pub fn progress(&self, total: u64, what: &'static str) -> Progress {
        if self.quiet {
            return Progress {
                bar: None,
                what,
                every: u64::MAX,
                total,
                last: None,
                start: None,
            };
        }
        if !self.bar {
            return Progress {
                bar: None,
                what,
                every: (total / 20).max(1),
                total,
                last: None,
                start: None,
            };
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(5));
        let style =
            ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {elapsed} eta {eta} {msg}");
        bar.set_style(style.expect("a template that is a constant"));
        bar.set_prefix(what);
        Progress {
            bar: Some(bar),
            what,
            every: u64::MAX,
            total,
            last: None,
            start: None,
        }
    }
}

/// A progress bar, or its plain form.
pub struct Progress {
    bar: Option<ProgressBar>,
    what: &'static str,
    every: u64,
    total: u64,
    last: Option<u64>,
    start: Option<(u64, Instant)>,
}

impl Progress {
    /// Work goes on from here: what is left is reckoned from the rate since now.
    pub fn begin_at(&mut self, position: u64) {
        self.start = Some((position, Instant::now()));
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            bar.reset_eta();
        }
    }

    fn eta(&mut self, position: u64) -> String {
        let (first, since) = *self.start.get_or_insert((position, Instant::now()));
        let done = position.saturating_sub(first);
        if done == 0 {
            return String::new();
        }
        let left = self.total.saturating_sub(position) as f64 / done as f64;
        format!(" eta {:.0}s", since.elapsed().as_secs_f64() * left)
    }

    /// Sets the position and the numbers shown beside it.
    pub fn at(&mut self, position: u64, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            bar.set_message(message.to_string());
            return;
        }
        let due = self
            .last
            .is_none_or(|last| position / self.every > last / self.every);
        if self.every != u64::MAX && due {
            let eta = self.eta(position);
            let _ = writeln!(
                std::io::stderr().lock(),
                "{} {position}/{} {message}{eta}",
                self.what,
                self.total
            );
            self.last = Some(position);
        }
    }

    /// A line above the bar.
    pub fn line(&self, terminal: &Terminal, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| terminal.say(text)),
            None => terminal.say(text),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A flag that Ctrl-C and SIGTERM set; a second one ends the process at once.
pub fn stop_flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&flag);
    // A second handler in one process is the only error; then the first one stays.
    let _ = ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        let _ = writeln!(
            std::io::stderr().lock(),
            "\nstopping after this step; again to stop at once"
        );
    });
    flag
}

/// Log lines of the libraries to stderr: warnings by default, more with -v.
pub fn init_logging(common: &Common) {
    let level = match (common.quiet, common.verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("M6_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    // Only the first call of a process can succeed; there is only one.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .without_time()
        .try_init();
}
