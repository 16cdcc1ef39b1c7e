//! How far something long has come, drawn on a terminal only.

use super::say;
use crate::ledger::review::Watch;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How often a step of unknown length shows that it goes on.
const TICK: Duration = Duration::from_millis(200);

/// A bar for so many rows.
pub(super) fn rows(of: u64) -> ProgressBar {
    ProgressBar::new(of).with_style(style("{bar:40} {pos}/{len} rows, {per_sec}, {eta} left"))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A bar for each step of a report; it is gone when the report is there.
pub(super) struct Steps(ProgressBar);

impl Steps {
    pub(super) fn new() -> Self {
        Self(ProgressBar::new(0).with_style(style("{spinner} {elapsed}")))
    }

    /// Draws nothing: what is printed goes to the same terminal.
    pub(super) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Prints beside the bar.
    pub(super) fn suspend(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Watch for Steps {
    fn begin(&self, what: &'static str, of: u64) {
        self.0.set_style(style(match of {
            0 => "{spinner} {msg}, {elapsed}",
            _ => "{bar:40} {pos}/{len} {msg}, {eta} left",
        }));
        self.0.set_message(what);
        self.0.set_length(of);
        self.0.reset();
        match of {
            0 => self.0.enable_steady_tick(TICK),
            _ => self.0.disable_steady_tick(),
        }
        // However short the step before was.
        self.0.force_draw();
    }

    fn seen(&self, more: u64) {
        self.0.inc(more);
    }

    fn odd(&self, what: &str) {
        self.suspend(|| say(what));
    }
}
