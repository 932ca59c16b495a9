//! `pinflow export`: the cleaned tables of one commit as Parquet files.

use crate::config::ExportSettings;
use crate::exit::Failure;

/// Exports, and says what was written.
#[cfg(feature = "parquet")]
pub fn run(settings: ExportSettings) -> Result<(), Failure> {
    use crate::lake::failed;
    use crate::signals;

    let stop = signals::watch_signals(&signals::STOP, |_, count| {
        if count > 1 {
            std::process::exit(signals::INTERRUPTED);
        }
        tracing::info!("stopping: what was written so far is removed");
    });
    let ExportSettings {
        postgres,
        to,
        to_options,
        part_bytes,
        keep,
    } = settings;
    let options = ::export::Options {
        postgres,
        to,
        to_options,
        part_bytes,
        keep,
    };
    let exported = ::export::run(&options, stop.map_err(failed)?)?;
    crate::output::print(exported)
}

/// What can be said without the code that writes Parquet.
#[cfg(not(feature = "parquet"))]
pub fn run(_: ExportSettings) -> Result<(), Failure> {
    let message = "this pinflow was built without Parquet: build it with `--features parquet` to export";
    Err(crate::config::ConfigError::one(message).into())
}
