//! Reads the project's own sources: files, code without comments and literals, code without tests.

use std::path::{Path, PathBuf};

/// A source file.
pub(crate) struct Source {
    /// Relative to the project.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The same text, line for line, with comments and the insides of literals blanked.
    pub(crate) code: String,
    /// As `code`, with what is compiled for tests only blanked too.
    pub(crate) shipped: String,
}

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the project, if it exists yet.
pub(crate) fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(root().join(path)).ok()
}

/// Files below a folder with one of these endings, in order; hidden and built ones left out.
pub(crate) fn files(folder: &str, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(path) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&path) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let built = ["target", "node_modules", "__pycache__"].contains(&name.as_str());
            if path.is_dir() && !built && (!name.starts_with('.') || name == ".ci") {
                open.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(relative(&path));
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root()).unwrap_or(path).to_path_buf();
    path.to_string_lossy().into_owned()
}

/// Every file of `src`.
pub(crate) fn sources() -> Vec<Source> {
    let mut all: Vec<Source> = files("src", &[".rs"])
        .into_iter()
        .map(|path| {
            let text = read(&path).unwrap_or_default();
            let code = blank(&text);
            let shipped = without_tests(&code);
            Source { path, text, code, shipped }
        })
        .collect();
    let test_only: Vec<String> = all.iter().flat_map(test_modules).collect();
    for source in &mut all {
        let file = source.path.as_str();
        if test_only
            .iter()
            .any(|path| file == format!("{path}.rs") || file.starts_with(&format!("{path}/")))
        {
            source.shipped = source.code.lines().map(|_| "\n").collect();
        }
    }
    all
}

/// Paths, without ending, of the modules that a file declares for tests only.
fn test_modules(source: &Source) -> Vec<String> {
    let folder = match source.path.strip_suffix("/mod.rs") {
        Some(folder) => folder.to_owned(),
        None if ["src/lib.rs", "src/main.rs"].contains(&source.path.as_str()) => "src".to_owned(),
        None => source.path.trim_end_matches(".rs").to_owned(),
    };
    let lines: Vec<&str> = source.code.lines().map(str::trim).collect();
    lines
        .windows(2)
        .filter(|pair| pair[0] == "#[cfg(test)]")
        .filter_map(|pair| {
            let name = pair[1].trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
            name.strip_prefix("mod ")?.strip_suffix(';').map(|name| format!("{folder}/{name}"))
        })
        .collect()
}

/// The code with every item under `#[cfg(test)]` blanked.
fn without_tests(code: &str) -> String {
    let mark = "#[cfg(test)]";
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(at) = out[from..].find(mark).map(|at| at + from) {
        let end = item_end(&out, at + mark.len());
        let blanked: String =
            out[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(at..end, &blanked);
        from = at + blanked.len();
    }
    out
}

/// Where the item that begins at `from` ends: past its `;`, or past its block.
fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, c) in code[from..].char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '}' if depth <= 1 => return from + offset + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return from + offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// Replaces comments and the insides of literals by blanks; lines stay where they are.
pub(crate) fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let literal = literal(rest, out.chars().next_back());
        let length = literal.unwrap_or_else(|| rest.chars().next().map_or(1, char::len_utf8));
        let (part, after) = rest.split_at(length);
        if literal.is_some() {
            out.extend(part.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            out.push_str(if part.is_ascii() { part } else { "_" });
        }
        rest = after;
    }
    out
}

/// Length of the comment or literal that `rest` begins with.
fn literal(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let unprefixed = rest.trim_start_matches(['b', 'c']);
    let prefix = rest.len() - unprefixed.len();
    if prefix <= 1 && (prefix == 0 || !in_word) {
        if unprefixed.starts_with('"') {
            return Some(prefix + quoted(unprefixed, '"')?);
        }
        if let Some(raw) = unprefixed.strip_prefix('r').filter(|_| !in_word) {
            let hashes = raw.len() - raw.trim_start_matches('#').len();
            if raw[hashes..].starts_with('"') {
                let close = format!("\"{}", "#".repeat(hashes));
                let body = &raw[hashes + 1..];
                let end = body.find(&close).map_or(body.len(), |at| at + close.len());
                return Some(prefix + 1 + hashes + 1 + end);
            }
        }
    }
    if rest.starts_with('\'') { character(rest) } else { None }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of a literal in quotes, escapes minded.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Length of a character literal; `None` for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.chars().skip(1);
    match (chars.next()?, chars.next()?) {
        ('\\', _) => quoted(rest, '\''),
        (c, '\'') => Some(2 + c.len_utf8()),
        _ => None,
    }
}

/// Functions in a piece of blanked code: name, line (from 1), lines of the body between its braces.
pub(crate) fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = code[from..].find("fn ").map(|at| at + from) {
        from = at + 3;
        if at > 0 && !code[..at].ends_with([' ', '\n', '(']) {
            continue;
        }
        let name: String =
            code[from..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some((open, close)) = body(code, from).filter(|_| !name.is_empty()) else { continue };
        let lines = code[open..close].matches('\n').count().saturating_sub(1);
        found.push((name, 1 + code[..at].matches('\n').count(), lines));
    }
    found
}

/// Span of the block that follows a signature; `None` for a declaration without one.
fn body(code: &str, from: usize) -> Option<(usize, usize)> {
    let mut nested = 0_usize;
    for (offset, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => nested += 1,
            ')' | ']' => nested = nested.saturating_sub(1),
            ';' if nested == 0 => return None,
            '{' if nested == 0 => return Some((from + offset, item_end(code, from + offset))),
            _ => {}
        }
    }
    None
}
