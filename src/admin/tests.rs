use super::*;
use crate::bounds::EXPLAINED_BYTES;
use parking_lot::Mutex;
use pingora::apps::HttpServerApp;
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Default)]
struct Process {
    trouble: Mutex<Option<&'static str>>,
}

impl Status for Process {
    fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.trouble.lock().map_or(Ok(()), |reason| Err(reason.into()))
    }
    fn ledger(&self) -> LedgerDepth {
        LedgerDepth { spool_rows: 12, ..LedgerDepth::default() }
    }
    fn upstream(&self) -> UpstreamDepth {
        UpstreamDepth { stalls_total: 3, ..UpstreamDepth::default() }
    }
    fn endpoints(&self) -> Vec<(Arc<EndpointMetrics>, EndpointState)> {
        Vec::new()
    }
    fn rules(&self) -> RuleCounts {
        RuleCounts { hits: vec![("no-big-models".to_owned(), 7)], faults: 2 }
    }
    fn explain(&self, asked: &Explained<'_>) -> Result<Explanation, String> {
        let team = asked.headers.get("x-team").and_then(|value| value.to_str().ok());
        match asked.key.as_deref() {
            Some("nobody") => Err("no key is called nobody".to_owned()),
            key => {
                let body = String::from_utf8_lossy(asked.body);
                let text = format!("{key:?} {} {team:?} {body}\n", asked.seed);
                Ok(Explanation { text, tried: true })
            }
        }
    }
}

fn admin(token: Option<&str>) -> (Admin, Arc<Process>) {
    let process = Arc::new(Process::default());
    let metrics = Arc::new(Metrics::new(&Registry::new()).unwrap());
    let token = token.map(SecretString::from);
    (Admin::new(metrics, Arc::clone(&process) as Arc<dyn Status>, token.as_ref()), process)
}

#[test]
fn metrics_show_the_ledger_of_now() {
    let answer = admin(None).0.answer("GET", "/metrics", None);
    assert_eq!((answer.status, answer.content_type), (StatusCode::OK, TEXT_FORMAT));
    assert!(answer.body.contains("weir_spool_rows 12\n"));
    assert!(answer.body.contains("weir_stalls_total 3\n"));
    assert!(answer.body.contains("weir_rule_faults_total 2\n"));
    assert!(answer.body.contains("weir_rule_hits_total{rule=\"no-big-models\"} 7\n"));
}

#[test]
fn readiness_gives_the_reason_and_recovers() {
    let (admin, process) = admin(None);
    assert_eq!(admin.answer("GET", "/readyz", None).status, StatusCode::OK);
    *process.trouble.lock() = Some("the spool is full");
    let answer = admin.answer("GET", "/readyz", None);
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.body, "not ready: the spool is full\n");
    assert_eq!(admin.answer("GET", "/healthz", None).status, StatusCode::OK);
    *process.trouble.lock() = None;
    assert_eq!(admin.answer("GET", "/readyz", None).status, StatusCode::OK);
}

#[test]
fn a_configured_token_guards_all_but_healthz() {
    let (admin, _) = admin(Some("s3cret"));
    let status = |path, sent: Option<&str>| {
        admin.answer("GET", path, sent.map(str::as_bytes)).status.as_u16()
    };
    for path in ["/metrics", "/readyz"] {
        assert_eq!(status(path, Some("Bearer s3cret")), 200);
        assert_eq!(status(path, Some("bearer s3cret")), 200);
        for wrong in ["Bearer s3cre", "Bearer s3crets", "Bearer ", "Basic s3cret", "s3cret", ""] {
            assert_eq!(status(path, Some(wrong)), 401, "{wrong}");
        }
        assert_eq!(status(path, None), 401);
    }
    assert_eq!(status("/healthz", None), 200);
    let refusal = admin.answer("GET", "/metrics", None);
    assert_eq!(refusal.extra, Some((WWW_AUTHENTICATE, "Bearer")));
    assert!(!refusal.body.contains("s3cret"));
}

#[test]
fn other_paths_and_methods_are_refused() {
    let (admin, _) = admin(None);
    for path in ["/", "/metrics/", "/v1/models", "/healthz/x", ""] {
        assert_eq!(admin.answer("GET", path, None).status, StatusCode::NOT_FOUND, "{path}");
    }
    for method in ["POST", "HEAD", "get"] {
        let answer = admin.answer(method, "/metrics", None);
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.extra, Some((ALLOW, "GET")));
    }
}

#[tokio::test]
async fn it_answers_on_a_real_session_and_keeps_the_connection() {
    let app = Arc::new(admin(Some("t")).0);
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let (_stop, shutdown) = tokio::sync::watch::channel(false);
    client
        .write_all(b"GET /metrics?x=1 HTTP/1.1\r\nhost: o\r\nauthorization: Bearer t\r\n\r\n")
        .await
        .unwrap();
    let session = ServerSession::new_http1(Box::new(server));
    let reused = app.process_new_http(session, &shutdown).await;
    assert!(reused.is_some());
    drop(reused);
    let mut reply = String::new();
    client.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.to_lowercase().contains(&format!("content-length: {}", body.len())), "{head}");
    assert!(body.contains("weir_build_info{version="));
}

/// The answer to `request`, its status line and body.
async fn asked(admin: Admin, request: &str) -> (String, String) {
    let app = Arc::new(admin);
    let (mut client, server) = tokio::io::duplex(8 << 20);
    let (_stop, shutdown) = tokio::sync::watch::channel(false);
    client.write_all(request.as_bytes()).await.unwrap();
    let session = ServerSession::new_http1(Box::new(server));
    drop(app.process_new_http(session, &shutdown).await);
    let mut reply = String::new();
    client.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn explain(query: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /admin/explain{query} HTTP/1.1\r\nhost: o\r\nx-team: blue\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_request_is_explained_with_its_key_seed_and_headers() {
    let request = explain("?seed=7&key=ci%20batch", "{\"model\":\"a/b\"}");
    let (status, body) = asked(admin(None).0, &request).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(body, "Some(\"ci batch\") 7 Some(\"blue\") {\"model\":\"a/b\"}\n");
    let (_, body) = asked(admin(None).0, &explain("", "{}")).await;
    assert_eq!(body, "None 1 Some(\"blue\") {}\n");
}

#[tokio::test]
async fn what_cannot_be_explained_says_why() {
    for (request, status, says) in [
        (explain("?key=nobody", "{}"), "404 Not Found", "no key is called nobody\n"),
        (explain("?seed=x", "{}"), "400 Bad Request", "seed must be a number.\n"),
        (
            explain("", &"x".repeat(EXPLAINED_BYTES + 1)),
            "413 Payload Too Large",
            "A request of at most 4194304 bytes is explained.\n",
        ),
    ] {
        let (line, body) = asked(admin(None).0, &request).await;
        assert_eq!((&*line, &*body), (&*format!("HTTP/1.1 {status}"), says));
    }
    let at_the_bound = explain("", &"x".repeat(EXPLAINED_BYTES));
    assert_eq!(asked(admin(None).0, &at_the_bound).await.0, "HTTP/1.1 200 OK");
    let (line, _) = asked(admin(Some("t")).0, &explain("", "{}")).await;
    assert_eq!(line, "HTTP/1.1 401 Unauthorized");
}
