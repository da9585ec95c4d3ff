//! The certificates by which tiers know each other: an authority of one's own, and one certificate for each role.
//!
//! A folder holds the authority (`ca.crt` and `ca.key`), and for each role a folder with all that its processes need: `tls.crt`,
//! `tls.key` and `ca.crt`, as Kubernetes and those who make certificates there call them. The authority's key stays where certificates are made.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Datelike as _, Days, Utc};
use kit::tls::{AUTHORITY, CERTIFICATE, KEY};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::{
    account::Account,
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
        made.extend(issue(&authority, &folder.join(role), &[role], days, now)?);
    }
    Ok(made)
}

/// The same for a store on this machine, in a folder below that its account may read; which one.
pub fn of_a_store(folder: &Path, account: Option<Account>, now: DateTime<Utc>) -> Result<PathBuf> {
    let mut made = Vec::new();
    let authority = authority(folder, now, &mut made)?;
    let own = folder.join("store");
    made.extend(issue(
        &authority,
        &own,
        &["localhost", "127.0.0.1"],
        365,
        now,
    )?);
    if let Some(account) = account {
        made.push(own.clone());
        made.iter().try_for_each(|path| account.own(path))?;
    }
    Ok(own)
}

/// An authority, and what everybody may see of it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    public: String,
}

/// Makes a certificate for names, and its key, in a folder of their own; what was made.
fn issue(
    authority: &Authority,
    folder: &Path,
    names: &[&str],
    days: u64,
    now: DateTime<Utc>,
) -> Result<[PathBuf; 3]> {
    let key = KeyPair::generate().map_err(|error| failed(folder, error))?;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let its_name = called(names.first().map_or("", String::as_str));
    let mut params = CertificateParams::new(names).map_err(|error| failed(folder, error))?;
    params.distinguished_name = its_name;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Most are asked and ask themselves.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    within(&mut params, days.min(AUTHORITY_DAYS), now);
    let certificate = params
        .signed_by(&key, &authority.issuer)
        .map_err(|error| failed(folder, error))?;
    fs::create_dir_all(folder).map_err(|source| Error::on_path(folder, source))?;
    // The key first: whoever follows the files takes them when they fit together.
    let texts = [
        (KEY, key.serialize_pem()),
        (CERTIFICATE, certificate.pem()),
        (AUTHORITY, authority.public.clone()),
    ];
    let [key, certificate, authority] = texts.map(|(name, text)| {
        let path = folder.join(name);
        write_private(&path, text.as_bytes()).map(|()| path)
    });
    Ok([key?, certificate?, authority?])
}

/// The authority of the folder, and what everybody may see of it; a new one where there is none.
fn authority(folder: &Path, now: DateTime<Utc>, made: &mut Vec<PathBuf>) -> Result<Authority> {
    let (certificate, private) = (folder.join(AUTHORITY), folder.join("ca.key"));
    let mut params = CertificateParams::default();
    params.distinguished_name = called("Recarga tiers");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    within(&mut params, AUTHORITY_DAYS, now);
    let is_half = |there: &Path, away: &str| {
        let reason = format!(
            "{away}, which belongs to it, is not there: bring it back, or take this away to begin anew"
        );
        failed(there, reason)
    };
    match (read(&private)?, read(&certificate)?) {
        (Some(key), Some(public)) => {
            let key = KeyPair::from_pem(&key).map_err(|error| failed(&private, error))?;
            let issuer = Issuer::new(params, key);
            Ok(Authority { issuer, public })
        }
        (Some(_), None) => Err(is_half(&private, "ca.crt")),
        (None, Some(_)) => Err(is_half(&certificate, "ca.key")),
        (None, None) => {
            let key = KeyPair::generate().map_err(|error| failed(folder, error))?;
            let own = params
                .self_signed(&key)
                .map_err(|error| failed(folder, error))?;
            write_private(&private, key.serialize_pem().as_bytes())?;
            write_private(&certificate, own.pem().as_bytes())?;
            made.extend([private, certificate]);
            Ok(Authority {
                issuer: Issuer::new(params, key),
                public: own.pem(),
            })
        }
    }
}

/// What a file says, if it is there.
fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::on_path(path, source)),
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
        assert_eq!(first.len(), 2 + 3 * (Role::ALL.len() + 1));
        for path in &first {
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let (authority, travel) = (read("ca.crt"), read("travel/tls.crt"));
        let second = make(folder.path(), 30, Utc::now()).unwrap();
        assert_eq!(second.len(), first.len() - 2);
        assert_eq!(read("ca.crt"), authority);
        assert_eq!(read("travel/ca.crt"), authority);
        assert_ne!(read("travel/tls.crt"), travel);
        for role in ["travel", OPERATOR] {
            let tiers = Tiers::load(&MutualTlsArgs::of(folder.path(), role)).unwrap();
            assert!(tiers.are_mutual());
        }
    }

    #[test]
    fn half_an_authority_is_not_replaced() {
        for half in ["ca.crt", "ca.key"] {
            let folder = tempfile::tempdir().unwrap();
            make(folder.path(), 30, Utc::now()).unwrap();
            fs::remove_file(folder.path().join(half)).unwrap();
            let error = make(folder.path(), 30, Utc::now()).unwrap_err().to_string();
            assert!(error.contains(&format!("{half}, which")), "{error}");
        }
    }
}
