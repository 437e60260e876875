//! A bucket, from settings.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey as Config, Checksum};
use object_store::client::HttpConnector;
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::asked::Asked;
use super::http::Wire;
use super::lifecycle::{self, Lifecycle};
use super::patience::Patience;
use crate::error::{Error, Result};
use crate::settings::{self, Credentials, Encryption, S3Settings, Style};
use crate::telemetry::Requests;

/// So many that the time limit of retries ends them: a server may be away for minutes while a run is under way.
const RETRIES: usize = 100;
/// Of a run's first request.
const FIRST_RETRIES: usize = 5;

/// How long a request fails before a word is said of it. The run's first request has ended by then, unless the server hangs.
const SILENT_FOR: Duration = Duration::from_secs(3);
const FIRST_SILENT_FOR: Duration = Duration::from_secs(10);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses between retries, each of random length between the first and twice the one before it; the same for tests.
pub const PAUSES: BackoffConfig = BackoffConfig { init_backoff: Duration::from_millis(200), max_backoff: Duration::from_secs(20), base: 2.0 };
pub const SHORT_PAUSES: BackoffConfig = BackoffConfig { init_backoff: Duration::from_millis(1), max_backoff: Duration::from_millis(20), base: 2.0 };

/// Where a bucket is, as the settings come to.
struct Place {
    /// The address, with the bucket if it has a host of its own; none: AWS.
    endpoint: Option<String>,
    virtual_host: bool,
    /// Host and port that S3 requests go to.
    host: String,
}

impl Place {
    fn of(bucket: &str, settings: &S3Settings) -> Self {
        let virtual_host = match settings.style {
            Style::Path => false,
            Style::VirtualHost => true,
            // certificates of AWS are for one level of names
            Style::Auto => settings.endpoint.is_none() && !bucket.contains('.'),
        };
        let endpoint = settings.endpoint.as_ref().map(|url| if virtual_host { url.of_bucket(bucket) } else { url.to_string() });
        let host = match &endpoint {
            Some(url) => url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned(),
            None if virtual_host => format!("{bucket}.s3.{}.amazonaws.com", settings.region()),
            None => format!("s3.{}.amazonaws.com", settings.region()),
        };
        Self { endpoint, virtual_host, host }
    }
}

/// The first line of a run about S3, and what of the environment was not taken.
pub fn say(bucket: &str, settings: &S3Settings) {
    for variable in &settings.not_taken {
        tracing::warn!("{variable}");
    }
    let place = Place::of(bucket, settings);
    tracing::info!(
        bucket,
        endpoint = settings.endpoint.as_ref().map_or("AWS".to_owned(), ToString::to_string),
        region = settings.region.as_deref().unwrap_or("us-east-1 (default)"),
        style = if place.virtual_host { "virtual host" } else { "path" },
        credentials = settings.credentials.kind(),
        "S3"
    );
}

/// How a bucket is talked to.
pub struct Line {
    /// Who sends requests.
    pub through: Arc<dyn HttpConnector>,
    /// Between retries.
    pub pauses: BackoffConfig,
    /// Bytes change on their way.
    pub spoils: bool,
}

/// A bucket, opened.
pub struct Opened {
    /// For a whole run.
    pub store: Arc<dyn ObjectStore>,
    /// For its first request.
    pub impatient: Arc<dyn ObjectStore>,
    /// What objects are to be.
    pub asked: Arc<Asked>,
    /// Counts of what is sent.
    pub requests: Arc<Requests>,
    /// For what is asked of the bucket itself.
    pub bucket: Bucket,
}

/// A bucket, for requests that object_store has no call for.
#[derive(Clone)]
pub struct Bucket {
    signer: Arc<dyn Signer>,
    through: Arc<dyn HttpConnector>,
    options: ClientOptions,
}

impl Bucket {
    /// What becomes of uploads that nobody finishes.
    pub async fn lifecycle(&self) -> object_store::Result<Lifecycle> {
        lifecycle::of_bucket(&*self.signer, &*self.through, &self.options).await
    }
}

/// Opens a bucket; nothing is sent yet.
pub fn open(bucket: &str, prefix: &str, settings: &S3Settings, Line { through, pauses, spoils }: Line) -> Result<Opened> {
    let place = Place::of(bucket, settings);
    let (asked, requests) = (Arc::new(Asked::new(&place.host, settings)), Arc::<Requests>::default());
    let unusable = |e| Error::Usage(format!("cannot use s3://{bucket}: {e}"));
    let build = |retries, silent_for| {
        let max_retries = if settings.retry_for.is_zero() { 0 } else { retries };
        let retry = RetryConfig { backoff: pauses.clone(), max_retries, retry_timeout: settings.retry_for };
        let builder = builder(bucket, &place, settings).map_err(unusable)?.with_retry(retry);
        let patience = Arc::new(Patience::new(settings.retry_for, silent_for));
        let wire = Wire { through: Arc::clone(&through), asked: Arc::clone(&asked), requests: Arc::clone(&requests), patience, spoils };
        builder.with_http_connector(wire).build().map_err(unusable)
    };
    let below = |s3: AmazonS3| -> Result<Arc<dyn ObjectStore>> {
        if prefix.is_empty() {
            return Ok(Arc::new(s3));
        }
        let prefix = Key::parse(prefix).map_err(|e| Error::Usage(format!("s3://{bucket}/{prefix}: {e}")))?;
        Ok(Arc::new(PrefixStore::new(s3, prefix)))
    };
    let impatient = build(FIRST_RETRIES, FIRST_SILENT_FOR)?;
    let store = below(build(RETRIES, SILENT_FOR)?)?;
    let bucket = Bucket { signer: Arc::new(impatient.clone()), through, options: client_options(settings) };
    Ok(Opened { store, impatient: below(impatient)?, asked, requests, bucket })
}

