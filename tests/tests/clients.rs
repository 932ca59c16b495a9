//! The users' Python clients: what they send is what `pinflow emulate` sends, byte for byte.

use anyhow::{Context, Result};
use pinflow_tests::clients::{PythonClient, SCRIPTS};
use pinflow_tests::{MariaDb, Pinflow, ReceivedRequest, Receiver, Reply, Tables, eventually};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// The classic emulator sleeps every other second.
const ROUNDS: usize = 8;

/// Takes everything, and answers JSON, since one of the clients wants to see it.
fn willing() -> Result<Receiver> {
    Receiver::start(Duration::ZERO, |_| Reply::ok("{}"))
}

#[test]
fn the_emulator_sends_what_the_users_scripts_send() -> Result<()> {
    let Some(tables) = Tables::real()? else { return Ok(()) };
    let mariadb = MariaDb::start()?;
    mariadb.load(&tables)?;
    let folder = tempfile::tempdir()?;
    let mut clients = Vec::new();
    for (script, api, dates) in SCRIPTS {
        let receiver = willing()?;
        let url = format!("{}/prod", receiver.url());
        let client = PythonClient::start(script, &url, &mariadb, folder.path())?;
        clients.push((client, receiver, script, api, dates));
    }
    for (client, receiver, script, api, dates) in &mut clients {
        eventually(&format!("{ROUNDS} rounds of {script}"), SOON, || {
            client.check()?;
            Ok(receiver.requests().len() >= 3 * ROUNDS)
        })?;
        client.stop()?;
        let same = willing()?;
        let (to, rounds) = (format!("{}/prod", same.url()), ROUNDS.to_string());
        Pinflow::new("emulate")
            .args([
                "--to",
                &to,
                "--api",
                api,
                "--source",
                &mariadb.url(),
                "--seed",
                "100",
                "--classic",
            ])
            .args(["--rate", "0", "--posts", &rounds, "--dates", dates])
            .succeed(SOON)?;
        let (python, ours) = (receiver.requests(), same.requests());
        assert_eq!(ours.len(), 3 * ROUNDS);
        for (python, ours) in python.iter().zip(&ours) {
            let shown = |asked: &ReceivedRequest| -> Result<(String, String, String, String)> {
                let content_type = asked.headers.get("content-type").context("a type")?;
                let body = String::from_utf8(asked.body.to_vec())?;
                Ok((asked.method.clone(), asked.path.clone(), content_type.clone(), body))
            };
            assert_eq!(shown(python)?, shown(ours)?, "{script}");
        }
    }
    Ok(())
}
