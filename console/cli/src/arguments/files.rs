//! Secrets out of files, as engines of containers mount them: where `NAME` is the variable of a secret, `NAME_FILE` may name a
//! file that holds it.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Arg, Command, error::ErrorKind};

/// The most that is read: a secret is a line.
const LIMIT: u64 = 64 * 1024;

/// Gives every secret of a command, and of the commands below it, what its file holds.
pub fn read(command: Command) -> Command {
    command.mut_args(held).mut_subcommands(read)
}

fn held(argument: Arg) -> Arg {
    let Some(name) = argument
        .get_env()
        .filter(|_| argument.is_hide_env_values_set())
        .map(OsStr::to_owned)
    else {
        return argument;
    };
    let mut of_file = name.clone();
    of_file.push("_FILE");
    match secret(env::var_os(&name).is_some(), env::var_os(&of_file)) {
        Ok(None) => argument,
        Ok(Some(secret)) => argument
            .required(false)
            .default_value(secret)
            .hide_default_value(true),
        Err(flaw) => {
            let (name, of_file) = (name.display(), of_file.display());
            let flaw = match flaw {
                Flaw::Both => format!("both {name} and {of_file} are set; take one of them away"),
                Flaw::Unreadable(path, error) => {
                    format!("{of_file}: {} cannot be read: {error}", path.display())
                }
                Flaw::Empty(path) => format!("{of_file}: {} is empty", path.display()),
            };
            clap::Error::raw(ErrorKind::ValueValidation, flaw + "\n").exit()
        }
    }
}

#[derive(Debug)]
enum Flaw {
    Both,
    Unreadable(PathBuf, io::Error),
    Empty(PathBuf),
}

/// Ends as a wrong command line does: for what belongs together where one of it may come out of a file, which to the parser is a
/// default and not something that was given.
pub fn missing(what: &str, of: &str) -> ! {
    clap::Error::raw(
        ErrorKind::MissingRequiredArgument,
        format!("{what} needs {of} beside it\n"),
    )
    .exit()
}

/// What the file holds, without the end of its line; nothing when there is no file.
fn secret(is_given: bool, file: Option<OsString>) -> Result<Option<String>, Flaw> {
    let Some(path) = file.filter(|path| !path.is_empty()).map(PathBuf::from) else {
        return Ok(None);
    };
    if is_given {
        return Err(Flaw::Both);
    }
    let text = text(&path).map_err(|error| Flaw::Unreadable(path.clone(), error))?;
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.is_empty() {
        return Err(Flaw::Empty(path));
    }
    Ok(Some(secret.to_owned()))
}

fn text(path: &Path) -> io::Result<String> {
    let length = fs::metadata(path)?.len();
    if length > LIMIT {
        let what = format!("it has {length} bytes, which no secret has");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content: &[u8]) -> Result<Option<String>, Flaw> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, content).unwrap();
        secret(false, Some(path.into()))
    }

    #[test]
    fn a_line_is_a_secret() {
        for content in ["word", "word\n", "word\r\n"] {
            assert_eq!(of(content.as_bytes()).unwrap().as_deref(), Some("word"));
        }
        assert_eq!(of(b" a b \n").unwrap().as_deref(), Some(" a b "));
    }

    #[test]
    fn what_is_no_secret_is_told() {
        assert!(matches!(of(b"\n"), Err(Flaw::Empty(_))));
        assert!(matches!(of(b"\xff\xfe"), Err(Flaw::Unreadable(..))));
        let long = vec![b'a'; 65_537];
        assert!(matches!(of(&long), Err(Flaw::Unreadable(..))));
        let absent = secret(false, Some("/nothing/here".into()));
        assert!(matches!(absent, Err(Flaw::Unreadable(..))));
        let folder = secret(false, Some("/".into()));
        assert!(matches!(folder, Err(Flaw::Unreadable(..))));
    }

    #[test]
    fn a_variable_and_its_file_exclude_each_other() {
        let file = || Some(OsString::from("/nothing/here"));
        assert!(matches!(secret(true, file()), Err(Flaw::Both)));
        assert_eq!(secret(true, None).unwrap(), None);
        assert_eq!(secret(true, Some("".into())).unwrap(), None);
        assert_eq!(secret(false, None).unwrap(), None);
    }
}
