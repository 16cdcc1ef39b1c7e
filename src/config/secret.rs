//! Secrets by reference: a file, an environment variable or a systemd credential; never a literal.

use super::document::Section;
use crate::bounds;
use secrecy::SecretString;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Looks up an environment variable; a parameter so that tests need not change the process's own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What a reference came to.
pub(super) enum Resolved {
    Found {
        secret: SecretString,
        /// The reference as it is written: `env NAME`.
        source: String,
    },
    /// The reference is sound but nothing is behind it on this host; says where it looked.
    Absent(String),
    /// Wrong, and reported.
    Wrong,
}

pub(super) const KEYS: &[&str] = &["file", "env", "credential"];
pub(super) const FORMS: &str =
    "{ file = \"/path\" }, { env = \"NAME\" } or { credential = \"name\" }";

/// Resolves the reference under `key`. `None` if the key is absent.
pub(super) fn read(
    section: &Section<'_>,
    key: &str,
    environment: Environment<'_>,
) -> Option<Resolved> {
    if !section.has(key) {
        return None;
    }
    if section.text(key).is_some() {
        let message = format!("a secret is not written here but referred to: {FORMS}");
        section.problem(key, message);
        return Some(Resolved::Wrong);
    }
    let reference = section.table(key, KEYS);
    let given: Vec<&str> = KEYS.iter().copied().filter(|form| reference.has(form)).collect();
    let [form] = given.as_slice() else {
        // A reference whose only key is unknown has been reported as that.
        if reference.size() == given.len() {
            section.problem(key, format!("expected exactly one of {FORMS}"));
        }
        return Some(Resolved::Wrong);
    };
    let resolved = match *form {
        "env" => variable(&reference, environment),
        "file" => {
            let path = reference.get::<PathBuf>("file");
            path.map(|path| file(&reference, "file", &reference.resolve(&path)))
        }
        _ => credential(&reference, environment),
    };
    Some(resolved.unwrap_or(Resolved::Wrong))
}

fn variable(reference: &Section<'_>, environment: Environment<'_>) -> Option<Resolved> {
    let name: String = reference.get("env")?;
    let is_plain = |b: u8| b == b'_' || b.is_ascii_uppercase() || b.is_ascii_digit();
    if name.is_empty() || name.len() > bounds::SLUG_BYTES || !name.bytes().all(is_plain) {
        reference.problem("env", "expected the name of a variable: A-Z 0-9 and _");
        return None;
    }
    let Some(value) = environment(&name).filter(|value| !value.is_empty()) else {
        return Some(Resolved::Absent(format!("environment variable {name} is not set")));
    };
    let text = Zeroizing::new(value.into_encoded_bytes());
    usable(&text).map_or_else(
        |message| {
            reference.problem("env", message);
            None
        },
        |secret| Some(Resolved::Found { secret, source: format!("env {name}") }),
    )
}

fn credential(reference: &Section<'_>, environment: Environment<'_>) -> Option<Resolved> {
    let name = reference.checked("credential", super::value::slug)?;
    if name.starts_with('.') {
        reference.problem("credential", "expected a file name of LoadCredential=");
        return None;
    }
    match environment("CREDENTIALS_DIRECTORY") {
        None => Some(Resolved::Absent("systemd loads no credentials here".to_owned())),
        Some(directory) => Some(file(reference, "credential", &Path::new(&directory).join(name))),
    }
}

/// The connection string in a file that only its owner and group may read.
///
/// # Errors
/// Why it cannot be used, without any of its content.
pub fn connection_string(path: &Path) -> Result<SecretString, String> {
    let bytes = private_file(path)?.ok_or("there is no such file")?;
    usable(&bytes)
}

fn file(reference: &Section<'_>, key: &str, path: &Path) -> Resolved {
    let secret = match private_file(path) {
        Ok(None) => return Resolved::Absent(ABSENT.to_owned()),
        Ok(Some(bytes)) => usable(&bytes),
        Err(message) => Err(message),
    };
    secret.map_or_else(
        |message| {
            reference.problem(key, message);
            Resolved::Wrong
        },
        |secret| {
            let source = format!("{key} {}", reference.text(key).unwrap_or_default());
            Resolved::Found { secret, source }
        },
    )
}

/// What is said of a file that is not there. Its path is not: it could be a secret put in the wrong
/// place, and the line is named anyway.
pub(super) const ABSENT: &str =
    "there is no such file; a relative path counts from this file's directory";

/// Reads a file that only its owner and group may read (S25). `None` if it does not exist.
///
/// # Errors
/// Why it cannot be used, without any of its content.
pub(super) fn private_file(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let wrong = |error: std::io::Error| format!("the file cannot be read: {error}");
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error)),
    };
    if !metadata.is_file() {
        return Err("this is not a regular file".to_owned());
    }
    if metadata.permissions().mode() & 0o007 != 0 {
        return Err("the file is open to everyone; chmod 0400 it".to_owned());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len().min(1 << 20) as usize));
    let file = std::fs::File::open(path).map_err(wrong)?;
    file.take(bounds::CONFIG_BYTES).read_to_end(&mut bytes).map_err(wrong)?;
    Ok(Some(bytes))
}

/// The secret without the line end an editor leaves. It must be able to stand in a header.
fn usable(bytes: &[u8]) -> Result<SecretString, String> {
    let text = std::str::from_utf8(bytes).map_or("\0", str::trim_ascii);
    match text.len() {
        0 => Err("the secret is empty".to_owned()),
        _ if text.len() as u64 > bounds::SECRET_BYTES => {
            Err(format!("the secret is longer than {} bytes", bounds::SECRET_BYTES))
        }
        _ if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(SecretString::from(text)),
        _ => Err("the secret holds a blank, control or non-ASCII character".to_owned()),
    }
}
