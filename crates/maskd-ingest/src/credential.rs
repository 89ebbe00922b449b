//! Passwords out of files, and out of the credentials that systemd gives a service (`LoadCredential=`).

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use maskd_observability::redact::redact_value;
use maskd_types::files;

/// How a path begins that is a credential's name.
const DIRECTORY: &str = "$CREDENTIALS_DIRECTORY";

/// The first line of the file; `$CREDENTIALS_DIRECTORY/NAME` is the credential NAME.
///
/// # Errors
/// What is missing, by the path or the credential's name, and where it should come from.
pub(super) fn password(path: &Path) -> Result<String, String> {
    password_in(path, std::env::var_os(&DIRECTORY[1..]).as_deref())
}

fn password_in(path: &Path, directory: Option<&OsStr>) -> Result<String, String> {
    let shown = redact_value(&path.to_string_lossy()).into_owned();
    let (file, credential) = match (path.strip_prefix(DIRECTORY), directory) {
        (Err(_), _) => (path.to_owned(), None),
        (Ok(name), Some(directory)) => (PathBuf::from(directory).join(name), Some(name.display().to_string())),
        (Ok(name), None) => {
            let name = name.display();
            let why = format!(
                "{shown}: the service manager gave no credentials; LoadCredential in the unit, {name}:FILE, does"
            );
            return Err(why);
        }
    };
    let text = files::read_text(&file).map_err(|error| match credential {
        Some(name) if error.kind() == io::ErrorKind::NotFound => {
            format!(
                "{shown}: there is no credential {name}; LoadCredential in the unit, {name}:FILE, gives one: {error}"
            )
        }
        _ => format!("{shown}: {error}"),
    })?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_credential_is_found_by_its_name_and_missed_by_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("gate"), "hunter2\nmore").unwrap();
        let directory = Some(folder.path().as_os_str());
        let read = |path: &str, directory| password_in(Path::new(path), directory);
        assert_eq!(read("$CREDENTIALS_DIRECTORY/gate", directory).as_deref(), Ok("hunter2"));
        let plain = folder.path().join("gate");
        assert_eq!(read(plain.to_str().unwrap(), None).as_deref(), Ok("hunter2"));
        let missing = read("$CREDENTIALS_DIRECTORY/yard", directory).unwrap_err();
        assert!(missing.contains("no credential yard; LoadCredential in the unit, yard:FILE"), "{missing}");
        let unset = read("$CREDENTIALS_DIRECTORY/gate", None).unwrap_err();
        assert!(unset.contains("LoadCredential in the unit, gate:FILE"), "{unset}");
    }
}
