//! Reads TOML tables key by key and reports everything wrong with them, not only the first thing.
//!
//! Derived deserializers stop at the first error and quote the value in it, which may be a secret.
//! Here every message is made of key names and of what would be right, never of what was written.

use super::problem::Problem;
use super::value::Value;
use crate::bounds;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Collects what is wrong (problems) and what is merely worth knowing (notices) over all files.
#[derive(Default)]
pub(super) struct Report {
    pub problems: RefCell<Vec<Problem>>,
    pub notices: RefCell<Vec<Problem>>,
}

/// A file that is valid TOML.
pub(super) struct Document<'a> {
    source: Source<'a>,
    table: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    /// Parses a file's text; `None` after reporting each syntax error.
    pub(super) fn parse(file: &'a Path, text: &'a str, report: &'a Report) -> Option<Self> {
        let source = Source { file, text, report };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let offset = error.span().map_or(0, |span| span.start);
            source.problem(offset, "syntax", format!("not valid TOML: {}", error.message()));
        }
        errors.is_empty().then_some(Self { source, table })
    }

    /// The top table, in which only `keys` may stand.
    pub(super) fn root(&'a self, keys: &'static [&'static str]) -> Section<'a> {
        Section::open(&self.source, Some(self.table.get_ref()), keys, 0, String::new())
    }
}

/// One file's text and where to report about it.
struct Source<'a> {
    file: &'a Path,
    text: &'a str,
    report: &'a Report,
}

impl Source<'_> {
    fn place(&self, offset: usize, key: &str, message: String) -> Problem {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        Problem { file: self.file.to_path_buf(), line, key: key.to_owned(), message }
    }

    fn problem(&self, offset: usize, key: &str, message: String) {
        if self.report.problems.borrow().len() < bounds::PROBLEMS {
            self.report.problems.borrow_mut().push(self.place(offset, key, message));
        }
    }

    fn notice(&self, offset: usize, key: &str, message: String) {
        self.report.notices.borrow_mut().push(self.place(offset, key, message));
    }
}

/// One table of a file. Keys it does not know are reported when it is opened.
pub(super) struct Section<'a> {
    source: &'a Source<'a>,
    table: Option<&'a DeTable<'a>>,
    keys: &'static [&'static str],
    offset: usize,
    path: String,
}

