//! What requests to S3 are signed with.

use std::fmt;
use std::path::PathBuf;

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, to be handed on and not to be shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where the credentials are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Requests are not signed.
    Anonymous,
    /// Keys that were given.
    Keys {
        /// AWS_ACCESS_KEY_ID
        id: String,
        /// AWS_SECRET_ACCESS_KEY
        secret: Secret,
        /// AWS_SESSION_TOKEN
        token: Option<Secret>,
    },
    /// A token that the cluster signs is exchanged for keys of a role (IRSA).
    WebIdentity {
        /// AWS_WEB_IDENTITY_TOKEN_FILE
        token_file: PathBuf,
        /// AWS_ROLE_ARN
        role: String,
        /// AWS_ROLE_SESSION_NAME
        session: Option<String>,
        /// AWS_ENDPOINT_URL_STS
        sts: Option<String>,
    },
    /// The role of a task (ECS): AWS_CONTAINER_CREDENTIALS_RELATIVE_URI
    Container(String),
    /// The role of a pod (EKS).
    PodIdentity {
        /// AWS_CONTAINER_CREDENTIALS_FULL_URI
        uri: String,
        /// AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE
        token_file: PathBuf,
    },
    /// The role of the machine; where its metadata are asked for, if not at the usual place.
    Instance(Option<String>),
}

impl Credentials {
    /// What to do where there are none.
    pub const HOW_TO_SET_UP: &str =
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is attached, or use --anonymous; profiles are not read";

    /// What kind they are, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "none (anonymous)",
            Self::Keys { token: None, .. } => "static keys",
            Self::Keys { token: Some(_), .. } => "static keys with a session token",
            Self::WebIdentity { .. } => "web identity",
            Self::Container(_) => "container role",
            Self::PodIdentity { .. } => "pod identity",
            Self::Instance(_) => "instance metadata",
        }
    }

    /// What to look at if there are none to be had.
    pub fn advice(&self, [id, secret]: &[String; 2]) -> String {
        let advice = match self {
            Self::Anonymous | Self::Keys { .. } => return format!("check {id} and {secret}"),
            Self::WebIdentity { .. } => {
                "check AWS_ROLE_ARN, that the role trusts this service account, and that STS can be reached (AWS_ENDPOINT_URL_STS, AWS_REGION)"
            }
            Self::Container(_) => "check the role of the task",
            Self::PodIdentity { .. } => "check the pod identity association of the service account, and that the agent runs on this node",
            Self::Instance(_) => Self::HOW_TO_SET_UP,
        };
        advice.to_owned()
    }
}
