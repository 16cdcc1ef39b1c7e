use super::*;
use secrecy::ExposeSecret;

fn caller(hash: [u8; 32], models: Option<&[&str]>) -> Caller {
    Caller {
        key_hash: hash,
        handle: hex::encode(hash).into(),
        name: "demo".into(),
        workspace: "default".into(),
        tags: Vec::new(),
        constraint: Constraint::default(),
        models: models.map(|models| models.iter().map(|model| Arc::from(*model)).collect()),
        requests_at_once: None,
        requests: Arc::default(),
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[test]
fn a_key_is_found_by_its_whole_digest() {
    let keys = Keys::new(["sk-a", "sk-b", "sk-c"].map(|key| caller(digest(key), None)));
    assert_eq!(keys.find("sk-b").map(|found| found.key_hash), Some(digest("sk-b")));
    assert!(keys.find("sk-d").is_none() && keys.find("").is_none());
    assert_eq!(keys.len(), 3);
}

#[test]
fn equal_prefixes_are_told_apart() {
    let wanted = digest("sk-b");
    let mut twins = vec![caller(wanted, None)];
    for last in 0..8 {
        let mut hash = wanted;
        hash[31] = hash[31].wrapping_add(last + 1);
        twins.push(caller(hash, None));
    }
    let keys = Keys::new(twins);
    assert_eq!(keys.find("sk-b").map(|found| found.key_hash), Some(wanted));
    let mut stranger = wanted;
    stranger[8] ^= 1;
    assert!(keys.by_digest(&stranger).is_none());
}

#[test]
fn bearer_in_any_case_and_x_api_key_count() {
    assert_eq!(presented(Some(b"Bearer sk-1"), None), Some("sk-1"));
    assert_eq!(presented(Some(b"bEARER  sk-1 "), None), Some("sk-1"));
    assert_eq!(presented(None, Some(b"sk-2")), Some("sk-2"));
    assert_eq!(presented(Some(b"Bearer sk-1"), Some(b"sk-2")), Some("sk-1"));
    assert_eq!(presented(Some(b"Basic abc"), Some(b"sk-2")), Some("sk-2"));
    for nothing in ["", "Bearer", "Bearer ", "Basic abc", "Bearersk-1", "sk-1"] {
        assert_eq!(presented(Some(nothing.as_bytes()), None), None, "{nothing}");
    }
    assert_eq!(presented(Some(b"Bearer \xff"), None), None);
    assert_eq!(presented(None, None), None);
}

#[test]
fn no_key_and_a_bad_key_get_their_literal_messages() {
    let keys = Keys::new([caller(digest("sk-a"), None)]);
    let none = authenticate(&keys, None, None).unwrap_err();
    assert_eq!((none.status, none.message.as_ref()), (401, "No cookie auth credentials found"));
    let bad = authenticate(&keys, Some(b"Bearer sk-b"), None).unwrap_err();
    assert_eq!((bad.status, bad.message.as_ref()), (401, "User not found."));
    assert!(!bad.retryable);
    assert!(authenticate(&keys, None, Some(b"sk-a")).is_ok());
}

#[test]
fn model_patterns_match_whole_authors_only() {
    let some = caller([0; 32], Some(&["meta-llama/*", "openai/gpt-4o"]));
    assert!(some.allows_model("meta-llama/llama-3.3-70b-instruct"));
    assert!(some.allows_model("openai/gpt-4o"));
    for other in ["openai/gpt-4o-mini", "meta-llama2/x", "mistralai/x", "", "*"] {
        assert!(!some.allows_model(other), "{other}");
    }
    assert!(caller([0; 32], None).allows_model("any/thing"));
    assert!(!caller([0; 32], Some(&[])).allows_model("any/thing"));
}

#[test]
fn a_new_key_has_the_contracts_form_and_hides_itself() {
    let new = NewKey::from_random(&[0xab; 32]);
    let key = new.key.expose_secret();
    assert_eq!(key, format!("{KEY_PREFIX}{}", "ab".repeat(32)));
    assert_eq!(new.handle, hex::encode(digest(key)));
    assert!(!format!("{new:?}").contains("abab"));
}

#[test]
fn a_key_has_so_many_requests_under_way_and_a_reload_forgets_none() {
    let before = Keys::new(["sk-a", "sk-b"].map(|key| caller(digest(key), None)));
    let mut held: Vec<_> = (0..2).map(|_| before.find("sk-a").unwrap().admit(2).unwrap()).collect();
    let refused = before.find("sk-a").unwrap().admit(2).unwrap_err();
    assert_eq!((refused.status, refused.retry_after, refused.retryable), (429, Some(1), true));
    assert!(before.find("sk-b").unwrap().admit(2).is_ok(), "another key has its own");

    let mut own = caller(digest("sk-a"), None);
    own.requests_at_once = Some(3);
    let mut after = Keys::new([own, caller(digest("sk-c"), None)]);
    after.inherit(&before);
    held.push(after.find("sk-a").unwrap().admit(2).unwrap());
    assert!(after.find("sk-a").unwrap().admit(9).is_err(), "its own number is the one that counts");
    held.remove(0);
    assert!(after.find("sk-a").unwrap().admit(2).is_ok(), "one that began before has ended");
    assert!(after.find("sk-c").unwrap().admit(1).is_ok());
}
