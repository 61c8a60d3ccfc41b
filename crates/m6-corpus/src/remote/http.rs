//! Requests of `object_store` through the HTTP client that is in the house already: blocking, one connection pool a bucket.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::ClientConfigKey;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use ureq::http::{Method, Request};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Error};

/// Time to reach the store.
const CONNECT: Duration = Duration::from_secs(10);
/// Time for one request with a piece of data.
const WHOLE: Duration = Duration::from_secs(120);
/// Largest answer: pieces of data and pages of lists are far below it, the manifest of a million files is not.
const MAX_ANSWER: u64 = 256 << 20;

/// Makes clients for `object_store`.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allow_http = options.get_config_value(&ClientConfigKey::AllowHttp);
        let allow_http = allow_http.unwrap_or_default().to_ascii_lowercase();
        let allow_http = matches!(&*allow_http, "1" | "true" | "on" | "yes" | "y");
        let tls = TlsConfig::builder().root_certs(roots()?).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(!allow_http)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(WHOLE))
            .tls_config(tls)
            .build();
        Ok(HttpClient::new(Service {
            agent: Agent::new_with_config(config),
        }))
    }
}

/// The certificates of `AWS_CA_BUNDLE`, for stores behind an authority of their own; the web's otherwise.
fn roots() -> object_store::Result<RootCerts> {
    let Some(path) = std::env::var_os("AWS_CA_BUNDLE") else {
        return Ok(RootCerts::WebPki);
    };
    let wrong = |why: String| object_store::Error::Generic {
        store: "S3",
        source: format!("AWS_CA_BUNDLE: {}: {why}", path.display()).into(),
    };
    let pem = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(error.to_string()))? {
            certificates.push(certificate);
        }
    }
    match certificates.is_empty() {
        true => Err(wrong("holds no certificate in PEM".to_string())),
        false => Ok(RootCerts::Specific(Arc::new(certificates))),
    }
}

#[derive(Debug)]
struct Service {
    agent: Agent,
}

#[async_trait]
impl HttpService for Service {
    /// Blocks the thread that waits for it, and no other: every waiting thread has a runtime of its own.
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let bare = matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE);
        let answer = match bare && body.is_empty() {
            true => self.agent.run(Request::from_parts(parts, ())),
            false => self.agent.run(Request::from_parts(parts, &body[..])),
        };
        let (parts, mut body) = answer.map_err(failed)?.into_parts();
        let reader = body.with_config().limit(MAX_ANSWER);
        let bytes = reader.read_to_vec().map_err(failed)?;
        Ok(HttpResponse::from_parts(parts, bytes.into()))
    }
}

/// Which failures are worth another attempt.
fn failed(error: Error) -> HttpError {
    let kind = match &error {
        Error::Timeout(_) => HttpErrorKind::Timeout,
        Error::HostNotFound | Error::ConnectionFailed => HttpErrorKind::Connect,
        Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
            HttpErrorKind::Connect
        }
        Error::Io(_) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}
