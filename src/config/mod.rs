//! Configuration: files become checked structs, or a full list of what is wrong and how to mend it.
//!
//! A directory holds `weir.toml`, `providers.toml`, `models.toml` and `keys.toml`; rules are in a
//! directory that `weir.toml` names, and so is a catalogue, whose providers and models they override key
//! by key. [`load`] reads them all and reports every problem of every file
//! at once. It never changes anything: a reload that fails leaves no trace (design, invariant 1).

mod choosing;
mod document;
mod endpoints;
mod kept;
mod keys;
mod limits;
mod listen;
mod models;
mod policy;
mod prices;
pub mod problem;
mod providers;
mod secret;
mod settings;
mod source;
mod value;

pub use limits::Limits;
pub use listen::{Address, Admin, Listener};
pub use secret::{Environment, connection_string};
pub use settings::{DATABASE, LedgerPlace, LedgerSettings, LogFormat, STATE, Settings};
pub(crate) use value::{json, slug, title};

use crate::access::Keys;
use crate::bounds;
use crate::catalog::Catalog;
use crate::rules::{Mention, Rules};
use document::Section;
use problem::Problem;
use providers::State;
use source::{Document, Report};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The files of a configuration directory, in the order problems are reported.
pub const FILES: [&str; 4] = ["weir.toml", "providers.toml", "models.toml", "keys.toml"];
/// The files of a catalogue directory, over which those of the same names lie.
const CATALOG_FILES: [&str; 2] = ["providers.toml", "models.toml"];

/// A configuration without a problem.
#[derive(Debug)]
pub struct Loaded {
    pub settings: Settings,
    pub catalog: Catalog,
    pub keys: Keys,
    pub rules: Rules,
    /// What the operator should know though nothing is wrong: secrets that are not on this host.
    pub notices: Vec<Problem>,
}

/// Loads a configuration directory, with secrets and directories from the process's environment.
///
/// # Errors
/// Every problem of every file, in the order of files and lines.
pub fn load(directory: &Path) -> Result<Loaded, Vec<Problem>> {
    load_with(directory, &|name| std::env::var_os(name))
}

/// As [`load`], with another environment.
///
/// # Errors
/// As [`load`].
pub fn load_with(directory: &Path, environment: Environment<'_>) -> Result<Loaded, Vec<Problem>> {
    let report = Report::default();
    let loaded = read(directory, environment, &report);
    let (mut problems, notices) = (report.problems.into_inner(), report.notices.into_inner());
    let rank = |problem: &Problem| {
        let name = problem.file.file_name().unwrap_or_default();
        FILES.iter().position(|file| *file == name).unwrap_or(FILES.len())
    };
    problems.sort_by(|a, b| (rank(a), &a.file, a.line).cmp(&(rank(b), &b.file, b.line)));
    match loaded {
        Some(loaded) if problems.is_empty() => Ok(Loaded { notices, ..loaded }),
        _ => Err(problems),
    }
}

/// Where the ledger of a configuration directory is: reads `weir.toml`, and of all secrets at most the one
/// that leads to PostgreSQL.
///
/// # Errors
/// Every problem of what is read.
pub fn ledger_place(
    directory: &Path,
    with_postgres: bool,
    environment: Environment<'_>,
) -> Result<LedgerPlace, Vec<Problem>> {
    let report = Report::default();
    let path = directory.join("weir.toml");
    let text = text(&path, &report);
    let file = text.as_deref().and_then(|text| Document::parse(&path, text, &report));
    let place = file
        .as_ref()
        .map(|file| settings::ledger_place(&file.root(settings::KEYS), with_postgres, environment));
    let problems = report.problems.into_inner();
    place.filter(|_| problems.is_empty()).ok_or(problems)
}

/// Loads the catalogue in `directory` alone, as it would serve with every credential there.
///
/// # Errors
/// Every problem of its files.
pub fn load_catalog(directory: &Path) -> Result<Catalog, Vec<Problem>> {
    let report = Report::default();
    let paths = CATALOG_FILES.map(|name| directory.join(name));
    let texts = paths.each_ref().map(|path| text(path, &report));
    let [providers, models] = documents(&paths, &texts, &report, Document::parse);
    let present = |_: &str| Some(OsString::from("present"));
    let providers = providers.map(|file| providers::read(&file.root(providers::ROOT), &present));
    let models =
        models.as_ref().map(|file| models::read(&file.root(models::ROOT), providers.as_ref()));
    let catalog = providers.zip(models).map(|(providers, models)| assemble(providers, models));
    let problems = report.problems.into_inner();
    catalog.filter(|_| problems.is_empty()).ok_or(problems)
}

/// The files that could be read, as TOML.
fn documents<'a, const N: usize>(
    paths: &'a [PathBuf; N],
    texts: &'a [Option<String>; N],
    report: &'a Report,
    parse: impl Fn(&'a Path, &'a str, &'a Report) -> Option<Document<'a>>,
) -> [Option<Document<'a>>; N] {
    std::array::from_fn(|index| {
        let (path, text) = (paths.get(index)?, texts.get(index)?.as_deref()?);
        parse(path, text, report)
    })
}

