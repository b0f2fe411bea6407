//! `docs/settings.md` lists the settings that there are, in the words of `sessiond --help`.

use crate::harness::StoreKind;
use crate::harness::process::Home;

const DOCUMENT: &str = include_str!("../docs/settings.md");

#[tokio::test]
async fn the_documentation_lists_every_setting_as_the_help_does() {
    let help = Home::new(StoreKind::Sqlite).run(&["--help"]).await;
    let mut lines = help.out.lines().map(str::trim);
    let mut settings = Vec::new();
    while let Some(line) = lines.next() {
        // The flag has a line of its own, and the words are on the next one.
        let Some(flag) =
            line.strip_prefix("--").filter(|_| line.ends_with('>')).and_then(|flag| flag.split(' ').next())
        else {
            continue;
        };
        let words = lines.next().and_then(|words| words.split(" [env: ").next()).expect("words");
        let (words, default) = words.split_once(" [default: ").unwrap_or((words, "]"));
        let default = default.strip_suffix(']').expect("a bracket");
        settings.push(format!("| `{}` | {default} | {words} |", flag.replace('-', "_")));
    }
    assert!(settings.len() > 40, "{}", help.out);
    let rows: Vec<_> = DOCUMENT.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(rows, settings);
}
