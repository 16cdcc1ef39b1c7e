//! The one timer of a held session: it sleeps to what its [`Clock`] says, and moves only when it must.

use super::clock::{Clock, TICK_MS, instant, now_ms};
use std::pin::Pin;
use tokio::time::Sleep;

/// A sleep, made when it is first needed, and the instant ([`now_ms`]) at which it ends.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<(Pin<Box<Sleep>>, u64)>);

impl Timer {
    /// Completes when something is due. Cancel safe, and reads no clock until the timer fires: it is
    /// armed for the instant it last saw, and moved only when that was too late or has come.
    pub(super) async fn due(&mut self, clock: &Clock) {
        loop {
            let Some(due) = clock.due() else {
                return std::future::pending().await;
            };
            let (sleep, armed) = self.0.get_or_insert_with(|| {
                (Box::pin(tokio::time::sleep_until(instant(due).into())), due)
            });
            if *armed > due {
                sleep.as_mut().reset(instant(due).into());
                *armed = due;
            }
            sleep.as_mut().await;
            match clock.due() {
                Some(later) if later > now_ms() + TICK_MS => {
                    sleep.as_mut().reset(instant(later).into());
                    *armed = later;
                }
                Some(_) => return,
                None => {}
            }
        }
    }
}
