//! Which rules can never count, because of one before them that holds for every request.

use super::action::Action;
use super::when::When;
use std::sync::Arc;

/// What the rules so far leave to those after them.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// The rule that rejects every request.
    wall: Option<Arc<str>>,
    /// The rules that are the first to do something for every request, each with what that is.
    first: Vec<(&'static str, Arc<str>)>,
    /// The rule that renames every request, and all models that one can be for after it.
    renamed: Option<(Arc<str>, Vec<Arc<str>>)>,
}

impl Reach {
    /// Why a rule can never count, if it cannot.
    pub(super) fn bars(&self, when: &When, action: &Action) -> Option<String> {
        if let Some(wall) = &self.wall {
            return Some(format!("never reached: rule `{wall}` before it rejects every request"));
        }
        if let Some((rule, models)) = &self.renamed
            && !models.iter().any(|model| when.takes(model))
        {
            return Some(format!("never holds: rule `{rule}` before it renames every request"));
        }
        let what = action.is_exclusive()?;
        let (_, rule) = self.first.iter().find(|(done, _)| *done == what)?;
        Some(format!("never counts: rule `{rule}` before it says {what} for every request"))
    }

    /// Takes in a rule.
    pub(super) fn pass(&mut self, name: &Arc<str>, when: &When, action: &Action) {
        let always = when.always();
        match action {
            Action::Reject(_) if always => self.wall = Some(Arc::clone(name)),
            Action::Rename(model) if always => {
                self.renamed = Some((Arc::clone(name), vec![Arc::clone(model)]));
            }
            Action::Rename(model) => {
                if let Some((_, models)) = &mut self.renamed {
                    models.push(Arc::clone(model));
                }
            }
            _ => self.first.extend(
                action.is_exclusive().filter(|_| always).map(|what| (what, Arc::clone(name))),
            ),
        }
    }
}
