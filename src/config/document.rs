//! Reads TOML tables key by key and reports everything wrong with them, not only the first thing.
//!
//! Derived deserializers stop at the first error and quote the value in it, which may be a secret.
//! Here every message is made of key names and of what would be right, never of what was written.

use super::source::{Layer, Source};
use super::value::Value;
use crate::bounds;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One table of a file, perhaps over one of the catalogue. Keys it does not know are reported when it is
/// opened.
pub(super) struct Section<'a> {
    own: Layer<'a>,
    /// What holds for keys that `own` does not have.
    base: Option<Layer<'a>>,
    keys: &'static [&'static str],
    path: String,
}

/// A key where it is written, and its value.
struct Entry<'a> {
    source: &'a Source<'a>,
    offset: usize,
    value: &'a Spanned<DeValue<'a>>,
}

/// One table of an array.
struct Item<'a> {
    layer: Layer<'a>,
    /// What the first of its naming keys says.
    name: Option<&'a str>,
    index: usize,
}

impl<'a> Section<'a> {
    pub(super) fn open(
        own: Layer<'a>,
        base: Option<Layer<'a>>,
        keys: &'static [&'static str],
        path: String,
    ) -> Self {
        let section = Self { own, base, keys, path };
        for layer in [Some(own), base].into_iter().flatten() {
            for (key, _) in layer.table.into_iter().flatten() {
                if !keys.contains(&key.get_ref().as_ref()) {
                    let message = format!("unknown key; {}", suggest(key.get_ref(), keys));
                    let shown = Some(key.get_ref().as_ref()).filter(|key| is_shown(key, SHOWN_KEY));
                    let path = section.join(shown.unwrap_or("?"));
                    layer.source.problem(key.span().start, &path, message);
                }
            }
        }
        section
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn entry(&self, key: &str) -> Option<Entry<'a>> {
        debug_assert!(self.keys.contains(&key), "{key} is read but not listed");
        [Some(self.own), self.base].into_iter().flatten().find_map(|layer| {
            let (name, value) = layer.table?.iter().find(|(name, _)| name.get_ref() == key)?;
            Some(Entry { source: layer.source, offset: name.span().start, value })
        })
    }

    /// Where `key` is written or, if it is missing, the table.
    fn place(&self, key: &str) -> (&'a Source<'a>, usize) {
        let written = self.entry(key).map(|entry| (entry.source, entry.offset));
        written.unwrap_or((self.own.source, self.own.offset))
    }

    /// Reports that `key` is wrong, at its line or, if it is missing, at the table's.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        let (source, offset) = self.place(key);
        source.problem(offset, &self.join(key), message.into());
    }

    /// Reports what the operator should know about `key` though nothing is wrong with it.
    pub(super) fn notice(&self, key: &str, message: impl Into<String>) {
        let (source, offset) = self.place(key);
        source.notice(offset, &self.join(key), message.into());
    }

    /// Whether `key` is the catalogue's word and not the operator's.
    pub(super) fn is_catalogued(&self, key: &str) -> bool {
        self.place(key).0.is_catalog
    }

    /// Whether the key is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether the key's value is an array.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.entry(key).is_some_and(|entry| entry.value.get_ref().is_array())
    }

    /// Number of keys written in the table, known or not.
    pub(super) fn size(&self) -> usize {
        self.own.table.map_or(0, DeTable::len)
    }

    /// The key's value if it is a string; nothing is reported.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.entry(key).and_then(|entry| entry.value.get_ref().as_str())
    }

    /// The strings of the key's array; nothing is reported.
    pub(super) fn texts(&self, key: &str) -> Vec<&'a str> {
        let array = self.entry(key).and_then(|entry| entry.value.get_ref().as_array());
        array.into_iter().flatten().filter_map(|item| item.get_ref().as_str()).collect()
    }

    /// The key's value; `None` if it is absent, or wrong and reported.
    pub(super) fn get<T: Value>(&self, key: &str) -> Option<T> {
        let read = T::read(self.entry(key)?.value.get_ref());
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

    /// A table under `key`; an absent one reads as empty. A catalogue's is replaced as a whole.
    pub(super) fn table(&self, key: &str, keys: &'static [&'static str]) -> Self {
        let layer = match self.entry(key) {
            None => Layer { table: None, ..self.own },
            Some(Entry { source, offset, value }) => {
                let table = value.get_ref().as_table();
                if table.is_none() {
                    self.problem(key, "expected a table");
                }
                Layer { source, table, offset }
            }
        };
        Self::open(layer, None, keys, self.join(key))
    }

    /// The tables of an array under `key`; each one's path ends with what the first of
    /// `names` that it has says. A catalogue's array is replaced as a whole.
    pub(super) fn tables(
        &self,
        key: &str,
        names: &[&str],
        keys: &'static [&'static str],
    ) -> Vec<Section<'a>> {
        let written = self.entry(key).into_iter().flat_map(|entry| self.items(&entry, key, names));
        written.map(|item| self.item(key, &item, None, keys)).collect()
    }

    /// As [`Section::tables`], but a table is put over the catalogue's of the same name, and the others
    /// of the catalogue follow.
    pub(super) fn merged(
        &self,
        key: &str,
        names: &[&str],
        keys: &'static [&'static str],
    ) -> Vec<Section<'a>> {
        let of = |layer| {
            let single = Section { own: layer, base: None, path: self.path.clone(), ..*self };
            single.entry(key).map(|entry| self.items(&entry, key, names)).unwrap_or_default()
        };
        let mut below: Vec<_> =
            self.base.map(of).unwrap_or_default().into_iter().map(Some).collect();
        let named = |(place, item): (usize, &Option<Item<'a>>)| Some((item.as_ref()?.name?, place));
        let mut places: HashMap<&str, usize> = below.iter().enumerate().filter_map(named).collect();
        let mut sections = Vec::with_capacity(below.len());
        for item in of(self.own) {
            let place = item.name.and_then(|name| places.remove(name));
            let base = place.and_then(|place| below.get_mut(place)?.take());
            sections.push(self.item(key, &item, base.map(|item| item.layer), keys));
        }
        sections.extend(below.iter().flatten().map(|item| self.item(key, item, None, keys)));
        sections
    }

    /// The tables of an array, after reporting what else is in it.
    fn items(&self, entry: &Entry<'a>, key: &str, names: &[&str]) -> Vec<Item<'a>> {
        let source = entry.source;
        let Some(array) = entry.value.get_ref().as_array() else {
            let message = format!("expected an array of tables: [[{}]]", self.join(key));
            source.problem(entry.offset, &self.join(key), message);
            return Vec::new();
        };
        let mut items = Vec::with_capacity(array.len());
        for (index, item) in array.iter().enumerate() {
            let offset = item.span().start;
            let Some(table) = item.get_ref().as_table() else {
                let path = format!("{}[{index}]", self.join(key));
                source.problem(offset, &path, "expected a table".to_owned());
                continue;
            };
            let name = names.iter().find_map(|name| table.get(*name)?.get_ref().as_str());
            items.push(Item { layer: Layer { source, table: Some(table), offset }, name, index });
        }
        items
    }

    fn item(
        &self,
        key: &str,
        item: &Item<'a>,
        base: Option<Layer<'a>>,
        keys: &'static [&'static str],
    ) -> Section<'a> {
        let path = match item.name.filter(|text| is_shown(text, bounds::SLUG_BYTES)) {
            Some(text) => format!("{}.{text}", self.join(key)),
            None => format!("{}[{}]", self.join(key), item.index),
        };
        Self::open(item.layer, base, keys, path)
    }

    /// A relative path counts from the directory of the file that names it.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.own.source.file.parent().unwrap_or(Path::new("")).join(path)
    }
}

/// Longest unknown key that is repeated, bytes. Keys of providers and of Weir are longer, so that one
/// pasted where a key of the table belongs is not shown.
const SHOWN_KEY: usize = 24;

/// Whether something written may be repeated in a path: it looks like a name and is short.
fn is_shown(text: &str, longest: usize) -> bool {
    text.len() <= longest && super::value::is_name(text)
}

/// What was probably meant, out of `known`; never repeats what was written, nor a key that was pasted where a
/// name belongs.
pub(super) fn suggest(written: &str, known: &[&str]) -> String {
    let known: Vec<&str> = known.iter().copied().filter(|word| !word.contains("sk-")).collect();
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
