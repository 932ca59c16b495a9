//! `pinflow gateway`: the front door, told what a pin, a place and a person look like.

use crate::config::GatewaySettings;
use crate::{metrics, open_files, signals};
use anyhow::Context;
use engine::KINDS;
use gateway::{Ended, Field, FieldType, Gateway, GatewayConfig, Stop, Stream};
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc;

use FieldType::{Number, Text, Whole};

/// The fields of each kind, in the order in which they are echoed; the first producers sent no `poster_name`.
const FIELDS: [&[(&str, FieldType, bool)]; 3] = [
    &[
        ("category", Text, true),
        ("index", Whole, true),
        ("unique_id", Text, true),
        ("title", Text, true),
        ("description", Text, true),
        ("poster_name", Text, false),
        ("follower_count", Text, true),
        ("tag_list", Text, true),
        ("is_image_or_video", Text, true),
        ("image_src", Text, true),
        ("downloaded", Whole, true),
        ("save_location", Text, true),
    ],
    &[
        ("ind", Whole, true),
        ("timestamp", Text, false),
        ("latitude", Number, false),
        ("longitude", Number, false),
        ("country", Text, false),
    ],
    &[
        ("ind", Whole, true),
        ("first_name", Text, false),
        ("last_name", Text, false),
        ("age", Whole, false),
        ("date_joined", Text, false),
    ],
];

/// The kinds of records, each with its topic.
pub fn streams(topics: [Option<String>; 3]) -> Vec<Stream> {
    let streams = KINDS.iter().zip(topics).zip(FIELDS);
    let streams = streams.map(|((name, topic), fields)| {
        let field = |(name, ty, required): &(&str, FieldType, bool)| Field {
            name: (*name).to_owned(),
            ty: *ty,
            required: *required,
        };
        Stream {
            name: (*name).to_owned(),
            topic,
            fields: fields.iter().map(field).collect(),
        }
    });
    streams.collect()
}

/// The names of the field that makes a record's key.
pub fn key_fields() -> Vec<String> {
    vec!["ind".to_owned(), "index".to_owned()]
}

/// The gateway's own form of these settings.
pub fn config(settings: GatewaySettings) -> GatewayConfig {
    GatewayConfig {
        streams: streams(settings.topics),
        key_fields: key_fields(),
        listen: settings.listen,
        kafka: settings.kafka.clone(),
        prefixes: settings.prefixes,
        hosts: settings.hosts,
        region: settings.region,
        aliases: settings.aliases,
        pins: settings.pins,
        strict_topics: settings.strict_topics,
        create_topics: settings.create_topics,
        delete_topics: settings.delete_topics,
        new_partitions: settings.new_partitions,
        limits: settings.limits,
        tokens: settings.tokens,
        tls: settings.tls,
        access_log: settings.access_log,
        version: env!("CARGO_PKG_VERSION"),
        process_metrics: metrics::of_process,
    }
}

/// Serves until SIGTERM, which first takes it off its load balancers, or Ctrl-C, and then finishes what it took; one more
/// signal meanwhile ends it at once.
pub fn run(mut settings: GatewaySettings) -> anyhow::Result<()> {
    let files = open_files::raise();
    let wanted = settings.limits.connections;
    settings.limits.connections = wanted.min(connections_within(files));
    let most = settings.limits.connections;
    if most < wanted {
        tracing::warn!("at most {most} connections, not {wanted}: the process may open {files} files (ulimit -Hn)");
    } else {
        tracing::info!("at most {most} connections: the process may open {files} files");
    }
    // a crowd of connections is many small buffers: spread over huge pages they take twice their size
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay on");
    }
    let secure = settings.tls.is_some();
    let config = config(settings);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("gateway")
        .enable_all()
        .build()
        .context("starting a runtime")?;
    runtime.block_on(async {
        let (sender, stops) = mpsc::channel(4);
        signals::watch_signals(&signals::STOP, move |kind, _| {
            // more signals than are waited for say nothing new
            let _ = sender.try_send(stop_of(kind));
        })?;
        let gateway = Gateway::start(config).await?;
        let scheme = if secure { "https" } else { "http" };
        tracing::info!("listening on {scheme}://{}", gateway.address());
        if gateway.serve(stops).await == Ended::CutOff {
            std::process::exit(i32::from(crate::exit::FAILED));
        }
        anyhow::Ok(())
    })?;
    // a question to Kafka that is under way is not waited for
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    Ok(())
}

/// What a signal asks for: Ctrl-C comes from a terminal, where no load balancer has to be told first.
fn stop_of(signal: SignalKind) -> Stop {
    if signal == SignalKind::interrupt() {
        Stop::Now
    } else {
        Stop::AfterDelay
    }
}

/// The connections that so many open files allow, beside those to Kafka, files of tokens and certificates, and the one
/// that waits for room.
fn connections_within(files: u64) -> usize {
    let kept = (files / 8).clamp(64, 1024).min(files / 2);
    usize::try_from(files - kept).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        for (files, connections) in [
            (0, 1),
            (2, 1),
            (64, 32),
            (256, 192),
            (1024, 896),
            (65_536, 64_512),
            (u64::MAX, usize::MAX - 1024),
        ] {
            assert_eq!(connections_within(files), connections, "{files}");
        }
    }
}
