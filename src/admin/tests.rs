use super::*;
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
    fn rules(&self) -> Vec<(String, u64)> {
        vec![("no-big-models".to_owned(), 7)]
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
