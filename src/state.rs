//! What the process shares: the snapshot in force, and everything that outlives it.

use crate::access::{Failures, Keys};
use crate::admin::{Explained, RuleCounts, Status};
use crate::bounds::LINGERING;
use crate::certificate::Certificates;
use crate::choose::{self, Explanation};
use crate::config::{Loaded, Settings};
use crate::edge::clock::{self, now_ms, wall_us};
use crate::edge::ending::Owed;
use crate::edge::merge;
use crate::judge::Judge;
use crate::ledger::Ledger;
use crate::log::{self, Access};
use crate::metrics::{EndpointMetrics, EndpointState, LedgerDepth, Metrics, UpstreamDepth};
use crate::pressure::Pressure;
use crate::request::held_bytes::HeldBytes;
use crate::snapshot::{BuildError, Live, Snapshot};
use crate::statistics::Keeper;
use crate::upstream::budget::RetryBudget;
use arc_swap::ArcSwap;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// Takes access lines.
pub type AccessSink = Box<dyn Fn(&Access) + Send + Sync>;

/// One per process.
pub struct State {
    pub snapshot: ArcSwap<Snapshot>,
    /// What the process began with.
    pub began: Arc<Settings>,
    /// Apart from the snapshot: a new key rebuilds nothing else.
    pub keys: ArcSwap<Keys>,
    /// Failed authentications by address.
    pub failures: Failures,
    pub live: Live,
    pub certificates: Certificates,
    pub ledger: Arc<Ledger>,
    pub metrics: Arc<Metrics>,
    pub budget: RetryBudget,
    /// Request bodies held.
    pub bodies: Arc<HeldBytes>,
    /// Whether memory runs out.
    pub pressure: Pressure,
    /// Places of HTTP/2 streams that wait for their caller to take Weir's own answer.
    pub lingering: Semaphore,
    /// Who judges tool calls.
    pub judge: Judge,
    /// What connections owe their callers when the last request has ended.
    pub owed: Arc<Owed>,
    /// Where statistics survive a restart.
    pub statistics: Keeper,
    /// Where access lines go instead of the log.
    access: OnceLock<AccessSink>,
    /// A directory that goes with the process, as a demonstration's does.
    pub scratch: OnceLock<PathBuf>,
    active: AtomicUsize,
    serving: AtomicBool,
}

impl State {
    /// The state at start.
    ///
    /// # Errors
    /// As [`Snapshot::build`].
    pub fn new(
        loaded: Loaded,
        ledger: Arc<Ledger>,
        metrics: Arc<Metrics>,
        judge: Judge,
    ) -> Result<Self, BuildError> {
        let Loaded { settings, catalog, keys, rules, .. } = loaded;
        let live = Live::default();
        let certificates = Certificates::new(&settings);
        let statistics = Keeper::new(&settings.state_directory);
        let began = Arc::new(settings);
        let snapshot = Snapshot::build(began.clone(), &catalog, rules, &live, &metrics)?;
        metrics.config_epoch.set(1);
        let counting = Arc::clone(&metrics);
        ledger.observe(Box::new(move |record| counting.record(record)));
        Ok(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            began,
            keys: ArcSwap::from_pointee(keys),
            failures: Failures::default(),
            live,
            certificates,
            ledger,
            metrics,
            budget: RetryBudget::default(),
            bodies: Arc::default(),
            pressure: Pressure::default(),
            lingering: Semaphore::new(LINGERING),
            judge,
            owed: Arc::default(),
            statistics,
            access: OnceLock::new(),
            scratch: OnceLock::new(),
            active: AtomicUsize::new(0),
            serving: AtomicBool::new(false),
        })
    }

    /// Puts another configuration in force, for requests that begin from now on.
    ///
    /// # Errors
    /// As [`Snapshot::build`]: the old one stays.
    pub async fn apply(&self, loaded: Loaded) -> Result<i64, BuildError> {
        let Loaded { settings, catalog, mut keys, mut rules, .. } = loaded;
        rules.inherit(&self.snapshot.load().rules);
        let settings = Arc::new(settings);
        let snapshot = Snapshot::build(settings, &catalog, rules, &self.live, &self.metrics)?;
        self.live.pools.refresh().await;
        self.certificates.renew(&snapshot.settings);
        self.snapshot.store(Arc::new(snapshot));
        keys.inherit(&self.keys.load());
        self.keys.store(Arc::new(keys));
        self.live.endpoints.sweep();
        self.metrics.config_epoch.inc();
        Ok(self.metrics.config_epoch.get())
    }

    /// Sends access lines to `sink` instead of the log. The first call counts.
    pub fn divert_access(&self, sink: AccessSink) {
        let taken = self.access.set(sink).is_err();
        debug_assert!(!taken, "access lines go elsewhere already");
    }

    /// A request has ended: one line.
    pub(crate) fn ended(&self, access: Access) {
        match self.access.get() {
            Some(sink) => sink(&access),
            None => log::access(access),
        }
    }

    /// Counts a request as under way until the guard drops.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::AcqRel);
        Active { state: Arc::clone(self), h2: false }
    }

    /// Requests under way.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// Whether listeners accept: true once they are bound, false again while draining.
    pub fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Release);
    }
}

