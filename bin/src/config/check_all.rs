//! Checks every value that is given, whatever the command: `config check`.

use super::layers::Effective;
use super::problem::{ConfigError, Problem};
use super::{
    ArchiveSettings, AuditSettings, BackfillSettings, CompactSettings, DemoSettings, GatewaySettings, LogSettings,
    PlanSettings, RunSettings, VerifySettings, emulate_options, generate_options,
};

/// Checks every value that is given, whatever the command.
pub fn check_all(effective: &Effective) -> Result<(), ConfigError> {
    let checks: [Option<ConfigError>; 12] = [
        LogSettings::check(effective).err(),
        RunSettings::check(effective).err(),
        BackfillSettings::check(effective).err(),
        VerifySettings::check(effective).err(),
        PlanSettings::check(effective).err(),
        DemoSettings::check(effective).err(),
        generate_options(effective).err(),
        emulate_options(effective).err(),
        GatewaySettings::check(effective).err(),
        ArchiveSettings::check(effective).err(),
        CompactSettings::check(effective).err(),
        AuditSettings::check(effective).err(),
    ];
    let problems = checks.into_iter().flatten().flat_map(|error| error.0);
    // what a command would miss is no fault of the configuration
    let mut problems: Vec<Problem> = problems.filter(|problem| !problem.at.is_empty()).collect();
    problems.sort_by(|a, b| a.at.cmp(&b.at));
    problems.dedup();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigError(problems))
    }
}
