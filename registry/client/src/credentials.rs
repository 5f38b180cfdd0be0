//! Who one is at a registry.
//!
//! `docker login` is how people already say so: what it leaves in Docker's configuration folder, or with a helper program that the
//! configuration names, is used as it is. Having said nothing is no error, since many registries can be read by anyone; having
//! said something that cannot be used matters only where a registry wants to know who asks and serves nobody else.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential};

use crate::RegistryError;
use crate::address::Address;

/// The user that a token is sent as. Registries look at the token alone.
const TOKEN_USER: &str = "token";

/// Who to be at a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Whoever `docker login` has said, or else nobody.
    Docker {
        /// The folder of Docker's `config.json`; without it `$DOCKER_CONFIG`, and without that `~/.docker`.
        config: Option<PathBuf>,
    },
    /// Whoever has this token.
    Token(String),
    /// Nobody.
    Anonymous,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::Docker { config } => f.debug_struct("Docker").field("config", config).finish(),
            Credentials::Token(_) => f.write_str("Token(<not shown>)"),
            Credentials::Anonymous => f.write_str("Anonymous"),
        }
    }
}

/// A user's name and password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Credentials for the registry at `address`, given a `token` issued for the registry at `owner`:
    /// the token if both are the same registry, otherwise what `docker login` has stored. Both are
    /// `host[:port]`.
    ///
    /// # Errors
    /// [`RegistryError::BadAddress`] if one of them is no address.
    pub fn with_token_of(owner: &str, token: String, address: &str) -> Result<Credentials, RegistryError> {
        let (owner, address) = (owner.parse::<Address>()?, address.parse::<Address>()?);
        Ok(if owner.is_same(&address) { Credentials::Token(token) } else { Credentials::Docker { config: None } })
    }

    /// What to send to `address`, if anything. May run a helper program, which may ask people something.
    pub(crate) async fn load(&self, address: &Address) -> Result<Option<Login>, RegistryError> {
        match self {
            Credentials::Anonymous => Ok(None),
            Credentials::Token(token) => Ok(Some(Login { user: TOKEN_USER.to_owned(), password: token.clone() })),
            Credentials::Docker { config } => {
                let Some(folder) = config.clone().or_else(default_folder) else { return Ok(None) };
                let address = address.clone();
                // The command line's programs need nothing of `recoil-base`, and this ends by itself.
                #[allow(clippy::disallowed_methods)]
                let loading = tokio::task::spawn_blocking(move || from_docker(&folder, &address));
                loading.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
            }
        }
    }
}

fn default_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(Path::new(&set("HOME")?).join(".docker")))
}

fn from_docker(folder: &Path, address: &Address) -> Result<Option<Login>, RegistryError> {
    let path = folder.join("config.json");
    let unusable = |why: String| RegistryError::BadCredentials { registry: address.to_string(), why };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(format!("{} cannot be read: {error}", path.display()))),
    };
    match docker_credential::get_credential_from_reader(BufReader::new(file), address.credentials_name()) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(Some(Login { user, password })),
        Ok(DockerCredential::IdentityToken(_)) => {
            Err(unusable(format!("{} has an identity token, and those are not supported", path.display())))
        }
        Err(error) if says_nothing(&error) => Ok(None),
        Err(error) => Err(unusable(explain(error, &path))),
    }
}

/// True if there are no credentials: helpers fail then too, and say so only in words.
fn says_nothing(error: &CredentialRetrievalError) -> bool {
    match error {
        CredentialRetrievalError::NoCredentialConfigured | CredentialRetrievalError::ConfigNotFound => true,
        CredentialRetrievalError::HelperFailure { stdout, stderr, .. } => {
            [stdout, stderr].iter().any(|said| said.to_ascii_lowercase().contains("credentials not found"))
        }
        _ => false,
    }
}

