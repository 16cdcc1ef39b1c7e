use super::*;
use crate::api::fixture::{endpoint, entry, model};
use crate::catalog::{Catalog, Router};
use crate::price::{PriceVersion, Schedule};
use crate::usage::{Kind, Usage};
use serde_json::Value;

fn listing() -> Listing {
    let served = |slug: &str| {
        let north = endpoint("north", [(Kind::Input, 300_000), (Kind::Output, 900_000)], true);
        let south = endpoint("south", [(Kind::Input, 100_000), (Kind::Output, 200_000)], true);
        Arc::new(model(slug, vec![north, south]))
    };
    let mut embed = model("c/embed", vec![endpoint("north", [(Kind::Input, 1)], true)]);
    embed.output_modalities = vec!["embeddings".to_owned()];
    let asleep = Arc::new(model("d/asleep", vec![endpoint("north", [(Kind::Input, 1)], false)]));
    let models = [served("a/one"), served("b/two"), Arc::new(embed), asleep];
    Listing::new(models.iter().map(|model| entry(model)).collect(), 0)
}

fn slugs(body: &Value) -> Vec<&str> {
    body["data"].as_array().unwrap().iter().filter_map(|row| row["id"].as_str()).collect()
}

fn read(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap()
}

fn found(text: &str, allowed: Option<&Allowed<'_>>) -> Value {
    let query = default_query(Face::OpenRouter).read(text).unwrap();
    let (path, shown) = ("/api/v1/models", |_: &str| Shown::default());
    read(&listing().find(&View { path, text, query: &query, allowed, shown: &shown, now_us: 0 }))
}

#[test]
fn each_face_lists_what_its_contract_says() {
    let listing = listing();
    let open = read(&listing.whole(Face::OpenRouter));
    assert_eq!(slugs(&open), ["a/one", "b/two"]);
    assert_eq!((&open["object"], &open["total_count"]), (&json!("list"), &json!(2)));
    assert_eq!(open["links"], json!({ "next": null }));
    let faithful = read(&listing.whole(Face::Faithful));
    assert_eq!(slugs(&faithful), ["a/one", "b/two", "c/embed"]);
    assert_eq!(
        read(&Listing::default().find(&View {
            path: "",
            text: "",
            query: &default_query(Face::Faithful),
            allowed: None,
            shown: &|_| Shown::default(),
            now_us: 0,
        }))["data"],
        json!([])
    );
}

#[test]
fn pages_follow_each_other_by_their_links() {
    let first = found("limit=1&q=%26&q=", None);
    assert_eq!(first["total_count"], 0);
    let first = found("limit=1&sort=newest", None);
    assert_eq!((slugs(&first), &first["total_count"]), (vec!["a/one"], &json!(2)));
    let next = first["links"]["next"].as_str().unwrap();
    assert_eq!(next, "/api/v1/models?sort=newest&offset=1&limit=1");
    let (_, query) = next.split_once('?').unwrap();
    let second = found(query, None);
    assert_eq!((slugs(&second), &second["links"]["next"]), (vec!["b/two"], &Value::Null));
    assert_eq!(slugs(&found("offset=2", None)), [""; 0]);
}

#[test]
fn an_asker_sees_what_it_may_use_at_the_price_it_would_pay() {
    let only_north = |entry: &Entry| match &*entry.shown.slug {
        "a/one" => vec![Arc::clone(&entry.shown.endpoints[0])],
        _ => Vec::new(),
    };
    let body = found("", Some(&only_north));
    assert_eq!(slugs(&body), ["a/one"]);
    let row = &body["data"][0];
    assert_eq!(row["pricing"]["prompt"], "0.0000003");
    assert_eq!(row["supported_parameters"], json!(["max_tokens", "north", "temperature"]));
    assert_eq!(found("", None)["data"][0]["pricing"]["prompt"], "0.0000001");
}

#[test]
fn one_model_and_the_count_are_of_the_same_list() {
    let listing = listing();
    let row = read(&listing.model("a/one").unwrap());
    assert_eq!(row["data"], found("", None)["data"][0]);
    assert_eq!(listing.model("d/asleep"), None);
    let query = default_query(Face::OpenRouter);
    let (path, shown) = ("", |_: &str| Shown::default());
    let view = View { path, text: "", query: &query, allowed: None, shown: &shown, now_us: 0 };
    assert_eq!(read(&listing.count(&view)), json!({ "data": { "count": 2 } }));
}