impl Status for State {
    fn ready(&self) -> Result<(), Cow<'static, str>> {
        if !self.serving.load(Ordering::Acquire) {
            return Err("starting or draining".into());
        }
        self.ledger.admits().map_err(Cow::Borrowed)
    }

    fn ledger(&self) -> LedgerDepth {
        let depth = self.ledger.depth();
        LedgerDepth {
            slots: depth.slots_total,
            slots_used: depth.slots_used,
            spool_rows: depth.rows_pending,
            spool_bytes: depth.spool_bytes,
            spool_oldest_seconds: depth.oldest_seconds,
            rows_total: depth.rows_flushed,
            recovered_attempts_total: depth.crash_recovered,
            sink_errors_total: depth.sink_errors,
            refused_total: depth.refused,
            duplicates_total: depth.duplicates,
            conflicts_total: depth.conflicts,
            lost_total: depth.rows_lost,
            torn_bytes_total: depth.torn_bytes,
            spool_limit: depth.spool_limit,
            spool_alarm: u64::from(depth.alarm()),
            sinks_refusing: depth.sinks_refusing,
            unbilled_total: depth.unbilled,
            io_errors_total: depth.io_errors,
            dead_letters_total: depth.dead_letters,
        }
    }

    fn upstream(&self) -> UpstreamDepth {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let pools = &self.live.pools;
        let stale = pools.live().iter().filter(|pool| pool.addresses().stale()).count();
        UpstreamDepth {
            lookups_stale: stale as u64,
            lookup_errors_total: read(&pools.lookups.failed),
            addresses_refused_total: read(&pools.lookups.refused),
            unexpected_data_total: merge::unexpected_data(),
            stalls_total: clock::stalls(),
        }
    }

    fn rules(&self) -> RuleCounts {
        let rules = &self.snapshot.load().rules;
        let hits = rules.hits().map(|(name, hits)| (name.to_owned(), hits)).collect();
        RuleCounts { hits, faults: rules.faults() }
    }

    fn explain(&self, asked: &Explained<'_>) -> Result<Explanation, String> {
        let (snapshot, now) = (self.snapshot.load_full(), now_ms());
        let caller = self.keys.load().named(asked.key.as_deref(), &snapshot.settings.constraint)?;
        Ok(Explanation::of(asked.body, |envelope| {
            let request = choose::Request {
                snapshot: &snapshot,
                caller: &caller,
                envelope,
                headers: asked.headers,
                body: asked.body,
                facts: &|target| target.facts(now),
                report: &|target| target.live.report(now),
                last: &|key| self.live.conversations.find(key, now),
                seed: asked.seed,
                dry: true,
                now_us: wall_us(),
            };
            request.explain()
        }))
    }

    fn endpoints(&self) -> Vec<(Arc<EndpointMetrics>, EndpointState)> {
        let now = now_ms();
        let snapshot = self.snapshot.load();
        let each = snapshot.targets();
        each.map(|target| (Arc::clone(&target.metrics), target.state(now))).collect()
    }
}

/// A request under way.
pub struct Active {
    state: Arc<State>,
    h2: bool,
}

impl Active {
    /// Its caller speaks HTTP/2, and has something left to read when it ends.
    pub fn on_h2(&mut self) {
        self.h2 = true;
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self.h2 {
            self.state.owed.heard(now_ms());
        }
        self.state.active.fetch_sub(1, Ordering::AcqRel);
    }
}
