//! `sessiond user import` and `sessiond user export`: users from elsewhere, and all of them in a file.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, IsTerminal as _, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::outcome::{Failed, note, printed, say};
use crate::app::Core;
use crate::import::{Format, MOST_BYTES, Read, read, read_medama, shown};
use crate::service::transfer::{ImportRules, Imported};

#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The file, or - for standard input
    file: PathBuf,
    /// What it is written in
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Source,
    /// Make those administrators whom the file calls so
    #[arg(long)]
    allow_admins: bool,
    /// Take over the others where some users cannot be taken over
    #[arg(long)]
    skip_bad: bool,
    /// Take over users with a second factor without it: their password alone will be enough
    #[arg(long)]
    drop_second_factors: bool,
    /// Change nothing, and say what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Source {
    /// JSON Lines, as `sessiond user export` writes them
    Jsonl,
    /// The file of htpasswd
    Htpasswd,
    /// mongoexport of Rocket.Chat's users
    Rocketchat,
    /// The SQLite database of Medama
    Medama,
    /// dumpdata of Django's users
    Django,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The file to write, which must not be there yet [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the secrets of second factors too, in clear: whoever reads the file can make their codes
    #[arg(long)]
    second_factors: bool,
}

/// Takes users over, and says who could not be.
pub(super) async fn import(args: ImportArgs, core: &Core) -> Result<(), Failed> {
    let ImportArgs { file, format, allow_admins, skip_bad, drop_second_factors, dry_run } = args;
    let users = read_users(&file, format).await?;
    let rules = ImportRules { allow_admins, skip_bad, drop_second_factors, dry_run };
    let Imported { users, refused, notes } = core.service.operator().import(users, rules).await?;
    say(format_args!("{} {users}", if dry_run { "would import" } else { "imported" }))?;
    refused.iter().try_for_each(say)?;
    notes.iter().for_each(note);
    match refused.len() {
        0 => Ok(()),
        bad if skip_bad => Err(Failed::Sentence(format!("{bad} users were not taken over"))),
        bad => Err(Failed::Sentence(format!(
            "{bad} users cannot be taken over, so none was: mend the file, or take over the others by --skip-bad"
        ))),
    }
}

async fn read_users(file: &Path, format: Source) -> Result<Read, Failed> {
    let format = match format {
        Source::Jsonl => Format::Jsonl,
        Source::Htpasswd => Format::Htpasswd,
        Source::Rocketchat => Format::RocketChat,
        Source::Django => Format::Django,
        Source::Medama if file == Path::new("-") => {
            return Err(Failed::Sentence(String::from("Medama's users are in a database: name its file")));
        }
        Source::Medama => return read_medama(file).await.map_err(Failed::Sentence),
    };
    read(format, &contents(file)?).map_err(Failed::Sentence)
}

/// What is in a file, up to a byte more than may be.
fn contents(file: &Path) -> Result<Vec<u8>, Failed> {
    let mut contents = Vec::new();
    let most = u64::try_from(MOST_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    if file == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut contents)?;
    } else {
        let failed = |error: io::Error| Failed::Sentence(format!("cannot read {}: {error}", file.display()));
        let opened = std::fs::File::open(file).map_err(failed)?;
        opened.take(most).read_to_end(&mut contents).map_err(failed)?;
    }
    Ok(contents)
}

/// Writes every user with their hash.
pub(super) async fn export(ExportArgs { output, second_factors }: ExportArgs, core: &Core) -> Result<(), Failed> {
    if output.is_none() && io::stdout().is_terminal() {
        let sentence = "the hashes of passwords do not belong on a terminal: name a file by --output";
        return Err(Failed::Sentence(sentence.into()));
    }
    let exported = core.service.operator().export(second_factors).await?;
    match output {
        None => printed(write_lines(io::stdout().lock(), &exported.lines))?,
        Some(path) => {
            let failed = |error: io::Error| Failed::Sentence(format!("cannot write {}: {error}", path.display()));
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
            write_lines(&file, &exported.lines).and_then(|()| file.sync_all()).map_err(failed)?;
            say(format_args!("exported {} users to {}", exported.lines.len(), path.display()))?;
        }
    }
    for username in exported.without_hash {
        let username = shown(&username);
        note(format_args!("{username} was exported without a password: theirs expires, or cannot be checked"));
    }
    let with = exported.second_factors;
    if with > 0 {
        let sentence = if second_factors {
            format!("the second factors of {with} users were exported, and no recovery codes, which are kept as hashes")
        } else {
            format!(
                "the second factors of {with} users were left out: imported from there, they log in with their password \
                 alone (--second-factors writes the secrets too)"
            )
        };
        note(sentence);
    }
    Ok(())
}

fn write_lines(to: impl Write, lines: &[String]) -> io::Result<()> {
    let mut to = BufWriter::new(to);
    for line in lines {
        writeln!(to, "{line}")?;
    }
    to.flush()
}
