use super::*;
use crate::bounds::ERROR_BODY_BYTES;

fn text(error: &Error, id: Option<&str>) -> String {
    String::from_utf8(error_body(error, id).to_vec()).unwrap()
}

#[test]
fn envelope_of_a_caller_fault() {
    let error = Error::caller(400, "acme/x is not a valid model ID").param("model");
    insta::assert_snapshot!(text(&error, None), @r#"{"error":{"code":400,"message":"acme/x is not a valid model ID","metadata":{"error_type":"invalid_request"},"param":"model","type":"invalid_request_error"}}"#);
}

#[test]
fn envelope_of_an_upstream_fault() {
    let error =
        wrap_upstream_error(400, br#"{"error":"no"}"#, ("DeepInfra", "m")).retry_after(Some(7));
    insta::assert_snapshot!(text(&error, Some("gen-1")), @r#"{"error":{"code":400,"message":"Provider returned error","metadata":{"error_type":"invalid_request","generation_id":"gen-1","headers":{"Retry-After":"7"},"is_byok":false,"provider_name":"DeepInfra","raw":"{\"error\":\"no\"}","retry_after_seconds":7},"param":null,"type":"invalid_request_error"}}"#);
}

#[test]
fn the_only_event_of_a_stream_that_failed() {
    let named = Named {
        operation: Operation::Chat,
        generation_id: "gen-1",
        created: 7,
        model: "a/m",
        provider: "P",
    };
    let event = error_event(named, &Error::upstream(502, "Provider returned error"));
    let data = event.strip_suffix(b"\n\n").unwrap();
    insta::assert_snapshot!(std::str::from_utf8(data).unwrap(), @r#"data: {"choices":[{"delta":{"content":""},"finish_reason":"error","index":0,"native_finish_reason":null}],"created":7,"error":{"code":502,"message":"Provider returned error","metadata":{"error_type":"provider_unavailable"},"param":null,"type":"server_error"},"id":"gen-1","model":"a/m","object":"chat.completion.chunk","provider":"P"}"#);
}

#[test]
fn an_upstream_is_quoted_only_about_the_request() {
    for (status, shown) in [
        (400, true),
        (404, true),
        (413, true),
        (422, true),
        (401, false),
        (402, false),
        (403, false),
        (429, false),
        (500, false),
        (503, false),
    ] {
        let error = wrap_upstream_error(status, b"sk-secret", ("P", "m"));
        assert_eq!(text(&error, None).contains("sk-secret"), shown, "{status}");
        assert_eq!((error.status, &*error.message), (status, "Provider returned error"));
    }
    let long = wrap_upstream_error(400, &vec![b'x'; ERROR_BODY_BYTES + 1], ("P", "m"));
    assert_eq!(long.upstream.unwrap().raw.unwrap().len(), ERROR_BODY_BYTES);
}

#[test]
fn a_provider_that_limits_its_rate_is_told_with_a_remedy() {
    let metadata = |error: &Error| -> Value {
        serde_json::from_slice::<Value>(&error_body(error, None)).unwrap()["error"]["metadata"]
            .take()
    };
    let body = br#"{"error":{"code":"tokens_per_min"}}"#;
    let mut error = wrap_upstream_error(429, body, ("P", "m")).retry_after(Some(300));
    error.upstream.as_mut().unwrap().retry_after = Some(900);
    let told = metadata(&error);
    assert_eq!(told["limit_source"], "upstream_provider_shared_pool");
    assert_eq!(told["provider_error_code"], "tokens_per_min");
    let other = metadata(&wrap_upstream_error(500, body, ("P", "m")));
    assert_eq!(other["provider_error_code"], Value::Null);
    assert_eq!(
        (&told["retry_after_seconds"], &told["retry_after_seconds_raw"]),
        (&json!(300), &json!(900))
    );
    assert_eq!(told["headers"], json!({ "Retry-After": "300" }));
    assert!(told["remedy_hint"].is_string());
    let cooling = Error::weir(429, "x").availability(Availability::default());
    assert!(metadata(&cooling)["remedy_hint"].is_string(), "as in the attempt before");
    let own = metadata(&Error::weir(429, "too many of this key"));
    assert_eq!((&own["limit_source"], &own["remedy_hint"]), (&Value::Null, &Value::Null));
    assert_eq!(own["retry_after_seconds_raw"], Value::Null, "nobody asked");
}

#[test]
fn without_a_code_of_availability_the_funnel_alone_is_told() {
    let funnel = vec![("candidates", 1), ("context_length", 0)];
    let error =
        Error::caller(400, "x").availability(Availability { funnel, ..Availability::default() });
    let told: Value = serde_json::from_slice(&error_body(&error, None)).unwrap();
    assert_eq!(told["error"]["metadata"]["failed_routing_step"], "context_length");
    for absent in ["availability", "error_type", "http_status"] {
        assert_eq!(told["error"][absent], Value::Null, "{absent}");
    }
}
