//! The interfaces, and what a request asks of them.

use super::kinesis_call::{Call, Form};
use std::borrow::Cow;

/// The dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interface {
    /// `POST /pin/`
    FastApi,
    /// `POST /topics/{topic}`
    RestV2,
    /// `POST /v3/clusters/{id}/topics/{topic}/records`
    RestV3,
    /// `PUT /streams/{stream}/record`
    Kinesis,
    /// `POST /` of AWS's clients
    KinesisApi(Form),
    /// The gateway's own: health, metrics, description
    Operations,
}

impl Interface {
    /// Its name in logs and metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Interface::FastApi => "fastapi",
            Interface::RestV2 => "rest_v2",
            Interface::RestV3 => "rest_v3",
            Interface::Kinesis => "kinesis",
            Interface::KinesisApi(_) => "kinesis_api",
            Interface::Operations => "operations",
        }
    }
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target<'p> {
    /// A record of the stream with this index.
    Item(usize),
    ListTopics,
    DescribeTopic(Cow<'p, str>),
    Produce(Cow<'p, str>),
    ProduceToPartition(Cow<'p, str>, Cow<'p, str>),
    Stream {
        cluster: Cow<'p, str>,
        topic: Cow<'p, str>,
    },
    ProduceBatch {
        cluster: Cow<'p, str>,
        topic: Cow<'p, str>,
    },
    /// Version 3's questions about the cluster.
    View(View<'p>),
    /// Reading, through the REST proxy.
    Consumers,
    PutRecord(Cow<'p, str>),
    PutRecords(Cow<'p, str>),
    ListStreams,
    DescribeStream(Cow<'p, str>),
    CreateStream(Cow<'p, str>),
    DeleteStream(Cow<'p, str>),
    /// `POST /`, which is of AWS's clients where a header says so.
    Root,
    KinesisApi(Call),
    Health,
    Ready,
    Metrics,
    Version,
    OpenApi,
    /// The path exists, this method does not; these do.
    WrongMethod(&'static str),
    Nowhere,
}

/// What version 3 of the REST proxy shows of a cluster.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum View<'p> {
    Clusters,
    Cluster(Cow<'p, str>),
    Topics {
        cluster: Cow<'p, str>,
    },
    Topic {
        cluster: Cow<'p, str>,
        topic: Cow<'p, str>,
    },
    Partitions {
        cluster: Cow<'p, str>,
        topic: Cow<'p, str>,
    },
    Partition {
        cluster: Cow<'p, str>,
        topic: Cow<'p, str>,
        partition: Cow<'p, str>,
    },
}

impl Target<'_> {
    /// Whether it is served without a token.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Target::Health | Target::Ready | Target::Version | Target::OpenApi)
    }
}
