//! `GET providers` (contract section 1.9).

use crate::catalog::Provider;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// The whole body, in the order given.
#[must_use]
pub fn render<'a>(providers: impl Iterator<Item = &'a Arc<Provider>>) -> Bytes {
    let rows: Vec<Value> = providers.map(|provider| row(provider)).collect();
    json!({ "data": rows }).to_string().into()
}

fn row(provider: &Provider) -> Value {
    let about = &provider.about;
    let datacenters = Some(&about.datacenters).filter(|countries| !countries.is_empty());
    json!({
        "name": &*provider.name,
        "slug": &*provider.slug,
        "privacy_policy_url": about.privacy_policy_url,
        "terms_of_service_url": about.terms_of_service_url,
        "status_page_url": about.status_page_url,
        "headquarters": about.headquarters,
        "datacenters": datacenters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::provider;
    use crate::catalog::About;

    #[test]
    fn what_is_not_known_of_a_provider_is_null() {
        let mut known = provider("north", true);
        known.about = About {
            headquarters: Some("NO".to_owned()),
            datacenters: vec!["NO".to_owned(), "SE".to_owned()],
            status_page_url: Some("https://status.north.example".to_owned()),
            ..About::default()
        };
        let providers = [Arc::new(known), Arc::new(provider("south", true))];
        let body: Value = serde_json::from_slice(&render(providers.iter())).unwrap();
        let expected = json!({ "data": [
            { "name": "NORTH", "slug": "north", "privacy_policy_url": null,
              "terms_of_service_url": null, "status_page_url": "https://status.north.example",
              "headquarters": "NO", "datacenters": ["NO", "SE"] },
            { "name": "SOUTH", "slug": "south", "privacy_policy_url": null,
              "terms_of_service_url": null, "status_page_url": null, "headquarters": null,
              "datacenters": null },
        ] });
        assert_eq!(body, expected);
    }
}
