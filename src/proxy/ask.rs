//! An understood request: where it will be tried, and who it is.

use super::exchange::Generation;
use crate::access::Caller;
use crate::bounds::SESSION_ID_CHARS;
use crate::choose::{self, Conversation, X_SESSION_ID};
use crate::edge::clock::{now_ms, wall_us};
use crate::error::Error;
use crate::face::Routing;
use crate::request::envelope::Envelope;
use crate::request::route::Face;
use crate::snapshot::{Pool, Snapshot};
use crate::state::State;
use crate::upstream::attempts::Attempts;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use rand::RngCore;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What an application calls itself, the first that is there.
static APP: [HeaderName; 3] = [
    HeaderName::from_static("x-openrouter-title"),
    HeaderName::from_static("x-title"),
    HeaderName::from_static("http-referer"),
];

/// Where a request will be tried, in order, and which conversation it goes on with.
pub(super) struct Planned {
    pub(super) pools: Vec<Arc<Pool>>,
    pub(super) attempts: Attempts,
    pub(super) conversation: Option<Conversation>,
    pub(super) routing: Option<Box<Routing>>,
}

/// An authenticated request whose body has been understood.
pub(super) struct Ask<'a> {
    pub(super) state: &'a State,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) caller: Arc<Caller>,
    pub(super) face: Face,
    pub(super) headers: &'a HeaderMap,
}

impl Ask<'_> {
    /// The pools asked for and the order in which their targets will be tried.
    pub(super) fn plan(&self, envelope: &Envelope, body: &Bytes) -> Result<Planned, Error> {
        let now = now_ms();
        let request = choose::Request {
            snapshot: &self.snapshot,
            caller: &self.caller,
            envelope,
            headers: self.headers,
            body,
            facts: &|target| target.facts(now),
            report: &|target| target.live.report(now),
            last: &|key| self.state.live.conversations.find(key, now),
            seed: rand::rng().next_u64(),
            dry: false,
            now_us: wall_us(),
        };
        let asked = self.face == Face::OpenRouter && Routing::is_asked(self.headers);
        let unrouted = |refusal| match asked {
            true => request.unrouted().beside(refusal),
            false => refusal,
        };
        let chosen = request.choose().map_err(unrouted)?;
        for reason in chosen.excluded() {
            self.state.metrics.excluded.inc(reason);
        }
        let routing = asked.then(|| Box::new(chosen.routing()));
        if let Some(refusal) = chosen.refusal() {
            self.state.metrics.no_peer.inc();
            return Err(routing.map_or(refusal.clone(), |routing| routing.beside(refusal)));
        }
        let conversation = chosen.conversation;
        let (pools, orders) = chosen.orders();
        Ok(Planned { pools, attempts: Attempts::new(orders), conversation, routing })
    }

    /// Who it is, and what its records say of its caller.
    pub(super) fn generation(&self, envelope: &Envelope) -> Generation {
        let created = wall_us() / 1_000_000;
        let text = |name: &HeaderName| self.headers.get(name).and_then(|value| value.to_str().ok());
        let app = APP.iter().find_map(text);
        let user = envelope.user.as_deref().map(|user| match self.face {
            Face::OpenRouter => hex::encode(Sha256::digest(user.as_bytes())),
            Face::Faithful => user.to_owned(),
        });
        let session = text(&X_SESSION_ID).filter(|id| id.chars().count() <= SESSION_ID_CHARS);
        let session = envelope.session_id.clone().or_else(|| session.map(Arc::from));
        Generation {
            id: generation_id(created),
            session,
            created,
            app: app.unwrap_or("").chars().take(128).collect(),
            user,
        }
    }
}

/// `gen-<unix seconds>-<20 alphanumerics>` (contract 4.1).
fn generation_id(created: u64) -> Arc<str> {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut random = [0_u8; 20];
    rand::rng().fill_bytes(&mut random);
    let letter = |byte: u8| ALPHABET.get(usize::from(byte) % ALPHABET.len()).copied();
    let tail = random.map(|byte| letter(byte).unwrap_or(b'0'));
    let mut id = String::with_capacity(48);
    id.push_str("gen-");
    id.push_str(itoa::Buffer::new().format(created));
    id.push('-');
    id.push_str(std::str::from_utf8(&tail).unwrap_or_default());
    id.into()
}
