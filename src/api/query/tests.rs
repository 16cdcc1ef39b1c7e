use super::*;
use crate::api::fixture::{endpoint, entry, model};
use crate::catalog::{Model, Provider, Scores};
use std::sync::Arc;

/// Two days after the models of the fixture were made.
const NOW: u64 = 1_737_381_095 + 2 * 86_400;

/// Four models: `a/cheap` is small and new, `b/dear` big, `b/embed` gives embeddings, `c/eu` is served in
/// the EU by a provider that keeps prompts.
fn models() -> Vec<Model> {
    let prices = |input, output| [(Kind::Input, input), (Kind::Output, output)];
    let mut cheap = model("a/cheap", vec![endpoint("north", prices(100_000, 200_000), true)]);
    cheap.created = NOW - 3_600;
    cheap.tokenizer = Some("Llama3".to_owned());
    cheap.distillable = true;
    let mut dear = model("b/dear", vec![endpoint("south", prices(5_000_000, 9_000_000), true)]);
    dear.context_length = 1_000_000;
    dear.name = "Dearest".to_owned();
    dear.categories = vec!["programming".to_owned()];
    dear.scores = Scores([None, Some(41_500), None, Some(1_200_000)]);
    dear.input_modalities.push("file".to_owned());
    let mut embed = model("b/embed", vec![endpoint("south", prices(10_000, 0), true)]);
    embed.output_modalities = vec!["embeddings".to_owned()];
    let mut eu = model("c/eu", vec![endpoint("west", prices(1_000_000, 2_000_000), true)]);
    let serving = Arc::get_mut(&mut eu.endpoints[0]).unwrap();
    serving.policy.retains = true;
    let provider: &mut Provider = Arc::get_mut(&mut serving.provider).unwrap();
    provider.region = Some("eu".to_owned());
    vec![cheap, dear, embed, eu]
}

fn shown(slug: &str) -> Shown {
    match slug {
        "a/cheap" => {
            Shown { latency: Some(900), throughput: Some(100), tokens: 5, tool_success: None }
        }
        "c/eu" => {
            Shown { latency: Some(100), throughput: Some(900), tokens: 50, tool_success: Some(950) }
        }
        _ => Shown::default(),
    }
}

fn found(query: &str) -> Vec<String> {
    let entries: Vec<_> = models().iter().map(entry).collect();
    let query = Query::of(Some("text")).read(query).unwrap();
    let offers = entries.iter().filter_map(|entry| Offer::whole(entry, 0));
    let chosen = query.choose(offers, &shown, NOW);
    chosen.iter().map(|offer| offer.model.slug.to_string()).collect()
}

#[test]
fn each_parameter_narrows_or_orders_the_list() {
    let cases: [(&str, &[&str]); 54] = [
        ("", &["a/cheap", "b/dear", "c/eu"]),
        ("unheard_of=1&use_rss=", &["a/cheap", "b/dear", "c/eu"]),
        ("output_modalities=all", &["a/cheap", "b/dear", "b/embed", "c/eu"]),
        ("output_modalities=embeddings", &["b/embed"]),
        ("output_modalities=embeddings,text", &["a/cheap", "b/dear", "b/embed", "c/eu"]),
        ("input_modalities=file", &["b/dear"]),
        ("input_modalities=image,text", &["a/cheap", "b/dear", "c/eu"]),
        ("input_modalities=audio", &[]),
        ("supported_parameters=temperature,north", &["a/cheap"]),
        ("supported_parameters=north,south", &[]),
        ("category=programming", &["b/dear"]),
        ("q=DEAREST", &["b/dear"]),
        ("q=b%2Fdea", &["b/dear"]),
        ("q=nothing", &[]),
        ("arch=llama", &["a/cheap"]),
        ("arch=Other", &["b/dear", "c/eu"]),
        ("model_authors=a,c", &["a/cheap", "c/eu"]),
        ("providers=North", &["a/cheap"]),
        ("providers=north,WEST", &["a/cheap", "c/eu"]),
        ("region=eu", &["c/eu"]),
        ("region=eu&zdr=true", &[]),
        ("zdr=true", &["a/cheap", "b/dear"]),
        ("zdr=1", &["a/cheap", "b/dear"]),
        ("model_authors=A", &["a/cheap"]),
        ("distillable=true", &["a/cheap"]),
        ("distillable=false", &["b/dear", "c/eu"]),
        ("context=131072", &["a/cheap", "b/dear", "c/eu"]),
        ("context=131073", &["b/dear"]),
        ("min_price=1", &["b/dear", "c/eu"]),
        ("max_price=1", &["a/cheap", "c/eu"]),
        ("min_price=0.2&max_price=4.9", &["c/eu"]),
        ("min_output_price=2", &["b/dear", "c/eu"]),
        ("max_output_price=2e0", &["a/cheap", "c/eu"]),
        ("min_age_days=1", &["b/dear", "c/eu"]),
        ("max_age_days=1", &["a/cheap"]),
        ("min_tool_success_rate=0.95", &["c/eu"]),
        ("max_tool_success_rate=0.94", &[]),
        ("min_coding_index=41.5&max_coding_index=41.5", &["b/dear"]),
        ("min_coding_index=41.6", &[]),
        ("max_agentic_index=100", &[]),
        ("mean_coding_index=1", &["a/cheap", "b/dear", "c/eu"]),
        ("min_unheard_of_index=1", &["a/cheap", "b/dear", "c/eu"]),
        ("sort=coding-high-to-low", &["b/dear", "a/cheap", "c/eu"]),
        ("sort=design-arena-elo-high-to-low", &["b/dear", "a/cheap", "c/eu"]),
        ("sort=newest", &["a/cheap", "b/dear", "c/eu"]),
        ("sort=pricing-low-to-high", &["a/cheap", "c/eu", "b/dear"]),
        ("sort=pricing-high-to-low", &["b/dear", "c/eu", "a/cheap"]),
        ("sort=context-high-to-low", &["b/dear", "a/cheap", "c/eu"]),
        ("sort=throughput-high-to-low", &["c/eu", "a/cheap", "b/dear"]),
        ("sort=latency-low-to-high", &["c/eu", "a/cheap", "b/dear"]),
        ("sort=most-popular", &["c/eu", "a/cheap", "b/dear"]),
        ("sort=top-weekly", &["c/eu", "a/cheap", "b/dear"]),
        ("sort=intelligence-high-to-low", &["a/cheap", "b/dear", "c/eu"]),
        ("limit=&offset=", &["a/cheap", "b/dear", "c/eu"]),
    ];
    for (query, expected) in cases {
        assert_eq!(found(query), expected, "{query}");
    }
}

#[test]
fn what_cannot_be_understood_is_named() {
    for (query, name) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("offset=-1", "offset"),
        ("context=1.5", "context"),
        ("min_price=cheap", "min_price"),
        ("max_output_price=-1", "max_output_price"),
        ("max_age_days=x", "max_age_days"),
        ("min_tool_success_rate=1.1", "min_tool_success_rate"),
        ("sort=best", "sort"),
    ] {
        let invalid = Query::of(None).read(query).unwrap_err();
        assert_eq!(invalid.name, name, "{query}");
    }
}

#[test]
fn paging_is_opt_in() {
    let page = |query| {
        let query = Query::of(None).read(query).unwrap();
        (query.offset, query.limit)
    };
    assert_eq!(page("q=a"), (0, None));
    assert_eq!(page("offset=7"), (7, Some(parse::LIMIT)));
    assert_eq!(page("limit=1000"), (0, Some(1_000)));
    assert_eq!(page("limit=2&offset=4"), (4, Some(2)));
}
