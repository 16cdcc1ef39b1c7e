use super::*;

#[test]
fn shipped_configuration_loads_without_any_secret() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let loaded = load_with(&directory, &|_| None).unwrap();
    assert!(loaded.catalog.find("llama-3.3-70b").is_some());
}