fn client_options(settings: &S3Settings) -> ClientOptions {
    let plain = settings.endpoint.as_ref().is_some_and(|url| url.is_plain());
    let client = ClientOptions::new().with_timeout(settings.request_timeout).with_allow_http(plain);
    let client = client.with_connect_timeout(CONNECT_TIMEOUT.min(settings.request_timeout));
    settings.authorities.iter().cloned().fold(client, ClientOptions::with_root_certificate)
}

fn builder(bucket: &str, place: &Place, settings: &S3Settings) -> object_store::Result<AmazonS3Builder> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(settings.region())
        .with_virtual_hosted_style_request(place.virtual_host)
        .with_client_options(client_options(settings));
    if let Some(endpoint) = &place.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder = match settings.checksum {
        settings::Checksum::Crc64nvme => builder.with_checksum_algorithm(Checksum::CRC64NVME),
        settings::Checksum::Sha256 => builder.with_checksum_algorithm(Checksum::SHA256),
        settings::Checksum::None => builder,
    };
    if let Some(encryption) = &settings.encryption {
        builder = builder.with_config("aws_server_side_encryption".parse()?, encryption.header());
        if let Encryption::Kms(Some(key)) = encryption {
            builder = builder.with_config("aws_sse_kms_key_id".parse()?, key);
        }
    }
    Ok(with_credentials(builder, &settings.credentials))
}

fn with_credentials(builder: AmazonS3Builder, credentials: &Credentials) -> AmazonS3Builder {
    let set = |builder: AmazonS3Builder, key, value: Option<&str>| match value {
        Some(value) => builder.with_config(key, value),
        None => builder,
    };
    match credentials {
        Credentials::Anonymous => builder.with_skip_signature(true),
        Credentials::Keys { id, secret, token } => {
            let builder = builder.with_access_key_id(id).with_secret_access_key(secret.reveal());
            set(builder, Config::Token, token.as_ref().map(|token| token.reveal()))
        }
        Credentials::WebIdentity { token_file, role, session, sts } => {
            let builder = builder.with_config(Config::WebIdentityTokenFile, token_file.to_string_lossy()).with_config(Config::RoleArn, role);
            let builder = set(builder, Config::RoleSessionName, session.as_deref());
            set(builder, Config::StsEndpoint, sts.as_deref())
        }
        Credentials::Container(uri) => builder.with_config(Config::ContainerCredentialsRelativeUri, uri),
        Credentials::PodIdentity { uri, token_file } => {
            builder.with_config(Config::ContainerCredentialsFullUri, uri).with_config(Config::ContainerAuthorizationTokenFile, token_file.to_string_lossy())
        }
        Credentials::Instance(metadata) => set(builder, Config::MetadataEndpoint, metadata.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Endpoint;

    fn place(bucket: &str, region: Option<&str>, endpoint: Option<&str>, style: Style) -> (Option<String>, String) {
        let settings = S3Settings {
            endpoint: endpoint.map(|url| Endpoint::parse("--endpoint", url).expect("an address")),
            region: region.map(str::to_owned),
            style,
            authorities: Vec::new(),
            credentials: Credentials::Anonymous,
            key_names: Default::default(),
            encryption: None,
            storage_class: None,
            tags: Vec::new(),
            checksum: settings::Checksum::None,
            request_timeout: Duration::from_secs(1),
            retry_for: Duration::ZERO,
            limit_rate: None,
            parts: 1,
            not_taken: Vec::new(),
        };
        let place = Place::of(bucket, &settings);
        (place.endpoint, place.host)
    }

    #[test]
    fn a_bucket_has_a_host_of_its_own_at_aws_and_a_path_elsewhere_unless_told_otherwise() {
        let region = Some("eu-central-1");
        assert_eq!(place("b", region, None, Style::Auto), (None, "b.s3.eu-central-1.amazonaws.com".into()));
        assert_eq!(place("a.b", region, None, Style::Auto), (None, "s3.eu-central-1.amazonaws.com".into()));
        assert_eq!(place("b", None, None, Style::Path), (None, "s3.us-east-1.amazonaws.com".into()));
        let own = Some("https://s3.example.org:8443/");
        assert_eq!(place("b", None, own, Style::Auto), (Some("https://s3.example.org:8443".into()), "s3.example.org:8443".into()));
        let host = place("b", None, own, Style::VirtualHost);
        assert_eq!(host, (Some("https://b.s3.example.org:8443".into()), "b.s3.example.org:8443".into()));
    }
}
