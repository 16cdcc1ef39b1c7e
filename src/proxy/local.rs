//! Contract routes that Weir answers from its own knowledge.

use super::reply::{self, Answer, Refusal};
use super::{catalog, request};
use crate::api;
use crate::edge::clock::wall_us;
use crate::error::Error;
use crate::ledger::{Found, Ledger};
use crate::price::PriceVersion;
use crate::request::route::{Face, Target};
use crate::snapshot::Snapshot;
use crate::state::State;
use bytes::Bytes;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::Duration;

/// How long a generation whose last byte is out may take to be sealed, in steps of [`STEP`].
const STEPS: u32 = 500;
const STEP: Duration = Duration::from_millis(2);
/// How long one look into the ledger may take.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// Answers what is read of the catalogue, `generation`, `activity` and preflights.
pub(super) async fn answer(
    state: &Arc<State>,
    session: &mut Session,
    (face, target): (Face, Target),
) -> Result<(), Refusal> {
    let answer = match target {
        Target::Preflight => None,
        Target::Catalog(read) => Some(catalog::read(state, session, face, read)?),
        Target::Activity => Some(Answer::json(activity(state, session).await?)),
        _ => Some(Answer::json(generation(state, session).await?)),
    };
    let said = match answer {
        None => reply::preflight(session).await,
        Some(answer) => reply::give(session, answer, &state.lingering).await,
    };
    said.map_err(|_| Refusal::closing(Error::weir(500, "The answer could not be written")))
}

/// `GET generation?id=` (contract 1.6), readable the moment the response has ended, and only
/// within the caller's workspace.
async fn generation(state: &Arc<State>, session: &Session) -> Result<Bytes, Refusal> {
    let caller = request::caller(state, session).map_err(Refusal::closing)?;
    let head = session.req_header();
    let id = head
        .uri
        .query()
        .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("id=")))
        .filter(|id| id.starts_with("gen-") && id.len() <= 64)
        .ok_or_else(|| Refusal::kept(Error::caller(400, "Query parameter id is missing")))?
        .to_owned();
    for _ in 0..STEPS {
        let wanted = id.clone();
        match read(state, move |ledger| ledger.find(&wanted)).await? {
            Found::Rows(rows) if rows.iter().all(|r| r.intent.workspace == *caller.workspace) => {
                let snapshot = state.snapshot.load();
                let told = api::generation::render(&rows, |hash| version(&snapshot, hash));
                return told.ok_or_else(|| absent(&id));
            }
            Found::InFlight { terminal: true, .. } => tokio::time::sleep(STEP).await,
            Found::NotYet => return Err(not_ready()),
            _ => break,
        }
    }
    Err(absent(&id))
}

/// The price version of this hash, if an endpoint still has it.
fn version(snapshot: &Snapshot, hash: [u8; 32]) -> Option<Arc<PriceVersion>> {
    let mut versions = snapshot.targets().flat_map(|target| target.endpoint.price.versions());
    versions.find(|version| version.hash() == hash).map(Arc::clone)
}

/// `GET activity` (contract 1.9), up to this moment, of the caller's workspace.
async fn activity(state: &Arc<State>, session: &Session) -> Result<Bytes, Refusal> {
    let caller = request::caller(state, session).map_err(Refusal::closing)?;
    let query = session.req_header().uri.query().unwrap_or_default();
    let today = wall_us() / 86_400_000_000;
    let wanted = api::activity::wanted(query, &caller.workspace, today)
        .map_err(|why| Refusal::kept(Error::caller(400, why)))?;
    match read(state, move |ledger| ledger.activity(&wanted)).await? {
        Ok(activity) => Ok(api::activity::render(&activity)),
        Err(error) => {
            tracing::warn!(%error, "activity could not be told");
            Err(not_ready())
        }
    }
}

fn not_ready() -> Refusal {
    let behind = Error::weir(503, "The ledger is not ready to be searched");
    Refusal::kept(behind.retry_after(Some(1)))
}

/// What a look into the ledger finds, on a thread that may block.
async fn read<T: Send + 'static>(
    state: &State,
    look: impl FnOnce(&Ledger) -> T + Send + 'static,
) -> Result<T, Refusal> {
    let ledger = Arc::clone(&state.ledger);
    let reading = tokio::task::spawn_blocking(move || look(&ledger));
    // It waits for a thread, and the host may have none left (F80).
    tokio::time::timeout(READ_LIMIT, reading)
        .await
        .map_err(|_| Refusal::kept(Error::weir(503, "The ledger could not be read in time")))?
        .map_err(|_| Refusal::kept(Error::weir(500, "The ledger could not be read")))
}

fn absent(id: &str) -> Refusal {
    Refusal::kept(Error::caller(404, format!("Generation {id} not found")))
}
