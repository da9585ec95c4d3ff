//! The certificates by which tiers know each other: an authority of one's own, and one certificate for each role.
//!
//! A folder holds `authority.pem`, `authority.key`, and `ROLE.pem` with `ROLE.key`. The authority's key stays where certificates
//! are made: a host needs `authority.pem` and the two files of the role that it runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Datelike as _, Days, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::{
    error::{Error, Result},
    layout::write_private,
    roles::Role,
};

/// Whoever looks at the tiers from outside, such as `recarga queues` and `recarga verify`.
pub const OPERATOR: &str = kit::tls::OPERATOR;

/// How long the authority is good for.
const AUTHORITY_DAYS: u64 = 3_650;

/// Makes an authority where there is none, and a new certificate of it for every role; what was made.
pub fn make(folder: &Path, days: u64, now: DateTime<Utc>) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).map_err(|source| Error::on_path(folder, source))?;
    let mut made = Vec::new();
    let authority = authority(folder, now, &mut made)?;
    for role in Role::ALL.into_iter().map(Role::name).chain([OPERATOR]) {
        let key = KeyPair::generate().map_err(|error| failed(folder, error))?;
        let mut params =
            CertificateParams::new([role.to_owned()]).map_err(|error| failed(folder, error))?;
        params.distinguished_name = called(role);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Most tiers are asked and ask themselves.
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let days = days.min(AUTHORITY_DAYS);
        within(&mut params, days, now);
        let certificate = params
            .signed_by(&key, &authority)
            .map_err(|error| failed(folder, error))?;
        // The key first: whoever follows the files takes them when they fit together.
        for (path, text) in [
            (folder.join(format!("{role}.key")), key.serialize_pem()),
            (folder.join(format!("{role}.pem")), certificate.pem()),
        ] {
            write_private(&path, text.as_bytes())?;
            made.push(path);
        }
    }
    Ok(made)
}

/// The authority of the folder; a new one where there is none.
fn authority(
    folder: &Path,
    now: DateTime<Utc>,
    made: &mut Vec<PathBuf>,
) -> Result<Issuer<'static, KeyPair>> {
    let (certificate, private) = (folder.join("authority.pem"), folder.join("authority.key"));
    let mut params = CertificateParams::default();
    params.distinguished_name = called("Recarga tiers");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    within(&mut params, AUTHORITY_DAYS, now);
    match fs::read_to_string(&private) {
        Ok(text) if certificate.exists() => {
            let key = KeyPair::from_pem(&text).map_err(|error| failed(&private, error))?;
            Ok(Issuer::new(params, key))
        }
        Ok(_) => Err(failed(
            &private,
            "authority.pem, which belongs to it, is not there: bring it back, or take this away to begin anew",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = KeyPair::generate().map_err(|error| failed(folder, error))?;
            let own = params
                .self_signed(&key)
                .map_err(|error| failed(folder, error))?;
            write_private(&private, key.serialize_pem().as_bytes())?;
            write_private(&certificate, own.pem().as_bytes())?;
            made.extend([private, certificate]);
            Ok(Issuer::new(params, key))
        }
        Err(source) => Err(Error::on_path(&private, source)),
    }
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}

/// From yesterday, for clocks that are behind, for so many days.
fn within(params: &mut CertificateParams, days: u64, now: DateTime<Utc>) {
    let day = |at: DateTime<Utc>| date_time_ymd(at.year(), at.month() as u8, at.day() as u8);
    params.not_before = day(now - Days::new(1));
    // The last day counts to its end.
    params.not_after = day(now + Days::new(days + 1));
}

fn failed(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::on_path(path, io::Error::other(reason.to_string()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use kit::tls::{MutualTlsArgs, Tiers};

    use super::*;

    #[test]
    fn each_role_has_one_and_the_authority_stays() {
        let folder = tempfile::tempdir().unwrap();
        let first = make(folder.path(), 30, Utc::now()).unwrap();
        assert_eq!(first.len(), 2 + 2 * (Role::ALL.len() + 1));
        for path in &first {
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let (authority, travel) = (read("authority.pem"), read("travel.pem"));
        let second = make(folder.path(), 30, Utc::now()).unwrap();
        assert_eq!(second.len(), first.len() - 2);
        assert_eq!(read("authority.pem"), authority);
        assert_ne!(read("travel.pem"), travel);
        for role in ["travel", OPERATOR] {
            let tiers = Tiers::load(&MutualTlsArgs::of(folder.path(), role)).unwrap();
            assert!(tiers.are_mutual());
        }
    }

    #[test]
    fn half_an_authority_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), 30, Utc::now()).unwrap();
        fs::remove_file(folder.path().join("authority.pem")).unwrap();
        let error = make(folder.path(), 30, Utc::now()).unwrap_err().to_string();
        assert!(error.contains("authority.pem"), "{error}");
    }
}