fn explain(error: CredentialRetrievalError, path: &Path) -> String {
    let path = path.display();
    match error {
        CredentialRetrievalError::ConfigReadError => format!("{path} is not a Docker configuration"),
        CredentialRetrievalError::HelperCommunicationError => {
            format!("the helper docker-credential-… that {path} names cannot be run: is it installed?")
        }
        CredentialRetrievalError::MalformedHelperResponse => {
            format!("the helper that {path} names answers no credentials")
        }
        CredentialRetrievalError::HelperFailure { helper, stdout, stderr } => {
            format!("the helper {helper}, which {path} names, failed: {} {}", stdout.trim(), stderr.trim())
                .trim_end()
                .to_owned()
        }
        other => format!("{path}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of_file(json: &str, address: &str) -> Result<Option<Login>, RegistryError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), json).unwrap();
        let config = Some(folder.path().to_owned());
        Credentials::Docker { config }.load(&address.parse().unwrap()).await
    }

    #[tokio::test]
    async fn what_docker_login_leaves_is_used_for_its_registry_alone() {
        // The text is that of `user:pass`.
        let file = r#"{"auths": {"registry.example": {"auth": "dXNlcjpwYXNz"}}}"#;
        let known = Some(Login { user: "user".to_owned(), password: "pass".to_owned() });
        assert_eq!(of_file(file, "registry.example").await.unwrap(), known);
        assert_eq!(of_file(file, "other.example").await.unwrap(), None);
        let hub = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dXNlcjpwYXNz"}}}"#;
        assert_eq!(of_file(hub, "docker.io").await.unwrap(), known);
    }

    #[tokio::test]
    async fn without_a_configuration_one_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let config = Some(folder.path().join("missing"));
        let loaded = Credentials::Docker { config }.load(&"registry.example".parse().unwrap()).await;
        assert_eq!(loaded.unwrap(), None);
    }

    #[tokio::test]
    async fn a_configuration_that_cannot_be_used_is_told() {
        let told = async |file: &str| of_file(file, "registry.example").await.unwrap_err().to_string();
        assert!(told("{").await.contains("config.json is not a Docker configuration"));
        let identity = r#"{"auths": {"registry.example": {"identitytoken": "secret"}}}"#;
        let error = told(identity).await;
        assert!(error.contains("identity token") && !error.contains("secret"), "{error}");
        let error = told(r#"{"credsStore": "recoil-test-that-does-not-exist"}"#).await;
        assert!(error.contains("docker-credential-"), "{error}");
    }

    #[test]
    fn a_helper_that_knows_nothing_is_no_failure() {
        let failed = |said: &str| CredentialRetrievalError::HelperFailure {
            helper: "docker-credential-x".to_owned(),
            stdout: said.to_owned(),
            stderr: String::new(),
        };
        assert!(says_nothing(&failed("credentials not found in native keychain\n")));
        assert!(!says_nothing(&failed("the keychain is locked")));
        let told = explain(failed("the keychain is locked"), Path::new("config.json"));
        assert!(told.contains("docker-credential-x") && told.contains("locked"), "{told}");
    }

    #[test]
    fn a_token_is_for_the_registry_that_it_was_given_for() {
        let is_sent = |owner: &str, address: &str| {
            let credentials = Credentials::with_token_of(owner, "secret".to_owned(), address).unwrap();
            credentials == Credentials::Token("secret".to_owned())
        };
        assert!(is_sent("registry.example", "Registry.Example") && is_sent("docker.io", "index.docker.io"));
        for other in ["registry.example:5000", "other.example", "registry.example.org", "localhost:5000"] {
            assert!(!is_sent("registry.example", other) && !is_sent(other, "registry.example"), "{other}");
        }
        assert!(Credentials::with_token_of("https://registry.example", String::new(), "registry.example").is_err());
    }

    #[tokio::test]
    async fn a_token_is_sent_and_not_shown() {
        let token = Credentials::Token("secret".to_owned());
        assert!(!format!("{token:?}").contains("secret"));
        let loaded = token.load(&"registry.example".parse().unwrap()).await.unwrap();
        assert!(!format!("{loaded:?}").contains("secret"));
        assert_eq!(loaded, Some(Login { user: "token".to_owned(), password: "secret".to_owned() }));
    }
}
