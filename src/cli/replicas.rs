//! `sessiond replicas`: which processes serve from this database, and whether they are alive.

use super::outcome::{Failed, say};
use crate::app::Core;
use crate::service::replicas::{Life, Standing};

/// Lists the processes. Where there may be many, this takes a second, in which each that is alive has beaten.
pub(super) async fn run(core: &Core) -> Result<(), Failed> {
    for Standing { replica, lag, life } in core.service.operator().replicas().await? {
        let life = match life {
            Life::Beating => "beating",
            Life::Silent => "silent",
            Life::Serving => "serving",
        };
        let (id, beat, applied) = (replica.id, replica.beat, replica.applied.0);
        let lag = lag.map_or_else(|| String::from("-"), |lag| lag.to_string());
        say(format_args!("{id}  {life:7}  beat {beat}  applied {applied}  lag {lag}"))?;
    }
    Ok(())
}
