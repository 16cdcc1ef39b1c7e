use super::*;
use proptest::prelude::*;

fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
    let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
    bytes.resize(HEAD + usize::from(length), 0xFF);
    bytes
}

/// Passes all of these bytes; whether something was moved.
fn feed(frames: &mut Frames, mut bytes: &[u8], now: impl Fn() -> u64) -> Result<bool, H2Abuse> {
    let mut moved = false;
    while !bytes.is_empty() {
        let taken = frames.take(bytes, &now)?;
        (bytes, moved) = (&bytes[taken.bytes..], moved | taken.moved);
    }
    Ok(moved)
}

const BURST: u32 = 10 * H2_BURST_SECONDS;

/// The frames of a connection whose preface has come, at ten a second.
fn frames() -> Frames {
    let mut frames = Frames::new(10, 0);
    assert_eq!(feed(&mut frames, PREFACE, || 0), Ok(true));
    frames
}

#[test]
fn a_burst_passes_and_one_more_only_after_its_time() {
    for (kind, sort) in [
        (DATA, H2Abuse::EmptyData),
        (RST_STREAM, H2Abuse::Reset),
        (SETTINGS, H2Abuse::Settings),
        (PING, H2Abuse::Ping),
        (WINDOW_UPDATE, H2Abuse::WindowUpdate),
        (2, H2Abuse::Other),
        (0xEE, H2Abuse::Other),
    ] {
        let mut frames = frames();
        let one = frame(kind, 0, 0);
        assert_eq!(passed(&mut frames, kind, BURST, 0), BURST, "{sort:?}");
        assert_eq!(feed(&mut frames, &one, || 99), Err(sort), "a tenth of a second has not passed");
        assert_eq!(feed(&mut frames, &one, || 100), Ok(true));
        assert_eq!(feed(&mut frames, &one, || 199), Err(sort));
        assert_eq!(feed(&mut frames, &frame(HEADERS, END_HEADERS, 20), || 0), Ok(true), "no other");
    }
}

/// How many of `count` frames of this kind pass at this time.
fn passed(frames: &mut Frames, kind: u8, count: u32, now_ms: u64) -> u32 {
    let one = frame(kind, 0, 0);
    (0..count).map(|_| u32::from(feed(frames, &one, || now_ms).is_ok())).sum()
}

#[test]
fn long_silence_earns_one_burst() {
    let mut frames = frames();
    assert_eq!(passed(&mut frames, PING, 2 * BURST, 0), BURST);
    assert_eq!(passed(&mut frames, PING, 2 * BURST, 1 << 40), BURST);
}

#[test]
fn a_caller_may_answer_what_was_written_with_window_updates() {
    let mut frames = frames();
    assert_eq!(passed(&mut frames, WINDOW_UPDATE, BURST + 1, 0), BURST);
    frames.wrote(3 * H2_BYTES_PER_WINDOW_UPDATE);
    assert_eq!(passed(&mut frames, WINDOW_UPDATE, 4, 0), 3);
}

#[test]
fn a_header_block_may_be_continued_so_often() {
    let mut frames = frames();
    assert_eq!(feed(&mut frames, &frame(HEADERS, 0, 3), || 0), Ok(false));
    for _ in 0..H2_CONTINUATIONS {
        assert_eq!(feed(&mut frames, &frame(CONTINUATION, 0, 3), || 0), Ok(false));
        assert!(frames.is_waiting());
    }
    let one_more = feed(&mut frames, &frame(CONTINUATION, END_HEADERS, 3), || 0);
    assert_eq!(one_more, Err(H2Abuse::Continuation));
}

#[test]
fn few_heads_pass_at_once_and_any_number_of_other_frames() {
    let (mut frames, head) = (frames(), frame(HEADERS, END_HEADERS, 5));
    let split = [frame(HEADERS, 0, 5), frame(CONTINUATION, END_HEADERS, 0)].concat();
    let most = H2_HEADS_AT_ONCE as usize;
    let data = frame(DATA, 0, 9).repeat(50);
    let bytes =
        [data.clone(), head.repeat(most - 1), split.clone(), data, head.repeat(most)].concat();
    let first = 50 * 18 + (most - 1) * head.len() + split.len();
    let taken = frames.take(&bytes, || 0);
    assert_eq!(taken, Ok(Taken { bytes: first, moved: true, reads: false, pause: true }));
    let taken = frames.take(&bytes[first..], || 0);
    assert_eq!(
        taken,
        Ok(Taken { bytes: bytes.len() - first, moved: true, reads: false, pause: true })
    );
    let taken = frames.take(&bytes[..first - 1], || 0);
    assert_eq!(taken, Ok(Taken { bytes: first - 1, moved: true, reads: false, pause: false }));
}

#[test]
fn half_of_anything_but_data_waits() {
    for (bytes, waits) in [
        (frame(HEADERS, END_HEADERS, 9), true),
        (frame(DATA, 0, 9), false),
        (frame(SETTINGS, 0, 9), true),
    ] {
        let mut frames = frames();
        assert_eq!(feed(&mut frames, &bytes[..5], || 0), Ok(false));
        assert!(frames.is_waiting(), "half of a frame's head");
        assert_eq!(feed(&mut frames, &bytes[5..12], || 0), Ok(false));
        assert_eq!(frames.is_waiting(), waits);
        assert_eq!(feed(&mut frames, &bytes[12..], || 0), Ok(true));
        assert!(!frames.is_waiting());
    }
}

proptest! {
    /// However the bytes are cut, the same is said at their end.
    #[test]
    fn cuts_change_nothing(
        sent in prop::collection::vec((0_u8..11, any::<u8>(), 0_u8..40), 1..60),
        cuts in prop::collection::vec(1_usize..30, 1..80),
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(|(kind, flags, length)| frame(*kind, *flags, *length)).collect();
        let (mut whole, mut cut) = (frames(), frames());
        let said = feed(&mut whole, &bytes, || 0).map(|_| whole.is_waiting());
        let (mut rest, mut sizes) = (bytes.as_slice(), cuts.iter().cycle());
        let mut piecewise = Ok(false);
        while !rest.is_empty() && piecewise.is_ok() {
            let (part, later) = rest.split_at(sizes.next().unwrap().min(&rest.len()).to_owned());
            piecewise = feed(&mut cut, part, || 0);
            rest = later;
        }
        prop_assert_eq!(said, piecewise.map(|_| cut.is_waiting()));
    }
}