/// Reads every file as far as it goes. `None` only with a problem reported.
fn read(directory: &Path, environment: Environment<'_>, report: &Report) -> Option<Loaded> {
    if !directory.is_dir() {
        let (file, key) = (directory.to_path_buf(), "directory".to_owned());
        let message = format!("is none; it should hold {}", FILES.join(", "));
        report.problems.borrow_mut().push(Problem { file, line: 0, key, message });
        return None;
    }
    let paths = FILES.map(|name| directory.join(name));
    let texts = paths.each_ref().map(|path| text(path, report));
    let [weir, providers, models, keys] = documents(&paths, &texts, report, Document::parse);
    let weir = weir.as_ref().map(|file| file.root(settings::KEYS));
    let below = weir.as_ref().and_then(|root| Some(root.resolve(&root.get::<PathBuf>("catalog")?)));
    let paths = below.as_ref().map(|below| CATALOG_FILES.map(|name| below.join(name)));
    let texts = paths.as_ref().map(|paths| paths.each_ref().map(|path| text(path, report)));
    let below = paths.as_ref().zip(texts.as_ref());
    let catalog = below.map(|(paths, texts)| documents(paths, texts, report, Document::catalog));
    let [base_providers, base_models] =
        catalog.as_ref().map_or([None, None], |documents| documents.each_ref().map(Option::as_ref));
    // Where the catalogue cannot be read, what would lie over it says nothing.
    let whole = catalog.as_ref().is_none_or(|documents| documents.iter().all(Option::is_some));
    let (providers, models) =
        (providers.as_ref().filter(|_| whole), models.as_ref().filter(|_| whole));
    let providers = providers
        .map(|file| providers::read(&file.over(base_providers, providers::ROOT), environment));
    let models =
        models.map(|file| models::read(&file.over(base_models, models::ROOT), providers.as_ref()));
    // Names in constraints are only judged when all names are known.
    let known = models.as_ref().and_then(|models| models.known.as_deref());
    let known: Option<Vec<&str>> = known.map(|names| names.iter().map(String::as_str).collect());
    let weir = weir
        .as_ref()
        .map(|root| (settings::read(root, known.as_deref(), environment), rules(root, report)));
    let deployment = weir.as_ref().map(|(settings, _)| settings.constraint.clone());
    let deployment = deployment.unwrap_or_default();
    let keys =
        keys.as_ref().map(|file| keys::read(&file.root(keys::ROOT), known.as_deref(), &deployment));
    let (settings, rules) = weir?;
    if let (Some(rules), Some(models), Some(known)) = (&rules, &models, &known) {
        check_mentions(rules, models, known, report);
    }
    let catalog = assemble(providers?, models?);
    Some(Loaded { settings, catalog, keys: keys?, rules: rules?, notices: Vec::new() })
}

/// What was read, as one catalogue of what can serve.
fn assemble(providers: BTreeMap<String, State>, models: models::Read) -> Catalog {
    let live = providers.into_values().filter_map(|state| match state {
        State::Live(provider) => Some(provider),
        State::Dormant(_) | State::Wrong => None,
    });
    let mut catalog = Catalog::new(live.collect(), models.models, models.dormant);
    catalog.routers = models.routers;
    catalog.presets = models.presets;
    catalog
}

/// Rules may only rely on models and providers that are configured.
fn check_mentions(rules: &Rules, models: &models::Read, known: &[&str], report: &Report) {
    let unknown = |mention: Mention<'_>, what: &str| Problem {
        file: mention.file.to_owned(),
        line: mention.line,
        key: mention.key,
        message: format!("names no configured {what}"),
    };
    let renames = rules.model_names().filter(|mention| !models.names.contains(mention.name));
    let strangers = rules
        .provider_names()
        .filter(|mention| !known.iter().any(|name| name.eq_ignore_ascii_case(mention.name)));
    let problems = renames.map(|mention| unknown(mention, "model"));
    let problems = problems.chain(strangers.map(|mention| unknown(mention, "provider")));
    report.problems.borrow_mut().extend(problems);
}

/// Compiles the `.toml` files of the rules' directory in the order of their names.
fn rules(root: &Section<'_>, report: &Report) -> Option<Rules> {
    let Some(directory) = root.get::<PathBuf>("rules").map(|path| root.resolve(&path)) else {
        return (!root.has("rules")).then(Rules::default);
    };
    let entries = std::fs::read_dir(&directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>());
    let mut files: Vec<PathBuf> = match entries {
        Ok(files) => files,
        Err(error) => {
            root.problem("rules", format!("the directory cannot be read: {error}"));
            return None;
        }
    };
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort_unstable();
    let count = files.len();
    let sources: Vec<_> =
        files.into_iter().filter_map(|file| text(&file, report).map(|text| (file, text))).collect();
    match Rules::compile(&sources) {
        Ok(rules) => (sources.len() == count).then_some(rules),
        Err(mut problems) => {
            report.problems.borrow_mut().append(&mut problems);
            None
        }
    }
}

/// A file's text; `None` after reporting why it cannot be had.
fn text(path: &Path, report: &Report) -> Option<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(bounds::CONFIG_BYTES + 1).read_to_string(&mut text));
    let message = match read {
        Ok(size) if size as u64 <= bounds::CONFIG_BYTES => return Some(text),
        Ok(_) => format!("is larger than {} bytes", bounds::CONFIG_BYTES),
        Err(error) => format!("cannot be read: {error}"),
    };
    let key = "file".to_owned();
    report.problems.borrow_mut().push(Problem { file: path.to_path_buf(), line: 0, key, message });
    None
}

#[cfg(test)]
mod overlay_tests;
#[cfg(test)]
mod tests;
