//! What one attempt's reply has said so far, put into its tally as it comes.

use super::{Delivered, Finish, Tally};
use crate::dialect::{Observation, Predictions, Report, finish};
use crate::usage::Usage;

/// Accumulates the observations of one reply. The last valid report wins; nothing is summed (I11).
#[derive(Debug, Default)]
pub struct Account {
    delivered: Delivered,
    untold: bool,
    reported: Option<Usage>,
    predictions: Predictions,
    named: bool,
    finish: Option<Finish>,
    content: bool,
}

impl Account {
    /// Takes in one event, or the whole body.
    pub fn note(&mut self, seen: &Observation<'_>, tally: &mut dyn Tally) {
        self.content |= seen.content;
        if !seen.delivered.is_empty() {
            self.untold = true;
            self.delivered.add(&seen.delivered);
        }
        if let Some(report) = seen.usage {
            self.report(report, tally);
        }
        if let Some(reason) = seen.finish {
            let finish = finish::normalise(&reason.decode());
            self.finish = Some(finish);
            let native = seen.native_finish.unwrap_or(reason).decode();
            tally.finish(finish, &native);
        }
        if !self.named
            && let Some(id) = seen.id
        {
            self.named = true;
            tally.upstream_id(&id.decode());
        }
    }

    /// Takes in one usage report.
    pub fn report(&mut self, report: Report, tally: &mut dyn Tally) {
        let (usage, sound, predictions) = match report {
            Report::Valid { usage, sound, predictions } => (usage, sound, predictions),
            Report::Suspect => return tally.suspect(),
            Report::Unreadable => return tally.unreadable(),
        };
        if self.reported.is_some_and(|before| {
            usage.prompt() < before.prompt() || usage.completion() < before.completion()
        }) {
            return tally.suspect();
        }
        if !sound {
            tally.suspect();
        }
        (self.reported, self.predictions) = (Some(usage), predictions);
        tally.reported(&usage);
    }

    /// Content passed that was too large to be read.
    pub fn content_unread(&mut self) {
        self.content = true;
    }

    /// Tells the tally of content noted since the last call.
    pub fn tell(&mut self, tally: &mut dyn Tally) {
        if std::mem::take(&mut self.untold) {
            tally.delivered(&self.delivered);
        }
    }

    /// Content delivered so far.
    #[must_use]
    pub fn delivered(&self) -> &Delivered {
        &self.delivered
    }

    /// The last valid report.
    #[must_use]
    pub fn reported(&self) -> Option<&Usage> {
        self.reported.as_ref()
    }

    /// What that report says of predicted tokens.
    #[must_use]
    pub fn predictions(&self) -> Predictions {
        self.predictions
    }

    /// Content was seen that the caller is shown.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.content
    }

    /// The finish reason seen last.
    #[must_use]
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// A finish reason was seen.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        self.finish.is_some()
    }
}
