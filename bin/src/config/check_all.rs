//! Checks every value that is given, whatever the command: `config check`.

use super::forms::{check_pace, to_path};
use super::layers::Effective;
use super::problem::{ConfigError, Problem};
use super::reader::Reader;
use super::sources::LakeWait;
use super::{
    ArchiveSettings, AuditSettings, BridgeSettings, CompactSettings, DemoSettings, ExportSettings, GatewaySettings,
    LogSettings, RestoreSettings, StatusSettings, emulate_options, generate_options,
};
use engine::Frontier;

/// Checks every value that is given, whatever the command.
pub fn check_all(effective: &Effective) -> Result<(), ConfigError> {
    let mut problems = of_engine(effective);
    let checks = [
        LogSettings::check(effective).err(),
        DemoSettings::check(effective).err(),
        generate_options(effective).err(),
        emulate_options(effective).err(),
        GatewaySettings::check(effective).err(),
        ArchiveSettings::check(effective).err(),
        BridgeSettings::check(effective).err(),
        CompactSettings::check(effective).err(),
        AuditSettings::check(effective).err(),
        RestoreSettings::check(effective).err(),
        StatusSettings::check(effective).err(),
        ExportSettings::check(effective).err(),
    ];
    let others = checks.into_iter().flatten().flat_map(|error| error.0);
    // what a command would miss is no fault of the configuration
    problems.extend(others.filter(|problem| !problem.at.is_empty()));
    problems.sort_by(|a, b| a.at.cmp(&b.at));
    problems.dedup();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigError(problems))
    }
}

/// What is wrong with the values that `run`, `backfill` and `verify` share, each read once. None of them is required
/// here, so that a problem without a place is one, too: an error in a file of results.
fn of_engine(effective: &Effective) -> Vec<Problem> {
    let mut reader = Reader::new(effective);
    reader.log_options(LakeWait::AsConfigured);
    reader.table_options();
    reader.postgres();
    reader.accept_gaps();
    reader.workers();
    reader.serve();
    reader.whole("serve.ready_lag_records", 0, i64::MAX);
    reader.optional("engine.pace", check_pace);
    reader.optional("backfill.out", to_path);
    reader.optional("backfill.upto", |text| Frontier::read(text.as_ref()));
    reader.optional("backfill.summary", to_path);
    reader.problems
}