#[test]
fn moving_names_and_routers_have_rows_of_their_own() {
    let served =
        |slug: &str, input| model(slug, vec![endpoint("north", [(Kind::Input, input)], true)]);
    let mut one = served("a/one", 300_000);
    one.aliases = vec!["one".to_owned(), "~a/one-latest".to_owned()];
    let mut two = served("b/two", 100_000);
    two.context_length = 1_000_000;
    two.input_modalities = vec!["audio".to_owned()];
    let mut catalog = Catalog::new(Vec::new(), vec![one, two], Vec::new());
    let router = |slug: &str, models: &[&str]| Router {
        slug: slug.into(),
        aliases: vec![format!("{slug}-too")],
        models: models.iter().map(|it| Arc::from(*it)).collect(),
    };
    catalog.routers =
        vec![router("w/auto", &["a/one", "z/asleep", "b/two"]), router("w/none", &["z/asleep"])];
    let listing = Listing::new(Entry::all(&catalog), 0);
    let all = read(&listing.whole(Face::OpenRouter));
    assert_eq!(slugs(&all), ["a/one", "b/two", "w/auto", "w/auto-too", "~a/one-latest"]);
    let row = |slug: &str| read(&listing.model(slug).unwrap())["data"].clone();
    let target = json!({ "name": "A model", "slug": "a/one" });
    let (latest, one) = (row("~a/one-latest"), row("a/one"));
    assert_eq!((&latest["alias_target"], &latest["canonical_slug"]), (&target, &json!("a/one")));
    assert_eq!(latest["pricing"], one["pricing"]);
    assert!(one.get("alias_target").is_none());
    let auto = row("w/auto-too");
    assert_eq!(auto["pricing"], json!({ "prompt": "-1", "completion": "-1" }));
    assert_eq!(auto["context_length"], 1_000_000);
    assert_eq!(auto["architecture"]["modality"], "text+image+audio->text");
}

#[test]
fn a_feed_has_the_models_of_the_query_as_text() {
    let query = default_query(Face::OpenRouter).read("use_rss=true&offset=1&limit=1").unwrap();
    let (path, text, shown) = ("", "", |_: &str| Shown::default());
    let view = View { path, text, query: &query, allowed: None, shown: &shown, now_us: 0 };
    let feed = String::from_utf8(listing().find(&view).into()).unwrap();
    assert_eq!(feed.matches("<item>").count(), 1);
    assert!(feed.contains("<guid isPermaLink=\"false\">b/two</guid>"), "{feed}");
    assert!(feed.contains("<pubDate>Mon, 20 Jan 2025 13:51:35 GMT</pubDate>"), "{feed}");
    assert!(feed.contains("<description>Says &quot;yes&quot;.</description>"), "{feed}");
    assert!(feed.starts_with("<?xml ") && feed.ends_with("</channel></rss>\n"));
}

#[test]
fn rows_are_made_anew_when_a_price_changes() {
    let flat = |input| Arc::new(PriceVersion::flat(Usage::ZERO.with(Kind::Input, input).0));
    let mut changing = endpoint("north", [], true);
    Arc::get_mut(&mut changing).unwrap().price =
        Schedule::new(flat(300_000), vec![(5_000, flat(100_000)), (9_000, flat(200_000))]);
    let listing = Listing::new(vec![entry(&model("a/one", vec![changing]))], 0);
    let price = |listing: &Listing| {
        let row = read(&listing.model("a/one").unwrap());
        row["data"]["pricing"]["prompt"].as_str().unwrap().to_owned()
    };
    assert_eq!(price(&listing), "0.0000003");
    assert!(listing.renewed(4_999).is_none());
    let listing = listing.renewed(5_000).unwrap();
    assert_eq!(price(&listing), "0.0000001");
    let listing = listing.renewed(20_000).unwrap();
    assert_eq!(price(&listing), "0.0000002");
    assert!(listing.renewed(u64::MAX - 1).is_none(), "no change is left");
}