impl<'a> Section<'a> {
    fn open(
        source: &'a Source<'a>,
        table: Option<&'a DeTable<'a>>,
        keys: &'static [&'static str],
        offset: usize,
        path: String,
    ) -> Self {
        let section = Self { source, table, keys, offset, path };
        for (key, _) in table.into_iter().flatten() {
            if !keys.contains(&key.get_ref().as_ref()) {
                let message = format!("unknown key; {}", suggest(key.get_ref(), keys));
                let shown = Some(key.get_ref().as_ref()).filter(|key| is_shown(key, SHOWN_KEY));
                source.problem(key.span().start, &section.join(shown.unwrap_or("?")), message);
            }
        }
        section
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn entry(&self, key: &str) -> Option<(usize, &'a Spanned<DeValue<'a>>)> {
        debug_assert!(self.keys.contains(&key), "{key} is read but not listed");
        let (name, value) = self.table?.iter().find(|(name, _)| name.get_ref() == key)?;
        Some((name.span().start, value))
    }

    fn offset_of(&self, key: &str) -> usize {
        self.entry(key).map_or(self.offset, |(offset, _)| offset)
    }

    /// Reports that `key` is wrong, at its line or, if it is missing, at the table's.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        self.source.problem(self.offset_of(key), &self.join(key), message.into());
    }

    /// Reports what the operator should know about `key` though nothing is wrong with it.
    pub(super) fn notice(&self, key: &str, message: impl Into<String>) {
        self.source.notice(self.offset_of(key), &self.join(key), message.into());
    }

    /// Whether the key is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Number of keys written in the table, known or not.
    pub(super) fn size(&self) -> usize {
        self.table.map_or(0, DeTable::len)
    }

    /// The key's value if it is a string; nothing is reported.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.entry(key).and_then(|(_, value)| value.get_ref().as_str())
    }

    /// The strings of the key's array; nothing is reported.
    pub(super) fn texts(&self, key: &str) -> Vec<&'a str> {
        let array = self.entry(key).and_then(|(_, value)| value.get_ref().as_array());
        array.into_iter().flatten().filter_map(|item| item.get_ref().as_str()).collect()
    }

    /// The key's value; `None` if it is absent, or wrong and reported.
    pub(super) fn get<T: Value>(&self, key: &str) -> Option<T> {
        let (_, value) = self.entry(key)?;
        let read = T::read(value.get_ref());
        if read.is_none() {
            self.problem(key, format!("expected {}", T::EXPECTED));
        }
        read
    }

    /// The key's value, or its default.
    pub(super) fn or<T: Value>(&self, key: &str, default: T) -> T {
        self.get(key).unwrap_or(default)
    }

    /// The key's value; its absence is reported.
    pub(super) fn required<T: Value>(&self, key: &str) -> Option<T> {
        if !self.has(key) {
            self.problem(key, format!("missing; expected {}", T::EXPECTED));
        }
        self.get(key)
    }

    /// A value that must pass `check`, whose error says what would be right.
    pub(super) fn checked<T: Value, U>(
        &self,
        key: &str,
        check: impl FnOnce(T) -> Result<U, String>,
    ) -> Option<U> {
        check(self.get::<T>(key)?).map_err(|message| self.problem(key, message)).ok()
    }

    /// As [`Section::checked`]; absence is reported as `expected`.
    pub(super) fn demanded<T: Value, U>(
        &self,
        key: &str,
        check: impl FnOnce(T) -> Result<U, String>,
    ) -> Option<U> {
        check(self.required::<T>(key)?).map_err(|message| self.problem(key, message)).ok()
    }

    /// One of a closed set of words.
    pub(super) fn choice<T: Copy>(&self, key: &str, words: &[(&'static str, T)]) -> Option<T> {
        self.checked(key, |text: String| {
            let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
            found.ok_or_else(|| {
                let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                suggest(&text, &words)
            })
        })
    }

    /// A table under `key`; an absent one reads as empty.
    pub(super) fn table(&self, key: &str, keys: &'static [&'static str]) -> Self {
        let (offset, table) = match self.entry(key) {
            None => (self.offset, None),
            Some((offset, value)) => {
                let table = value.get_ref().as_table();
                if table.is_none() {
                    self.problem(key, "expected a table");
                }
                (offset, table)
            }
        };
        Self::open(self.source, table, keys, offset, self.join(key))
    }

    /// The tables of an array under `key`; each one's path ends with what the first of
    /// `names` that it has says.
    pub(super) fn tables(
        &self,
        key: &str,
        names: &[&str],
        keys: &'static [&'static str],
    ) -> Vec<Section<'a>> {
        let Some((_, value)) = self.entry(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.problem(key, format!("expected an array of tables: [[{}]]", self.join(key)));
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(array.len());
        for (index, item) in array.iter().enumerate() {
            let Some(table) = item.get_ref().as_table() else {
                let path = format!("{}[{index}]", self.join(key));
                self.source.problem(item.span().start, &path, "expected a table".to_owned());
                continue;
            };
            let named = names.iter().find_map(|name| table.get(*name)?.get_ref().as_str());
            let path = match named.filter(|text| is_shown(text, bounds::SLUG_BYTES)) {
                Some(text) => format!("{}.{text}", self.join(key)),
                None => format!("{}[{index}]", self.join(key)),
            };
            sections.push(Self::open(self.source, Some(table), keys, item.span().start, path));
        }
        sections
    }

    /// A relative path counts from the directory of the file that names it.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.source.file.parent().unwrap_or(Path::new("")).join(path)
    }
}

/// Longest unknown key that is repeated, bytes. Keys of providers and of Weir are longer, so that one
/// pasted where a key of the table belongs is not shown.
const SHOWN_KEY: usize = 24;

/// Whether something written may be repeated in a path: it looks like a name and is short.
fn is_shown(text: &str, longest: usize) -> bool {
    text.len() <= longest && super::value::is_name(text)
}

/// What was probably meant, out of `known`; never repeats what was written.
pub(super) fn suggest(written: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|word| (strsim::damerau_levenshtein(written, word), *word))
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1))
        .min();
    match near {
        Some((_, word)) => format!("did you mean \"{word}\"?"),
        None if known.len() <= 24 => format!("expected one of: {}", known.join(", ")),
        None => "nothing of that name is configured".to_owned(),
    }
}
