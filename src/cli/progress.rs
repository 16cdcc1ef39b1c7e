//! How far something long has come, drawn on a terminal only.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for so many rows.
pub(super) fn rows(of: u64) -> ProgressBar {
    let style = "{bar:40} {pos}/{len} rows, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style);
    ProgressBar::new(of).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
