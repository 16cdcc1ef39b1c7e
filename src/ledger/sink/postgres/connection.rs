//! A connection to PostgreSQL, by its connection string.

use super::BATCH;
use crate::ledger::sink::SinkError;
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Longest wait for each address of the server.
const CONNECT: Duration = Duration::from_secs(5);

/// A client, and the runtime in which it is served.
pub(in crate::ledger::sink) fn connect(url: &SecretString) -> Result<(Runtime, Client), SinkError> {
    let mut config: Config = url.expose_secret().parse()?;
    config.connect_timeout(CONNECT).application_name("weir");
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let connecting = async {
        Ok::<_, SinkError>(match config.get_ssl_mode() {
            SslMode::Require => serving(config.connect(tls()?).await?),
            _ => serving(config.connect(NoTls).await?),
        })
    };
    let limited = async { tokio::time::timeout(BATCH, connecting).await };
    let client = runtime.block_on(limited).map_err(|_| SinkError::Slow(BATCH))??;
    Ok((runtime, client))
}

/// A client whose connection is served. That ends with the client; its error is what the client's next
/// call says.
fn serving<S, T>((client, connection): (Client, Connection<S, T>)) -> Client
where
    Connection<S, T>: Future + Send + 'static,
    <Connection<S, T> as Future>::Output: Send,
{
    tokio::spawn(connection);
    client
}

/// Trusts the system's authorities, or those in the file that `SSL_CERT_FILE` names.
fn tls() -> Result<MakeRustlsConnect, SinkError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// What the server says, with its code; else what went wrong on the way to it.
pub(in crate::ledger::sink) fn why(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}
