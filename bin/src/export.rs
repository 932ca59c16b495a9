//! `pinflow export`: the cleaned tables of one commit as Parquet files.

use crate::config::ExportSettings;
use crate::exit::Failure;

/// Exports, and says what was written.
#[cfg(feature = "parquet")]
pub fn run(settings: ExportSettings) -> Result<(), Failure> {
    use crate::lake::failed;
    use crate::signals;

    let stop = signals::stop("what was written so far is removed").map_err(failed)?;
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
    let exported = ::export::run(&options, stop)?;
    crate::output::print(exported)
}

/// What can be said without the code that writes Parquet.
#[cfg(not(feature = "parquet"))]
pub fn run(_: ExportSettings) -> Result<(), Failure> {
    let message = "this pinflow was built without Parquet: build it with `--features parquet` to export";
    Err(crate::config::ConfigError::one(message).into())
}
