//! The statements in the source of a store.

use std::path::{Path, PathBuf};

/// Every literal of a store's source, of `src/store` and a name, that is a statement.
pub fn statements(store: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut files = rust_files(&folder.join(store));
    files.extend(Some(folder.join(format!("{store}.rs"))).filter(|file| file.exists()));
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).expect("a file");
        for begin in ["\"SELECT ", "\"INSERT ", "\"UPDATE ", "\"DELETE ", "\"WITH "] {
            let literals = text.match_indices(begin).filter_map(|(at, _)| text[at + 1..].split('"').next());
            found.extend(literals.map(str::to_owned));
        }
    }
    assert!(found.len() > 25, "{} statements", found.len());
    for sql in &found {
        assert!(!sql.contains(['{', '\\']), "put together, so not what is checked: {sql}");
    }
    found
}

/// Every source file in a folder.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}
