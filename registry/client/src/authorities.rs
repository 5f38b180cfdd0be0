//! Whose signature under a registry's certificate is believed, beside those that the system believes: what Docker is told of it.
//!
//! Docker looks for `HOST:PORT/*.crt` in `/etc/docker/certs.d` and, where it runs without root, in `~/.config/docker/certs.d`. Both are
//! looked at here, whoever runs this. A certificate there is believed for that one registry, and for where it sends those who want a token.
//!
//! Deliberately absent: certificates of our own for registries that want one (`*.cert` and `*.key` in the same folder).

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use oci_client::client::{Certificate, CertificateEncoding};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::RegistryError;
use crate::address::Address;

const OF_THE_SYSTEM: &str = "/etc/docker/certs.d";
/// Bytes a file of certificates may have: more than those of all authorities of a system.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The folders with one for each registry.
pub(crate) fn folders() -> Vec<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let own = set("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| Some(Path::new(&set("HOME")?).join(".config")));
    [Some(PathBuf::from(OF_THE_SYSTEM)), own.map(|own| own.join("docker/certs.d"))].into_iter().flatten().collect()
}

/// The certificates that are believed for `address`. Fails if something is there that cannot be one, since a registry would be
/// called untrusted then for a reason that nobody sees.
pub(crate) fn of(address: &Address, folders: &[PathBuf]) -> Result<Vec<Certificate>, RegistryError> {
    let mut found = Vec::new();
    for folder in folders {
        let folder = folder.join(address.as_str());
        let unusable = |path: &Path, why: &dyn std::fmt::Display| {
            let why = format!("{}: {why}", path.display());
            RegistryError::BadCertificates { registry: address.to_string(), why }
        };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // Docker runs as root, and its folder may be root's alone.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied
                ) =>
            {
                continue;
            }
            Err(error) => return Err(unusable(&folder, &error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| unusable(&folder, &error))?.path();
            if path.extension().is_some_and(|extension| extension == "crt") {
                found.extend(read(&path).map_err(|why| unusable(&path, &why))?);
            }
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<Certificate>, String> {
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| format!("it is not in PEM: {error}"))?;
        RootCertStore::empty()
            .add(certificate.clone())
            .map_err(|error| format!("what is in it is not an authority's certificate: {error}"))?;
        certificates.push(Certificate { encoding: CertificateEncoding::Der, data: certificate.to_vec() });
    }
    if certificates.is_empty() {
        return Err("it has no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----".to_owned());
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> String {
        rcgen::generate_simple_self_signed(vec![]).unwrap().cert.pem()
    }

    #[test]
    fn certificates_of_one_registry_are_believed_for_that_one() {
        let folder = tempfile::tempdir().unwrap();
        let of_registry = folder.path().join("registry.example:5000");
        fs::create_dir(&of_registry).unwrap();
        fs::write(of_registry.join("ca.crt"), [authority(), authority()].concat()).unwrap();
        fs::write(of_registry.join("other.crt"), authority()).unwrap();
        fs::write(of_registry.join("client.key"), "not looked at").unwrap();
        let folders = [folder.path().join("missing"), folder.path().to_owned()];
        let found = |address: &str| of(&address.parse().unwrap(), &folders).unwrap().len();
        assert_eq!(found("Registry.example:5000"), 3);
        assert_eq!((found("registry.example"), found("other.example:5000")), (0, 0));
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let of_registry = folder.path().join("registry.example");
        fs::create_dir(&of_registry).unwrap();
        let told = |text: &[u8]| {
            fs::write(of_registry.join("ca.crt"), text).unwrap();
            let address = "registry.example".parse().unwrap();
            of(&address, &[folder.path().to_owned()]).unwrap_err().to_string()
        };
        for nothing in [b"".as_slice(), b"\x30\x82\x01\x0a"] {
            let error = told(nothing);
            assert!(error.contains("registry.example/ca.crt: it has no certificate in PEM"), "{error}");
        }
        let error = told(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(error.contains("not an authority's certificate"), "{error}");
        let error = told(b"-----BEGIN CERTIFICATE-----\nAAAA\n");
        assert!(error.contains("not in PEM"), "{error}");
        let error = told(&vec![b'\n'; FILE_BYTES_MAX as usize + 1]);
        assert!(error.contains("more than 4194304 bytes"), "{error}");
    }
}
