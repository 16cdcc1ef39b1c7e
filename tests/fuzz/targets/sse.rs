//! A reply says and becomes the same however it is cut; on `/v1` it stays as it came.

#![no_main]

#[path = "../../streams/replay.rs"]
mod replay;

use libfuzzer_sys::fuzz_target;
use replay::{MODES, relay, replay};
use weir::request::route::{Face, Operation};

fuzz_target!(|data: &[u8]| {
    let Some(([choice, first, second], reply)) = data.split_first_chunk() else { return };
    let mode = MODES[usize::from(choice & 3) % MODES.len()];
    let operation = if choice & 4 == 0 { Operation::Chat } else { Operation::Completion };
    let new = || relay(mode, operation, choice & 8 == 0);
    let whole = replay(new(), reply, || usize::MAX);
    let cuts = [usize::from(*first) + 1, usize::from(*second) * 8 + 1];
    for mut sizes in [[1, 1].into_iter().cycle(), cuts.into_iter().cycle()] {
        assert_eq!(whole, replay(new(), reply, || sizes.next().unwrap_or(1)));
    }
    let (out, sheet) = whole;
    if mode == (Face::Faithful, false) && !out.is_empty() {
        assert_eq!(out, reply);
    }
    assert!(!sheet.terminal || !sheet.empty);
    // An attempt with content counts as begun: there must be something to show for it.
    assert!(!sheet.content || !out.is_empty());
});
