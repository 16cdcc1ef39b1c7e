//! Files as valid TOML, and where to say what is wrong with them.

use super::document::Section;
use super::problem::Problem;
use crate::bounds;
use std::cell::RefCell;
use std::path::Path;
use toml::Spanned;
use toml::de::DeTable;

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
        Self::read(Source { file, text, report, is_catalog: false })
    }

    /// As [`Document::parse`], of a file of the catalogue.
    pub(super) fn catalog(file: &'a Path, text: &'a str, report: &'a Report) -> Option<Self> {
        Self::read(Source { file, text, report, is_catalog: true })
    }

    fn read(source: Source<'a>) -> Option<Self> {
        let text = source.text;
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let offset = error.span().map_or(0, |span| span.start);
            source.problem(offset, "syntax", format!("not valid TOML: {}", error.message()));
        }
        errors.is_empty().then_some(Self { source, table })
    }

    /// The top table, in which only `keys` may stand.
    pub(super) fn root(&'a self, keys: &'static [&'static str]) -> Section<'a> {
        Section::open(self.layer(), None, keys, String::new())
    }

    /// The top table over that of a catalogue, which holds what this file does not say.
    pub(super) fn over(
        &'a self,
        catalog: Option<&'a Document<'a>>,
        keys: &'static [&'static str],
    ) -> Section<'a> {
        Section::open(self.layer(), catalog.map(Document::layer), keys, String::new())
    }

    fn layer(&'a self) -> Layer<'a> {
        Layer { source: &self.source, table: Some(self.table.get_ref()), offset: 0 }
    }
}

/// One file's text and where to report about it.
pub(super) struct Source<'a> {
    pub(super) file: &'a Path,
    text: &'a str,
    report: &'a Report,
    pub(super) is_catalog: bool,
}

impl Source<'_> {
    fn place(&self, offset: usize, key: &str, message: String) -> Problem {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        Problem { file: self.file.to_path_buf(), line, key: key.to_owned(), message }
    }

    pub(super) fn problem(&self, offset: usize, key: &str, message: String) {
        if self.report.problems.borrow().len() < bounds::PROBLEMS {
            self.report.problems.borrow_mut().push(self.place(offset, key, message));
        }
    }

    pub(super) fn notice(&self, offset: usize, key: &str, message: String) {
        self.report.notices.borrow_mut().push(self.place(offset, key, message));
    }
}

/// One table as one file writes it.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) table: Option<&'a DeTable<'a>>,
    pub(super) offset: usize,
}
